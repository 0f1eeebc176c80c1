"""Drives gates as pools do: members, requests, changes and the time."""

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

from balancers import Gate
from balancers.testing._choices import Choices
from balancers.testing._laboratory import Laboratory, Settings

__all__ = ["GateDriver"]


class GateDriver(Laboratory):
    """Drives one gate, named ``gate``, and further ones that get the same calls.

    The model is ``members``, in order of joining, and ``flights``, the requests in flight.  After
    each call, ``after`` is called with the name of the method.
    """

    assertions_only_read = True

    def __init__(self, settings: Settings, choices: Choices, *, recording: bool = False) -> None:
        super().__init__(settings, choices, recording=recording)
        self.gates: dict[str, Callable[[str], str]] = {}
        self.members: list[str] = []
        self.flights: list[tuple[str, float]] = []
        self.now = 0.0
        self.seen: dict[str, Any] = {}
        """The factor of each member after the last call."""
        self.before: dict[str, Any] = {}
        """The factor of each member before the last call."""
        self.after: Callable[[str], None] = lambda _: None
        self.is_proven = False
        """Whether the gate has a method ``unproven`` that a pool calls."""
        if settings.events is not None:
            self.program.give("events", settings.events.others)

    def close(self, namespace: dict[str, Any] | None = None) -> None:
        """Remove all members, so that gates that share a state do not change the next example."""
        for name in self.gates:
            gate: Any = (namespace or self.program.namespace).get(name)
            for backend in self.members:
                with suppress(Exception):
                    gate.removed(backend, self.now)

    @property
    def gate(self) -> Any:
        """The gate itself.  It is only read."""
        return self.program.namespace["gate"]

    @property
    def due(self) -> float:
        """The time of the next change that the gate announces."""
        due: float = self.gate.due
        return due

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
