"""Combines a balancer and gates.  The effective weight of a backend is weight × Π factors."""

from collections import deque
from collections.abc import Callable, Collection, Iterable
from functools import partial
from math import inf
from typing import Any

from balancers._internal.checks import (
    LATEST,
    NO_BACKENDS,
    checked_avoid,
    shown,
    valid_now,
)
from balancers._internal.types import B
from balancers.balancer import Balancer, Key
from balancers.errors import ForeignLease, InvalidPick, NoBackendAvailable
from balancers.event import Event
from balancers.gate import Gate
from balancers.outcome import FAILURE, SUCCESS, UNKNOWN, Outcome
from balancers.pool._census import Census
from balancers.pool._change import Change
from balancers.pool._gate_set import GateSet
from balancers.pool._hooks import call_rest, hook, hooks, undo_start
from balancers.pool._limit import PoolLimit
from balancers.pool._members import Members
from balancers.pool._taken import take, taking
from balancers.pool._writer import PoolWriter
from balancers.pool.lease import Lease, LeaseContext, member_of, reported_failure

__all__ = ["Pool"]


class Pool(PoolWriter[B]):
    """Picks a backend for each request, with one balancer and any number of gates.

    >>> from balancers import WeightedLeastConnections
    >>> pool = Pool(WeightedLeastConnections({"10.0.0.1:80": 1, "10.0.0.2:80": 3}))
    >>> lease = pool.acquire(now=0.0)
    >>> lease.backend, pool.in_flight(lease.backend)
    ('10.0.0.2:80', 1)
    >>> pool.release(lease, now=0.2, ok=True)

    All members of the balancer become members of the pool at ``now`` (seconds).  When no member is
    open under all gates, but some members are open under the hard gates, the pool *fails open*: it
    ignores the soft gates, for example health.  This is called a panic.  ``panic`` is a number from
    0 to 1.  A panic also begins when the number of members that no gate closes, divided by the
    number that no hard gate closes, is below ``panic``.  It ends when the quotient is ``calm``
    (default: ``panic``) or more.  With ``panic=None`` the pool never ignores soft gates.  Gates
    with ``last_resort`` are ignored first, and for every ``panic``.

    ``limit`` (1 or more) is the highest number of requests in flight on all members together.  Each
    :class:`~balancers.Event` is appended to ``events``, a deque with a ``maxlen``.

    ``acquire`` costs the balancer's ``pick`` and O(gates).  A change of a gate costs one ``put``
    per changed backend.  When a panic begins or ends, the cost is O(n).  No method blocks or
    awaits.  Threads must share one lock for a pool, its gates and its generator.  After an
    error nothing has changed.  A copy has the counts but not the leases.  Raises InvalidSetting,
    InvalidTime, IncompatibleGate for a fractional gate over a balancer that is not fractional, and
    AlreadyInUse for a balancer or gate of another pool.
    """

    def __init__(
        self,
        balancer: Balancer[B],
        gates: Iterable[Gate[B]] = (),
        *,
        panic: float | None = 0.0,
        calm: float | None = None,
        limit: int | None = None,
        events: deque[Event] | None = None,
        now: float = 0.0,
    ) -> None:
        if isinstance(balancer, type) or not callable(getattr(balancer, "pick", None)):
            raise TypeError(f"balancer must be a balancer object, not {shown(balancer)}")
        gate_set = GateSet(gates, balancer)
        census = Census(gate_set, panic, calm)
        members = Members(balancer, gate_set, census, events)
        pool_limit = None if limit is None else PoolLimit(limit, events)
        super().__init__(balancer, members, gate_set, census, pool_limit, valid_now(now, -inf))
        self._gates = gate_set.gates
        self._watched = gate_set.watched
        self._recovered_at = members.recoveries.read_at
        self._pending = gate_set.pending
        self._pick = balancer.pick
        self._keyed = balancer.keyed
        self._started = hook(balancer, Balancer, "started")
        self._finished = hook(balancer, Balancer, "finished")
        self._timed = bool(getattr(balancer, "timed", False))
        counting = self._gates if self._limit is None else (*self._gates, self._limit)
        self._gates_started = hooks(counting, Gate, "started")
        self._gates_finished = hooks(self._gates, Gate, "finished")
        with taking(balancer, *self._gates):
            for gate in self._gates:
                gate.attach(members.in_flight, events)
            members.change(Change(dict(balancer.weights)), self._now)

    def acquire(  # noqa: C901, PLR0912 - calls cost more time than branches
        self,
        now: float,
        key: Key | None = None,
        prefer: B | None = None,
        strict: bool = False,
        avoid: Collection[B] = (),
    ) -> Lease[B]:
        """Pick a backend, count the request, and return its lease.

        ``prefer`` is a backend, for example that of a session.  It is used if it is a member, is
        not in ``avoid``, and is not closed to bound requests by a gate.  If it cannot be used, a
        backend is picked, or, with ``strict``, NoBackendAvailable is raised.  Raises MissingKey,
        InvalidTime, and TypeError if ``avoid`` is not a collection of backends.  Raises InvalidPick
        if the balancer picks a backend that is not a member.  Exceptions of gates are not caught.
        """
        if not (now.__class__ is float and self._now <= now <= LATEST):
            now = valid_now(now, self._now)
        self._now = now
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
        for watched in self._watched:
            if watched.due <= now:
                self._members.settle(now)
                break
        else:
            if self._pending or self._recovered_at:
                self._members.settle(now)
        bound = prefer is not None and self._refusals.honours(prefer, strict, avoid)
        if self._limit is not None and self._limit.full:
            raise self._refusals.refusal(avoid, prefer, self._limit.reason, strict)
        picked = prefer
        if picked is None or not bound:
            if not (self._census.eligible or self._keyed or avoid):
                if prefer is None:
                    raise self._census.refusal(self._gate_set.due)
                raise self._refusals.refusal(avoid, prefer)
            try:
                picked = self._pick(key, now, avoid)
            except NoBackendAvailable:
                raise self._refusals.refusal(avoid, prefer) from None
        try:
            member = self._by_backend[picked]
        except (KeyError, TypeError):
            name = shown(self._balancer)
            raise InvalidPick(f"{name} picked {shown(picked)}, not a member") from None
        member.in_flight = in_flight = member.in_flight + 1
        backend = member.backend
        started: Callable[..., None] | None = None
        try:
            if self._started is not None:
                self._started(backend, now, bound)
            for started in self._gates_started:
                started(backend, in_flight, now)
        except BaseException:
            member.in_flight -= 1
            undo_start(self._finished, self._gates, started, backend, member.in_flight, now)
            raise
        member.requests += 1
        return Lease(member, now, key, bound, self._census.panicking)

    def release(  # noqa: C901, PLR0912 - calls cost more time than branches
        self,
        lease: Lease[B],
        now: float,
        ok: bool | None = True,
        elapsed: float | None = None,
        retry_after: float | None = None,
        status: int | None = None,
        first: float | None = None,
    ) -> None:
        """Release a lease, and report how the request ended; ``ok=None`` means unknown.

        The other parameters are those of :class:`~balancers.Outcome`.  If the balancer is ``timed``
        and ``elapsed`` is None, ``elapsed`` is the time since the lease was acquired.  If the backend was removed,
        no count changes.  If a gate raises an exception, the lease is released, and the other gates
        are called.  Raises AlreadyReleased, ForeignLease, InvalidTime, InvalidSetting, TypeError.
        """
        try:
            member = lease._member  # noqa: SLF001 - a lease is the pool's own
        except AttributeError:
            member = member_of(lease)
        if lease._report is not None:  # noqa: SLF001 - a lease is the pool's own
            ok, failure = False, reported_failure(lease)
            retry_after, status = retry_after or failure.retry_after, status or failure.status
        if member.owner is not self._members:
            raise ForeignLease(f"a lease of another pool: {shown(lease)}")
        if not (now.__class__ is float and self._now <= now <= LATEST):
            now = valid_now(now, self._now)
        if elapsed is None and self._timed:
            elapsed = now - lease.acquired_at
        if elapsed is None and retry_after is None and status is None and first is None:
            known = SUCCESS if ok is True else FAILURE if ok is False else UNKNOWN
            outcome = known if known.ok is ok else Outcome(ok)
        else:
            outcome = Outcome(ok, elapsed, retry_after, status, first)
        self._now = now
        lease._report = True  # noqa: SLF001 - a lease is the pool's own
        member.in_flight = in_flight = member.in_flight - 1
        if outcome.ok is False:
            member.failures += 1
        if member.departing:
            if member.former:
                return
            self._members.released_departing(member)
        backend = member.backend
        if self._limit is not None:
            self._limit.ended(1, now)
        finished: Callable[..., None] | None = None
        try:
            if self._finished is not None:
                self._finished(backend, outcome, now)
            for finished in self._gates_finished:
                finished(backend, outcome, in_flight, lease.acquired_at, now)
        except BaseException:
            what = (backend, outcome, in_flight, lease.acquired_at, now)
            call_rest(self._gates_finished, finished, *what)
            raise

    def lease(
        self,
        clock: Callable[[], float],
        key: Key | None = None,
        prefer: B | None = None,
        strict: bool = False,
        avoid: Collection[B] = (),
    ) -> LeaseContext[B]:
        """Acquire a lease for one ``with`` block, and release it at the end.

        ``clock`` returns the times in seconds, for example ``time.monotonic``.  The end of the
        block is a success, an Exception a failure, another BaseException unknown.  Call
        :meth:`Lease.failed` for a failure without an exception.  Raises TypeError.
        """
        if not callable(clock):
            raise TypeError(f"clock must be a function that returns seconds, not {shown(clock)}")
        acquire = partial(self.acquire, key=key, prefer=prefer, strict=strict, avoid=avoid)
        return LeaseContext(clock, acquire, self.release)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for part in (self._balancer, *self._gates):
            take(part)
