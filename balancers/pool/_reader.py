"""Defines the part of a pool that is read: members, weights, states and counts."""

from collections.abc import Collection, Iterable, Sequence
from typing import Generic

from balancers._internal.checks import at_least, checked_avoid, valid_now
from balancers._internal.copying import SharesBackends
from balancers._internal.types import B
from balancers.balancer import Balancer, Key
from balancers.event import Event
from balancers.gate import NoRoom
from balancers.pool._backends import Backends
from balancers.pool._census import Census
from balancers.pool._explain import Explainer, Request
from balancers.pool._gate_set import GONE, GateSet
from balancers.pool._limit import PoolLimit
from balancers.pool._member import Member
from balancers.pool._members import Members
from balancers.pool._refusals import Refusals, checked_among
from balancers.pool._rooms import Rooms, WithoutRoom
from balancers.pool.explanation import Explanation
from balancers.pool.lease import Lease, member_of
from balancers.pool.snapshot import MemberSnapshot, Snapshot

__all__ = ["PoolReader"]


class PoolReader(SharesBackends, Generic[B]):
    """Reads the state of a pool.

    What depends on the gates is what a request would find at the latest time seen: a method first
    applies the changes that are due then.  It removes no member.
    """

    def __init__(
        self,
        balancer: Balancer[B],
        members: Members[B],
        gate_set: GateSet[B],
        census: Census,
        limit: PoolLimit | None,
    ) -> None:
        self._balancer = balancer
        self._members = members
        self._by_backend = members.by_backend
        self._gate_set = gate_set
        self._census = census
        self._limit = limit
        self._refusals = Refusals(members.by_backend, gate_set, census)
        self._rooms: Rooms[B] = Rooms(gate_set.gates)

    @property
    def backends(self) -> Backends[B]:
        """The members as a live, read-only set, in the order in which they joined; O(1)."""
        return Backends(self._by_backend)

    @property
    def events(self) -> tuple[Event, ...]:
        """The events in the deque that the pool was made with, in its order; O(events).

        It is empty if there is no deque.
        """
        return tuple(self._members.events or ())

    @property
    def panicking(self) -> bool:
        """Whether soft gates are ignored (a panic) at the latest time seen."""
        self._settle()
        return self._census.panicking

    @property
    def due(self) -> float:
        """The time of the next announced change in seconds; ``inf`` for none, ``-inf`` for now.

        It is the earliest ``due`` of the gates, and of the members that an update keeps.
        """
        return self._gate_set.due

    def generation(self, backend: B) -> int:
        """Return a number that is higher each time the backend joins.  Raises UnknownBackend."""
        return self._members.find(backend).generation

    def owns(self, lease: Lease[B]) -> bool:
        """Return whether this pool created the lease, even if it is released; O(1)."""
        return member_of(lease).owner is self._members

    def weight(self, backend: B) -> float:
        """Return the weight that was set for a member.  Raises UnknownBackend."""
        return self._members.find(backend).weight

    def effective_weight(self, backend: B) -> float:
        """Return the weight that the balancer uses at the latest time seen; O(gates).

        It is the weight times the factors of the gates that are not ignored.  Raises
        UnknownBackend.
        """
        return self._settled(backend).effective_weight

    def in_flight(self, backend: B) -> int:
        """Return the number of leases on a member.  Raises UnknownBackend."""
        return self._members.find(backend).in_flight

    def cost_in_flight(self, backend: B) -> int:
        """Return the sum of the costs of the leases on a member; O(1).  Raises UnknownBackend."""
        return self._members.find(backend).cost

    def state(self, backend: B, now: float | None = None) -> tuple[str, ...]:
        """Return the reasons that close a member, also those that are ignored now; O(gates).

        ``now`` can be later than the latest time seen; the call does not change this time.  Raises
        UnknownBackend, InvalidTime.
        """
        at = self._members.now if now is None else valid_now(now, self._members.now)
        member = self._settled(backend)
        is_due = self._gate_set.due <= at
        closed_by = self._combination_at(member, at) if is_due else member.closed_by
        return tuple(dict.fromkeys((*self._gate_set.reasons(closed_by), *self._full())))

    def admits(
        self, backend: B, bound: bool = False, now: float | None = None, cost: int = 0
    ) -> bool:
        """Return whether the backend can serve a request, or a bound request; O(gates).

        ``cost`` is the cost of the request.  With a cost, the gates are asked which members have no
        room for it, as at a request.

        ``now`` can be later than the latest time seen; the call does not change this time.  It does
        not foresee that outliers will be ejected, or that recovered backends will warm up.  The
        cost is O(members · gates) if changes are announced until ``now`` and only gates that may be
        ignored close the backend.  Raises UnknownBackend, InvalidTime, InvalidSetting.
        """
        rooms = self._without_room(backend, now, cost)
        return not (rooms or self._closed_by(backend, bound, now) or self._full())

    def full(self, backend: B, now: float | None = None, cost: int = 0) -> bool:
        """Return whether only limits of requests or of cost in flight refuse a bound request.

        If True, the backend can serve the request, which has this ``cost``, when enough other
        requests have ended.  The cost is that of :meth:`admits`.  Raises UnknownBackend,
        InvalidTime, InvalidSetting.
        """
        rooms = self._without_room(backend, now, cost)
        if not all(room.full for room in rooms):
            return False
        closed_by = self._closed_by(backend, True, now)
        if not closed_by:
            return bool(rooms or self._full())
        if closed_by == GONE or self._gate_set.only_limits(closed_by):
            return closed_by != GONE
        at = self._members.now if now is None else valid_now(now, self._members.now)
        combination, census = self._foreseen(self._members.find(backend), at)
        return census.is_full(combination)

    def snapshot(self) -> Snapshot[B]:
        """Return what the pool counts, for example for a dashboard; O(members)."""
        self._settle()
        limit = self._full()
        members = tuple(
            MemberSnapshot(
                member.backend,
                member.weight,
                member.effective_weight,
                tuple(dict.fromkeys((*self._gate_set.reasons(member.closed_by), *limit))),
                member.in_flight,
                member.requests,
                member.failures,
                member.cost,
            )
            for member in self._by_backend.values()
        )
        return Snapshot(
            at=self._members.now,
            members=members,
            in_flight=sum(member.in_flight for member in members),
            requests=self._members.former_requests + sum(member.requests for member in members),
            failures=self._members.former_failures + sum(member.failures for member in members),
            refusals=dict(self._census.refusals),
            panicking=self._census.panicking,
        )

    def explain(
        self,
        now: float,
        key: Key | None = None,
        prefer: B | None = None,
        strict: bool = False,
        avoid: Collection[B] = (),
        cost: int = 0,
        among: Sequence[B] | None = None,
    ) -> Explanation[B]:
        """Return what :meth:`Pool.acquire` would do with these arguments, and why.

        Nothing changes: no pick is made, no event is recorded, and the latest time stays the same.
        An exception that ``acquire`` would raise is returned in :attr:`Explanation.error`.  Only
        the exceptions of the methods ``started`` are not foreseen.

        A copy of the balancer picks, so the balancer must behave as its deep copy does.  Cost: the
        copy and the pick, which are O(n) for the balancers of this package.  If changes of gates
        are due, the members and the gates are copied too.  Raises InvalidTime, InvalidSetting for
        an invalid cost, TypeError for an invalid ``avoid`` or ``among``, and NotCopyable.
        """
        at, avoid = valid_now(now, self._members.now), checked_avoid(avoid)
        at_least(0, cost=cost)
        if among is not None:
            checked_among(among)
        request = Request(at, key, prefer, strict, avoid, cost, among)
        parts = self._members, self._gate_set, self._census, self._limit
        return Explainer(self._balancer, *parts, request).explain()

    def __len__(self) -> int:
        return len(self._by_backend)

    def __contains__(self, backend: object) -> bool:
        return backend in self._by_backend

    def __repr__(self) -> str:
        in_flight = sum(member.in_flight for member in self._by_backend.values())
        parts = ", ".join(type(part).__name__ for part in (self._balancer, *self._gate_set.gates))
        counts = f"{self._census.eligible} of {len(self)} open, {in_flight} in flight"
        panic = ", panic" if self._census.panicking else ""
        return f"<Pool of {parts}: {counts}{panic}>"

    def _known_backends(self) -> Iterable[object]:
        return self._by_backend

    def _full(self) -> tuple[str, ...]:
        return (self._limit.reason,) if self._limit is not None and self._limit.full else ()

    def _without_room(self, backend: B, now: float | None, cost: int) -> tuple[NoRoom, ...]:
        """Return why gates have no room for this cost on a member at ``now``."""
        at_least(0, cost=cost)
        if not cost:
            return ()
        now = self._members.now if now is None else valid_now(now, self._members.now)
        self._settled(backend)
        without_room = self._rooms.avoid((), cost, now)
        return without_room.get(backend, ()) if isinstance(without_room, WithoutRoom) else ()

    def _settle(self) -> None:
        """Apply the changes that are due at the latest time seen, as a request would do."""
        if self._gate_set.due <= self._members.now or self._members.recoveries.read_at:
            self._members.settle_to_read(self._members.now)

    def _settled(self, backend: B) -> Member[B]:
        """Apply the changes that are due, and return a member.  Raises UnknownBackend."""
        self._members.find(backend)
        self._settle()
        return self._members.find(backend)

    def _closed_by(self, backend: B, bound: bool, now: float | None) -> int:
        """Return the combination of the reasons that refuse a request at ``now``."""
        now = self._members.now if now is None else valid_now(now, self._members.now)
        member = self._settled(backend)
        if self._members.is_over(member, now):
            return GONE
        gates, closed_by, ignored = self._gate_set, member.closed_by, self._census.ignored
        if gates.due <= now:
            closed_by = self._combination_at(member, now)
            if closed_by & gates.ignorable:
                ignored = self._foreseen(member, now)[1].ignored
        closed_by &= ~ignored
        return gates.closed_to_bound(closed_by) if bound else closed_by

    def _foreseen(self, member: Member[B], now: float) -> tuple[int, Census]:
        """Return the reasons that close a member at ``now``, and the census of that time."""
        if self._gate_set.due > now:
            return member.closed_by, self._census
        census = self._census.emptied()
        for other in self._by_backend.values():
            census.enter(self._combination_at(other, now))
        census.update()
        return self._combination_at(member, now), census

    def _combination_at(self, member: Member[B], now: float) -> int:
        factors = self._gate_set.factors(member.backend, now)
        return self._gate_set.classify(member.weight, factors, member.departing)[0]
