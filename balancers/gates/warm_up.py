"""Limits the requests in flight on a backend that joined or recovered.

The limit is a growing share of the mean number of requests in flight on the other backends.
"""

from math import inf

from balancers._internal.types import B
from balancers.gates._ramp import RampGate
from balancers.outcome import Outcome

__all__ = ["WarmUp"]


class _WarmUpState:
    """Stores the requests in flight on one backend, and whether it ramps up.

    ``limit_key`` is None, unless the backend ramps up and has requests in flight.  The first item
    of ``limit_key`` is a number of requests.  The backend is open if the mean of requests in flight
    on the other backends is above this number.
    """

    __slots__ = ("in_flight", "limit_key", "ramping")

    def __init__(self) -> None:
        self.in_flight: int = 0
        self.ramping: bool = False
        self.limit_key: tuple[float, int] | None = None


class WarmUp(RampGate[B, _WarmUpState]):
    """Limits the requests in flight on a backend that joined or recovered, for ``window`` seconds.

    Use this gate with balancers that do not honour fractions.  :class:`~balancers.LeastConnections`
    needs it most.  It sends every request to a new backend, because a new backend has the fewest
    requests in flight.

    During these seconds, the backend ramps up: it may have max(1, share × mean) requests in flight.
    The share grows from ``min_share`` to 1 like the factor of :class:`~balancers.SlowStart`.  The
    mean is the mean number of requests in flight on all backends that have such requests and do not
    ramp up.  While there are no such backends, there is no limit.

    The gate is hard: the pool respects it even during a panic (when too few members are open).  A
    backend that ramps up does not count as unhealthy.  A closed backend still gets bound requests
    (requests of sticky sessions).  It opens when one of its requests ends.  The attribute ``full``
    of a refusal counts the backends that only limits close.

    The limit is never below 1.  So this gate has no effect as long as the other backends have about
    one request in flight each.

    >>> from balancers import LeastConnections, Pool
    >>> pool = Pool(LeastConnections(range(10)), gates=[WarmUp(window=30.0)])
    >>> leases = [pool.acquire(now=60.0) for _ in range(500)]
    >>> pool.add("new", now=60.0)
    >>> [pool.acquire(now=60.0).backend for _ in range(50)].count("new")
    6

    A request costs O(1) while no backend ramps up.  While a backend ramps up, a request costs
    O(log n), plus O(1) per backend that opens or closes.  The start of a ramp costs O(n) if no
    other backend ramps up.
    Raises InvalidSetting for a ``window`` or ``aggression`` that is not positive and finite, a
    ``min_share`` of 0 or less or above 1, or fewer than 2 ``steps``.
    """

    reason = "warming up"
    limits_in_flight: bool = True
    spares_bound = True

    def __init__(
        self, window: float, steps: int = 8, aggression: float = 1.0, min_share: float = 0.1
    ) -> None:
        super().__init__(window, steps, aggression, min_share)
        from sortedcontainers import SortedDict  # noqa: PLC0415 - loaded only where it is used

        self._limited: SortedDict[tuple[float, int], B] = SortedDict()  # sorted by limit_key
        self._last_number = 0
        # For the backends that do not ramp up.  Counted only while at least one backend ramps up:
        self._total_in_flight = self._busy_backends = 0

    def new_state(self, now: float) -> _WarmUpState:
        del now
        return _WarmUpState()

    def factor(self, backend: B, now: float) -> float:
        """Return 0 if the backend ramps up and has reached its limit, else 1.

        Raises UnknownBackend, InvalidTime.
        """
        now = self.clamp(now)
        in_flight = self.state_of(backend).in_flight
        if not in_flight or backend not in self._ramping:
            return 1
        return 1 if in_flight / self.share(backend, now) < self._mean() else 0

    def started(self, backend: B, in_flight: int, now: float) -> None:
        """Called when a request starts."""
        if self._ramping:
            self._count(backend, in_flight, now)

    def finished(
        self, backend: B, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        """Called when a request ends."""
        if self._ramping:
            self._count(backend, in_flight, now)

    def removed(self, backend: B, now: float) -> None:
        """Called when a backend leaves; O(log n)."""
        state = self._members.get(backend)
        ramping = bool(self._ramping)
        super().removed(backend, now)
        if state is not None and state.limit_key is not None:
            del self._limited[state.limit_key]
        if state is not None and ramping and not state.ramping:
            busy = state.in_flight > 0
            self._change_mean(-state.in_flight, -busy, self.advance(now))

    def __repr__(self) -> str:
        closed = len(self._limited) - self._limited.bisect_left((self._mean(), 0))
        return f"{super().__repr__()[:-1]}, {closed} closed>"

    def _count(self, backend: B, in_flight: int, now: float) -> None:
        """Store the requests in flight of a member.  Ignore a backend that is not a member."""
        now = self.advance(now)
        state = self._members.get(backend)
        if state is None:
            return
        before, state.in_flight = state.in_flight, in_flight
        if state.ramping:
            self._sort_in(backend, state, now)
        else:
            self._change_mean(in_flight - before, (in_flight > 0) - (before > 0), now)

    def _step_taken(self, backend: B, ramping: bool, now: float) -> None:
        state = self._members[backend]
        if ramping and not state.ramping and len(self._ramping) == 1:
            self._count_all()
        if state.ramping != ramping:
            state.ramping = ramping
            sign = -1 if ramping else 1
            self._change_mean(sign * state.in_flight, sign * (state.in_flight > 0), now)
        self._sort_in(backend, state, now)

    def _count_all(self) -> None:
        """Count the requests in flight of all members.  Called when the first ramp starts."""
        self._total_in_flight = self._busy_backends = 0
        for backend, state in self._members.items():
            state.in_flight = self.in_flight_on(backend)
            self._total_in_flight += state.in_flight
            self._busy_backends += state.in_flight > 0

    def _mean(self) -> float:
        return self._total_in_flight / self._busy_backends if self._busy_backends else inf

    def _change_mean(self, requests: int, busy: int, now: float) -> None:
        """Add to both counts.  Record the backends that the new mean opens or closes."""
        before = self._mean()
        self._total_in_flight += requests
        self._busy_backends += busy
        after = self._mean()
        if not self._limited or before == after:
            return
        low, high = min(before, after), max(before, after)
        for limit_key in self._limited.irange((low, 0), (high, 0), inclusive=(True, False)):
            self._notify_flip(self._limited[limit_key], after < before, now)

    def _sort_in(self, backend: B, state: _WarmUpState, now: float) -> None:
        """Update the ``limit_key`` of a member.  If this opens or closes the member, record it."""
        limit_key, mean = state.limit_key, self._mean()
        closed = limit_key is not None and limit_key[0] >= mean
        if limit_key is not None:
            del self._limited[limit_key]
        state.limit_key = None
        if state.ramping and state.in_flight:
            self._last_number += 1
            opening_mean = state.in_flight / self.share(backend, now)
            state.limit_key = (opening_mean, self._last_number)
            self._limited[state.limit_key] = backend
        if closed != (state.limit_key is not None and state.limit_key[0] >= mean):
            self._notify_flip(backend, not closed, now)

    def _notify_flip(self, backend: B, closes: bool, now: float) -> None:
        self.notify_change(backend)
        self.record_event(backend, closes, now, f"{self._members[backend].in_flight} in flight")
