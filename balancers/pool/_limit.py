"""Limits the number of requests in flight on all members of a pool together."""

from collections import deque

from balancers._internal.checks import at_least
from balancers.event import Event

__all__ = ["PoolLimit"]


class PoolLimit:
    """Counts the requests in flight of a pool, and compares the count with a limit.

    Raises InvalidSetting for a limit below 1.
    """

    reason = "saturated"

    def __init__(self, limit: int, events: deque[Event] | None) -> None:
        at_least(1, limit=limit)
        self._limit = limit
        self._events = events
        self._in_flight = 0
        self.full: bool = False

    def started(self, backend: object, in_flight: int, now: float) -> None:
        """Called when a request starts.  The parameters are those of a gate."""
        self._in_flight += 1
        if self._in_flight == self._limit:
            self._change(now)

    def ended(self, requests: int, now: float) -> None:
        """Subtract requests that ended, or whose backend left."""
        self._in_flight -= requests
        if self.full and self._in_flight < self._limit:
            self._change(now)

    def _change(self, now: float) -> None:
        self.full = not self.full
        if self._events is not None:
            detail = f"{self._in_flight} of {self._limit} in flight"
            self._events.append(Event(now, self.reason, self.full, None, detail))
