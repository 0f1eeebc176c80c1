"""Combines several loads into one, by a function of their values."""

from collections.abc import Callable
from typing import Any

from balancers._internal.checks import checked_callable
from balancers._internal.loads import checked_load
from balancers._internal.taken import free, take
from balancers._internal.types import B
from balancers.load import Load
from balancers.outcome import SUCCESS, Outcome

__all__ = ["Combined"]


class Combined(Load[B]):
    """Computes its value from the values of several loads.

    ``by`` gets the values of ``loads`` as arguments, in their order, and returns the combined
    value: finite, and 0 or more.  It must be a pure function, for example ``max`` for two or more
    loads.  All calls are forwarded to all loads.  So each load
    must be its own object, and belongs to this one.

    >>> from balancers.loads import InFlight, PeakEwma
    >>> load = Combined(lambda busy, seconds: busy + 2 * seconds, InFlight(), PeakEwma())
    >>> load.started("a", now=0.0)
    >>> load.finished("a", Outcome(elapsed=0.5), now=0.5)
    >>> load.value("a", now=1.0)
    1.0

    A pool measures durations if one of the loads asks for it (``timed``).  Every method costs what
    it costs in all loads.  Raises TypeError unless ``by`` is a function, and there is at least one
    load, and all are loads.  Raises AlreadyInUse for a load that belongs to another balancer or
    load.
    """

    def __init__(self, by: Callable[..., float], *loads: Load[B]) -> None:
        self._by = checked_callable("by", by)
        if not loads:
            raise TypeError("loads must not be empty")
        self._loads = tuple(checked_load(load) for load in loads)
        self.timed: bool = any(getattr(load, "timed", False) for load in loads)
        """Whether a pool measures durations for one of the loads."""
        self._take()

    def _take(self) -> None:
        taken: list[Load[B]] = []
        try:
            for load in self._loads:
                take(load)
                taken.append(load)
        except BaseException:
            for load in taken:
                free(load)
            raise

    def value(self, backend: B, now: float) -> float:
        """Return the combined value."""
        return self._by(*[load.value(backend, now) for load in self._loads])

    def started(self, backend: B, now: float = 0.0) -> None:
        """Call ``started`` of all loads."""
        for load in self._loads:
            load.started(backend, now)

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Call ``finished`` of all loads."""
        for load in self._loads:
            load.finished(backend, outcome, now)

    def charged(self, backend: B, change: int, now: float = 0.0) -> None:
        """Call ``charged`` of the loads that have it."""
        for load in self._loads:
            charged = getattr(load, "charged", None)
            if charged is not None:
                charged(backend, change, now)

    def progressed(self, backend: B, elapsed: float, now: float = 0.0) -> None:
        """Call ``progressed`` of the loads that have it."""
        for load in self._loads:
            progressed = getattr(load, "progressed", None)
            if progressed is not None:
                progressed(backend, elapsed, now)

    def removed(self, backend: B) -> None:
        """Call ``removed`` of all loads."""
        for load in self._loads:
            load.removed(backend)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._take()

    def __repr__(self) -> str:
        return f"<Combined: {', '.join(map(repr, self._loads))}>"
