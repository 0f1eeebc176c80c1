"""Suspects a member after a fixed time without heartbeats."""

from balancers._internal.checks import duration
from balancers._internal.types import B
from balancers.redundancy.failure_detector import FailureDetector

__all__ = ["FixedPatience", "TimeoutDetector"]


class FixedPatience:
    """Stores the time-out of a member in seconds.  It does not learn from intervals."""

    __slots__ = ("timeout",)

    def __init__(self, timeout: float) -> None:
        self.timeout: float = timeout

    def add(self, seconds: float) -> float:
        """Return the time-out."""
        del seconds
        return self.timeout

    def patience(self) -> float:
        """Return the time-out."""
        return self.timeout


class TimeoutDetector(FailureDetector[B]):
    """Suspects a member after ``timeout`` seconds without a heartbeat.

    It is simple, and its detection time is known beforehand.  The time-out must be chosen for the
    worst member and network, and it does not follow when they change: see :class:`PhiDetector`.

    >>> detector = TimeoutDetector(timeout=3.0)
    >>> detector.add("lb2", now=0.0)
    >>> detector.heartbeat("lb2", now=0.9), detector.due
    ((), 3.9)

    A heartbeat is O(1).  Raises InvalidSetting for a ``timeout`` that is not positive and finite,
    and for an ``own_pause`` that is not positive.
    """

    def __init__(self, timeout: float, *, own_pause: float = 1.0) -> None:
        super().__init__(own_pause)
        self._timeout = float(duration("timeout", timeout))

    def new_history(self) -> FixedPatience:
        return FixedPatience(self._timeout)

    def __repr__(self) -> str:
        alive = sum(state.alive for state in self._members.values())
        return f"<TimeoutDetector: {self._timeout:g} s, {alive} of {len(self._members)} alive>"
