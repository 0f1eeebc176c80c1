"""Stores the members of a pool, and passes their effective weights to the balancer."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from typing import Generic, NamedTuple

from balancers._internal.checks import checked_avoid
from balancers._internal.types import B
from balancers.balancer import Balancer
from balancers.errors import InvalidSetting, NoBackendAvailable, UnknownBackend
from balancers.event import Event
from balancers.gate import Gate
from balancers.pool._census import Census
from balancers.pool._gate_set import GateSet
from balancers.pool._member import Member

__all__ = ["Change", "Members"]

_Undo = list[tuple[Member[B], tuple[float, ...]]]
"""The members whose weights were changed in the balancer.  For each member, the tuple contains the
weights to put in order to restore it."""


class Change(NamedTuple, Generic[B]):
    """A change of the membership: new backends, new weights of members, and members to remove."""

    joiners: Mapping[B, float] = {}
    weights: Mapping[B, float] = {}
    leavers: Collection[Member[B]] = ()


class Members(Generic[B]):
    """Stores the state of every member.  Only this class changes the weights in the balancer.

    Raises InvalidSetting if ``events`` is not a deque with a ``maxlen``.
    """

    def __init__(
        self,
        balancer: Balancer[B],
        gates: GateSet[B],
        census: Census,
        events: deque[Event] | None,
    ) -> None:
        if events is not None and (not isinstance(events, deque) or events.maxlen is None):
            raise InvalidSetting(f"events must be a deque with a maxlen, not {events!r}")
        self.by_backend: dict[B, Member[B]] = {}
        self._balancer = balancer
        self._gates = gates
        self._census = census
        self._events = events
        self._generation = 0
        self._limited_softly: dict[B, Member[B]] = {}
        """The members whose effective weight may change when a panic begins or ends."""

    def find(self, backend: B) -> Member[B]:
        """Return a member.  Raises UnknownBackend."""
        member = self.by_backend.get(backend)
        if member is None:
            raise UnknownBackend(backend)
        return member

    def in_flight(self, backend: B) -> int:
        """Return the number of leases on a backend; 0 if it is not a member.  Gates call this."""
        member = self.by_backend.get(backend)
        return 0 if member is None else member.in_flight

    def factors(self, backend: B, now: float) -> tuple[Member[B], list[float]]:
        """Return a member, and its factors at ``now``.  Raises UnknownBackend."""
        return self.find(backend), self._gates.factors(backend, now)

    def honours(self, prefer: B, strict: bool, avoid: Collection[B]) -> bool:
        """Return whether the preferred backend can serve a bound request.

        If it cannot, and ``strict`` is True, NoBackendAvailable is raised.  Raises TypeError if
        ``avoid`` is not a collection of backends.
        """
        avoid = checked_avoid(avoid)
        member = self.by_backend.get(prefer)
        if member is None:
            reasons: tuple[str, ...] = ("unknown",)
        elif prefer in avoid:
            reasons = ("avoided",)
        elif not member.closed_by:
            return True
        else:
            reasons = self._gates.closed_to_bound(member.factors, self._census.panicking)
        if reasons and strict:
            reason = reasons[0] if len(reasons) == 1 else "mixed"
            raise NoBackendAvailable(reason, dict.fromkeys(reasons, 1), self._gates.due)
        return not reasons

    def difference(self, wanted: Mapping[B, float]) -> Change[B]:
        """Return the change after which the members are exactly those of ``wanted``; O(n)."""
        known = self.by_backend
        joiners = {b: weight for b, weight in wanted.items() if b not in known}
        weights = {b: w for b, w in wanted.items() if b in known and known[b].weight != w}
        return Change(joiners, weights, [m for b, m in known.items() if b not in wanted])

    def change(self, change: Change[B], now: float) -> None:
        """Make the whole change.  If a gate or the balancer raises an exception, change nothing."""
        joiners, weights, leavers = change
        entered: list[tuple[Gate[B], B]] = []
        undo: _Undo[B] = []
        try:
            joined = [self._enter(b, weight, entered, now) for b, weight in joiners.items()]
            self._inform_balancer(joined, weights, leavers, undo)
        except BaseException:
            self._restore(undo, now)
            for gate, backend in entered:
                gate.removed(backend, now)
            raise
        for backend, weight in weights.items():
            member = self.by_backend[backend]
            member.weight = weight
            self._reclassify(member, *self._gates.classify(weight, member.factors))
        for member in leavers:
            self._census.leave(member.closed_by)
            if self._limited_softly:
                self._limited_softly.pop(member.backend, None)
            del self.by_backend[member.backend]
            member.former = True
            for gate in self._gates.gates:
                gate.removed(member.backend, now)
            self._record(now, "member", False, member.backend)
        for member in joined:
            self.by_backend[member.backend] = member
            self._census.enter(member.closed_by)
            if member.fractions or member.closed_by:
                self._reclassify(member, member.closed_by, member.fractions)
            self._record(now, "member", True, member.backend)
        self._update_panic(now)

    def settle(self, now: float) -> None:
        """Apply the changes of the gates.

        If a gate raises an exception, its changes stay pending until the next call.
        """
        recovered = self._apply_changes(now)
        if recovered:
            for backend in recovered:
                for hook in self._gates.recovered:
                    hook(backend, now)
            self._apply_changes(now)
        self._update_panic(now)

    def _apply_changes(self, now: float) -> list[B]:
        """Apply the changes of the gates.

        Return the backends that a soft gate closed before and that no soft gate closes now.
        """
        gates = self._gates
        recovered: list[B] = []
        for member, factors in gates.changes(self.by_backend, now):
            closed_by, fractions = gates.classify(member.weight, factors)
            effective = self._effective_weight(member.weight, factors, closed_by, fractions)
            if effective != member.effective_weight:
                self._balancer.put(member.backend, effective)
                member.effective_weight = effective
            if gates.recovered and member.closed_by & ~gates.hard and not closed_by & ~gates.hard:
                recovered.append(member.backend)
            member.factors = factors
            self._reclassify(member, closed_by, fractions)
        return recovered

    def _reclassify(self, member: Member[B], closed_by: int, fractions: bool) -> None:
        """Count a member by the reasons that close it now."""
        if closed_by != member.closed_by:
            self._census.move(member.closed_by, closed_by)
            member.closed_by = closed_by
        member.fractions = fractions
        if fractions or closed_by & ~self._gates.hard:
            self._limited_softly[member.backend] = member
        elif self._limited_softly:
            self._limited_softly.pop(member.backend, None)

    def _effective_weight(
        self, weight: float, factors: list[float], closed_by: int, fractions: bool
    ) -> float:
        panicking = self._census.panicking
        if closed_by & self._gates.hard if panicking else closed_by:
            return 0
        return self._gates.effective_weight(weight, factors, panicking) if fractions else weight

    def _enter(
        self, backend: B, weight: float, entered: list[tuple[Gate[B], B]], now: float
    ) -> Member[B]:
        self._generation += 1
        member = Member(backend, weight, self, self._generation)
        for gate in self._gates.gates:
            entered.append((gate, backend))
            gate.added(backend, now)
        member.factors = self._gates.factors(backend, now)
        member.closed_by, member.fractions = self._gates.classify(weight, member.factors)
        return member

    def _inform_balancer(
        self,
        joined: Iterable[Member[B]],
        weights: Mapping[B, float],
        leavers: Iterable[Member[B]],
        undo: _Undo[B],
    ) -> None:
        """Pass a change to the balancer.  Weights that decrease come before weights that increase.

        So the balancer does not refuse a state that exists only during the change.  Members are
        removed in reverse order of joining, because some balancers require it.
        """
        for member in reversed([*leavers]):
            undo.append((member, (member.weight, member.effective_weight)))
            self._balancer.discard(member.backend)
        increases = {b: weight - self.by_backend[b].weight for b, weight in weights.items()}
        for backend in sorted(weights, key=increases.__getitem__):
            member = self.by_backend[backend]
            undo.append((member, (member.weight, member.effective_weight)))
            self._put(member, weights[backend])
        known = self._balancer.weights
        for member in joined:
            before = known.get(member.backend)
            undo.append((member, () if before is None else (before,)))
            self._put(member, member.weight)

    def _put(self, member: Member[B], weight: float) -> None:
        """Put the full weight, which the balancer may refuse.  Then put the effective weight."""
        self._balancer.put(member.backend, weight)
        member.effective_weight = weight
        effective = self._gates.effective_weight(weight, member.factors, self._census.panicking)
        if effective != weight:
            self._balancer.put(member.backend, effective)
            member.effective_weight = effective

    def _restore(self, undo: _Undo[B], now: float) -> None:
        """Restore the previous state of the balancer, including its in-flight counts."""
        for member, weights in reversed(undo):
            backend = member.backend
            missing = backend not in self._balancer.weights
            if not weights:
                self._balancer.discard(backend)
            for weight in weights:
                self._balancer.put(backend, weight)
                member.effective_weight = weight
            for _ in range(member.in_flight if missing and weights else 0):
                self._balancer.started(backend, now, True)

    def _update_panic(self, now: float) -> None:
        """Begin or end a panic if necessary, and put the weights that this changes; O(n)."""
        census = self._census
        if not census.update_panic():
            return
        gates, put = self._gates, self._balancer.put
        panicking = census.panicking
        heeded = gates.hard if panicking else -1
        for member in self._limited_softly.values():
            effective: float = 0
            if not member.closed_by & heeded:
                effective = member.weight
                if member.fractions:
                    effective = gates.effective_weight(effective, member.factors, panicking)
            if effective != member.effective_weight:
                put(member.backend, effective)
                member.effective_weight = effective
        detail = f"{census.open} of {census.open_hard} open"
        self._record(now, "panic", panicking, None, detail)

    def _record(
        self, now: float, reason: str, began: bool, backend: B | None, detail: str = ""
    ) -> None:
        if self._events is not None:
            self._events.append(Event(now, reason, began, backend, detail))
