"""Stores the last intervals between heartbeats, with sums that never drift."""

from collections import deque
from math import frexp, sqrt

__all__ = ["Intervals"]

_EXACT = float(1 << 53)
"""Floats store all whole numbers of ticks up to this one exactly."""
_LONGEST = float(1 << 26)
"""The square of an interval of more ticks would be too large."""
_ROUND = float(3 << 51)
"""Adding and subtracting so many ticks rounds to a whole number of ticks."""
_FIRST_BITS = 16
"""The first interval is from 2¹⁵ to 2¹⁶ ticks long."""
_COARSER = 4
"""The factor by which a tick becomes longer."""
_SPREAD = 0.25
"""The first two intervals are this share below and above the first estimate."""
_CAP = 1e100
"""Longer intervals count as so many seconds.  Their squares are finite."""


class Intervals:
    """Stores the last ``window`` intervals, their sum and the sum of their squares.

    An interval is rounded to a whole number of ticks; a tick is a power of two, in seconds.  So all
    sums are whole numbers of ticks or of squared ticks.  They are kept below 2⁵³, where floats
    store them exactly, so adding and subtracting has no rounding errors.  If a sum would become too
    large, the tick becomes four times as long.  A tick is at most ``first`` / 2¹⁵, or 10⁻⁷ of the
    root of the largest sum of squares so far.  At first, the window is filled with zeros that do
    not count.

    The patience is mean + ``pause`` + ``deviations`` · deviation, in seconds.  The deviation is the
    standard deviation, but at least ``least`` seconds.

    >>> intervals = Intervals(window=3, first=1.0, least=0.1, deviations=1.0, pause=10.0)
    >>> intervals.estimate(), intervals.patience()
    ((1.0, 0.25), 11.25)
    >>> [intervals.add(2.0) for _ in range(3)][-1]
    12.1

    ``add`` is O(1).  It is O(window) when the tick changes, which happens at most 200 times.
    """

    __slots__ = (
        "count", "deviations", "exact", "inverse", "last", "least", "least_patience",
        "least_variance", "limit", "pause", "rounding", "squares", "tick", "total", "window",
    )  # fmt: skip
    total: float
    squares: float
    tick: float
    rounding: float
    exact: float
    limit: float

    def __init__(
        self, window: int, first: float, least: float, deviations: float, pause: float
    ) -> None:
        self.window: int = window
        self.least: float = least
        self.least_variance: float = least * least
        self.deviations: float = deviations
        self.pause: float = pause
        self.least_patience: float = deviations * least + pause
        self.count: int = min(2, window)
        self.inverse: float = 1 / self.count
        self._set_tick(2.0 ** (frexp(first)[1] - _FIRST_BITS))
        self.last: deque[float] = deque([0.0] * window, maxlen=window)
        for share in (1 - _SPREAD, 1 + _SPREAD):
            self.last.append(first * share + self.rounding - self.rounding)
        self._sum_up()

    def add(self, seconds: float) -> float:
        """Add an interval, and return the patience in seconds.

        If there are ``window`` intervals already, the oldest one is removed.
        """
        last = self.last
        rounding = self.rounding
        seconds = seconds + rounding - rounding
        oldest = last[0]
        last.append(seconds)
        change = seconds - oldest
        total = self.total = self.total + change
        squares = self.squares = self.squares + change * (seconds + oldest)
        if squares >= self.limit:
            count = self.count
            if count < self.window:
                self.count = count = count + 1
                self.inverse = 1 / count
                if count == self.window:
                    self.limit = self.exact
            if squares >= self.exact:
                self._rescale(min(seconds, _CAP))
                return self.patience()
        mean = total * self.inverse
        variance = squares * self.inverse - mean * mean
        if variance <= self.least_variance:
            return mean + self.least_patience
        return mean + self.deviations * sqrt(variance) + self.pause

    def estimate(self) -> tuple[float, float]:
        """Return the mean, and the standard deviation or ``least``, in seconds; O(1)."""
        mean = self.total * self.inverse
        variance = self.squares * self.inverse - mean * mean
        return mean, self.least if variance <= self.least_variance else sqrt(variance)

    def patience(self) -> float:
        """Return the patience in seconds; O(1)."""
        mean, deviation = self.estimate()
        return mean + self.deviations * deviation + self.pause

    def _set_tick(self, tick: float) -> None:
        self.tick = tick
        self.rounding = _ROUND * tick
        self.exact = _EXACT * tick * tick
        self.limit = self.exact if self.count == self.window else -1.0

    def _rescale(self, seconds: float) -> None:
        """Make the tick longer until all sums are exact.  ``seconds`` is the latest interval."""
        while seconds >= _LONGEST * self.tick:
            self._coarsen()
        self.last[-1] = seconds + self.rounding - self.rounding
        self._sum_up()
        while self.squares >= self.exact:
            self._coarsen()

    def _coarsen(self) -> None:
        self._set_tick(self.tick * _COARSER)
        rounded = [seconds + self.rounding - self.rounding for seconds in self.last]
        self.last.clear()
        self.last.extend(rounded)
        self._sum_up()

    def _sum_up(self) -> None:
        self.total = sum(self.last)
        self.squares = sum(seconds * seconds for seconds in self.last)
