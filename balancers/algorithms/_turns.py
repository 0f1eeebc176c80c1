"""Distributes turns in proportion to parts that may change at any time."""

from collections import Counter
from collections.abc import Sequence
from math import gcd
from operator import add

__all__ = ["Turns"]

_FINE = 1 << 64
"""A turn costs at least this many units, so that a change of the parts loses less than one of them
per place."""
_LONGEST = 4096
"""The longest lap that is remembered, in turns."""


class Turns:
    """Gives each place its share of the turns, spread out evenly.  All numbers are ints.

    This is smooth weighted round robin, as in nginx.  Each place has a credit.  For each turn,
    every place earns its share of a turn, and the place with the greatest credit pays for the turn.
    In a tie, it is the first one.  When the parts change, the credits are kept.  A place without a
    part keeps its credit too, but gets no turn.

    After a lap, which is as many turns as the parts have in lowest terms, the credits are usually
    those from before the lap.  Then the same turns are repeated until the parts change.
    """

    def __init__(self, count: int) -> None:
        self._credits = [0] * count  # before the current lap if it is repeated, else now
        self._at_start = self._credits  # before the current lap
        self._earned = [0] * count  # what each place earns per turn
        self._cost = _FINE  # what a turn costs
        self._lap: list[int] = []  # the turns of the current lap, or all if it is repeated
        self._length = 0  # of a lap; 0 if it is too long to be remembered
        self._taken = -1  # how many turns of a repeated lap are taken; -1 if none is repeated

    def divide(self, parts: Sequence[int]) -> None:
        """Set the parts; O(places), and O(lap) if it is repeated.  A part must be positive."""
        owned = self._credits
        if self._taken >= 0:
            counts = Counter(self._lap[: self._taken])
            owned = [
                credit + earned * self._taken - counts[place] * self._cost
                for place, (credit, earned) in enumerate(zip(owned, self._earned, strict=True))
            ]
        whole = sum(parts)
        cost = whole * (_FINE // whole + 1)
        self._credits = self._at_start = [credit * cost // self._cost for credit in owned]
        self._earned = [part * (cost // whole) for part in parts]
        self._cost = cost
        length = whole // gcd(*parts)
        self._length = length if length <= _LONGEST else 0
        self._lap, self._taken = [], -1

    def next(self) -> int:
        """Return the place whose turn is next; O(1) in a repeated lap, else O(places)."""
        if self._taken >= 0:
            return self._lap[self._taken]
        best, most = -1, 0
        for place, earned in enumerate(self._earned):
            credit = self._credits[place] + earned
            if earned and (best < 0 or credit > most):
                best, most = place, credit
        return best

    def take(self) -> None:
        """Take the next turn; O(1) in a repeated lap, else O(places)."""
        if self._taken >= 0:
            self._taken += 1
            if self._taken == self._length:
                self._taken = 0
            return
        place = self.next()
        self._credits = [*map(add, self._credits, self._earned)]
        self._credits[place] -= self._cost
        if self._length:
            self._lap.append(place)
            if len(self._lap) == self._length:
                if self._credits == self._at_start:
                    self._taken = 0
                else:
                    self._lap, self._at_start = [], self._credits
