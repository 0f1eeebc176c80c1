"""Smooth weighted round robin's state: a credit for each member, and the step that moves it.

A step gives every open member its gain and takes the sum of the gains from the one with the most
credit, the first listed among equals (nginx 1.22, ``ngx_http_upstream_get_peer``).  Everything is a
whole number: weights are counted in a unit small enough for all of them, so 0.3, 0.2 and 0.1 step
exactly as 3, 2 and 1, and no rounding is ever left over.
"""

from collections import Counter
from functools import lru_cache
from math import gcd, inf
from typing import Protocol

__all__ = ["PlainScan", "Scan", "decimals_of", "units"]


def _written(weight: float) -> tuple[int, int]:
    """Read a float as it is written: digits, and how many of them are decimals."""
    mantissa, _, exponent = repr(weight).partition("e")
    whole, _, part = mantissa.partition(".")
    part = part.rstrip("0")
    return int(whole + part), len(part) - int(exponent or 0)


def _ten_to(decimals: int) -> int:
    return int(10**decimals)


@lru_cache(maxsize=4096)
def decimals_of(weight: float) -> int:
    """Count the decimal places a weight is written with; an int has none.

    >>> decimals_of(3), decimals_of(0.25), decimals_of(1e-7)
    (0, 2, 7)
    """
    return 0 if isinstance(weight, int) else _written(weight)[1]


@lru_cache(maxsize=4096)
def units(weight: float, decimals: int) -> int:
    """Give a weight as a whole number of units of ``10 ** -decimals``.

    >>> units(0.3, 1), units(2, 1)
    (3, 20)
    """
    if isinstance(weight, int):
        return weight * _ten_to(decimals)
    digits, places = _written(weight)
    return digits * _ten_to(decimals - places)


class Scan(Protocol):
    """Credits and gains of the members, by their place."""

    total: int
    """The sum of the gains."""
    limit: float
    """The largest total it can hold."""

    def step(self) -> int:
        """Give the place of the next pick; at least one gain is positive."""
        ...

    def charge(self, place: int, debt: int) -> bool:
        """Step as if this place, of a positive gain, were the pick, and say so.

        Nothing moves where its credit is down by ``debt`` times what a pick costs, or by more.
        """
        ...

    def forgive(self, debt: int) -> None:
        """Bound each credit by what ``debt`` picks of its member, or of others, make; O(n).

        Where the total is more than the latter, the total bounds it from above; one without a gain
        is let be.
        """
        ...

    def weigh(self, place: int, gain: int) -> None:
        """Change a gain; 0 keeps the credit aside; O(1)."""
        ...

    def period(self) -> int:
        """Give the steps after which a sequence of these gains repeats; O(n)."""
        ...

    def fair(self, picks: list[int]) -> bool:
        """Whether these steps gave each exactly its share, so that the state is what it was."""
        ...

    def advance(self, picks: list[int]) -> None:
        """Move the state as these steps would; one pass."""
        ...

    def credits(self) -> list[int]:
        """Give the credits, those aside included; O(n)."""
        ...


class PlainScan(Scan):
    """A plain loop: the fastest for a few members, and exact for gains of any size."""

    limit = inf

    def __init__(self, credits_: list[int], gains: list[int]) -> None:
        self._credits = credits_
        self._gains = gains
        self.total = sum(gains)

    def step(self) -> int:
        """Scan all members; O(n)."""
        credits_, best, most = self._credits, -1, -inf
        for place, gain in enumerate(self._gains):
            if gain:
                credit = credits_[place] = credits_[place] + gain
                if credit > most:
                    best, most = place, credit
        credits_[best] -= self.total
        return best

    def charge(self, place: int, debt: int) -> bool:
        """Add every gain, take the total from one; O(n)."""
        credits_, gains = self._credits, self._gains
        if credits_[place] <= debt * (gains[place] - self.total):
            return False
        for each, gain in enumerate(gains):
            credits_[each] += gain
        credits_[place] -= self.total
        return True

    def forgive(self, debt: int) -> None:
        """Look at all members of a positive gain; O(n)."""
        for place, gain in enumerate(self._gains):
            if gain:
                least, most = debt * (gain - self.total), max(debt * gain, self.total)
                self._credits[place] = min(max(self._credits[place], least), most)

    def weigh(self, place: int, gain: int) -> None:
        """Change a gain; O(1)."""
        self.total += gain - self._gains[place]
        self._gains[place] = gain

    def period(self) -> int:
        """Give total / gcd; O(n)."""
        return self.total // gcd(*self._gains)

    def fair(self, picks: list[int]) -> bool:
        """Count, and compare with the shares; O(picks)."""
        counts = Counter(picks)
        return all(
            counts[place] * self.total == len(picks) * gain
            for place, gain in enumerate(self._gains)
        )

    def advance(self, picks: list[int]) -> None:
        """Add all gains at once and take what was taken; O(picks + n)."""
        counts = Counter(picks)
        for place, gain in enumerate(self._gains):
            self._credits[place] += gain * len(picks) - self.total * counts[place]

    def credits(self) -> list[int]:
        """Give the credits; O(n)."""
        return list(self._credits)
