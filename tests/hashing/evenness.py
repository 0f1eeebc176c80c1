"""Chi-square of counts that should be even, and the value it exceeds once in a million."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["HASHES", "chi_square", "is_even"]

HASHES = np.random.default_rng(5).integers(0, 1 << 64, 100_000, dtype=np.uint64)
"""Uniform hashes, as a good hash function returns for any keys."""
_ONCE_IN_A_MILLION = {9: 44.811, 99: 180.79, 999: 1226.05}
"""Critical values of chi-square at p = 1e-6, by degrees of freedom."""


def chi_square(counts: Sequence[int] | NDArray[np.intp]) -> float:
    """Return the statistic of counts that are expected to be equal."""
    expected = sum(counts) / len(counts)
    return float(sum((count - expected) ** 2 / expected for count in counts))


def is_even(counts: Sequence[int] | NDArray[np.intp]) -> bool:
    """Return whether 10, 100 or 1000 counts are as even as chance makes them, at p = 1e-6."""
    return chi_square(counts) <= _ONCE_IN_A_MILLION[len(counts) - 1]
