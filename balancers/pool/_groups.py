"""Reports requests to the balancer of a pool, and to those of its groups."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from copy import deepcopy
from typing import Any, Generic

from balancers._internal.types import B
from balancers.balancer import Balancer
from balancers.outcome import UNKNOWN, Outcome
from balancers.pool._change import Change
from balancers.pool._group_members import GroupMembers
from balancers.pool._hooks import hook
from balancers.pool._member import Member

__all__ = ["Groups"]

_Method = Callable[..., None] | None


class Groups(Generic[B]):
    """Knows the groups of a pool, and decides which methods each request on a member calls.

    A copy has no groups: the copy of a group enters itself.
    """

    def __init__(self, balancer: Balancer[B]) -> None:
        self.all: tuple[GroupMembers[B], ...] = ()
        """The groups that have members, in the order in which they got the first one.

        It is a tuple, because a group can be closed by garbage collection at any time, also during
        a loop over the groups.
        """
        self._balancer = balancer
        self._started = hook(balancer, Balancer, "started")
        self._finished = hook(balancer, Balancer, "finished")
        self._methods: dict[tuple[GroupMembers[B], ...], tuple[_Method, _Method]] = {}
        """The methods to call for the members of these groups.  Members share them, because
        CPython calls the same function again faster than one that differs for each member."""

    @property
    def timed(self) -> bool:
        """Whether a balancer of a group asks for the durations of requests."""
        return any(getattr(group.balancer, "timed", False) for group in self.all)

    def equip(self, member: Member[B]) -> None:
        """Set the methods that each request on a member calls; O(groups)."""
        groups = tuple(group for group in self.all if member.backend in group.views)
        methods = self._methods.get(groups)
        if methods is None:
            started, finished = self._started, self._finished
            for group in groups:
                started = both_started(started, hook(group.balancer, Balancer, "started"), finished)
                finished = both_finished(finished, hook(group.balancer, Balancer, "finished"))
            methods = self._methods[groups] = started, finished
        member.started, member.finished = methods

    def update(self, group: GroupMembers[B], members: Iterable[Member[B]]) -> None:
        """Called after these members of the pool have joined or left the group."""
        if group.views and group not in self.all:
            self.all = (*self.all, group)
        elif not group.views and group in self.all:
            self.all = tuple(other for other in self.all if other is not group)
            for groups in [groups for groups in self._methods if group in groups]:
                del self._methods[groups]
        for member in members:
            self.equip(member)

    def methods(self, backend: B, name: str) -> list[Callable[..., object]]:
        """Return an optional method of the balancer of each group of a backend."""
        groups = [group for group in self.all if backend in group.views]
        methods = [getattr(group.balancer, name, None) for group in groups]
        return [method for method in methods if method is not None]

    def prepare(self, change: Change[B]) -> None:
        """Pass the first part of a change of the pool's members to all groups.

        It is the part that can be undone without a loss: all weights, and the removals from those
        balancers that know only the weights and no turns.  :meth:`restore` undoes it.  Other
        balancers that pick by key may refuse a removal, so it is tried on a copy of them.
        """
        for group in self.all:
            if group.balancer.keyed and not group.forgets_nothing:
                group.rehearse(change.leavers)
        for group in self.all:
            group.prepare(change)
        for group in self.all:
            if group.forgets_nothing:
                group.remove(change.leavers)

    def remove(self, change: Change[B]) -> None:
        """Remove the members that leave from the other balancers, after all else is accepted.

        What these balancers know about the members is lost, so those that may refuse a removal come
        first: those that pick by key.  :meth:`restore` undoes it.
        """
        for group in sorted(self.all, key=lambda group: not group.balancer.keyed):
            if not group.forgets_nothing:
                group.remove(change.leavers)

    def commit(self, change: Change[B]) -> None:
        """Finish a change that is made."""
        for group in self.all:
            group.commit(change)
            self.update(group, ())

    def restore(self, now: float) -> None:
        """Undo a change that failed."""
        for group in self.all:
            group.restore(now)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Groups[B]":
        return Groups(deepcopy(self._balancer, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        return Groups, (self._balancer,)


def both_started(first: _Method, second: _Method, undo: _Method) -> _Method:
    """Return a method that reports the start of a request to two balancers, or to one of them.

    ``undo`` reports the end of a request to the first balancer.  It is called if the second raises
    an exception.
    """
    if first is None or second is None:
        return first or second

    def started(backend: B, now: float, bound: bool) -> None:
        first(backend, now, bound)
        try:
            second(backend, now, bound)
        except BaseException:
            if undo is not None:
                with suppress(Exception):  # the first exception is raised
                    undo(backend, UNKNOWN, now)
            raise

    return started


def both_finished(first: _Method, second: _Method) -> _Method:
    """Return a method that reports the end of a request to two balancers, or to one of them.

    The second is informed even if the first raises an exception.
    """
    if first is None or second is None:
        return first or second

    def finished(backend: B, outcome: Outcome, now: float) -> None:
        try:
            first(backend, outcome, now)
        except BaseException:
            with suppress(Exception):  # the first exception is raised
                second(backend, outcome, now)
            raise
        second(backend, outcome, now)

    return finished
