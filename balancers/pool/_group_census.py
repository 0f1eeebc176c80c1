"""Counts the members of a group by the reasons that close them."""

from collections.abc import Mapping
from typing import Any

from balancers.errors import NoBackendAvailable
from balancers.pool._census import NO_COUNTS, Census
from balancers.pool._gate_set import GateSet

__all__ = ["GroupCensus"]


class GroupCensus(Census):
    """Counts the members of a group.  The census of the pool decides which gates are ignored.

    Refusals are counted by the pool.  The counts of a refusal are computed each time, in
    O(combinations · gates), because they depend on the other members of the pool too.
    """

    def __init__(self, gates: GateSet[Any], pool: Census) -> None:
        super().__init__(gates, None, None)
        self._pool = pool
        self.refusals: dict[str, int] = pool.refusals
        self.update()

    def is_full(self, combination: int) -> bool:
        return self._pool.is_full(combination)

    def update(self) -> bool:
        """Take over which gates the pool ignores; O(1), or O(combinations) if there are some."""
        pool = self._pool
        changed = self.ignored != pool.ignored
        self.ignored: int = pool.ignored
        self.panicking: bool = pool.panicking
        self.last_resort: bool = pool.last_resort
        self.eligible: int = self._open_without(self.ignored) if self.ignored else self.open
        return changed

    def refusal(
        self,
        due: float,
        more_full: int = 0,
        limit: str | None = None,
        more: Mapping[str, int] = NO_COUNTS,
        more_closed: int = 0,
    ) -> NoBackendAvailable:
        self._counts = None
        return super().refusal(due, more_full, limit, more, more_closed)

    def refusal_for(
        self,
        own: NoBackendAvailable,
        due: float,
        more_full: int,
        more: Mapping[str, int],
        avoided: int,
    ) -> NoBackendAvailable:
        self._counts = None
        return super().refusal_for(own, due, more_full, more, avoided)
