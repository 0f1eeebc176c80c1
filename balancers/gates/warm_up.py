"""Warming up: who joined or came back holds no more than a growing share of the usual load."""

from math import inf

from balancers._internal.types import B
from balancers.gates._ramp import RampGate
from balancers.outcome import Outcome

__all__ = ["WarmUp"]


class _Flights:
    """What a member has in flight, whether it climbs, and where it stands among those who do."""

    __slots__ = ("climbs", "in_flight", "place")

    def __init__(self) -> None:
        self.in_flight = 0
        self.climbs = False
        self.place: tuple[float, int] | None = None


class WarmUp(RampGate[B, _Flights]):
    """Closed while more is in flight than a growing share of the mean of the others.

    For balancers that honour no fractions: least connections buries a newcomer, as it has the
    fewest.  A backend that joined or recovered may hold max(1, share × mean) requests, where the
    mean is over the backends that have some in flight and do not climb themselves, and the share
    climbs as that of :class:`~balancers.SlowStart`.  While none of those has any in flight there is
    no limit.  Hard: panic never opens it, and nobody who climbs counts as sick.  Bound requests get
    in.

    >>> from balancers import LeastConnections, Pool
    >>> pool = Pool(LeastConnections(range(10)), gates=[WarmUp(window=30.0)])
    >>> leases = [pool.acquire(now=60.0) for _ in range(500)]
    >>> pool.add("new", now=60.0)
    >>> [pool.acquire(now=60.0).backend for _ in range(50)].count("new")
    6

    A request costs O(1) while nobody climbs, then O(log n) and O(1) for each that it opens or
    closes; that the first begins to climb costs O(n).
    Raises InvalidSetting for a window or aggression that is not positive and finite, a min_share
    outside 0…1 (above 0), or fewer than 2 steps.
    """

    reason = "warming up"
    spares_bound = True

    def __init__(
        self, window: float, steps: int = 8, aggression: float = 1.0, min_share: float = 0.1
    ) -> None:
        super().__init__(window, steps, aggression, min_share)
        from sortedcontainers import SortedDict  # noqa: PLC0415 - a package of its own

        self._order: SortedDict[tuple[float, int], B] = SortedDict()  # by the mean that opens it
        self._number = 0
        self._sum = self._busy = 0  # in flight on those who do not climb, and how many have any

    def new_state(self, now: float) -> _Flights:
        del now
        return _Flights()

    def factor(self, backend: B, now: float) -> float:
        """Give 0 while it holds its share, else 1.  Raises UnknownBackend."""
        in_flight = self.state_of(backend).in_flight
        if not in_flight or backend not in self._climbing:
            return 1
        return 1 if in_flight / self.share(backend, now) < self._mean() else 0

    def started(self, backend: B, in_flight: int, now: float) -> None:
        """Hear of a request."""
        if self._climbing:
            self._count(backend, in_flight, now)

    def finished(
        self, backend: B, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        """Hear that one ended."""
        if self._climbing:
            self._count(backend, in_flight, now)

    def removed(self, backend: B, now: float) -> None:
        """Forget the member; O(log n)."""
        if self._climbing and backend in self._members:
            self._count(backend, 0, now)
        super().removed(backend, now)

    def _count(self, backend: B, in_flight: int, now: float) -> None:
        flights = self._members[backend]
        before, flights.in_flight = flights.in_flight, in_flight
        if flights.climbs:
            self._order_by_share(backend, flights, now)
        else:
            self._shift(in_flight - before, (in_flight > 0) - (before > 0), now)

    def _step_taken(self, backend: B, climbs: bool, now: float) -> None:
        flights = self._members[backend]
        if climbs and not flights.climbs and len(self._climbing) == 1:
            self._count_all()
        if flights.climbs != climbs:
            flights.climbs = climbs
            sign = -1 if climbs else 1
            self._shift(sign * flights.in_flight, sign * (flights.in_flight > 0), now)
        self._order_by_share(backend, flights, now)

    def _count_all(self) -> None:
        """Begin to count: somebody climbs from now on."""
        self._sum = self._busy = 0
        for backend, flights in self._members.items():
            flights.in_flight = self.in_flight_on(backend)
            self._sum += flights.in_flight
            self._busy += flights.in_flight > 0

    def _mean(self) -> float:
        return self._sum / self._busy if self._busy else inf

    def _shift(self, requests: int, busy: int, now: float) -> None:
        """Move the mean, and tell whom that opens or closes."""
        before = self._mean()
        self._sum += requests
        self._busy += busy
        after = self._mean()
        if not self._order or before == after:
            return
        low, high = min(before, after), max(before, after)
        for place in self._order.irange((low, 0), (high, 0), inclusive=(True, False)):
            self._turn(self._order[place], after < before, now)

    def _order_by_share(self, backend: B, flights: _Flights, now: float) -> None:
        """Put a member where the mean that opens it belongs, and tell if it opens or closes."""
        place, mean = flights.place, self._mean()
        closed = place is not None and place[0] >= mean
        if place is not None:
            del self._order[place]
        flights.place = None
        if flights.climbs and flights.in_flight:
            self._number += 1
            opening = flights.in_flight / self.share(backend, now)
            flights.place = (opening, self._number)
            self._order[flights.place] = backend
        if closed != (flights.place is not None and flights.place[0] >= mean):
            self._turn(backend, not closed, now)

    def _turn(self, backend: B, closes: bool, now: float) -> None:
        self.notify_change(backend)
        self.record_event(backend, closes, now, f"{self._members[backend].in_flight} in flight")
