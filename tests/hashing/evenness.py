"""Chi-square of counts that should be even, and what it exceeds once in a million."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["HASHES", "chi_square", "is_even"]

HASHES = np.random.default_rng(5).integers(0, 1 << 64, 100_000, dtype=np.uint64)
"""What a good hash function makes of any keys."""
_ONCE_IN_A_MILLION = {9: 44.811, 99: 180.79, 999: 1226.05}
"""By degrees of freedom."""


def chi_square(counts: Sequence[int] | NDArray[np.intp]) -> float:
    """Give the statistic of counts that are expected to be equal."""
    expected = sum(counts) / len(counts)
    return float(sum((count - expected) ** 2 / expected for count in counts))


def is_even(counts: Sequence[int] | NDArray[np.intp]) -> bool:
    """Whether counts of 10, 100 or 1000 are as even as chance makes them, at p = 1e-6."""
    return chi_square(counts) <= _ONCE_IN_A_MILLION[len(counts) - 1]
