"""Validates the arguments of this package: counts, weights and loads."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import LATEST, as_weights, number, shown
from balancers.errors import InvalidSetting, InvalidWeight, UnknownBackend

__all__ = ["Numbers", "counts_and_weights", "not_negative_number", "numbered", "positive_weights"]

Numbers = Sequence[float] | NDArray[Any]
"""Numbers in the order of the backends."""


def counts_and_weights(
    counts: Mapping[Any, float] | Numbers, weights: Mapping[Any, float] | Numbers | None
) -> tuple[dict[Any, float], dict[Any, float]]:
    """Return the count and the weight of each backend, in the order of the weights.

    Raises TypeError, InvalidSetting, InvalidWeight, UnknownBackend.
    """
    if weights is not None and isinstance(counts, Mapping) != isinstance(weights, Mapping):
        raise TypeError("counts and weights must both be mappings of backends, or both sequences")
    given = numbered("counts", counts)
    valid = dict.fromkeys(given, 1.0) if weights is None else positive_weights(weights)
    if not given and not valid:
        raise InvalidSetting(f"counts must contain a backend, not {shown(counts)}")
    if not isinstance(counts, Mapping) and len(given) != len(valid):
        raise InvalidSetting(f"there are {len(given)} counts and {len(valid)} weights")
    for backend, count in given.items():
        if backend not in valid:
            raise UnknownBackend(backend)
        if type(count) is not int or not 0 <= count <= LATEST:
            not_negative_number(f"the count of {shown(backend)}", count)
    return {backend: given.get(backend, 0) for backend in valid}, valid


def numbered(name: str, numbers: Mapping[Any, float] | Numbers) -> dict[Any, float]:
    """Return a mapping as a dict.  Numbers without backends belong to 0, 1, 2 and so on."""
    if isinstance(numbers, Mapping):
        return dict(numbers)
    given: object = numbers
    if isinstance(given, str | bytes | bytearray | AbstractSet) or not isinstance(given, Iterable):
        raise TypeError(f"{name} must be a mapping or a sequence of numbers, not {shown(numbers)}")
    if isinstance(given, np.ndarray):
        if given.ndim != 1:
            raise InvalidSetting(f"{name} must have one dimension, not shape {given.shape}")
        given = given.tolist()
    return dict(enumerate(cast("Iterable[float]", given)))


def positive_weights(weights: Mapping[Any, float] | Numbers) -> dict[Any, float]:
    """Return the weight of each backend.  Raise InvalidWeight unless their sum is positive."""
    valid = as_weights(numbered("weights", weights))
    if not any(valid.values()):
        raise InvalidWeight(f"weights must have a positive sum, not {shown(weights)}")
    return valid


def not_negative_number(name: str, value: float) -> float:
    """Return the value as a float.  Raise InvalidSetting unless it is from 0 to 1e300."""
    if not 0 <= number(name, value) <= LATEST:
        raise InvalidSetting(f"{name} must be from 0 to {LATEST:g}, not {shown(value)}")
    return float(value) + 0.0  # 0.0 for -0.0
