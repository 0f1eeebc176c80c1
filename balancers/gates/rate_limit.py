"""Limits the rate of requests or of cost on each backend: token buckets.

A bucket holds at most ``burst`` units, and ``limit`` units flow into it in each ``period``.  The
fill level is computed with ints only, so no rounding error adds up, and a bucket that is full at a
time is full at every later time.  The time has a resolution of 2 ** -30 seconds (about 1 ns), and
is rounded so that a bucket never opens early.
"""

from collections.abc import Mapping
from math import floor, inf, nextafter

from balancers._internal.checks import LATEST, at_least, duration
from balancers._internal.exact import exact
from balancers._internal.types import B
from balancers.gate import NoRoom
from balancers.gates._ranking import Ranking
from balancers.gates.member_gate import MemberGate

__all__ = ["CostRateLimit", "RequestRateLimit"]

_TICKS = 2**30
"""The number of ticks in a second, in which times are counted."""
_EXACT = 2.0**53
"""A float from here on is integral."""
_TOO_LARGE = NoRoom("too large")


class _Bucket:
    """Stores the fill level of one backend's bucket.

    The level is measured in *parts*.  One unit of requests or cost has the same number of parts in
    every bucket, and ``flow`` parts flow in with each tick.
    """

    __slots__ = ("burst", "flow", "full_at", "limit", "opens_at")

    def __init__(self, limit: int, burst: int, flow: int, ticks: int) -> None:
        self.limit: int = limit
        self.burst: int = burst
        self.flow: int = flow
        self.full_at: int = ticks * flow
        """The parts that flow in from time 0 until the bucket is full."""
        self.opens_at: float = -inf
        """The time in seconds from which the bucket contains a unit, or ``-inf`` if it does."""


class _TokenBuckets(MemberGate[B, _Bucket]):
    """A base class for gates that take units out of a bucket per backend."""

    reason = "rate limited"

    def __init__(self, limit: int, period: float = 60.0, burst: int | None = None) -> None:
        super().__init__()
        burst = limit if burst is None else burst
        at_least(1, limit=limit, burst=burst)
        self._limit, self._burst = limit, burst
        self._period = duration("period", period)
        seconds = exact(self._period)
        self._unit = seconds.numerator * _TICKS
        """The parts of one unit."""
        self._flow = seconds.denominator
        """The parts that flow in with each tick, for a limit of 1."""

    def new_state(self, now: float) -> _Bucket:
        return _Bucket(self._limit, self._burst, self._limit * self._flow, _ticks(now))

    def set(
        self, backend: B, limit: int | None, now: float = 0.0, burst: int | None = None
    ) -> None:
        """Let ``limit`` units flow into the bucket of this backend in each period.

        ``burst`` is the size of its bucket, by default ``limit``.  If ``limit`` is None, it is that
        of the gate, and so is the burst by default.  What was taken out stays taken.

        Raises UnknownBackend, InvalidSetting, InvalidTime.
        """
        bucket = self.state_of(backend)
        if limit is None:
            limit, burst = self._limit, self._burst if burst is None else burst
        burst = limit if burst is None else burst
        at_least(1, limit=limit, burst=burst)
        now = self.settle(now)
        ticks = _ticks(now)
        taken = max(0, bucket.full_at - ticks * bucket.flow)
        bucket.limit, bucket.burst, bucket.flow = limit, burst, limit * self._flow
        bucket.full_at = ticks * bucket.flow + taken
        self._update(backend, bucket, now)

    def level(self, backend: B, now: float) -> float:
        """Return how many units the bucket of a member contains.

        It is negative if :meth:`Pool.progress` has taken out more than the bucket contained.
        Raises UnknownBackend, InvalidTime.
        """
        bucket, now = self.state_of(backend), self.clamp(now)
        taken = max(0, bucket.full_at - _ticks(now) * bucket.flow)
        try:
            return (bucket.burst * self._unit - taken) / self._unit
        except OverflowError:
            return -inf if taken else inf

    def factor(self, backend: B, now: float) -> float:
        """Return 1 if the bucket contains at least one unit, else 0.

        Raises UnknownBackend, InvalidTime.
        """
        return 1 if self.clamp(now) >= self.state_of(backend).opens_at else 0

    def timer_expired(self, backend: B, when: float) -> None:
        self.record_event(backend, False, when)

    def _take(self, backend: B, bucket: _Bucket, units: int, now: float) -> None:
        """Take units out of the bucket of a member; O(1), or O(log n) if the backend is closed."""
        now = self.settle(now)
        bucket.full_at = max(bucket.full_at, _ticks(now) * bucket.flow) + units * self._unit
        self._update(backend, bucket, now)

    def _update(self, backend: B, bucket: _Bucket, now: float) -> None:
        """Compute when the bucket opens.  If the backend has opened or closed, record this."""
        was_closed = now < bucket.opens_at
        if bucket.full_at - (bucket.burst - 1) * self._unit <= _ticks(now) * bucket.flow:
            bucket.opens_at = -inf
            if was_closed:
                self.record_event(backend, False, now)
                self.timers.cancel(backend)
                self.notify_change(backend)
            return
        bucket.opens_at = self._time_of(bucket, 1)
        if not was_closed:
            self.record_event(backend, True, now, f"{bucket.limit} per {self._period} s")
        self.timers.set(backend, bucket.opens_at)
        self.notify_change(backend)

    def _time_of(self, bucket: _Bucket, units: int) -> float:
        """Return the earliest time in seconds at which the bucket contains so many units."""
        parts = bucket.full_at - (bucket.burst - units) * self._unit
        return _seconds(-(-parts // bucket.flow))

    def __repr__(self) -> str:
        """Show the settings of the gate and the number of closed members; O(members)."""
        closed = sum(self._now < bucket.opens_at for bucket in self._members.values())
        return (
            f"<{type(self).__name__}: {self._limit} per {self._period} s, burst {self._burst}, "
            f"{closed} of {len(self._members)} closed>"
        )


class RequestRateLimit(_TokenBuckets[B]):
    """Lets each backend get ``limit`` requests per ``period`` seconds, by a token bucket.

    The bucket of a backend holds at most ``burst`` requests, by default ``limit``.  It is full when
    the backend joins.  Each request takes one out, and ``limit`` flow in per period, evenly.  While
    a bucket contains less than one, the backend is closed.  The end of a request puts nothing back,
    so ``full`` of a refusal does not count such a backend.  Its ``retry_at`` is the time at which
    the first bucket contains one again.

    The gate is hard: the pool respects it even during a panic (when too few members are open).  A
    closed backend gets no bound requests (requests of sticky sessions) either.

    >>> from balancers import Pool, RoundRobin
    >>> pool = Pool(RoundRobin(["a"]), gates=[RequestRateLimit(60, period=60.0, burst=2)])
    >>> leases = [pool.acquire(now=0.0), pool.acquire(now=0.25)]
    >>> try:
    ...     pool.acquire(now=0.5)
    ... except LookupError as refusal:
    ...     refusal.reason, refusal.full, refusal.retry_at
    ('rate limited', 0, 1.0)
    >>> pool.acquire(now=1.0).backend
    'a'

    Every method is O(1), or O(log n) for a backend that is closed.  The arithmetic is exact; the
    docstring of the module has the resolution.  You can set a different limit for one backend by
    :meth:`set`.  Raises InvalidSetting unless ``limit`` and ``burst`` are ints of 1 or more and
    ``period`` is positive and finite.
    """

    def started(self, backend: B, in_flight: int, now: float) -> None:
        """Called when a request starts.  It takes one out of the bucket."""
        bucket = self._members.get(backend)
        if bucket is not None:
            self._take(backend, bucket, 1, now)


class CostRateLimit(_TokenBuckets[B]):
    """Lets each backend get requests of a cost of ``limit`` per ``period`` seconds, by a bucket.

    The costs are those of :meth:`Pool.acquire` and :meth:`Pool.progress`, for example tokens.  The
    bucket of a backend holds at most ``burst``, by default ``limit``.  It is full when the backend
    joins, and ``limit`` flows in per period, evenly.  A request takes out its cost, and fits if the
    bucket contains as much.  The pool avoids the backends on which it does not fit.  If it fits on
    none, the refusal counts them under the reason of this gate.  Its ``retry_at`` is the first time
    at which the cost fits on an open backend, or at which a closed backend opens, even if the cost
    does not fit on it yet.  A cost above the burst never fits: the reason is "too large".

    A rise of the cost by :meth:`Pool.progress` is taken out too, even if the level becomes negative
    then.  A fall and the end of a request put nothing back, so ``full`` of a refusal does not count
    such a backend.  While a bucket contains less than 1, its backend is closed.  The gate is hard:
    the pool respects it even during a panic (when too few members are open).  A closed backend gets
    no bound requests (requests of sticky sessions) either.

    >>> from balancers import Pool, RoundRobin
    >>> pool = Pool(RoundRobin(["a"]), gates=[CostRateLimit(6000, period=60.0)])
    >>> lease = pool.acquire(now=0.0, cost=5000)
    >>> try:
    ...     pool.acquire(now=1.0, cost=2500)
    ... except LookupError as refusal:
    ...     refusal.reason, refusal.full, refusal.retry_at
    ('rate limited', 0, 15.0)
    >>> pool.acquire(now=15.0, cost=2500).cost
    2500

    Every method is O(1), except ``removed`` and :meth:`without_room`; for a backend that is closed,
    ``charged`` is O(log n).  The arithmetic is exact; the docstring of the module has the
    resolution.  You can set a different limit for one backend by :meth:`set`.  Raises
    InvalidSetting unless ``limit`` and ``burst`` are ints of 1 or more and ``period`` is positive
    and finite.
    """

    def __init__(self, limit: int, period: float = 60.0, burst: int | None = None) -> None:
        super().__init__(limit, period, burst)
        self._rankings: dict[tuple[int, int], Ranking[B]] = {}
        """For each limit and burst, the members by the parts that their buckets contained at 0."""

    def charged(self, backend: B, change: int, now: float) -> None:
        """Called when the cost in flight on a backend changes.  A rise is taken out."""
        bucket = self._members.get(backend)
        if bucket is not None and change > 0:
            self._take(backend, bucket, change, now)

    def without_room(self, cost: int, now: float) -> Mapping[B, NoRoom]:
        """Return the open members on which the cost does not fit, and those it is too large for.

        The cost is O(1) if it usually fits on all members, and O(log n + result) amortised
        otherwise, for each different limit that was set.  Raises InvalidTime.
        """
        ticks = _ticks(self.clamp(now))
        result: dict[B, NoRoom] = {}
        for (limit, burst), ranking in self._rankings.items():
            past = ticks * limit * self._flow
            if cost > burst:
                result |= dict.fromkeys(ranking, _TOO_LARGE)
                continue
            for backend in ranking.between(self._unit - past, cost * self._unit - past):
                opens_at = self._time_of(self._members[backend], cost)
                result[backend] = NoRoom(self.reason, retry_at=opens_at)
        return result

    def added(self, backend: B, now: float) -> None:
        """Called when a backend joins.  Its bucket is full; O(1)."""
        super().added(backend, now)
        self._rank(backend, self._members[backend])

    def removed(self, backend: B, now: float) -> None:
        """Called when a backend leaves; O(log n)."""
        bucket = self._members.get(backend)
        super().removed(backend, now)
        if bucket is not None:
            self._leave_ranking(backend, bucket.limit, bucket.burst)

    def set(
        self, backend: B, limit: int | None, now: float = 0.0, burst: int | None = None
    ) -> None:
        bucket = self.state_of(backend)
        before = bucket.limit, bucket.burst
        super().set(backend, limit, now, burst)
        if before != (bucket.limit, bucket.burst):
            self._leave_ranking(backend, *before)

    def _update(self, backend: B, bucket: _Bucket, now: float) -> None:
        super()._update(backend, bucket, now)
        self._rank(backend, bucket)

    def _rank(self, backend: B, bucket: _Bucket) -> None:
        settings = bucket.limit, bucket.burst
        ranking = self._rankings.get(settings)
        if ranking is None:
            ranking = self._rankings[settings] = Ranking()
        ranking.put(backend, bucket.burst * self._unit - bucket.full_at)

    def _leave_ranking(self, backend: B, limit: int, burst: int) -> None:
        ranking = self._rankings[limit, burst]
        ranking.discard(backend)
        if not len(ranking):
            del self._rankings[limit, burst]


def _ticks(now: float) -> int:
    """Return the number of ticks from time 0, rounded down."""
    return floor(now * _TICKS) if -_EXACT < now < _EXACT else int(now) << _TICKS.bit_length() - 1


def _seconds(ticks: int) -> float:
    """Return the first time in seconds that is so many ticks from time 0; ``inf`` if too late."""
    try:
        seconds = ticks / _TICKS
    except OverflowError:
        return inf
    if _ticks(seconds) < ticks:
        seconds = nextafter(seconds, inf)
    return seconds if seconds <= LATEST else inf
