"""Implements the step of smooth weighted round robin, as in nginx 1.22.

Each member has an *effective weight* and a *current weight*.  The current weight starts at 0.  A
step has three parts:

1. It adds the effective weight of every open member to the current weight of this member.
2. It picks the member with the greatest current weight.  Among equals, it picks the first in the
   list.
3. It subtracts the total of the effective weights from the current weight of the picked member.

The function ``ngx_http_upstream_get_peer`` of nginx does the same.  The names are those of nginx.

All numbers are integers, so there are no rounding errors.  Weights are counted in a unit that is
small enough for all of them.  So the weights 0.3, 0.2 and 0.1 give exactly the same picks as 3, 2
and 1.
"""

from collections import Counter
from functools import lru_cache
from math import gcd, inf
from typing import Protocol

__all__ = ["PlainScan", "Scan", "decimal_places", "in_units"]


def _decimal(weight: float) -> tuple[int, int]:
    """Return the digits and the number of decimal places of a float.

    They are those of the shortest decimal that equals the float.
    """
    mantissa, _, exponent = repr(weight).partition("e")
    integral, _, fraction = mantissa.partition(".")
    fraction = fraction.rstrip("0")
    return int(integral + fraction), len(fraction) - int(exponent or 0)


def _ten_to(decimals: int) -> int:
    return int(10**decimals)


@lru_cache(maxsize=4096)
def decimal_places(weight: float) -> int:
    """Return the number of decimal places of a weight.  It is 0 for an int.

    >>> decimal_places(3), decimal_places(0.25), decimal_places(1e-7)
    (0, 2, 7)
    """
    return 0 if isinstance(weight, int) else _decimal(weight)[1]


@lru_cache(maxsize=4096)
def in_units(weight: float, decimals: int) -> int:
    """Return a weight as an integral number of units.  One unit is ``10 ** -decimals``.

    >>> in_units(0.3, 1), in_units(2, 1)
    (3, 20)
    """
    if isinstance(weight, int):
        return weight * _ten_to(decimals)
    digits, places = _decimal(weight)
    return digits * _ten_to(decimals - places)


class Scan(Protocol):
    """Stores the current and effective weights of the members, and does the steps.

    A member is addressed by its index.
    """

    total: int
    """The sum of the effective weights."""
    limit: float
    """The greatest total that this class can represent."""

    def step(self) -> int:
        """Do one step, and return the index of the picked member.

        At least one weight must be positive.
        """
        ...

    def charge(self, index: int, max_debt: int) -> bool:
        """Do one step, but pick the member at this index.  Return whether the step was done.

        The weight of this member must be positive.  The step is not done if the current weight of
        the member is ``max_debt * (weight - total)`` or less.  This means that the member is
        already ahead of its share by ``max_debt`` picks or more.
        """
        ...

    def limit_debts(self, max_debt: int) -> None:
        """Limit each current weight to the range that ``max_debt`` picks can cause; O(n).

        The lower limit is ``max_debt * (weight - total)``, which ``max_debt`` picks of the member
        itself cause.  The upper limit is ``max_debt * weight``, which ``max_debt`` picks of other
        members cause, or the total if this is greater.  Members of weight 0 do not change.
        """
        ...

    def set_weight(self, index: int, weight: int) -> None:
        """Set an effective weight; O(1).

        The weight 0 closes the member.  A closed member keeps its current weight.
        """
        ...

    def period(self) -> int:
        """Return the number of steps after which the sequence of picks repeats; O(n)."""
        ...

    def is_period(self, picks: list[int]) -> bool:
        """Return whether these picks gave each member exactly its share.

        If so, the current weights are the same after these picks as before.
        """
        ...

    def advance(self, picks: list[int]) -> None:
        """Change the state as if the steps with these picks had been done; one pass."""
        ...

    def current_weights(self) -> list[int]:
        """Return the current weights of all members, including closed members; O(n)."""
        ...


class PlainScan(Scan):
    """Does the steps with a plain loop.

    It is the fastest scan for few members.  It is exact for weights of any size.
    """

    limit = inf

    def __init__(self, current_weights: list[int], effective_weights: list[int]) -> None:
        self._current = current_weights
        self._effective = effective_weights
        self.total = sum(effective_weights)

    def step(self) -> int:
        """Do one step; O(n)."""
        current_weights, best, greatest = self._current, -1, -inf
        for index, weight in enumerate(self._effective):
            if weight:
                current = current_weights[index] = current_weights[index] + weight
                if current > greatest:
                    best, greatest = index, current
        current_weights[best] -= self.total
        return best

    def charge(self, index: int, max_debt: int) -> bool:
        """Do one step that picks the member at the index; O(n)."""
        current_weights, weights = self._current, self._effective
        if current_weights[index] <= max_debt * (weights[index] - self.total):
            return False
        for each, weight in enumerate(weights):
            current_weights[each] += weight
        current_weights[index] -= self.total
        return True

    def limit_debts(self, max_debt: int) -> None:
        """Limit the current weight of each member that has a positive weight; O(n)."""
        for index, weight in enumerate(self._effective):
            if weight:
                lower, upper = max_debt * (weight - self.total), max(max_debt * weight, self.total)
                self._current[index] = min(max(self._current[index], lower), upper)

    def set_weight(self, index: int, weight: int) -> None:
        """Set an effective weight; O(1)."""
        self.total += weight - self._effective[index]
        self._effective[index] = weight

    def period(self) -> int:
        """Return the total divided by the greatest common divisor of the weights; O(n)."""
        return self.total // gcd(*self._effective)

    def is_period(self, picks: list[int]) -> bool:
        """Compare the counts of the picks with the shares; O(picks + n)."""
        counts = Counter(picks)
        return all(
            counts[index] * self.total == len(picks) * weight
            for index, weight in enumerate(self._effective)
        )

    def advance(self, picks: list[int]) -> None:
        """Add and subtract the sums of all these steps at once; O(picks + n)."""
        counts = Counter(picks)
        for index, weight in enumerate(self._effective):
            self._current[index] += weight * len(picks) - self.total * counts[index]

    def current_weights(self) -> list[int]:
        """Return the current weights; O(n)."""
        return list(self._current)

    def __repr__(self) -> str:
        return f"<PlainScan: {len(self._effective)} members, total weight {self.total}>"
