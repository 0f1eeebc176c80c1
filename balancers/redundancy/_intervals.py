"""Stores the last intervals between heartbeats, with sums that never drift."""

from collections import deque
from math import frexp, sqrt

__all__ = ["Intervals"]

_ROUND = float(3 << 51)
"""Adding and subtracting it rounds a float of up to 2⁵¹ to the nearest whole number."""
_EXACT = float(1 << 53)
"""Floats store all whole numbers up to this one exactly."""
_FIRST_BITS = 16
"""The first interval is from 2¹⁵ to 2¹⁶ ticks long."""
_COARSER = 4
"""The factor by which a tick becomes longer."""
_SPREAD = 0.25
"""The first two intervals are this share below and above the first estimate."""


class Intervals:
    """Stores the last ``window`` intervals, their sum and the sum of their squares.

    An interval is stored as a whole number of ticks.  All sums are whole numbers below 2⁵³, so
    floats store them exactly, and adding and subtracting has no rounding errors.  If a sum would
    become too large, the tick becomes four times as long.  So an interval is wrong by at most half
    a tick.  A tick is at most ``first`` / 2¹⁵, or 10⁻⁷ of the root of the largest sum of squares so
    far.  At first, the window is filled with zeros that do not count.

    The patience is mean + ``pause`` + ``deviations`` · deviation, in seconds.  The deviation is the
    standard deviation, but at least ``least`` seconds.

    >>> intervals = Intervals(window=3, first=1.0, least=0.1, deviations=1.0, pause=10.0)
    >>> intervals.estimate(), intervals.patience()
    ((1.0, 0.25), 11.25)
    >>> [intervals.add(2.0) for _ in range(3)][-1]
    12.1

    ``add`` is O(1).  It is O(window) when the tick changes, which happens at most 520 times.
    """

    __slots__ = (
        "count", "deviations", "inverse", "last", "least", "least_patience", "least_variance",
        "limit", "pause", "per_second", "squares", "tick", "total",
    )  # fmt: skip

    def __init__(
        self, window: int, first: float, least: float, deviations: float, pause: float
    ) -> None:
        self.least: float = least
        self.deviations: float = deviations
        self.pause: float = pause
        self.least_patience: float = deviations * least + pause
        self._set_tick(2.0 ** (frexp(first)[1] - _FIRST_BITS))
        self.last: deque[float] = deque([0.0] * window, maxlen=window)
        for share in (1 - _SPREAD, 1 + _SPREAD):
            self.last.append(first * share * self.per_second + _ROUND - _ROUND)
        self.total: float = sum(self.last)
        self.squares: float = sum(ticks * ticks for ticks in self.last)
        self._set_count(min(2, window))

    def add(self, seconds: float) -> float:
        """Add an interval, and return the patience in seconds.

        If there are ``window`` intervals already, the oldest one is removed.
        """
        last = self.last
        ticks = seconds * self.per_second + _ROUND - _ROUND
        oldest = last[0]
        last.append(ticks)
        total = self.total = self.total + ticks - oldest
        squares = self.squares = self.squares + (ticks - oldest) * (ticks + oldest)
        if squares >= self.limit:
            self._set_count(min(self.count + 1, len(last)))
            while self.squares >= _EXACT:
                self._coarsen()
            return self.patience()
        mean = total * self.inverse
        variance = squares * self.inverse - mean * mean
        if variance <= self.least_variance:
            return mean * self.tick + self.least_patience
        return (mean + self.deviations * sqrt(variance)) * self.tick + self.pause

    def estimate(self) -> tuple[float, float]:
        """Return the mean, and the standard deviation or ``least``, in seconds; O(1)."""
        mean = self.total * self.inverse
        variance = self.squares * self.inverse - mean * mean
        if variance <= self.least_variance:
            return mean * self.tick, self.least
        return mean * self.tick, sqrt(variance) * self.tick

    def patience(self) -> float:
        """Return the patience in seconds; O(1)."""
        mean, deviation = self.estimate()
        return mean + self.deviations * deviation + self.pause

    def _set_count(self, count: int) -> None:
        """Set how many of the intervals are not the zeros that filled the window at first."""
        self.count: int = count
        self.inverse: float = 1 / count
        self.limit: float = _EXACT if count == len(self.last) else -1.0

    def _set_tick(self, tick: float) -> None:
        self.tick: float = tick
        self.per_second: float = 1 / tick
        self.least_variance: float = (self.least * self.per_second) * (self.least * self.per_second)

    def _coarsen(self) -> None:
        self._set_tick(self.tick * _COARSER)
        coarser = [ticks / _COARSER + _ROUND - _ROUND for ticks in self.last]
        self.last.clear()
        self.last.extend(coarser)
        self.total = sum(coarser)
        self.squares = sum(ticks * ticks for ticks in coarser)
