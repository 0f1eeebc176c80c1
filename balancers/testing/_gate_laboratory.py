"""Provides histories of gates: drawn members, requests, outcomes, own calls and times."""

from collections.abc import Callable, Sequence
from math import inf, nextafter

from balancers.testing._choices import Choices
from balancers.testing._gate_driver import GateDriver
from balancers.testing._histories import BEGINNINGS, OUTCOMES, TICKS
from balancers.testing._laboratory import Settings

__all__ = ["NAMES", "GateLaboratory"]

NAMES = "abcde"
ACTIONS = (
    "fail",
    "request",
    "finish",
    "settle",
    "event",
    "tick",
    "to_due",
    "before_due",
    "add",
    "remove",
    "recover",
    "burst",
    "twice",
)
"""The actions of a history, each one a method of the laboratory."""


class GateLaboratory(GateDriver):
    """Draws histories, in which gates are driven as a pool does it.

    A request starts only on a backend that is open, unless the pool could ignore the gate.  Before
    it starts, the changes that are due are collected.
    """

    def __init__(self, settings: Settings, choices: Choices, *, recording: bool = False) -> None:
        super().__init__(settings, choices, recording=recording)
        self.serves_closed = False
        self.names: Sequence[str] = NAMES
        self.actions: Sequence[str] = ACTIONS
        self.ticks: Sequence[float] = TICKS
        self.outcomes: Sequence[str] = OUTCOMES

    def begin(
        self,
        *twins: str,
        actions: Sequence[str] = ACTIONS,
        after: Callable[[str], None] | None = None,
        least: int = 0,
        view: Callable[[str], str] = str,
    ) -> None:
        """Make ``gate`` and its twins, draw the conditions of this example, and add members.

        Each example has its own number of names, its own outcomes and times, and its own mix of
        actions, so that rare combinations occur (swarm testing, Groce et al. 2012).  ``view``
        converts the name of a backend for the twins.
        """
        for name in ("gate", *twins):
            self.make_gate(name)
            self.gates[name] = str if name == "gate" else view
        self.draw(actions, least)
        gate = self.gate
        self.serves_closed = bool(
            gate.soft or gate.spares_bound or getattr(gate, "last_resort", False)
        )
        self.is_proven = gate.soft and getattr(gate, "unproven", None) is not None
        self.after = after or self.after
        for backend in self.names:
            if len(self.members) < least or self.below(4) < 3:
                self.add(backend)

    def draw(self, actions: Sequence[str], least: int = 0) -> None:
        """Draw the time, names, actions, outcomes and steps of time of this example."""
        self.now = self.one_of(BEGINNINGS)
        size = 3 if self.below(4) else len(NAMES)
        self.names = NAMES[: max(least, 1 + self.below(size))]
        actions = [action for action in actions if action != "event" or self.settings.events]
        self.actions = [action for action in actions if self.below(4) < 3] or actions
        self.outcomes = OUTCOMES[:1] if self.below(3) == 0 else self.some_of(OUTCOMES) or OUTCOMES
        self.ticks = TICKS[:1] if self.below(3) == 0 else self.some_of(TICKS) or TICKS

    def step(self) -> None:
        """Perform one drawn action of a history."""
        getattr(self, f"_{self.one_of(self.actions)}")()

    def startable(self) -> list[str]:
        """Return the members on which a pool may start a request."""
        if self.serves_closed and self.below(4) == 0:
            return self.members
        return [backend for backend in self.members if self.is_open(backend)]

    def _request(self) -> str | None:
        if any(self.program.namespace[name].due <= self.now for name in self.gates):
            self.settle()
        startable = self.startable()
        if not startable:
            return None
        backend = self.one_of(startable)
        self.start(backend)
        return backend

    def _fail(self) -> None:
        if self._request() is not None:
            self.finish(len(self.flights) - 1, self.outcomes[0])

    def _burst(self) -> None:
        """Let one request start on each open member, and then let them all end alike."""
        before = len(self.flights)
        for backend in [*self.members]:
            if any(self.program.namespace[name].due <= self.now for name in self.gates):
                self.settle()
            if self.is_open(backend):
                self.start(backend)
        while len(self.flights) > before:
            self.finish(len(self.flights) - 1, self.outcomes[0])

    def _twice(self) -> None:
        """Let two requests start on a member, and then let both end."""
        backend = self._request()
        if backend is not None and self.is_open(backend):
            self.start(backend)
            for _ in range(2):
                self.finish(len(self.flights) - 1, self.one_of(self.outcomes))

    def provoke(self) -> None:
        """Let some requests fail, make own calls of the gate, and go to ``due`` or not."""
        for _ in self.more(2, 5):
            self._fail()
            if self.settings.events and self.below(3) == 0:
                self._event()
        if self.below(2):
            self._to_due()

    def _finish(self) -> None:
        if self.flights:
            number = self.below(len(self.flights))
            self.finish(number, self.one_of(self.outcomes))

    def _settle(self) -> None:
        self.settle()

    def _event(self) -> None:
        if self.members:
            self.event(self.one_of([*self.settings.events.lines]), self.one_of(self.members))

    def _tick(self) -> None:
        self.wait_until(self.now + self.one_of(self.ticks))

    def _to_due(self) -> None:
        if self.now < self.due < inf:
            self.wait_until(self.due)

    def _before_due(self) -> None:
        if self.now < self.due < inf:
            self.wait_until(nextafter(self.due, -inf))

    def _add(self) -> None:
        absent = [name for name in self.names if name not in self.members]
        if absent:
            self.add(self.one_of(absent))

    def _remove(self) -> None:
        if self.members:
            self.remove(self.one_of(self.members))

    def _recover(self) -> None:
        if getattr(self.gate, "recovered", None) is None:
            return
        if self.due <= self.now:
            self.settle()
        able = [b for b in self.members if not self.gate.soft or self.is_open(b)]
        if able:
            backend = self.one_of(able)
            self.each("GATE.recovered(backend, now)", "recovered", backend=backend, now=self.now)
