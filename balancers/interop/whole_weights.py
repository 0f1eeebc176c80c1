"""Checks weights that must be integers, and stores the last positive ones."""

from typing import Generic

from balancers._internal.checks import shown
from balancers._internal.types import B
from balancers.errors import InvalidWeight

__all__ = ["LastWeights", "whole_weight"]


class LastWeights(Generic[B]):
    """Stores the last positive weight of every member, also while its weight is 0.

    A check of all weights together must count the members whose weight is 0.  Otherwise such a
    member can get a weight that is refused only later, when another member opens again.

    >>> last = LastWeights()
    >>> last.set("a", 3)
    >>> last.set("a", 0)
    >>> last.total_with("b", 2)
    5
    """

    def __init__(self) -> None:
        self.by_backend: dict[B, int] = {}
        self._total = 0

    def total_with(self, backend: B, weight: int) -> int:
        """Return the sum of all last positive weights if the backend gets this weight; O(1)."""
        before = self.by_backend.get(backend, 0)
        return self._total - before + (weight or before)

    def set(self, backend: B, weight: int | None) -> None:
        """Store a weight, or remove the backend if it is None; O(1)."""
        if weight is None:
            self._total -= self.by_backend.pop(backend, 0)
        elif weight:
            self._total = self.total_with(backend, weight)
            self.by_backend[backend] = weight


def whole_weight(backend: object, weight: float, most: int | None = None) -> int:
    """Return the weight of a backend, after a check that it is allowed.

    A weight must be an int from 0 to ``most``.  If ``most`` is None, there is no upper limit.
    Raises InvalidWeight if the weight is not allowed.

    >>> whole_weight("a", 2.5, most=256)
    Traceback (most recent call last):
    balancers.errors.InvalidWeight: weight of 'a' must be an integer from 0 to 256, not 2.5
    """
    if type(weight) is not int or weight < 0 or (most is not None and weight > most):
        limits = "of 0 or more" if most is None else f"from 0 to {most}"
        raise InvalidWeight(
            f"weight of {shown(backend)} must be an integer {limits}, not {shown(weight)}"
        )
    return weight
