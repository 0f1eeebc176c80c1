"""Combines a balancer and gates.  The effective weight of a backend is weight × Π factors."""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from math import inf
from typing import Any, Generic

from balancers._internal.checks import LATEST, as_weights, valid_now, valid_weight
from balancers._internal.copying import SharesBackends
from balancers._internal.types import B
from balancers.balancer import Balancer, Key
from balancers.errors import (
    AlreadyReleased,
    DuplicateBackend,
    ForeignLease,
    InvalidPick,
    NoBackendAvailable,
)
from balancers.event import Event
from balancers.gate import Gate
from balancers.outcome import FAILURE, SUCCESS, UNKNOWN, Outcome
from balancers.pool._backends import Backends
from balancers.pool._census import Census
from balancers.pool._gate_set import GateSet
from balancers.pool._hooks import hook, hooks, undo_start
from balancers.pool._limit import PoolLimit
from balancers.pool._members import Change, Members
from balancers.pool._taken import take, taking
from balancers.pool.lease import Lease, LeaseContext

__all__ = ["Pool"]


class Pool(SharesBackends, Generic[B]):
    """Picks a backend for each request, with one balancer and any number of gates.

    >>> from balancers import WeightedLeastConnections
    >>> pool = Pool(WeightedLeastConnections({"10.0.0.1:80": 1, "10.0.0.2:80": 3}))
    >>> lease = pool.acquire(now=0.0)
    >>> lease.backend, pool.in_flight(lease.backend)
    ('10.0.0.2:80', 1)
    >>> pool.release(lease, now=0.2, ok=True)

    All members of the balancer become members of the pool at ``now`` (seconds).  ``panic`` and
    ``calm`` are numbers from 0 to 1.  The pool divides the number of members that no gate closes by
    the number that no hard gate closes.  A panic begins when the quotient is below ``panic``; with
    0 it never begins.  It ends when the quotient is ``calm`` (default: ``panic``) or more.  During
    a panic, soft gates are ignored.  ``limit`` (1 or more) is the highest number of requests in
    flight on all members together.  Each :class:`~balancers.Event` is appended to ``events``, a
    deque with a ``maxlen``.

    ``acquire`` costs the balancer's ``pick`` and O(gates).  A change of a gate costs one ``put``
    per changed backend.  When a panic begins or ends, the cost is O(n).  No method blocks or calls
    a callback.  Threads must share one lock for a pool, its gates and its generator.  After an
    error nothing has changed.  A copy has the counts but not the leases.  Raises InvalidSetting,
    InvalidTime, IncompatibleGate for a fractional gate over a balancer that is not fractional, and
    AlreadyInUse for a balancer or gate of another pool.
    """

    def __init__(
        self,
        balancer: Balancer[B],
        gates: Iterable[Gate[B]] = (),
        *,
        panic: float = 0.0,
        calm: float | None = None,
        limit: int | None = None,
        events: deque[Event] | None = None,
        now: float = 0.0,
    ) -> None:
        self._gate_set = gate_set = GateSet(gates, balancer)
        self._census = Census(gate_set, panic, panic if calm is None else calm)
        self._members = members = Members(balancer, gate_set, self._census, events)
        self._limit = None if limit is None else PoolLimit(limit, events)
        self._now = valid_now(now, -inf)
        self._balancer = balancer
        self._by_backend = members.by_backend
        self._gates = gate_set.gates
        self._pending = gate_set.pending
        self._pick = balancer.pick
        self._keyed = balancer.keyed
        self._started = hook(balancer, Balancer, "started")
        self._finished = hook(balancer, Balancer, "finished")
        counting = self._gates if self._limit is None else (*self._gates, self._limit)
        self._gates_started = hooks(counting, Gate, "started")
        self._gates_finished = hooks(self._gates, Gate, "finished")
        with taking(balancer, *self._gates):
            for gate in self._gates:
                gate.attach(members.in_flight, events)
            members.change(Change(dict(balancer.weights)), self._now)

    def add(self, backend: B, weight: float = 1, now: float = 0.0) -> None:
        """Add a backend.  Raises DuplicateBackend, InvalidWeight, InvalidTime."""
        if backend in self._by_backend:
            raise DuplicateBackend(f"already a member: {backend!r}")
        self._change(Change({backend: valid_weight(weight, backend)}), now)

    def remove(self, backend: B, now: float = 0.0) -> None:
        """Remove a backend.  Its leases stay valid.  Raises UnknownBackend, InvalidTime."""
        self._change(Change(leavers=(self._members.find(backend),)), now)

    def set_weight(self, backend: B, weight: float, now: float = 0.0) -> None:
        """Change a weight (0: not picked).  Raises UnknownBackend, InvalidWeight, InvalidTime."""
        known = self._members.find(backend).backend
        self._change(Change(weights={known: valid_weight(weight, backend)}), now)

    def update(self, weights: Mapping[B, float] | Iterable[B], now: float = 0.0) -> None:
        """Replace all members.  A backend that was a member before keeps its state; O(n)."""
        self._change(self._members.difference(as_weights(weights)), now)

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
        InvalidTime, and TypeError if ``avoid`` is a str.  Raises InvalidPick if the balancer picks
        a backend that is not a member.  Exceptions of gates are not caught.
        """
        if not self._now <= now <= LATEST:
            now = valid_now(now, self._now)
        self._now = now
        for gate in self._gates:
            if gate.due <= now:
                self._members.settle(now)
                break
        else:
            if self._pending:
                self._members.settle(now)
        if self._limit is not None and self._limit.full:
            raise self._census.refusal(self._gate_set.due, self._limit.reason)
        bound = prefer is not None and self._members.honours(prefer, strict, avoid)
        if prefer is None or not bound:
            if not (self._census.eligible or self._keyed or avoid):
                raise self._census.refusal(self._gate_set.due)
            try:
                prefer = self._pick(key, now, avoid)
            except NoBackendAvailable:
                raise self._census.refusal(self._gate_set.due) from None
        try:
            member = self._by_backend[prefer]
        except (KeyError, TypeError):
            raise InvalidPick(f"{self._balancer!r} picked {prefer!r}, not a member") from None
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
        return Lease(member, now, key, bound, self._census.panicking)

    def release(
        self,
        lease: Lease[B],
        now: float,
        ok: bool | None = True,
        elapsed: float | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Release a lease, and report how the request ended; ``ok=None`` means unknown.

        ``elapsed`` and ``retry_after`` are in seconds.  If the backend was removed, no count
        changes.  Raises AlreadyReleased, ForeignLease, InvalidTime, InvalidSetting.
        """
        member = lease._member  # noqa: SLF001 - a lease is the pool's own
        if lease.released:
            raise AlreadyReleased(f"released twice: {lease!r}")
        if member.owner is not self._members:
            raise ForeignLease(f"a lease of another pool: {lease!r}")
        if not self._now <= now <= LATEST:
            now = valid_now(now, self._now)
        if elapsed is None and retry_after is None:
            outcome = UNKNOWN if ok is None else SUCCESS if ok else FAILURE
        else:
            outcome = Outcome(ok, elapsed, retry_after)
        self._now = now
        lease.released = True
        member.in_flight = in_flight = member.in_flight - 1
        if member.former:
            return
        backend = member.backend
        if self._limit is not None:
            self._limit.ended(1, now)
        if self._finished is not None:
            self._finished(backend, outcome, now)
        for finished in self._gates_finished:
            finished(backend, outcome, in_flight, lease.acquired_at, now)

    def lease(
        self,
        clock: Callable[[], float],
        key: Key | None = None,
        prefer: B | None = None,
        strict: bool = False,
        avoid: Collection[B] = (),
    ) -> LeaseContext[B]:
        """Acquire a lease for a ``with`` block, and release it at the end.

        ``clock`` returns the times.  An Exception is a failure, another BaseException unknown.
        """
        acquire = partial(self.acquire, key=key, prefer=prefer, strict=strict, avoid=avoid)
        return LeaseContext(clock, acquire, self.release)

    @property
    def backends(self) -> Backends[B]:
        """The members as a live, read-only set, in the order in which they joined; O(1)."""
        return Backends(self._by_backend)

    @property
    def panicking(self) -> bool:
        """Whether soft gates are ignored (a panic), as of the last request or change."""
        return self._census.panicking

    @property
    def due(self) -> float:
        """The earliest ``due`` of the gates: ``inf`` for no announced change, ``-inf`` for now."""
        return self._gate_set.due

    def generation(self, backend: B) -> int:
        """Return a number that is higher each time the backend joins.  Raises UnknownBackend."""
        return self._members.find(backend).generation

    def owns(self, lease: Lease[B]) -> bool:
        """Return whether this pool created the lease, even if it is released; O(1)."""
        return lease._member.owner is self._members  # noqa: SLF001 - a lease is the pool's own

    def weight(self, backend: B) -> float:
        """Return the weight that was set for a member.  Raises UnknownBackend."""
        return self._members.find(backend).weight

    def effective_weight(self, backend: B) -> float:
        """Return weight × factors at the latest time seen; O(gates).  Raises UnknownBackend."""
        member, factors = self._members.factors(backend, self._now)
        return self._gate_set.effective_weight(member.weight, factors, self.panicking)

    def in_flight(self, backend: B) -> int:
        """Return the number of leases on a member.  Raises UnknownBackend."""
        return self._members.find(backend).in_flight

    def state(self, backend: B) -> tuple[str, ...]:
        """Return the reasons that close a member; O(gates).  Raises UnknownBackend."""
        member, factors = self._members.factors(backend, self._now)
        reasons = self._gate_set.reasons(self._gate_set.classify(member.weight, factors)[0])
        return tuple(dict.fromkeys((*reasons, *self._full())))

    def admits(self, backend: B, bound: bool = False, now: float | None = None) -> bool:
        """Return whether the backend can serve a request, or a bound request; O(gates).

        Raises UnknownBackend, InvalidTime.
        """
        at = self._now if now is None else valid_now(now, self._now)
        member, factors = self._members.factors(backend, at)
        if bound:
            return not (self._gate_set.closed_to_bound(factors, self.panicking) or self._full())
        weight = self._gate_set.effective_weight(member.weight, factors, self.panicking)
        return weight > 0 and not self._full()

    def __len__(self) -> int:
        return len(self._by_backend)

    def __contains__(self, backend: object) -> bool:
        return backend in self._by_backend

    def __repr__(self) -> str:
        in_flight = sum(member.in_flight for member in self._by_backend.values())
        parts = ", ".join(type(part).__name__ for part in (self._balancer, *self._gates))
        counts = f"{self._census.eligible} of {len(self)} open, {in_flight} in flight"
        return f"<Pool of {parts}: {counts}{', panic' if self.panicking else ''}>"

    def _known_backends(self) -> Iterable[object]:
        return self._by_backend

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for part in (self._balancer, *self._gates):
            take(part)

    def _full(self) -> tuple[str, ...]:
        return (self._limit.reason,) if self._limit is not None and self._limit.full else ()

    def _change(self, change: Change[B], now: float) -> None:
        now = valid_now(now, self._now)
        self._members.change(change, now)
        self._now = now
        if self._limit is not None:
            self._limit.ended(sum(member.in_flight for member in change.leavers), now)
