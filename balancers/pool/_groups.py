"""Reports requests to the balancers of the groups of a pool."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from copy import deepcopy
from typing import Any, Generic

from balancers._internal.types import B
from balancers.balancer import Balancer
from balancers.outcome import UNKNOWN, Outcome
from balancers.pool._change import Change
from balancers.pool._group_members import GroupMembers
from balancers.pool._hooks import hook, hooks

__all__ = ["Groups"]

_Methods = tuple[Callable[..., None], ...]


class Groups(Generic[B]):
    """Reports each request to the balancer of the pool, and to those of its backend's groups.

    A pool that has groups calls these methods instead of those of its balancer.  A copy has no
    groups: the copy of a group enters itself.
    """

    def __init__(self, balancer: Balancer[B]) -> None:
        self.all: list[GroupMembers[B]] = []
        """The groups that have members, in the order in which they got the first one."""
        self._balancer = balancer
        self._started: dict[B, _Methods] = {}
        self._finished: dict[B, _Methods] = {}
        self._own_started: _Methods = tuple(hooks([balancer], Balancer, "started"))
        self._own_finished: _Methods = tuple(hooks([balancer], Balancer, "finished"))

    @property
    def timed(self) -> bool:
        """Whether a balancer of a group asks for the durations of requests."""
        return any(getattr(group.balancer, "timed", False) for group in self.all)

    def update(self, group: GroupMembers[B], backends: Iterable[B]) -> None:
        """Called after these backends have joined or left the group; O(groups) for each."""
        if group.views and group not in self.all:
            self.all.append(group)
        elif not group.views and group in self.all:
            self.all.remove(group)
        for backend in backends:
            balancers = self._balancers(backend)
            if len(balancers) > 1:
                self._started[backend] = tuple(hooks(balancers, Balancer, "started"))
                self._finished[backend] = tuple(hooks(balancers, Balancer, "finished"))
            elif backend in self._started:
                del self._started[backend], self._finished[backend]

    def methods(self, backend: B, name: str) -> list[Callable[..., object]]:
        """Return an optional method of each group of a backend, without that of the pool."""
        methods = [getattr(lb, name, None) for lb in self._balancers(backend)[1:]]
        return [method for method in methods if method is not None]

    def started(self, backend: B, now: float, bound: bool) -> None:
        """Report the start of a request.  After an exception, nothing is counted."""
        started: Callable[..., None] | None = None
        try:
            for started in self._started.get(backend, self._own_started):
                started(backend, now, bound)
        except BaseException:
            for balancer in self._balancers(backend):
                if hook(balancer, Balancer, "started") == started:
                    break
                with suppress(Exception):  # the first exception is raised
                    balancer.finished(backend, UNKNOWN, now)
            raise

    def finished(self, backend: B, outcome: Outcome, now: float) -> None:
        """Report the end of a request to all, and raise the first exception."""
        failed: BaseException | None = None
        for finished in self._finished.get(backend, self._own_finished):
            try:
                finished(backend, outcome, now)
            except BaseException as error:  # noqa: BLE001 - raised after the others are called
                failed = failed or error
        if failed is not None:
            raise failed

    def change(self, change: Change[B]) -> None:
        """Pass a change of the pool's members to all groups.  :meth:`restore` undoes it."""
        for group in self.all:
            group.change(change)

    def commit(self, change: Change[B]) -> None:
        """Finish a change that is made."""
        left = [member.backend for member in change.leavers]
        for group in [*self.all]:
            group.commit(change)
            self.update(group, left)

    def restore(self, now: float) -> None:
        """Undo a change that failed."""
        for group in self.all:
            group.restore(now)

    def _balancers(self, backend: B) -> list[Balancer[B]]:
        return [self._balancer, *(g.balancer for g in self.all if backend in g.views)]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Groups[B]":
        return Groups(deepcopy(self._balancer, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        return Groups, (self._balancer,)
