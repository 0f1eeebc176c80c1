"""The state and the step of smooth weighted round robin (nginx 1.22).

Each member has an *effective weight*, and a *current weight* that starts at 0.  A step adds the
effective weight of every open member to its current weight.  It picks the member with the greatest
current weight, the first in the list among equals, and subtracts the total of the effective weights
from it.  This is ``ngx_http_upstream_get_peer``, with nginx's names.

All numbers are integers.  Weights are counted in a unit that is small enough for all of them, so
0.3, 0.2 and 0.1 step exactly as 3, 2 and 1, and rounding errors cannot occur.
"""

from collections import Counter
from functools import lru_cache
from math import gcd, inf
from typing import Protocol

__all__ = ["PlainScan", "Scan", "decimal_places", "in_units"]


def _decimal(weight: float) -> tuple[int, int]:
    """Return the shortest decimal that equals a float: digits, and how many are decimals."""
    mantissa, _, exponent = repr(weight).partition("e")
    integral, _, fraction = mantissa.partition(".")
    fraction = fraction.rstrip("0")
    return int(integral + fraction), len(fraction) - int(exponent or 0)


def _ten_to(decimals: int) -> int:
    return int(10**decimals)


@lru_cache(maxsize=4096)
def decimal_places(weight: float) -> int:
    """Return the number of decimal places of a weight; 0 for an int.

    >>> decimal_places(3), decimal_places(0.25), decimal_places(1e-7)
    (0, 2, 7)
    """
    return 0 if isinstance(weight, int) else _decimal(weight)[1]


@lru_cache(maxsize=4096)
def in_units(weight: float, decimals: int) -> int:
    """Return a weight as an integral number of units of ``10 ** -decimals``.

    >>> in_units(0.3, 1), in_units(2, 1)
    (3, 20)
    """
    if isinstance(weight, int):
        return weight * _ten_to(decimals)
    digits, places = _decimal(weight)
    return digits * _ten_to(decimals - places)


class Scan(Protocol):
    """The current and effective weights of the members, by their index."""

    total: int
    """The sum of the effective weights."""
    limit: float
    """The greatest total that the numbers of this class can represent."""

    def step(self) -> int:
        """Do one step and return the index of the pick; one weight must be positive."""
        ...

    def charge(self, index: int, max_debt: int) -> bool:
        """Do one step as if the member at this index, of a positive weight, were picked.

        Return whether this was done.  Nothing changes if the member is in debt by ``max_debt``
        picks or more: if its current weight is at most ``max_debt * (weight - total)``.
        """
        ...

    def limit_debts(self, max_debt: int) -> None:
        """Clip each current weight to the range that ``max_debt`` picks cause; O(n).

        The lower bound is what that many picks of the member cause, the upper bound what that many
        picks of others cause, or the total if that is more.  Members of weight 0 do not change.
        """
        ...

    def set_weight(self, index: int, weight: int) -> None:
        """Set an effective weight; 0 closes the member and keeps its current weight; O(1)."""
        ...

    def period(self) -> int:
        """Return after how many steps a sequence of these effective weights repeats; O(n)."""
        ...

    def is_period(self, picks: list[int]) -> bool:
        """Return whether these picks gave each member exactly its share.

        If so, the state is the same as before them.
        """
        ...

    def advance(self, picks: list[int]) -> None:
        """Change the state as steps with these picks would; one pass."""
        ...

    def current_weights(self) -> list[int]:
        """Return the current weights, those of closed members included; O(n)."""
        ...


class PlainScan(Scan):
    """A plain loop: the fastest for few members, and exact for weights of any size."""

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
        """Add every effective weight, subtract the total from one; O(n)."""
        current_weights, weights = self._current, self._effective
        if current_weights[index] <= max_debt * (weights[index] - self.total):
            return False
        for each, weight in enumerate(weights):
            current_weights[each] += weight
        current_weights[index] -= self.total
        return True

    def limit_debts(self, max_debt: int) -> None:
        """Clip the current weight of each member of a positive weight; O(n)."""
        for index, weight in enumerate(self._effective):
            if weight:
                lower, upper = max_debt * (weight - self.total), max(max_debt * weight, self.total)
                self._current[index] = min(max(self._current[index], lower), upper)

    def set_weight(self, index: int, weight: int) -> None:
        """Set an effective weight; O(1)."""
        self.total += weight - self._effective[index]
        self._effective[index] = weight

    def period(self) -> int:
        """Return total / gcd; O(n)."""
        return self.total // gcd(*self._effective)

    def is_period(self, picks: list[int]) -> bool:
        """Compare the counts with the shares; O(picks)."""
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
