"""Forwards the optional reports of a pool to the balancer that another balancer picks with."""

from abc import abstractmethod
from typing import Any, Generic

from balancers._internal.types import B

__all__ = ["ForwardsReports", "inform"]


def inform(balancer: object, name: str, *arguments: object) -> None:
    """Call an optional method of a balancer, if it has this method.

    >>> inform([3, 1], "sort"), inform(None, "charged", "a", 1, 0.0)
    (None, None)
    """
    method: Any = getattr(balancer, name, None)
    if method is not None:
        method(*arguments)


class ForwardsReports(Generic[B]):
    """Forwards costs, progress and conditions.  A subclass defines :meth:`_informed`."""

    @abstractmethod
    def _informed(self) -> object:
        """Return the balancer to inform, or None."""

    @property
    def timed(self) -> bool:
        """Whether a pool measures durations, because the other balancer asks for it."""
        return bool(getattr(self._informed(), "timed", False))

    def charged(self, backend: B, change: int, now: float = 0.0) -> None:
        """Called when the cost in flight of a backend changes.  The other balancer is informed."""
        inform(self._informed(), "charged", backend, change, now)

    def progressed(self, backend: B, elapsed: float, now: float = 0.0) -> None:
        """Called at the first progress of a request.  The other balancer is informed."""
        inform(self._informed(), "progressed", backend, elapsed, now)

    def condition_changed(self, backend: B, condition: str) -> None:
        """Called when the condition of a member changes.  The other balancer is informed."""
        inform(self._informed(), "condition_changed", backend, condition)
