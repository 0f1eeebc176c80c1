"""Defines what all models of servers have in common.

A server schedules when it will have completed a try (``COMPLETE``).  If it becomes slower, is
frozen, or a try is cancelled, other times are scheduled, and the old events are ignored: an event
is valid only if its time is the ``end`` of its try.
"""

from abc import ABC, abstractmethod
from typing import Any

from balancers.simulation._engines.agenda import Event
from balancers.simulation._engines.tries import Try
from balancers.simulation._grid import LATEST
from balancers.simulation.faults import Crash, Errors, FastFailures, Freeze, Slow
from balancers.simulation.server import Server

__all__ = ["SPARE", "Model"]

SPARE = 16
"""Cancelled tries are not removed from a queue while it has this many tries or fewer."""


class Model(ABC):
    """What both kinds of servers have: their faults, and how many tries are on them."""

    def __init__(self, server: Server, events: list[Event]) -> None:
        self._events = events
        self._speed = server.speed
        self._slots = server.slots
        self._room = server.room
        self._factor = 1.0
        self.count: int = 0
        self.active: list[Any] = []  # the faults that have begun and not ended
        self.crashes: list[Crash] = []
        self.freezes: list[Freeze] = []

    def refuses(self, each: Try) -> bool:
        """Return whether there is no room for another try."""
        del each
        return self._room is not None and self.count >= self._room

    def begin(self, fault: Any, now: float) -> list[Try]:
        """Begin a fault, and return the tries that fail by it, in the order they were sent."""
        self.active.append(fault)
        if isinstance(fault, Crash):
            self.crashes.append(fault)
            return self._fail_all(now)
        if isinstance(fault, Freeze):
            if not self.freezes:
                self._pause(now)
            self.freezes.append(fault)
        elif isinstance(fault, Slow):
            self._change_speed(now)
        return []

    def finish(self, fault: Any, now: float) -> None:
        """End a fault."""
        self.active.remove(fault)
        if isinstance(fault, Crash):
            self.crashes.remove(fault)
        elif isinstance(fault, Freeze):
            self.freezes.remove(fault)
            if not self.freezes:
                self._resume(now)
        elif isinstance(fault, Slow):
            self._change_speed(now)

    def failing(self, kind: type[Errors] | type[FastFailures], random: Any) -> Any:
        """Return a fault of this kind that makes a try fail, chosen at random, or None."""
        for fault in self.active:
            if isinstance(fault, kind) and random() < fault.share:
                return fault
        return None

    def _slowness(self) -> float:
        factor = 1.0
        for fault in self.active:
            if isinstance(fault, Slow):
                factor *= fault.factor
        return factor

    def _service(self, work: float) -> float:
        """Return how long the work takes on the healthy server, rounded to the grid.

        The sum with the latest time has no bits beyond the grid, so it is rounded to the nearest
        tick.
        """
        return (work / self._speed + LATEST) - LATEST

    @abstractmethod
    def _fail_all(self, now: float) -> list[Try]:
        """Remove all tries, and return them in the order they were sent."""

    @abstractmethod
    def _pause(self, now: float) -> None:
        """Stop all progress."""

    @abstractmethod
    def _resume(self, now: float) -> None:
        """Continue."""

    @abstractmethod
    def _change_speed(self, now: float) -> None:
        """Use the slowness of the faults that are active now."""
