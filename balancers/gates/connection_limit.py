"""Limits the number of requests in flight on each backend to a fixed number."""

from balancers._internal.checks import at_least
from balancers._internal.types import B
from balancers.gates.member_gate import MemberGate
from balancers.outcome import Outcome

__all__ = ["ConnectionLimit"]


class ConnectionLimit(MemberGate[B, int]):
    """Closes a backend while it has ``limit`` or more requests in flight.

    The limit is the same for every backend.  You can set a different limit for one backend by
    :meth:`set`.  The gate is hard: the pool respects it even during a panic (when too few members
    are open).  A closed backend gets no bound requests (requests of sticky sessions) either.  Such
    a backend opens when a request ends.  The attribute ``full`` of a refusal counts the backends
    that only limits close.  Every method is O(1).

    >>> from balancers import Pool, RoundRobin
    >>> pool = Pool(RoundRobin(["a"]), gates=[ConnectionLimit(1)])
    >>> lease = pool.acquire(now=0.0)
    >>> pool.acquire(now=0.0)
    Traceback (most recent call last):
    balancers.errors.NoBackendAvailable: no backend available: saturated (1 saturated)...

    Raises InvalidSetting for a limit below 1.
    """

    reason = "saturated"
    limits_in_flight: bool = True

    def __init__(self, limit: int) -> None:
        super().__init__()
        at_least(1, limit=limit)
        self._limit = limit
        self._lowest_limit = limit  # of all members so far; below it, no member is full

    def new_state(self, now: float) -> int:
        del now
        return self._limit

    def set(self, backend: B, limit: int | None, now: float = 0.0) -> None:
        """Limit this backend to ``limit`` requests in flight.

        ``None`` restores the limit that was passed to the gate.

        Raises UnknownBackend, InvalidSetting, InvalidTime.
        """
        self.state_of(backend)
        limit = self._limit if limit is None else limit
        at_least(1, limit=limit)
        now = self.advance(now)
        self._lowest_limit = min(self._lowest_limit, limit)
        before, self._members[backend] = self._members[backend], limit
        in_flight = self.in_flight_on(backend)
        if (in_flight >= limit) != (in_flight >= before):
            self._notify_flip(backend, in_flight, now)

    def factor(self, backend: B, now: float) -> float:
        """Return 1 if the backend is below its limit, else 0.

        Raises UnknownBackend, InvalidTime.
        """
        self.clamp(now)
        return 1 if self.in_flight_on(backend) < self.state_of(backend) else 0

    def started(self, backend: B, in_flight: int, now: float) -> None:
        """Called when a request starts.  The backend may reach its limit."""
        if in_flight >= self._lowest_limit and in_flight == self._members.get(backend):
            self._notify_flip(backend, in_flight, now)

    def finished(
        self, backend: B, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        """Called when a request ends.  The backend may fall below its limit."""
        if in_flight >= self._lowest_limit - 1 and in_flight + 1 == self._members.get(backend):
            self._notify_flip(backend, in_flight, now)

    def __repr__(self) -> str:
        """Show the limit of the gate and the number of closed members; O(members)."""
        closed = sum(self.in_flight_on(b) >= limit for b, limit in self._members.items())
        return f"<ConnectionLimit: limit {self._limit}, {closed} of {len(self._members)} closed>"

    def _notify_flip(self, backend: B, in_flight: int, now: float) -> None:
        """Record that the backend has opened or closed because of its limit."""
        now = self.advance(now)
        limit = self._members[backend]
        self.notify_change(backend)
        self.record_event(backend, in_flight >= limit, now, f"{in_flight} of {limit} in flight")
