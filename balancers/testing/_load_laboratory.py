"""Provides histories of loads: drawn requests, outcomes, times and departures."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from balancers.testing._choices import Choices
from balancers.testing._histories import BEGINNINGS, OUTCOMES, TICKS
from balancers.testing._laboratory import Laboratory, Settings

__all__ = ["NAMES", "LoadLaboratory"]

NAMES = "abc"
ACTIONS = ("start", "finish", "request", "tick", "remove")
"""The actions of a history, each one a method of the laboratory."""


class LoadLaboratory(Laboratory):
    """Drives one load, named ``load``, and further ones that get the same calls.

    The load is driven as a balancer does it: an end is reported only for a backend with a request
    in flight.  The model is ``flights``, the backends of the requests in flight.  After each call,
    ``after`` is called.
    """

    assertions_only_read = True

    def __init__(self, settings: Settings, choices: Choices, *, recording: bool = False) -> None:
        super().__init__(settings, choices, recording=recording)
        self.loads: dict[str, Callable[[str], str]] = {}
        self.flights: list[str] = []
        self.now = 0.0
        self.names: Sequence[str] = NAMES
        self.actions: Sequence[str] = ACTIONS
        self.ticks: Sequence[float] = TICKS
        self.outcomes: Sequence[str] = OUTCOMES
        self.after: Callable[[], None] = lambda: None

    def close(self, namespace: dict[str, Any] | None = None) -> None:
        """Remove all backends, so that loads that share a state do not change the next example."""
        for name in self.loads:
            load: Any = (namespace or self.program.namespace).get(name)
            for backend in self.names:
                with suppress(Exception):
                    load.removed(backend)

    @property
    def load(self) -> Any:
        """The load itself.  It is only read."""
        return self.program.namespace["load"]

    def begin(
        self,
        *twins: str,
        actions: Sequence[str] = ACTIONS,
        outcomes: Sequence[str] = OUTCOMES,
        view: Callable[[str], str] = str,
    ) -> None:
        """Make ``load`` and its twins, and draw the conditions of this example.

        Each example has its own number of names, its own outcomes and times, and its own mix of
        actions, so that rare combinations occur (swarm testing, Groce et al. 2012).  ``view``
        converts the name of a backend for the twins.
        """
        for name in ("load", *twins):
            self.make(name)
            self.loads[name] = str if name == "load" else view
        self.now = self.one_of(BEGINNINGS)
        self.names = NAMES[: 1 + self.below(len(NAMES))]
        self.actions = [action for action in actions if self.below(4) < 3] or actions
        self.outcomes = self.some_of(outcomes) or outcomes
        self.ticks = self.some_of(TICKS) or TICKS

    def values(self, load: str, now: float) -> dict[str, Any]:
        """Read the values of all backends.  The program shows what was read."""
        read: dict[str, Any] = self.program.read(
            f"{{b: {load}.value(b, now) for b in names}}", names=[*self.names], now=now
        )
        return read

    def each(self, line: str, backend: str) -> None:
        """Execute a line for each load, and call ``after``.  In the line, LOAD is its name."""
        for name, view in self.loads.items():
            self.run(line.replace("LOAD", name), backend=view(backend), now=self.now)
        self.after()

    def start(self, backend: str) -> None:
        """Let a request start."""
        self.flights.append(backend)
        self.each("LOAD.started(backend, now)", backend)

    def finish(self, number: int, outcome: str) -> None:
        """Let a request end.  ``outcome`` is an expression."""
        self.each(f"LOAD.finished(backend, {outcome}, now)", self.flights.pop(number))

    def pair(self, backend: str, outcomes: Mapping[str, str]) -> None:
        """Let a request start and end at once, for some loads, each with its own outcome."""
        for load, outcome in outcomes.items():
            values = {"backend": backend, "now": self.now}
            self.run(f"{load}.started(backend, now)", **values)
            self.run(f"{load}.finished(backend, {outcome}, now)", **values)

    def remove(self, backend: str) -> None:
        """Let a backend leave.  Its requests in flight are no longer reported."""
        self.flights = [flying for flying in self.flights if flying != backend]
        self.each("LOAD.removed(backend)", backend)

    def step(self) -> None:
        """Perform one drawn action."""
        getattr(self, f"_{self.one_of(self.actions)}")()

    def _start(self) -> None:
        self.start(self.one_of(self.names))

    def _finish(self) -> None:
        if self.flights:
            self.finish(self.below(len(self.flights)), self.one_of(self.outcomes))

    def _request(self) -> None:
        self._start()
        if self.below(2):
            self._tick()
        self.finish(len(self.flights) - 1, self.one_of(self.outcomes))

    def _tick(self) -> None:
        self.now += self.one_of(self.ticks)

    def _remove(self) -> None:
        self.remove(self.one_of(self.names))

    def compare_with(self, twin: str, why: str) -> Callable[[], None]:
        """Return a function for ``after`` that compares the values of a twin, now and later."""

        def after() -> None:
            for when in (self.now, self.now + 5.0):
                self.check(
                    "{b: load.value(b, now) for b in names} == "
                    f"{{b: {twin}.value(b, now) for b in names}}",
                    why,
                    names=[*self.names],
                    now=when,
                )

        return after
