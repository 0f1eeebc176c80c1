"""Provides histories of gates: drawn members, requests, outcomes, own calls and times."""

from collections.abc import Callable, Sequence
from math import inf, nextafter
from random import Random
from typing import Any

from balancers import Gate
from balancers.testing._choices import Choices
from balancers.testing._histories import BEGINNINGS, OUTCOMES, TICKS
from balancers.testing._laboratory import Laboratory, Settings

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


class GateLaboratory(Laboratory):
    """Drives one gate, named ``gate``, and further ones that get the same calls.

    The gate is driven as a pool does it.  A request starts only on a backend that is open, unless
    the pool could ignore the gate.  Before it starts, the changes that are due are collected.  The
    model is ``members``, in order of joining, and ``flights``, the requests in flight.  After each
    call, ``after`` is called with the name of the method.
    """

    assertions_only_read = True

    def __init__(self, settings: Settings, choices: Choices, *, recording: bool = False) -> None:
        super().__init__(settings, choices, recording=recording)
        self.gates: dict[str, Callable[[str], str]] = {}
        self.members: list[str] = []
        self.flights: list[tuple[str, float]] = []
        self.now = 0.0
        self.names: Sequence[str] = NAMES
        self.actions: Sequence[str] = ACTIONS
        self.ticks: Sequence[float] = TICKS
        self.outcomes: Sequence[str] = OUTCOMES
        self.seen: dict[str, Any] = {}
        """The factor of each member after the last call."""
        self.before: dict[str, Any] = {}
        """The factor of each member before the last call."""
        self.after: Callable[[str], None] = lambda _: None
        if settings.events is not None:
            self.program.give("events", settings.events.others)

    @property
    def gate(self) -> Any:
        """The gate itself.  It is only read."""
        return self.program.namespace["gate"]

    @property
    def due(self) -> float:
        """The time of the next change that the gate announces."""
        due: float = self.gate.due
        return due

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

    def make_gate(self, name: str) -> None:
        """Make a gate that gets the calls of this history, and attach it as a pool does."""
        self.make(name)
        self.run(f"{name}_requests = Requests()")
        self.run(f"{name}.attach({name}_requests, None)")

    def reading(self, gate: str) -> str:
        """Return the expression for the factors of all members, by the name of a gate."""
        if self.is_proven:
            return f"{{b: ({gate}.factor(b, now), {gate}.unproven(b, now)) for b in members}}"
        return f"{{b: {gate}.factor(b, now) for b in members}}"

    def factors(self, now: float, gate: str = "gate") -> dict[str, Any]:
        """Read the factors of all members.  The program shows what was read."""
        read: dict[str, Any] = self.program.read(self.reading(gate), members=self.members, now=now)
        return read

    def is_open(self, backend: str) -> bool:
        """Return whether the last reading showed a factor above 0."""
        factor = self.seen[backend]
        return bool(factor[0] > 0 if self.is_proven else factor > 0)

    def each(self, line: str, method: str, **values: Any) -> None:
        """Execute a line for each gate, read the factors, and call ``after``.

        In the line, GATE is the name of the gate, and BACKEND its name for the backend.
        """
        backend = values.get("backend")
        for name, view in self.gates.items():
            if backend is not None:
                values["backend"] = view(backend)
            self.run(line.replace("GATE", name), **values)
        self.observe(method)

    def observe(self, method: str) -> None:
        """Read the factors, and call ``after``."""
        self.before, self.seen = self.seen, self.factors(self.now) if self.members else {}
        self.after(method)

    def add(self, backend: str) -> None:
        """Let a backend join."""
        self.members.append(backend)
        self.each("GATE.added(backend, now)", "added", backend=backend, now=self.now)

    def remove(self, backend: str) -> None:
        """Let a member leave.  Its requests in flight are no longer reported."""
        self.members.remove(backend)
        self.flights = [flight for flight in self.flights if flight[0] != backend]
        for name, view in self.gates.items():
            if self.program.namespace[f"{name}_requests"](view(backend)):
                self.run(f"{name}_requests.forget(backend)", backend=view(backend))
        self.each("GATE.removed(backend, now)", "removed", backend=backend, now=self.now)

    def start(self, backend: str) -> None:
        """Let a request start."""
        self.flights.append((backend, self.now))
        line = "GATE.started(backend, GATE_requests.start(backend), now)"
        if getattr(self.gate, "started", None) is None:
            line = "GATE_requests.start(backend)"
        self.each(line, "started", backend=backend, now=self.now)

    def finish(self, number: int, outcome: str) -> None:
        """Let a request end.  ``outcome`` is an expression."""
        backend, started_at = self.flights.pop(number)
        ended = "GATE_requests.finish(backend)"
        line = f"GATE.finished(backend, {outcome}, {ended}, started_at, now)"
        if getattr(self.gate, "finished", None) is None:
            line = ended
        self.each(line, "finished", backend=backend, started_at=started_at, now=self.now)

    def settle(self) -> list[str]:
        """Collect the changes of each gate, and return those of ``gate``."""
        for name in self.gates:
            self.run(f"{name}_changed = list({name}.changes(now))", now=self.now)
        changed: list[str] = self.program.namespace["gate_changed"]
        self.observe("changes")
        return changed

    def event(self, name: str, backend: str) -> None:
        """Call one of the gate's own methods."""
        events = self.settings.events
        for gate, view in self.gates.items():
            self.run(events.line(name, gate), backend=view(backend), now=self.now)
        self.observe("event" if name in events.single else "events")

    def wait_until(self, now: float) -> None:
        """Let time pass."""
        self.now = now
        self.observe("tick")

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

    def counts_starts(self) -> bool:
        """Return whether gates of the factory have a method ``started`` of their own."""
        settings = self.settings
        gate = settings.factory(rng=Random(0)) if settings.takes_rng else settings.factory()
        started = getattr(gate, "started", None)
        return started is not None and getattr(started, "__func__", None) is not Gate.started

    def check_twin(self, name: str, why: str, now: float | None = None) -> None:
        """Check that a twin has the same factors as ``gate``, by the last reading."""
        at = self.now if now is None else now
        seen = self.seen if now is None else self.factors(at)
        self.check(f"{self.reading(name)} == seen", why, members=self.members, now=at, seen=seen)

    def compare_with(self, twin: str, why: str) -> Callable[[str], None]:
        """Return a function for ``after`` that compares the factors of a twin after each call."""

        def after(method: str) -> None:
            if self.members and method != "tick":
                self.check_twin(twin, why)

        return after
