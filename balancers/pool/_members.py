"""Stores the members of a pool: who joins, who leaves, and which reasons close each member."""

from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Generic

from balancers._internal.checks import shown
from balancers._internal.types import B
from balancers.balancer import Balancer
from balancers.errors import BalancersError, InvalidSetting, UnknownBackend
from balancers.event import Event
from balancers.gate import Gate
from balancers.pool._census import Census
from balancers.pool._change import Change
from balancers.pool._departures import Departures
from balancers.pool._gate_set import GateSet
from balancers.pool._groups import Groups
from balancers.pool._member import Member
from balancers.pool._recoveries import Recoveries
from balancers.pool._weights import Undo, Weights

__all__ = ["Members"]


class Members(Generic[B]):
    """Stores the state of every member, and applies every change.

    Raises InvalidSetting if ``events`` is not a deque with a ``maxlen``.
    """

    def __init__(
        self,
        balancer: Balancer[B],
        gates: GateSet[B],
        census: Census,
        events: deque[Event] | None,
        now: float,
    ) -> None:
        if events is not None and (not isinstance(events, deque) or events.maxlen is None):
            raise InvalidSetting(f"events must be a deque with a maxlen, not {shown(events)}")
        self.by_backend: dict[B, Member[B]] = {}
        self.now: float = now
        """The time of the last request or change, in seconds."""
        self.former_requests: int = 0
        self.former_failures: int = 0
        """The numbers of requests and of failures of the backends that have left."""
        self.groups: Groups[B] = Groups(balancer)
        self._weights = Weights(balancer, gates, census, self.groups)
        self._gates = gates
        self._census = census
        self.events = events
        self._generation = 0
        self._departures: Departures[B] = Departures()
        self.recoveries: Recoveries[B] = Recoveries(gates.recovered)
        self._ignorable: dict[B, Member[B]] = {}
        """The members whose effective weight may change when gates are ignored."""
        self._outdated = False
        """Whether the weights of these members must be put again, because an attempt failed."""

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

    def change(self, change: Change[B], now: float) -> Exception | None:
        """Make the whole change.  If a gate or the balancer raises an exception, change nothing.

        Return the first exception that ``removed`` of a gate raised.  It is too late to undo the
        change then.
        """
        entered: list[tuple[Gate[B], B]] = []
        undo: Undo[B] = []
        last_event = self.events[-1] if self.events else None
        try:
            joined = [self._enter(b, weight, entered, now) for b, weight in change.joiners.items()]
            self.groups.prepare(change)
            self._weights.change(joined, change, undo, now)
            self.groups.remove(change)
        except BaseException:
            self.groups.restore(now)
            self._weights.restore(undo, now)
            for gate, backend in entered:
                with suppress(Exception):  # the first exception is raised
                    gate.removed(backend, now)
            self._forget_events(last_event, change.joiners)
            raise
        self._begin_or_end_departures(change, now)
        for member, weight in change.weights.items():
            member.weight = weight
        for member in (*change.weights, *change.kept):
            self._reclassify(member, *self._classify(member))
        self.groups.commit(change)
        for member in change.leavers:
            self._leave(member)
        failed = self._report_removed(change.leavers, now) if change.leavers else None
        for member in joined:
            self.by_backend[member.backend] = member
            self._census.enter(member.closed_by)
            if member.fractions or member.closed_by:
                self._reclassify(member, member.closed_by, member.fractions)
            self._record(now, "member", True, member.backend)
        self._update_ignored(now)
        return failed

    def _forget_events(self, last: Event | None, joiners: Mapping[B, float]) -> None:
        """Remove the events after ``last`` that are about backends that did not join."""
        newer: list[Event] = []
        while self.events and self.events[-1] is not last:
            newer.append(self.events.pop())
        if self.events is not None:
            self.events.extend(e for e in reversed(newer) if e.backend not in joiners)

    def _begin_or_end_departures(self, change: Change[B], now: float) -> None:
        if change.kept and self._departures not in self._gates.watched:
            self._gates.watched.append(self._departures)
        for member in change.kept:
            member.departing = True
            self._departures.keep(member, change.keep_until)
            self._record(now, "leaving", True, member.backend, f"until {change.keep_until}")
        for member in change.returners:
            member.departing = False
            self._departures.cancel(member)
            self._record(now, "leaving", False, member.backend)

    def _report_removed(self, leavers: Iterable[Member[B]], now: float) -> Exception | None:
        """Call ``removed`` of every gate for each backend that has left.  Record the events.

        Return the first exception.
        """
        failed: Exception | None = None
        for member in leavers:
            for gate in self._gates.gates:
                try:
                    gate.removed(member.backend, now)
                except Exception as error:  # noqa: BLE001 - returned
                    failed = failed or error
            self._record(now, "member", False, member.backend)
        return failed

    def settle(self, now: float) -> None:
        """Apply the changes of the gates, and remove kept members whose time is over.

        If a gate raises an exception, its changes stay pending until the next call.
        """
        if self.recoveries.read_at:
            self.recoveries.repeat(self.by_backend, self._gates.soft, now)
            self.recoveries.read_at.clear()
        self._apply(now)
        if self.departures_due <= now:
            self.remove_expired(now)

    def settle_to_read(self, now: float) -> None:
        """Apply the changes of the gates before the state is read.  No member is removed.

        ``now`` is the time of the last request or change.
        """
        recoveries = self.recoveries
        if recoveries.read_at:
            recoveries.repeat(self.by_backend, self._gates.soft, now)
        recovered: list[B] = []
        try:
            self._apply(now, recovered)
        finally:
            recoveries.read_at.update(dict.fromkeys(recovered, now))

    def _apply(self, now: float, recovered: list[B] | None = None) -> None:
        """Apply the changes of the gates.  Append the backends that have recovered."""
        waiting = self.recoveries.waiting
        try:
            self._apply_changes(now)
            if waiting:
                if recovered is not None:
                    recovered += waiting
                self.recoveries.report(now)
                self._apply_changes(now)
        finally:
            for backend in waiting:
                self._gates.pending.setdefault(backend, [])
            self._update_ignored(now)

    def released_departing(self, member: Member[B]) -> None:
        """Called when a request on a member that is leaving has ended."""
        if not member.in_flight:
            self._departures.released(member)

    def remove_expired(self, now: float) -> None:
        """Remove the kept members whose time is over and which are idle; O(overdue)."""
        failed: Exception | None = None
        for member in self._departures.expired(now):
            with suppress(BalancersError):  # the balancer may not allow it yet
                failed = self.change(Change(leavers=(member,)), now) or failed
        self._departures.update_due()
        if failed is not None:
            raise failed

    @property
    def departures_due(self) -> float:
        """The time in seconds at which a kept member may leave."""
        return self._departures.due

    def is_over(self, member: Member[B], now: float) -> bool:
        """Return whether a kept member leaves at a request at ``now``."""
        return member.departing and self._departures.is_over(member, now)

    def _apply_changes(self, now: float) -> None:
        """Apply the changes of the gates.

        Also find the backends that a soft gate closed before and that no soft gate closes now.
        """
        gates = self._gates
        soft = gates.soft
        for member, factors, flapped in gates.changes(self.by_backend, now):
            before = member.closed_by
            closed_by, fractions = gates.classify(member.weight, factors, member.departing)
            self._weights.update(member, factors, closed_by, fractions)
            member.factors = factors
            self._reclassify(member, closed_by, fractions)
            if (flapped or before & soft) and not closed_by & soft:
                self.recoveries.found(member.backend)

    def _classify(self, member: Member[B]) -> tuple[int, bool]:
        return self._gates.classify(member.weight, member.factors, member.departing)

    def _reclassify(self, member: Member[B], closed_by: int, fractions: bool) -> None:
        """Count a member by the reasons that close it now."""
        if closed_by != member.closed_by:
            self._census.move(member.closed_by, closed_by)
            member.closed_by = closed_by
        member.fractions = fractions
        if fractions or closed_by & self._gates.ignorable:
            self._ignorable[member.backend] = member
        elif self._ignorable:
            self._ignorable.pop(member.backend, None)

    def _enter(
        self, backend: B, weight: float, entered: list[tuple[Gate[B], B]], now: float
    ) -> Member[B]:
        self._generation += 1
        member = Member(backend, weight, self, self._generation)
        self.groups.equip(member)
        for gate in self._gates.gates:
            entered.append((gate, backend))
            gate.added(backend, now)
        member.factors = self._gates.factors(backend, now)
        member.closed_by, member.fractions = self._classify(member)
        return member

    def _leave(self, member: Member[B]) -> None:
        """Remove a member from the pool."""
        self._census.leave(member.closed_by)
        self._ignorable.pop(member.backend, None)
        self.recoveries.forget(member.backend)
        del self.by_backend[member.backend]
        self.former_requests += member.requests
        self.former_failures += member.failures
        if member.departing:
            self._departures.cancel(member)
        member.former = member.departing = True
        self._departures.member_left()

    def _update_ignored(self, now: float) -> None:
        """Decide again which gates are ignored.  If this changes, put the changed weights; O(n).

        If the balancer raises an exception, the weights are put at the next call.
        """
        census = self._census
        panicking, last_resort = census.panicking, census.last_resort
        changed = census.update()
        for group in self.groups.all:
            group.census.update()
        if not changed and not self._outdated:
            return
        if census.last_resort is not last_resort:
            detail = f"{census.eligible} of {census.members} serve"
            self._record(now, "last resort", census.last_resort, None, detail)
        if census.panicking is not panicking:
            self._record(now, "panic", census.panicking, None, census.describe())
        self._outdated = True
        try:
            self._weights.update_all(self._ignorable.values())
            self._outdated = False
        finally:
            if self._outdated:
                self._gates.pending.update({backend: [] for backend in self._ignorable})

    def _record(
        self, now: float, reason: str, began: bool, backend: B | None, detail: str = ""
    ) -> None:
        if self.events is not None:
            self.events.append(Event(now, reason, began, backend, detail))
