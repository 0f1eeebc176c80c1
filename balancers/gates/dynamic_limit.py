"""A limit that grows with the load of the whole pool."""

from collections import defaultdict
from collections.abc import Sequence

from balancers._internal.checks import at_least
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.gates.member_gate import MemberGate
from balancers.outcome import Outcome

__all__ = ["DynamicLimit"]


class DynamicLimit(MemberGate[B, int]):
    """Closed while a share of the load is in flight: few while the pool is idle, more when busy.

    HAProxy's ``minconn``, ``maxconn`` and ``fullconn``: with ``load`` requests in flight or waiting
    in the pool, the one that asks included, each backend may hold ``maxconn`` when ``load`` is at
    least ``fullconn``, else max(``minconn``, load × maxconn / fullconn), whole requests.  The rule is that of
    HAProxy 2.6's source, a line through zero that is cut at ``minconn``; its manual describes a line
    from ``minconn`` to ``maxconn``.  Hard, and bound requests wait too.

    >>> limit = DynamicLimit(minconn=10, maxconn=100, fullconn=1000)
    >>> [limit.limit_at(load) for load in (1, 100, 101, 500, 999, 1000, 5000)]
    [10, 10, 10, 50, 99, 100, 100]

    A request costs O(1), and O(1) for each backend that it opens or closes; where it moves the
    limit by more than there are different numbers in flight, O(numbers).
    Raises InvalidSetting for a number below 1, or ``minconn`` above ``maxconn``.
    """

    reason = "saturated"

    def __init__(self, minconn: int, maxconn: int, fullconn: int) -> None:
        super().__init__()
        at_least(1, minconn=minconn, maxconn=maxconn, fullconn=fullconn)
        if minconn > maxconn:
            raise InvalidSetting(f"minconn must be at most maxconn, {maxconn}, not {minconn!r}")
        self._minconn, self._maxconn, self._fullconn = minconn, maxconn, fullconn
        self._total = self._waiting = 0
        self._limit = self.limit_at(1)
        self._holding: defaultdict[int, dict[B, None]] = defaultdict(dict)  # so many in flight
        self._closed: dict[B, None] = {}

    def new_state(self, now: float) -> int:
        del now
        return 0

    def limit_at(self, load: int) -> int:
        """Give what each backend may hold under this load."""
        if load >= self._fullconn or self._minconn == self._maxconn:
            return self._maxconn
        return max(self._minconn, load * self._maxconn // self._fullconn)

    def set_waiting(self, requests: int, now: float) -> None:
        """Hear how many requests wait for this pool now: they are load too.

        Raises InvalidSetting for a negative number, InvalidTime.
        """
        at_least(0, requests=requests)
        now = self.advance(now)
        self._waiting = requests
        self._adjust(now)

    def factor(self, backend: B, now: float) -> float:
        """Give 1 below the limit, else 0.  Raises UnknownBackend."""
        del now
        return 1 if self.state_of(backend) < self._limit else 0

    def added(self, backend: B, now: float) -> None:
        """Hear of a new member: nothing in flight."""
        super().added(backend, now)
        self._holding[0][backend] = None

    def removed(self, backend: B, now: float) -> None:
        """Forget the member, and what it had in flight."""
        if backend in self._members:
            self._count(backend, 0, now)
            del self._holding[0][backend]
        super().removed(backend, now)

    def started(self, backend: B, in_flight: int, now: float) -> None:
        """Hear of a request."""
        self._count(backend, in_flight, now)

    def finished(
        self, backend: B, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        """Hear that one ended."""
        self._count(backend, in_flight, now)

    def _count(self, backend: B, in_flight: int, now: float) -> None:
        before = self._members[backend]
        group = self._holding[before]
        del group[backend]
        if not group:
            del self._holding[before]
        self._members[backend] = in_flight
        self._holding[in_flight][backend] = None
        self._total += in_flight - before
        self._adjust(now)
        self._turn(backend, now)

    def _adjust(self, now: float) -> None:
        """Set the limit for the load, and tell whom that opens or closes."""
        before, self._limit = self._limit, self.limit_at(self._total + self._waiting + 1)
        if before == self._limit:
            return
        moved: Sequence[int] = range(*sorted((before, self._limit)))
        if len(moved) > len(self._holding):
            moved = [held for held in self._holding if held in moved]
        for held in moved:
            for backend in self._holding.get(held, ()):
                self._turn(backend, now)

    def _turn(self, backend: B, now: float) -> None:
        """Open or close it where it is not so yet."""
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
