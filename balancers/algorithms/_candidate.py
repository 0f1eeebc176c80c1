"""Stores one backend of the power of two choices, and compares its load with that of another."""

from copy import deepcopy
from typing import Any, Generic

from balancers._internal.types import B
from balancers.algorithms._units import decimal_places, in_units

__all__ = ["BELOW", "Candidate"]

BELOW = 1 - 1e-12
"""A float load per weight is less than another one only if it is below this share of it.  So
rounding errors do not break ties."""


class Candidate(Generic[B]):
    """Stores one backend, its weight, and its requests in flight.

    ``units`` and ``step`` are the numerator and the denominator of the exact weight.
    ``busy_steps`` is the number of requests in flight multiplied by ``step``.  So the requests in
    flight per weight are exactly ``busy_steps / units``.  They are compared without division.
    """

    __slots__ = ("backend", "busy_steps", "step", "units", "weight")

    def __init__(self, backend: B) -> None:
        self.backend = backend
        self.busy_steps = 0
        self.units = 0
        self.step = 1
        self.weight: float = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> "Candidate[B]":
        clone = Candidate(deepcopy(self.backend, memo))
        clone.busy_steps, clone.step = self.busy_steps, self.step
        clone.units, clone.weight = self.units, self.weight
        return clone

    def set_weight(self, weight: float) -> None:
        """Set the weight and keep the number of requests in flight."""
        in_flight = self.busy_steps // self.step
        decimals = max(0, decimal_places(weight))
        self.weight = weight
        self.units, self.step = in_units(weight, decimals), int(10**decimals)
        self.busy_steps = in_flight * self.step

    def is_less_loaded(self, load: Any, other: "Candidate[B]", other_load: Any) -> bool:
        """Return whether this load per weight is less than that of another candidate.

        A load is an int, a float or a Fraction.
        """
        if isinstance(load, float) or isinstance(other_load, float):
            try:
                return bool(load * other.weight < other_load * self.weight * BELOW)
            except OverflowError:  # an int beyond all finite floats
                return bool(load < other_load)
        is_less: bool = load * self.step * other.units < other_load * other.step * self.units
        return is_less
