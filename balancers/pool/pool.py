"""The pool: membership, effective weights, in-flight counts and leases.

The only place that knows both a balancer and gates.  ``effective weight = weight × Π factors`` is
pushed to the balancer for the backends that moved, and only then.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, KeysView, Mapping
from contextlib import suppress
from functools import partial
from math import inf
from typing import Generic

from balancers._internal.checks import LATEST, as_weights, checked_avoid, valid_now, valid_weight
from balancers._internal.copying import SharesBackends
from balancers._internal.types import B
from balancers.balancer import Balancer, Key
from balancers.errors import (
    AlreadyReleased,
    DuplicateBackend,
    ForeignLease,
    IncompatibleGate,
    NoBackendAvailable,
)
from balancers.event import Event
from balancers.gate import Gate
from balancers.outcome import FAILURE, SUCCESS, UNKNOWN, Outcome
from balancers.pool._books import Books, hooks
from balancers.pool._limit import PoolLimit
from balancers.pool._member import Account
from balancers.pool._taken import taking
from balancers.pool.lease import Lease, LeaseContext

__all__ = ["Pool"]


class Pool(SharesBackends, Generic[B]):
    """Backends behind one balancer and any number of gates, with the books kept.

    >>> from balancers import WeightedLeastConnections
    >>> pool = Pool(WeightedLeastConnections())
    >>> pool.update({"10.0.0.1:80": 1, "10.0.0.2:80": 3})
    >>> lease = pool.acquire(now=0.0)
    >>> lease.backend, pool.in_flight(lease.backend)
    ('10.0.0.2:80', 1)
    >>> pool.release(lease, now=0.2, ok=True)

    A populated balancer brings its members along, as of ``now`` seconds.  ``panic``: when the share
    of members open under all gates, among those open under the hard gates, falls below it, soft
    gates are ignored until the share is ``calm`` (the same unless given) or more; 0 is off.
    ``limit``: so many requests in flight on all members together and no more, bound ones included.
    ``events``: a deque with a ``maxlen``, to which each transition is appended as an
    :class:`~balancers.Event`: the gates', the limit's, and panic.

    ``acquire`` costs the balancer's ``pick`` and O(gates); what gates announce costs one ``put`` a
    moved backend; a crossing of panic O(n).  Nothing here blocks or calls back: one lock around a
    pool, its gates and its rng makes it safe for threads.  Copies have the counts, not the leases.

    Raises IncompatibleGate for a fractional gate over a balancer that does not honour fractions,
    AlreadyInUse for a gate of another pool, InvalidSetting for shares outside 0…1, a limit below 1
    or a deque without bound, InvalidTime.
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
        calm = panic if calm is None else calm
        self._books = books = Books(balancer, gates, panic, calm, events)
        self._limit = None if limit is None else PoolLimit(limit, events)
        for gate in books.gates:
            if gate.fractional and not balancer.fractional:
                raise IncompatibleGate(
                    f"{type(gate).__name__} has fractions, {type(balancer).__name__} honours none"
                )
        self._now = valid_now(now, -inf)
        self._accounts = books.accounts
        self._gates = books.gates
        self._news = books.news
        self._pick = balancer.pick
        self._keyed = balancer.keyed
        self._started = next(iter(hooks([balancer], Balancer, "started")), None)
        self._finished = next(iter(hooks([balancer], Balancer, "finished")), None)
        counting = self._gates if self._limit is None else (*self._gates, self._limit)
        self._gates_started = hooks(counting, Gate, "started")
        self._gates_finished = hooks(self._gates, Gate, "finished")
        with taking(balancer, *self._gates):
            for gate in self._gates:
                gate.attach(books.in_flight, events)
            books.change(dict(balancer.weights), {}, (), self._now)

    # Membership

    def add(self, backend: B, weight: float = 1, now: float = 0.0) -> None:
        """Let a backend join.

        Raises DuplicateBackend for a member, InvalidWeight, InvalidTime; nothing changed then.
        """
        if backend in self._accounts:
            raise DuplicateBackend(f"already a member: {backend!r}")
        self._change({backend: valid_weight(weight, backend)}, {}, (), now)

    def remove(self, backend: B, now: float = 0.0) -> None:
        """Let a backend leave; its leases are still accepted once, and count nowhere.

        Raises UnknownBackend, InvalidTime.
        """
        self._change({}, {}, (self._books.account(backend),), now)

    def set_weight(self, backend: B, weight: float, now: float = 0.0) -> None:
        """Re-weigh a member; 0 quiesces: no new requests, bound ones are served.

        Raises UnknownBackend, InvalidWeight, InvalidTime.
        """
        member = self._books.account(backend).backend
        self._change({}, {member: valid_weight(weight, backend)}, (), now)

    def update(self, weights: Mapping[B, float] | Iterable[B], now: float = 0.0) -> None:
        """Make this the whole membership, as a difference: survivors keep their state.  O(n).

        Raises what ``add`` and ``set_weight`` raise; nothing changed then.
        """
        wanted, accounts = as_weights(weights), self._accounts
        joiners = {b: weight for b, weight in wanted.items() if b not in accounts}
        changes = {
            b: weight
            for b, weight in wanted.items()
            if b in accounts and accounts[b].weight != weight
        }
        leavers = [account for backend, account in accounts.items() if backend not in wanted]
        self._change(joiners, changes, leavers, now)

    # Requests

    def acquire(  # noqa: C901 - the hot path: a call costs more than a branch
        self,
        now: float,
        key: Key | None = None,
        prefer: B | None = None,
        strict: bool = False,
        avoid: Collection[B] = (),
    ) -> Lease[B]:
        """Choose a backend, count the request, and hand out its lease.

        ``prefer`` (a session's backend) is honoured if it is a member, not in ``avoid``, and open
        under every gate that does not spare bound requests; else one is picked, or, when
        ``strict``, NoBackendAvailable is raised.

        Raises NoBackendAvailable with its reason, MissingKey, InvalidTime, TypeError for a str as
        ``avoid``.  A gate that raises when asked fails this call; no count has changed then, and
        it is asked again at the next.
        """
        if not self._now <= now <= LATEST:
            now = valid_now(now, self._now)
        self._now = now
        for gate in self._gates:
            if gate.due <= now:
                self._books.settle(now)
                break
        else:
            if self._news:
                self._books.settle(now)
        if self._limit is not None and self._limit.full:
            raise self._books.refusal(self._limit.reason)
        bound = prefer is not None and self._honoured(prefer, strict, avoid)
        if prefer is None or not bound:
            if not (self._books.open or self._keyed or avoid):
                raise self._books.refusal()
            try:
                prefer = self._pick(key, now, avoid)
            except NoBackendAvailable:
                raise self._books.refusal() from None
        account = self._accounts[prefer]
        account.in_flight = in_flight = account.in_flight + 1
        backend = account.backend
        hook: Callable[..., None] | None = None
        try:
            if self._started is not None:
                self._started(backend, now, bound)
            for hook in self._gates_started:
                hook(backend, in_flight, now)
        except BaseException:
            self._take_back(account, hook, now)
            raise
        return Lease(backend, account, now, key, bound, self._books.panicking)

    def release(
        self,
        lease: Lease[B],
        now: float,
        ok: bool | None = True,
        elapsed: float | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Give a lease back, once, and say how the request went; None: nobody knows.

        ``elapsed`` and ``retry_after`` are seconds.  The lease of a removed backend is accepted and
        changes no current count.

        Raises AlreadyReleased, ForeignLease, InvalidTime, InvalidSetting; nothing changed then.
        """
        account = lease.account
        if account is None:
            raise AlreadyReleased(f"released twice: {lease!r}")
        if account.ledger is not self._accounts:
            raise ForeignLease(f"of another pool: {lease!r}")
        if not self._now <= now <= LATEST:
            now = valid_now(now, self._now)
        if elapsed is None and retry_after is None:
            outcome = UNKNOWN if ok is None else SUCCESS if ok else FAILURE
        else:
            outcome = Outcome(ok, elapsed, retry_after)
        self._now = now
        lease.account = None
        account.in_flight = in_flight = account.in_flight - 1
        if account.former:
            return
        if self._limit is not None:
            self._limit.left(1, now)
        backend = account.backend
        if self._finished is not None:
            self._finished(backend, outcome, now)
        for hook in self._gates_finished:
            hook(backend, outcome, in_flight, lease.acquired_at, now)

    def lease(
        self,
        clock: Callable[[], float],
        key: Key | None = None,
        prefer: B | None = None,
        strict: bool = False,
        avoid: Collection[B] = (),
    ) -> LeaseContext[B]:
        """Acquire and release around a ``with`` block; ``clock`` gives ``now`` at both ends.

        An Exception counts as a failure; a cancellation, or another BaseException, as neither.  A
        lease released inside the block is left alone.
        """
        acquire = partial(self.acquire, key=key, prefer=prefer, strict=strict, avoid=avoid)
        return LeaseContext(clock, acquire, self.release)

    # To read

    @property
    def backends(self) -> KeysView[B]:
        """The members, in order of joining: a live view; O(1)."""
        return self._accounts.keys()

    @property
    def panicking(self) -> bool:
        """Whether soft gates are ignored, as of the last request or change."""
        return self._books.panicking

    def weight(self, backend: B) -> float:
        """Give the weight it was given.  Raises UnknownBackend."""
        return self._books.account(backend).weight

    def effective_weight(self, backend: B) -> float:
        """Give weight × factors, as of the latest time seen; O(gates).  Raises UnknownBackend."""
        weight = self.weight(backend)
        return self._books.effective(weight, self._books.ask(backend, self._now))

    def in_flight(self, backend: B) -> int:
        """Give the leases out on it.  Raises UnknownBackend."""
        return self._books.account(backend).in_flight

    def state(self, backend: B) -> tuple[str, ...]:
        """Give the reasons that close it, none when open; O(gates).  Raises UnknownBackend."""
        weight = self.weight(backend)
        reasons = self._books.reasons(weight, self._books.ask(backend, self._now))
        return tuple(dict.fromkeys((*reasons, *self._full())))

    def admits(self, backend: B, bound: bool = False, now: float | None = None) -> bool:
        """Whether a new request, or one bound to it, may go there at ``now``; O(gates).

        Without ``now`` as of the latest time seen.  Raises UnknownBackend, InvalidTime.
        """
        weight = self.weight(backend)
        now = self._now if now is None else valid_now(now, self._now)
        factors = self._books.ask(backend, now)
        if self._full():
            return False
        if bound:
            return not self._books.closed_to_bound(factors)
        return self._books.effective(weight, factors) > 0

    @property
    def due(self) -> float:
        """Give the least ``due`` of all gates: ``inf`` nothing announced, ``-inf`` news now."""
        return self._books.due

    def __len__(self) -> int:
        return len(self._accounts)

    def __contains__(self, backend: object) -> bool:
        return backend in self._accounts

    def __repr__(self) -> str:
        flying = sum(account.in_flight for account in self._accounts.values())
        gates = "".join(f", {type(gate).__name__}" for gate in self._gates)
        return (
            f"<Pool of {type(self._books.balancer).__name__}{gates}: {self._books.open} of "
            f"{len(self)} open, {flying} in flight{', panic' if self.panicking else ''}>"
        )

    def _known_backends(self) -> Iterable[object]:
        return self._accounts

    def _full(self) -> tuple[str, ...]:
        """Give the reason why the pool as a whole is closed, if it is."""
        return (self._limit.reason,) if self._limit is not None and self._limit.full else ()

    def _change(
        self,
        joiners: Mapping[B, float],
        changes: Mapping[B, float],
        leavers: Collection[Account[B]],
        now: float,
    ) -> None:
        now = valid_now(now, self._now)
        self._books.change(joiners, changes, leavers, now)
        self._now = now
        if self._limit is not None:
            self._limit.left(sum(account.in_flight for account in leavers), now)

    def _honoured(self, prefer: B, strict: bool, avoid: Collection[B]) -> bool:
        """Whether the preferred backend may serve; raises instead of False when ``strict``."""
        avoid = checked_avoid(avoid)
        account = self._accounts.get(prefer)
        if account is None:
            reasons: tuple[str, ...] = ("unknown",)
        elif prefer in avoid:
            reasons = ("avoided",)
        else:
            reasons = self._books.closed_to_bound(account.factors)
        if reasons and strict:
            reason = reasons[0] if len(reasons) == 1 else "mixed"
            raise NoBackendAvailable(reason, dict.fromkeys(reasons, 1), self.due)
        return not reasons

    def _take_back(
        self, account: Account[B], failed: Callable[..., None] | None, now: float
    ) -> None:
        """Undo a request whose start a balancer or gate refused by raising."""
        account.in_flight -= 1
        backend = account.backend
        if self._finished is not None and failed is not None:
            with suppress(Exception):
                self._finished(backend, UNKNOWN, now)
        for gate in self._gates if failed is not None else ():
            if gate.started == failed:
                return
            with suppress(Exception):
                gate.finished(backend, UNKNOWN, account.in_flight, now, now)
