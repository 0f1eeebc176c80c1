"""Distributes turns in proportion to parts that may change at any time."""

from collections.abc import Sequence

__all__ = ["Turns"]

_FINE = 1 << 64
"""A turn has at least this many units, so that a change of the parts loses less than one of them
per place."""


class Turns:
    """Gives each place its share of the turns, spread out evenly.  All numbers are ints.

    This is smooth weighted round robin, as in nginx.  Each place has a credit.  For each turn,
    every place earns its share of a turn, and the place with the greatest credit pays for the turn.
    In a tie, it is the first one.  When the parts change, the credits are kept.  A place without a
    part keeps its credit too, but gets no turn.
    """

    def __init__(self, count: int) -> None:
        self._credits = [0] * count
        self._earned: list[tuple[int, int]] = []
        """The places that have a part, and what each of them earns per turn."""
        self._unit = _FINE  # what a turn costs

    def divide(self, parts: Sequence[int]) -> None:
        """Set the parts; O(places).  At least one part is positive."""
        whole = sum(parts)
        unit = whole * (_FINE // whole + 1)
        self._credits = [credit * unit // self._unit for credit in self._credits]
        self._earned = [(place, part * (unit // whole)) for place, part in enumerate(parts) if part]
        self._unit = unit

    def next(self) -> int:
        """Return the place whose turn it is; O(places).  The call changes no state."""
        best, most = -1, 0
        for place, earned in self._earned:
            credit = self._credits[place] + earned
            if best < 0 or credit > most:
                best, most = place, credit
        return best

    def take(self, place: int) -> None:
        """Charge a turn to a place; O(places)."""
        for each, earned in self._earned:
            self._credits[each] += earned
        self._credits[place] -= self._unit
