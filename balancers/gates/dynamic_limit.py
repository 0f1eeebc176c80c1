"""Limits the number of requests in flight on each backend.

The limit grows with the load of the whole pool.
"""

from collections import defaultdict
from collections.abc import Sequence

from balancers._internal.checks import at_least, shown
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.gates.member_gate import MemberGate
from balancers.outcome import Outcome

__all__ = ["DynamicLimit"]


class DynamicLimit(MemberGate[B, int]):
    """Closes a backend while it has as many requests in flight as its limit, or more.

    The limit grows with the load of the pool.  The settings are HAProxy's ``minconn``, ``maxconn``
    and ``fullconn``, in requests.  The load is the number of requests that are in flight or waiting
    in the pool, plus 1 for the next request.  If the load is at least ``fullconn``, the limit of
    each backend is ``maxconn``.  Otherwise, the limit is max(``minconn``, load × ``maxconn`` /
    ``fullconn``), rounded down.

    This is the rule in the source of HAProxy 2.6: a line through zero, but never below ``minconn``.
    HAProxy's manual describes a different rule: a line from ``minconn`` to ``maxconn``.

    The gate is hard: the pool respects it even during a panic (when too few members are open).  A
    closed backend gets no bound requests (requests of sticky sessions) either.  Such a backend
    opens when a request ends.  The attribute ``full`` of a refusal counts the backends that only
    limits close.

    >>> limit = DynamicLimit(minconn=10, maxconn=100, fullconn=1000)
    >>> [limit.limit_at(load) for load in (1, 100, 101, 500, 999, 1000, 5000)]
    [10, 10, 10, 50, 99, 100, 100]

    A request costs O(1), plus O(1) per backend that opens or closes.  If the request changes the
    limit by d, it also costs O(min(d, k)).  Here, k counts groups of backends: all backends with
    the same number of requests in flight form one group.
    Raises InvalidSetting for a number below 1, or ``minconn`` above ``maxconn``.
    """

    reason = "saturated"
    limits_in_flight: bool = True

    def __init__(self, minconn: int, maxconn: int, fullconn: int) -> None:
        super().__init__()
        at_least(1, minconn=minconn, maxconn=maxconn, fullconn=fullconn)
        if minconn > maxconn:
            raise InvalidSetting(
                f"minconn must be at most maxconn, {shown(maxconn)}, not {shown(minconn)}"
            )
        self._minconn, self._maxconn, self._fullconn = minconn, maxconn, fullconn
        self._total = self._waiting = 0
        self._limit = self.limit_at(1)
        self._by_in_flight: defaultdict[int, dict[B, None]] = defaultdict(dict)
        self._closed: dict[B, None] = {}

    def new_state(self, now: float) -> int:
        del now
        return 0

    def limit_at(self, load: int) -> int:
        """Return the limit of each backend at this load, in requests in flight."""
        if load >= self._fullconn or self._minconn == self._maxconn:
            return self._maxconn
        return max(self._minconn, load * self._maxconn // self._fullconn)

    def set_waiting(self, requests: int, now: float) -> None:
        """Set the number of requests that wait for this pool.

        Waiting requests are part of the load.

        Raises InvalidTime.  Raises InvalidSetting for a number that is negative or not an int.
        """
        at_least(0, requests=requests)
        now = self.advance(now)
        self._waiting = requests
        self._update_limit(now)

    def factor(self, backend: B, now: float) -> float:
        """Return 1 if the backend is below the limit, else 0.

        Raises UnknownBackend, InvalidTime.
        """
        self.clamp(now)
        return 1 if self.state_of(backend) < self._limit else 0

    def added(self, backend: B, now: float) -> None:
        """Called when a backend joins.  It has no requests in flight."""
        super().added(backend, now)
        self._by_in_flight[0][backend] = None

    def removed(self, backend: B, now: float) -> None:
        """Called when a backend leaves.  Its requests are no longer part of the load."""
        in_flight = self._members.get(backend)
        super().removed(backend, now)
        if in_flight is not None:
            self._closed.pop(backend, None)
            self._leave_group(backend, in_flight)
            self._total -= in_flight
            self._update_limit(self.advance(now))

    def started(self, backend: B, in_flight: int, now: float) -> None:
        """Called when a request starts."""
        self._count(backend, in_flight, now)

    def finished(
        self, backend: B, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        """Called when a request ends."""
        self._count(backend, in_flight, now)

    def __repr__(self) -> str:
        return (
            f"<DynamicLimit: minconn {self._minconn}, maxconn {self._maxconn}, fullconn "
            f"{self._fullconn}, limit now {self._limit}, "
            f"{len(self._closed)} of {len(self._members)} closed>"
        )

    def _count(self, backend: B, in_flight: int, now: float) -> None:
        """Store the requests in flight of a member.  Ignore a backend that is not a member."""
        now = self.advance(now)
        before = self._members.get(backend)
        if before is None:
            return
        self._leave_group(backend, before)
        self._members[backend] = in_flight
        self._by_in_flight[in_flight][backend] = None
        self._total += in_flight - before
        self._update_limit(now)
        self._update_closed(backend, now)

    def _leave_group(self, backend: B, in_flight: int) -> None:
        group = self._by_in_flight[in_flight]
        del group[backend]
        if not group:
            del self._by_in_flight[in_flight]

    def _update_limit(self, now: float) -> None:
        """Set the limit for the current load.  Open and close backends accordingly."""
        before, self._limit = self._limit, self.limit_at(self._total + self._waiting + 1)
        if before == self._limit:
            return
        crossed: Sequence[int] = range(*sorted((before, self._limit)))
        if len(crossed) > len(self._by_in_flight):
            crossed = [in_flight for in_flight in self._by_in_flight if in_flight in crossed]
        for in_flight in crossed:
            for backend in self._by_in_flight.get(in_flight, ()):
                self._update_closed(backend, now)

    def _update_closed(self, backend: B, now: float) -> None:
        """Open or close the backend if it is on the wrong side of the limit, and record this."""
        in_flight = self._members[backend]
        closes = in_flight >= self._limit
        if closes == (backend in self._closed):
            return
        if closes:
            self._closed[backend] = None
        else:
            del self._closed[backend]
        self.notify_change(backend)
        self.record_event(backend, closes, now, f"{in_flight} of {self._limit} in flight")
