"""Passes the effective weights of the members to the balancer."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Generic

from balancers._internal.types import B
from balancers.balancer import Balancer, Condition
from balancers.errors import BalancersError
from balancers.pool._census import Census
from balancers.pool._change import Change
from balancers.pool._gate_set import GateSet
from balancers.pool._groups import Groups
from balancers.pool._hooks import has_state
from balancers.pool._member import Member
from balancers.pool._rehearsal import copy_to_try

__all__ = ["Undo", "Weights"]

Undo = list[tuple[Member[B], tuple[float, ...]]]
"""The members whose weights were changed in the balancer.  For each member, the tuple contains the
weights to put in order to restore it."""


class Weights(Generic[B]):
    """Passes the effective weights to the balancer.  Only this class changes its weights."""

    def __init__(
        self, balancer: Balancer[B], gates: GateSet[B], census: Census, groups: Groups[B]
    ) -> None:
        self._balancer = balancer
        self._groups = groups
        self._gates = gates
        self._census = census
        self._condition_changed: Callable[[B, Condition], object] | None = getattr(
            balancer, "condition_changed", None
        )
        self._charged: Callable[[B, int, float], object] | None = getattr(balancer, "charged", None)
        self._has_state = has_state(balancer)

    def update(
        self, member: Member[B], factors: list[float], closed_by: int, fractions: bool
    ) -> None:
        """Put the effective weight that a member has with these factors, if it has changed."""
        ignored = self._census.ignored
        effective = member.weight
        if closed_by & ~ignored:
            effective = 0
        elif fractions:
            effective = self._gates.product(effective, factors, ignored)
        if closed_by != member.closed_by:
            self._report(member.backend, closed_by)
        if effective != member.effective_weight:
            self._balancer.put(member.backend, effective)
            member.effective_weight = effective
        for group in self._groups.all:
            group.update(member, factors, closed_by, fractions)

    def update_all(self, members: Collection[Member[B]]) -> None:
        """Put the effective weights of these members after other gates are ignored; O(members)."""
        ignored, put, product = self._census.ignored, self._balancer.put, self._gates.product
        heeded = ~ignored
        for member in members:
            effective: float = 0
            if not member.closed_by & heeded:
                effective = member.weight
                if member.fractions:
                    effective = product(effective, member.factors, ignored)
            if effective != member.effective_weight:
                put(member.backend, effective)
                member.effective_weight = effective
        for group in self._groups.all:
            group.update_all(members)

    def change(
        self, joined: Sequence[Member[B]], change: Change[B], undo: Undo[B], now: float
    ) -> None:
        """Pass a change of the membership to the balancer.

        If the balancer refuses a part of the change, it still knows everything about its members.
        So members are removed last, when everything else is accepted.  A balancer may refuse the
        state in between, for example because it has too many members.  If a copy of it accepts the
        change in the other order, the members are removed first.  A balancer that picks by key
        always removes them first, because a new member can take the place of one that leaves.
        """
        if not (self._has_state and change.leavers and (joined or change.weights)):
            self._remove(change, undo)
            self._put_all(joined, change, undo)
            return
        if not self._balancer.keyed:
            try:
                self._put_all(joined, change, undo)
                self._remove(change, undo)
            except (BalancersError, ValueError):
                self.restore(undo, now)
                undo.clear()
                if not self._rehearse(joined, change):
                    raise
            else:
                return
        else:
            self._rehearse(joined, change)
        self._remove(change, undo)
        self._put_all(joined, change, undo)

    def _rehearse(self, joined: Sequence[Member[B]], change: Change[B]) -> bool:
        """Make the change with a copy of the balancer, removing first.  Raise what it raises.

        Return False if the balancer cannot be copied.
        """
        copied = copy_to_try(self._balancer, [member.backend for member in joined])
        if copied is None:
            return False
        for member in reversed([*change.leavers]):
            copied.discard(member.backend)
        for member in _in_order(change):
            copied.put(member.backend, change.weights[member])
        for member in joined:
            copied.put(member.backend, member.weight)
        return True

    def _remove(self, change: Change[B], undo: Undo[B]) -> None:
        """Remove members in reverse order of joining, because some balancers require it."""
        for member in reversed([*change.leavers]):
            undo.append((member, (member.weight, member.effective_weight)))
            self._balancer.discard(member.backend)

    def _put_all(self, joined: Iterable[Member[B]], change: Change[B], undo: Undo[B]) -> None:
        """Put the weights of kept members, of members with a new weight, and of new members."""
        for member in change.kept:
            undo.append((member, (member.effective_weight,)))
            self._report(member.backend, self._gates.classify(0, member.factors, True)[0])
            self._balancer.put(member.backend, 0)
            member.effective_weight = 0
        for member in _in_order(change):
            undo.append((member, (member.weight, member.effective_weight)))
            departing = member.departing and member not in change.returners
            self._put(member, change.weights[member], departing)
        known = self._balancer.weights
        for member in joined:
            before = known.get(member.backend)
            undo.append((member, () if before is None else (before,)))
            self._put(member, member.weight, departing=False)

    def restore(self, undo: Undo[B], now: float) -> None:
        """Restore the previous state of the balancer, with the requests and costs in flight."""
        for member, weights in reversed(undo):
            backend = member.backend
            missing = backend not in self._balancer.weights
            if not weights:
                self._balancer.discard(backend)
            for weight in weights:
                self._balancer.put(backend, weight)
                member.effective_weight = weight
            if weights:
                self._report(backend, member.closed_by)
            if missing and weights:
                for _ in range(member.in_flight):
                    self._balancer.started(backend, now, True)
                if member.cost and self._charged is not None:
                    self._charged(backend, member.cost, now)

    def _put(self, member: Member[B], weight: float, departing: bool) -> None:
        """Put the full weight, which the balancer may refuse.  Then put the effective weight."""
        closed_by, fractions = self._gates.classify(weight, member.factors, departing)
        self._balancer.put(member.backend, weight)
        self._report(member.backend, closed_by)
        member.effective_weight = effective = weight
        ignored = self._census.ignored
        if closed_by & ~ignored:
            effective = 0
        elif fractions:
            effective = self._gates.product(weight, member.factors, ignored)
        if effective != weight:
            self._balancer.put(member.backend, effective)
            member.effective_weight = effective

    def _report(self, backend: B, closed_by: int) -> None:
        """Report the condition of a member to a balancer that asks for it."""
        if self._condition_changed is not None:
            self._condition_changed(backend, self._gates.condition(closed_by))


def _in_order(change: Change[B]) -> list[Member[B]]:
    """Return the members with a new weight, first those whose weights decrease.

    So the balancer does not refuse a state that exists only during the change.
    """
    increases = {m: weight - m.effective_weight for m, weight in change.weights.items()}
    return sorted(increases, key=increases.__getitem__)
