"""Limits: no more than so many requests in flight."""

from balancers._internal.checks import at_least
from balancers._internal.types import B
from balancers.gates.member_gate import MemberGate
from balancers.outcome import Outcome

__all__ = ["ConnectionLimit"]


class ConnectionLimit(MemberGate[B, int]):
    """Closed while ``limit`` requests or more are in flight.  Hard, and bound requests wait too.

    One number for every backend, or another for one by :meth:`set`.  Every method is O(1).

    >>> from balancers import Pool, RoundRobin
    >>> pool = Pool(RoundRobin(["a"]), gates=[ConnectionLimit(1)])
    >>> lease = pool.acquire(now=0.0)
    >>> pool.acquire(now=0.0)
    Traceback (most recent call last):
    balancers.errors.NoBackendAvailable: no backend available: saturated (1 saturated)...

    Raises InvalidSetting for a limit below 1.
    """

    reason = "saturated"

    def __init__(self, limit: int) -> None:
        super().__init__()
        at_least(1, limit=limit)
        self._limit = limit
        self._least = limit  # that any member ever had

    def new_state(self, now: float) -> int:
        del now
        return self._limit

    def set(self, backend: B, n: int | None, now: float = 0.0) -> None:
        """Limit this backend to ``n`` in flight; None: as all the others.

        Raises UnknownBackend, InvalidSetting, InvalidTime.
        """
        self.state_of(backend)
        n = self._limit if n is None else n
        at_least(1, n=n)
        now = self.advance(now)
        self._least = min(self._least, n)
        before, self._members[backend] = self._members[backend], n
        in_flight = self.in_flight_on(backend)
        if (in_flight >= n) != (in_flight >= before):
            self._turn(backend, in_flight, now)

    def factor(self, backend: B, now: float) -> float:
        """Give 1 below the limit, else 0.  Raises UnknownBackend."""
        del now
        return 1 if self.in_flight_on(backend) < self.state_of(backend) else 0

    def started(self, backend: B, in_flight: int, now: float) -> None:
        """Close at the limit."""
        if in_flight >= self._least and in_flight == self._members[backend]:
            self._turn(backend, in_flight, now)

    def finished(
        self, backend: B, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        """Open again below it."""
        if in_flight >= self._least - 1 and in_flight == self._members[backend] - 1:
            self._turn(backend, in_flight, now)

    def _turn(self, backend: B, in_flight: int, now: float) -> None:
        """Close at the limit, open below it."""
        self._now = now
        limit = self._members[backend]
        self.notify_change(backend)
        self.record_event(backend, in_flight >= limit, now, f"{in_flight} of {limit} in flight")
