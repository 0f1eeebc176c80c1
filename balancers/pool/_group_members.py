"""Passes the effective weights of the members of a group to the balancer of the group."""

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Generic

from balancers._internal.types import B
from balancers.balancer import Balancer, Condition
from balancers.pool._census import Census
from balancers.pool._change import Change
from balancers.pool._gate_set import QUIESCED, GateSet
from balancers.pool._group_census import GroupCensus
from balancers.pool._hooks import has_state, hook
from balancers.pool._member import Member
from balancers.pool._rehearsal import copy_to_try

__all__ = ["GroupMembers", "View"]


class View(Member[B]):
    """One member of the pool, as a group sees it.  It has a weight of its own in the group.

    The requests in flight and the factors are those of ``member``.
    """

    __slots__ = ("member",)

    def __init__(self, member: Member[B], weight: float) -> None:
        super().__init__(member.backend, weight, member.owner, member.generation)
        self.member: Member[B] = member


class GroupMembers(Generic[B]):
    """Stores the members of a group, and passes their effective weights to its balancer."""

    def __init__(self, balancer: Balancer[B], gates: GateSet[B], census: Census) -> None:
        self.balancer = balancer
        self.census: GroupCensus = GroupCensus(gates, census)
        self.views: dict[B, View[B]] = {}
        self.by_backend: dict[B, Member[B]] = {}
        self.weights: dict[B, float] = {}
        self.forgets_nothing: bool = balancer.keyed and not has_state(balancer)
        """Whether a member that is removed and put again is as before to the balancer."""
        self._gates = gates
        self._undo: list[tuple[View[B], float]] = []
        """The effective weights before the change that is being made, if it can be undone."""
        self._condition_changed: Callable[[B, Condition], object] | None = getattr(
            balancer, "condition_changed", None
        )

    def put(self, member: Member[B], weight: float, now: float) -> None:
        """Add a member of the pool to the group, or change its weight.

        The requests and costs in flight on a new member are reported to the balancer.  If the
        balancer raises an exception, nothing has changed.
        """
        self.census.update()
        backend = member.backend
        before = self.balancer.weights.get(backend)
        view = self.views.get(backend) or View(member, weight)
        closed_by = self._closed_by(member.closed_by, weight)
        effective = self._effective(weight, member.factors, closed_by, member.fractions)
        try:
            self._put_both(backend, weight, effective, closed_by)
            if backend not in self.views:
                self._replay(member, now)
        except BaseException:
            if before is None:
                self.balancer.discard(backend)
            else:
                self.balancer.put(backend, before)
                self._report(backend, view.closed_by)
            raise
        view.weight = self.weights[backend] = weight
        view.effective_weight = effective
        self._enter(view)

    def adopt(self, member: Member[B], weight: float) -> None:
        """Enter a member that the balancer knows already, because both were copied."""
        view = View(member, weight)
        view.effective_weight = self.balancer.weights[member.backend]
        self.weights[member.backend] = weight
        self._enter(view)

    def discard(self, backend: B) -> None:
        """Remove a member of the group.  If the balancer raises an exception, nothing changes."""
        self.balancer.discard(backend)
        self._leave(self.views[backend])

    def clear(self) -> None:
        """Forget all members.  The balancer is not called."""
        for view in [*self.views.values()]:
            self._leave(view)

    def update(
        self, member: Member[B], factors: list[float], closed_by: int, fractions: bool
    ) -> None:
        """Put the effective weight that a member has with these factors, if it has changed."""
        view = self.views.get(member.backend)
        if view is not None:
            closed_by = self._closed_by(closed_by, view.weight)
            self._put(view, factors, closed_by, fractions)
            self._reclassify(view, closed_by)

    def update_all(self, members: Iterable[Member[B]]) -> None:
        """Put the effective weights of these members after other gates are ignored; O(members)."""
        for member in members:
            self.update(member, member.factors, member.closed_by, member.fractions)

    def prepare(self, change: Change[B]) -> None:
        """Put the weights of a change of the pool's members.  :meth:`restore` undoes it."""
        for member in change.kept:
            self._prepare(member, 0, leaving=True)
        for member, weight in change.weights.items():
            self._prepare(member, weight, member.departing and member not in change.returners)

    def rehearse(self, leavers: Collection[Member[B]]) -> None:
        """Remove members from a copy of the balancer, if it can be copied; raise what it raises."""
        leaving = self._in_reverse(leavers)
        copied = copy_to_try(self.balancer) if leaving else None
        if copied is not None:
            for view in leaving:
                copied.discard(view.backend)

    def remove(self, leavers: Collection[Member[B]]) -> None:
        """Remove members that leave the pool from the balancer.  :meth:`restore` undoes it."""
        for view in self._in_reverse(leavers):
            self._undo.append((view, view.effective_weight))
            self.balancer.discard(view.backend)

    def _in_reverse(self, leavers: Collection[Member[B]]) -> list[View[B]]:
        """Return the leaving members of the group; those that joined it last come first.

        O(leavers), or O(members) if several leave.
        """
        leaving = [self.views[m.backend] for m in leavers if m.backend in self.views]
        if len(leaving) <= 1:
            return leaving
        backends = {view.backend for view in leaving}
        return [view for b, view in reversed(self.views.items()) if b in backends]

    def commit(self, change: Change[B]) -> None:
        """Finish a change that is made."""
        self._undo.clear()
        for member in (*change.weights, *change.kept):
            view = self.views.get(member.backend)
            if view is not None:
                closed_by = self._closed_by(member.closed_by, view.weight)
                self._reclassify(view, closed_by)
        for member in change.leavers:
            if member.backend in self.views:
                self._leave(self.views[member.backend])

    def restore(self, now: float) -> None:
        """Restore the previous state of the balancer, with the requests and costs in flight."""
        while self._undo:
            view, effective = self._undo.pop()
            with suppress(Exception):  # the first exception is raised
                if view.backend in self.balancer.weights:
                    self._report(view.backend, view.closed_by)
                    self.balancer.put(view.backend, effective)
                else:
                    self._put_both(view.backend, view.weight, effective, view.closed_by)
                    self._replay(view.member, now)
            view.effective_weight = effective

    def _prepare(self, member: Member[B], weight: float, leaving: bool) -> None:
        view = self.views.get(member.backend)
        if view is not None:
            closed_by, fractions = self._gates.classify(weight, member.factors, leaving)
            self._undo.append((view, view.effective_weight))
            self._put(view, member.factors, self._closed_by(closed_by, view.weight), fractions)

    def _put(self, view: View[B], factors: list[float], closed_by: int, fractions: bool) -> None:
        effective = self._effective(view.weight, factors, closed_by, fractions)
        if closed_by != view.closed_by:
            self._report(view.backend, closed_by)
        if effective != view.effective_weight:
            self.balancer.put(view.backend, effective)
            view.effective_weight = effective

    def _put_both(self, backend: B, weight: float, effective: float, closed_by: int) -> None:
        """Put the full weight, which the balancer may refuse.  Then put the effective weight."""
        self.balancer.put(backend, weight)
        self._report(backend, closed_by)
        if effective != weight:
            self.balancer.put(backend, effective)

    def _closed_by(self, closed_by: int, weight: float) -> int:
        return closed_by if weight else closed_by | QUIESCED

    def _effective(
        self, weight: float, factors: list[float], closed_by: int, fractions: bool
    ) -> float:
        ignored = self.census.ignored
        if closed_by & ~ignored:
            return 0
        return self._gates.product(weight, factors, ignored) if fractions else weight

    def _report(self, backend: B, closed_by: int) -> None:
        """Report the condition of a member to a balancer that asks for it."""
        if self._condition_changed is not None:
            self._condition_changed(backend, self._gates.condition(closed_by))

    def _replay(self, member: Member[B], now: float) -> None:
        """Report the requests in flight on a member, and their costs."""
        started = hook(self.balancer, Balancer, "started")
        if started is not None:
            for _ in range(member.in_flight):
                started(member.backend, now, True)
        charged: Callable[[B, int, float], object] | None = getattr(self.balancer, "charged", None)
        if charged is not None and member.cost:
            charged(member.backend, member.cost, now)

    def _reclassify(self, view: View[B], closed_by: int) -> None:
        if self.views.get(view.backend) is not view:
            return  # garbage collection has closed the group in between
        if closed_by != view.closed_by:
            self.census.move(view.closed_by, closed_by)
            view.closed_by = closed_by
        self.census.update()

    def _enter(self, view: View[B]) -> None:
        backend, member = view.backend, view.member
        closed_by = self._closed_by(member.closed_by, view.weight)
        if backend not in self.views:
            view.closed_by = closed_by
            self.views[backend], self.by_backend[backend] = view, member
            self.census.enter(closed_by)
        self._reclassify(view, closed_by)

    def _leave(self, view: View[B]) -> None:
        del self.views[view.backend], self.by_backend[view.backend], self.weights[view.backend]
        self.census.leave(view.closed_by)
        self.census.update()
