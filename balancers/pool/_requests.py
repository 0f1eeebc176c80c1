"""Defines the part of a pool that picks backends, and counts requests from start to end."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Generic

from balancers._internal.checks import (
    LATEST,
    NO_BACKENDS,
    at_least,
    checked_avoid,
    shown,
    valid_now,
)
from balancers._internal.types import B
from balancers.balancer import Balancer, Key
from balancers.errors import ForeignLease, InvalidPick, NoBackendAvailable
from balancers.gate import Gate
from balancers.outcome import FAILURE, SUCCESS, UNKNOWN, Outcome
from balancers.pool._census import Census
from balancers.pool._charges import Charges
from balancers.pool._gate_set import GateSet
from balancers.pool._hooks import call_rest, hooks, undo_start
from balancers.pool._limit import PoolLimit
from balancers.pool._member import Member
from balancers.pool._members import Members
from balancers.pool._refusals import Refusals, checked_among
from balancers.pool._rooms import Rooms
from balancers.pool._writer import PoolWriter
from balancers.pool.lease import Lease, Meter, member_of, open_member, reported_failure

__all__ = ["Picking", "PoolRequests"]


class Picking(Generic[B]):
    """Picks a backend for each request of a pool, or of a group of its members.

    What every request needs is stored in attributes of its own, because this is measurably faster.
    """

    _balancer: Balancer[B]
    _by_backend: dict[B, Member[B]]
    _census: Census
    _charges: Charges[B]
    _gate_set: GateSet[B]
    _gates: tuple[Gate[B], ...]
    _gates_started: list[Callable[..., None]]
    _keyed: bool
    _limit: PoolLimit | None
    _members: Members[B]
    _pending: dict[B, list[int]]
    _pick: Callable[..., B]
    _recovered_at: dict[B, float]
    _refusals: Refusals[B]
    _rooms: Rooms[B]
    _watched: list[Any]

    def acquire(  # noqa: C901, PLR0912, PLR0915 - calls cost more time
        self,
        now: float,
        key: Key | None = None,
        prefer: B | None = None,
        strict: bool = False,
        avoid: Collection[B] = (),
        cost: int = 0,
        among: Sequence[B] | None = None,
    ) -> Lease[B]:
        """Pick a backend, count the request, and return its lease.

        ``prefer`` is a backend, for example that of a session.  It is used if it is a member, is
        not in ``avoid``, and is not closed to bound requests by a gate.  If it cannot be used, a
        backend is picked, or, with ``strict``, NoBackendAvailable is raised.

        ``cost`` is an int of 0 or more in a unit of your choice, for example tokens or bytes.  It
        is part of the cost in flight of the backend until the lease is released, or until
        :meth:`Pool.progress` changes it.  Backends on which a gate has no room for it are avoided.

        With ``among``, a list of backends in your order of preference, the balancer does not pick:
        the first of them that is an open member and not in ``avoid`` is used; O(among).  The
        counts of a refusal are then those of these backends; ``full`` and ``retry_at`` also count
        the preferred backend.

        Raises MissingKey, InvalidTime, InvalidSetting for an invalid cost, and TypeError if
        ``avoid`` is not a collection of backends, or ``among`` not a sequence of them.  Raises
        InvalidPick if the balancer picks a backend that is not a member.  Exceptions of gates are
        not caught.
        """
        members = self._members
        if not (now.__class__ is float and members.now <= now <= LATEST):
            now = valid_now(now, members.now)
        if cost.__class__ is not int or cost < 0:
            at_least(0, cost=cost)
        members.now = now
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
        if among is not None:
            checked_among(among)
        if self._watched or self._pending or self._recovered_at:
            for watched in self._watched:
                if watched.due <= now:
                    members.settle(now)
                    break
            else:
                if self._pending or self._recovered_at:
                    members.settle(now)
        if cost and self._rooms.methods:
            avoid = self._rooms.avoid(avoid, cost, now)
        bound = prefer is not None and self._refusals.honours(prefer, strict, avoid)
        if self._limit is not None and self._limit.full:
            self._refusals.refuse_limited(self._limit.reason, avoid, prefer, strict, among)
        picked = prefer
        if among is not None:
            picked = self._refusals.listed(among, avoid, prefer, bound)
        elif picked is None or not bound:
            if not (self._census.eligible or self._keyed or avoid):
                if prefer is None:
                    raise self._census.refusal(self._gate_set.due)
                raise self._refusals.refusal(avoid, prefer)
            pick = self._pick  # a variable, because this is faster than to call an attribute
            try:
                picked = pick(key, now, avoid)
            except NoBackendAvailable as error:
                raise self._refusals.refusal_of(error, avoid, prefer) from None
        try:
            member = self._by_backend[picked]
        except (KeyError, TypeError):
            name = shown(self._balancer)
            raise InvalidPick(f"{name} picked {shown(picked)}, not a member") from None
        member.in_flight = in_flight = member.in_flight + 1
        backend = member.backend
        started: Callable[..., None] | None = None
        reported = member.started
        try:
            if reported is not None:
                reported(backend, now, bound)
            if self._gates_started:  # to enter an empty loop costs more
                for started in self._gates_started:
                    started(backend, in_flight, now)
            if cost:
                started = self._charges.start
                started(member, cost, now)
        except BaseException:
            member.in_flight -= 1
            self._undo_start(started, member, now)
            raise
        member.requests += 1
        lease = Lease(member, now, key, bound, self._census.panicking)
        if cost:
            lease._meter = Meter(cost)  # noqa: SLF001 - a lease is the pool's own
        return lease

    def _undo_start(
        self, failed: Callable[..., None] | None, member: Member[B], now: float
    ) -> None:
        """Undo what was counted before a method raised an exception at the start of a request."""
        undo_start(member.finished, self._gates, failed, member.backend, member.in_flight, now)
        if self._limit is not None and failed == self._charges.start:
            self._limit.ended(1, now)


class PoolRequests(PoolWriter[B], Picking[B]):
    """Picks a backend for each request, and counts requests from start to end."""

    def __init__(
        self,
        balancer: Balancer[B],
        members: Members[B],
        gate_set: GateSet[B],
        census: Census,
        limit: PoolLimit | None,
    ) -> None:
        super().__init__(balancer, members, gate_set, census, limit)
        self._gates = gate_set.gates
        self._watched = gate_set.watched
        self._recovered_at = members.recoveries.read_at
        self._pending = gate_set.pending
        self._pick = balancer.pick
        self._keyed = balancer.keyed
        counting = self._gates if self._limit is None else (*self._gates, self._limit)
        self._gates_started = hooks(counting, Gate, "started")
        self._gates_finished = hooks(self._gates, Gate, "finished")
        self._charges: Charges[B] = Charges(balancer, self._gates)
        self._use_groups()

    def _use_groups(self) -> None:
        """Called after groups have got or lost backends, so that their balancers are called."""
        groups = self._members.groups
        self._timed: bool = bool(getattr(self._balancer, "timed", False)) or groups.timed
        self._charges.groups = groups if groups.all else None

    def progress(self, lease: Lease[B], now: float, cost: int | None = None) -> None:
        """Report progress of a request, for example its first byte or token.

        The first call for a lease measures the time to the first token: it is the ``first`` of the
        outcome, unless :meth:`release` gets another one, and ``progressed`` of the balancer is
        called.  ``cost`` is what the request costs from now on, or None if this does not change.
        For example, it is 0 after the first token if the cost is that of reading the prompt.  If
        the backend was removed, only the lease changes.  If a balancer or gate raises an exception,
        the progress is made all the same.  O(gates).

        >>> from balancers import Pool, RoundRobin
        >>> pool = Pool(RoundRobin(["a"]))
        >>> lease = pool.acquire(now=0.0, cost=900)
        >>> pool.progress(lease, now=0.4, cost=0)
        >>> pool.cost_in_flight("a"), pool.in_flight("a")
        (0, 1)

        Raises AlreadyReleased, ForeignLease, InvalidTime, InvalidSetting, TypeError.
        """
        members = self._members
        member = open_member(lease, members)
        if cost is not None:
            at_least(0, cost=cost)
        members.now = now = valid_now(now, members.now)
        failed = self._charges.progress(lease, member, cost, now)
        if failed is not None:
            raise failed

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
        and ``elapsed`` is None, ``elapsed`` is the time since the lease was acquired.  If the
        backend was removed, no count changes.  If a gate raises an exception, the lease is
        released, and the other gates are called.

        Raises AlreadyReleased, ForeignLease, InvalidTime, InvalidSetting, TypeError.
        """
        try:
            member = lease._member  # noqa: SLF001 - a lease is the pool's own
        except AttributeError:
            member = member_of(lease)
        if lease._report is not None:  # noqa: SLF001 - a lease is the pool's own
            ok, failure = False, reported_failure(lease)
            retry_after, status = retry_after or failure.retry_after, status or failure.status
        members, meter = self._members, lease._meter  # noqa: SLF001 - a lease is the pool's own
        if member.owner is not members:
            raise ForeignLease(f"a lease of another pool: {shown(lease)}")
        if not (now.__class__ is float and members.now <= now <= LATEST):
            now = valid_now(now, members.now)
        if meter is not None and first is None:
            first = meter.first
        if elapsed is None and self._timed:
            elapsed = now - lease.acquired_at
        if elapsed is None and retry_after is None and status is None and first is None:
            known = SUCCESS if ok is True else FAILURE if ok is False else UNKNOWN
            outcome = known if known.ok is ok else Outcome(ok)
        else:
            outcome = Outcome(ok, elapsed, retry_after, status, first)
        members.now = now
        lease._report = True  # noqa: SLF001 - a lease is the pool's own
        member.in_flight = in_flight = member.in_flight - 1
        if outcome.ok is False:
            member.failures += 1
        if member.departing:
            if member.former:
                return
            members.released_departing(member)
        backend = member.backend
        if self._limit is not None:
            self._limit.ended(1, now)
        finished: Callable[..., None] | None = None
        reported = member.finished
        try:
            if reported is not None:
                reported(backend, outcome, now)
            if self._gates_finished:  # to enter an empty loop costs more
                for finished in self._gates_finished:
                    finished(backend, outcome, in_flight, lease.acquired_at, now)
        except BaseException:
            what = (backend, outcome, in_flight, lease.acquired_at, now)
            call_rest(self._gates_finished, finished, *what)
            if meter is not None:
                self._charges.change(member, -meter.cost, now)
            raise
        if meter is not None:
            failed = self._charges.change(member, -meter.cost, now)
            if failed is not None:
                raise failed
