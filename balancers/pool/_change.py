"""Defines a change of the membership of a pool."""

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from typing import Generic, NamedTuple

from balancers._internal.types import B
from balancers.pool._member import Member

__all__ = ["Change", "difference"]


class Change(NamedTuple, Generic[B]):
    """Describes a change of the membership.

    It consists of new backends, new weights of members, members to remove at once, members to keep
    until the time ``keep_until``, and kept members that return.  The latter have a new weight too.
    """

    joiners: Mapping[B, float] = {}
    weights: Mapping[Member[B], float] = {}
    leavers: Collection[Member[B]] = ()
    kept: Collection[Member[B]] = ()
    keep_until: float = 0.0
    returners: AbstractSet[Member[B]] = frozenset()


def difference(
    known: Mapping[B, Member[B]], wanted: Mapping[B, float], keep_until: float | None
) -> Change[B]:
    """Return the change after which the members are exactly those of ``wanted``; O(n).

    Members that are not wanted leave at once if ``keep_until`` is None.
    """
    joiners = {b: weight for b, weight in wanted.items() if b not in known}
    staying = {known[b]: weight for b, weight in wanted.items() if b in known}
    returners = dict.fromkeys(member for member in staying if member.departing).keys()  # in order
    weights = {m: w for m, w in staying.items() if m.weight != w or m in returners}
    vanished = [m for b, m in known.items() if b not in wanted]
    if keep_until is None:
        return Change(joiners, weights, vanished, returners=returners)
    kept = [member for member in vanished if not member.departing]
    return Change(joiners, weights, (), kept, keep_until, returners)
