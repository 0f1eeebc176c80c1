"""Right but unusual gates: each keeps the contracts of ``balancers.gate`` in its own way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from math import floor, inf
from random import Random
from typing import Any

from balancers import ConnectionLimit, Gate
from balancers.gates import CoolDown, MemberGate

__all__ = ["ODD_GATES", "OddGate"]


@dataclass(frozen=True)
class OddGate:
    """One right gate, with its own calls as ``check_gate`` takes them."""

    make: Callable[[], Any]
    source: str
    events: Mapping[str, Callable[[Any, Any, float], object]] = field(
        default_factory=dict[str, Callable[[Any, Any, float], object]]
    )

    @property
    def name(self) -> str:
        return str(self.make.__name__)


class NightRest(Gate[Any]):
    """Closed in every second half of a day, for all members at the same instants."""

    reason = "night"
    half_day = 43_200.0

    def __init__(self) -> None:
        self.members: dict[Any, None] = {}
        self.now = -inf
        self.phase: int | None = None

    def _phase_at(self, now: float) -> int:
        phase = floor(now / self.half_day)
        while (phase + 1) * self.half_day <= now:
            phase += 1
        while phase * self.half_day > now:
            phase -= 1
        return phase

    def _advance(self, now: float) -> None:
        self.now = max(self.now, now)
        if self.phase != self._phase_at(self.now) and self.members:
            self.due = -inf

    def added(self, backend: Any, now: float) -> None:
        self._advance(now)
        if not self.members:
            self.phase = self._phase_at(self.now)
            self.due = self._next_boundary()
        self.members[backend] = None

    def removed(self, backend: Any, now: float) -> None:
        self._advance(now)
        self.members.pop(backend, None)
        if not self.members:
            self.due = inf

    def _next_boundary(self) -> float:
        boundary = (self._phase_at(self.now) + 1) * self.half_day
        return boundary if boundary > self.now else inf

    def factor(self, backend: Any, now: float) -> float:
        return 1 - self._phase_at(max(now, self.now)) % 2

    def changes(self, now: float) -> Any:
        self.now = max(self.now, now)
        before, self.phase = self.phase, self._phase_at(self.now)
        self.due = self._next_boundary() if self.members else inf
        return [] if before == self.phase else list(self.members)


class LeakyMeter(MemberGate[Any, list[float]]):
    """Lets five requests through at once and two a second after that (GCRA of ATM networks).

    The state is the time at which the next request is expected.
    """

    reason = "rate"
    interval = 0.5
    burst = 4 * 0.5

    def new_state(self, now: float) -> list[float]:
        return [now]

    def factor(self, backend: Any, now: float) -> float:
        return 1 if self.state_of(backend)[0] - self.burst <= self.clamp(now) else 0

    def started(self, backend: Any, in_flight: int, now: float) -> None:
        now = self.settle(now)
        state = self.find_state(backend)
        if state is None:
            return
        was_open = state[0] - self.burst <= now
        state[0] = max(state[0], now) + self.interval
        opens = state[0] - self.burst
        if opens > now:
            self.timers.set(backend, opens)
            if was_open:
                self.notify_change(backend)
            else:
                self.due = min(self.due, self._next_instant())


class Breaker(MemberGate[Any, list[float]]):
    """Three failures in a row close a backend for ten seconds; then a tenth of its weight tries.

    In that state one success opens it wholly and one failure closes it again.
    """

    reason = "broken"
    soft = True
    fractional = True
    pause = 10.0

    def new_state(self, now: float) -> list[float]:
        return [0, 1.0, -inf]  # failures in a row, factor, when it was closed

    def factor(self, backend: Any, now: float) -> float:
        _, factor, closed_at = self.state_of(backend)
        return 0.1 if not factor and self.clamp(now) >= closed_at + self.pause else factor

    def timer_expired(self, backend: Any, when: float) -> None:
        self._members[backend][1] = 0.1

    def finished(
        self, backend: Any, outcome: Any, in_flight: int, started_at: float, now: float
    ) -> None:
        now = self.settle(now)
        state = self.find_state(backend)
        if state is None or outcome.ok is None or started_at < state[2]:
            return
        failures, factor, _ = state
        if not factor:
            return
        if outcome.ok:
            state[:2] = [0, 1.0]
        else:
            state[0] = failures + 1
            if state[0] >= 3 or factor < 1:
                state[1:] = [0.0, now]
                self.timers.set(backend, now + self.pause)
        if state[1] != factor:
            self.notify_change(backend)


class Canary(Gate[Any]):
    """A quarter of the backends, by the hash of the name, get a share of their weight by stage."""

    reason = "canary"
    fractional = True
    stages = (0.0, 0.05, 0.25, 1.0)

    def __init__(self) -> None:
        self.stage = 0
        self.canaries: list[Any] = []
        self.changed = False

    @staticmethod
    def is_canary(backend: Any) -> bool:
        return blake2b(str(backend).encode(), digest_size=1).digest()[0] % 4 == 0

    def added(self, backend: Any, now: float) -> None:
        if self.is_canary(backend):
            self.canaries.append(backend)

    def removed(self, backend: Any, now: float) -> None:
        self.canaries = [canary for canary in self.canaries if canary != backend]

    def factor(self, backend: Any, now: float) -> float:
        return self.stages[self.stage] if self.is_canary(backend) else 1.0

    def changes(self, now: float) -> Any:
        changed, self.changed = self.changed, False
        self.due = inf
        return tuple(self.canaries) if changed else ()

    def advance(self) -> None:
        self.stage = (self.stage + 1) % len(self.stages)
        self.changed = True
        self.due = -inf


class Both:
    """Two gates as one: the product of their factors.  It inherits from nothing."""

    reason = "both"
    soft = spares_bound = fractional = False

    def __init__(self) -> None:
        self.limit: Any = ConnectionLimit[Any](3)
        self.pause: Any = CoolDown[Any](consecutive_failures=2, rng=Random(1))
        self.gates: list[Any] = [self.limit, self.pause]

    @property
    def due(self) -> float:
        return float(min(gate.due for gate in self.gates))

    def attach(self, in_flight: Any, events: Any) -> None:
        for gate in self.gates:
            gate.attach(in_flight, events)

    def factor(self, backend: Any, now: float) -> float:
        return float(self.limit.factor(backend, now) * self.pause.factor(backend, now))

    def changes(self, now: float) -> Any:
        return dict.fromkeys(backend for gate in self.gates for backend in gate.changes(now))

    def added(self, backend: Any, now: float) -> None:
        for gate in self.gates:
            gate.added(backend, now)

    def removed(self, backend: Any, now: float) -> None:
        for gate in self.gates:
            gate.removed(backend, now)

    def recovered(self, backend: Any, now: float) -> None:
        for gate in self.gates:
            gate.recovered(backend, now)

    def started(self, backend: Any, in_flight: int, now: float) -> None:
        for gate in self.gates:
            gate.started(backend, in_flight, now)

    def finished(
        self, backend: Any, outcome: Any, in_flight: int, started_at: float, now: float
    ) -> None:
        for gate in self.gates:
            gate.finished(backend, outcome, in_flight, started_at, now)


class Colour(Gate[Any]):
    """Blue and green, by name: what never changes needs no state and no ``removed``."""

    reason = "green"

    def factor(self, backend: Any, now: float) -> float:
        return blake2b(str(backend).encode(), digest_size=1).digest()[0] & 1

    def changes(self, now: float) -> Any:
        return iter(())


class FairPart(Gate[Any]):
    """Closed while a backend has more than two beyond twice the mean of all in flight.

    A request of one backend can open or close the others, so all factors are compared each time.
    """

    reason = "unfair"
    limits_in_flight = True

    def __init__(self) -> None:
        self.counts: dict[Any, int] = {}
        self.reported: dict[Any, float] = {}
        self.touched: dict[Any, None] = {}

    def factor(self, backend: Any, now: float) -> float:
        if backend not in self.counts:
            return 1
        most = 2 + 2 * sum(self.counts.values()) // len(self.counts)
        return 1 if self.counts[backend] < most else 0

    def _look(self) -> None:
        for backend in self.counts:
            if self.factor(backend, 0.0) != self.reported[backend]:
                self.reported[backend] = self.factor(backend, 0.0)
                self.touched[backend] = None
                self.due = -inf

    def added(self, backend: Any, now: float) -> None:
        self.counts[backend] = 0
        self.reported[backend] = 1
        self._look()

    def removed(self, backend: Any, now: float) -> None:
        for state in (self.counts, self.reported, self.touched):
            state.pop(backend, None)
        if not self.touched:
            self.due = inf
        self._look()

    def started(self, backend: Any, in_flight: int, now: float) -> None:
        if backend in self.counts:
            self.counts[backend] = in_flight
            self._look()

    def finished(
        self, backend: Any, outcome: Any, in_flight: int, started_at: float, now: float
    ) -> None:
        if backend in self.counts:
            self.counts[backend] = in_flight
            self._look()

    def changes(self, now: float) -> Any:
        touched, self.touched = self.touched, {}
        self.due = inf
        return list(touched)


class HealingSteps(MemberGate[Any, list[Any]]):
    """Each failure halves the factor; every second a step of an eighth gives it back."""

    reason = "healing"
    fractional = True
    soft = True

    def new_state(self, now: float) -> list[Any]:
        return [1.0, None]  # the factor and when it last grew

    def factor(self, backend: Any, now: float) -> float:
        factor, since = self.state_of(backend)
        now = self.clamp(now)
        while factor < 1 and since + 1.0 <= now:
            factor, since = min(1.0, factor + 0.125), since + 1.0
        return float(factor)

    def timer_expired(self, backend: Any, when: float) -> None:
        state = self._members[backend]
        state[:] = [min(1.0, state[0] + 0.125), when]
        if state[0] < 1:
            self.timers.set(backend, when + 1.0)

    def finished(
        self, backend: Any, outcome: Any, in_flight: int, started_at: float, now: float
    ) -> None:
        now = self.settle(now)
        state = self.find_state(backend)
        if state is not None and outcome.ok is False:
            state[:] = [state[0] / 2, now]
            self.timers.set(backend, now + 1.0)
            self.notify_change(backend)


class Maintenance(MemberGate[Any, set[str]]):
    """Closed while anybody has a hold on the backend; each has a name and may hold it twice."""

    reason = "held"

    def new_state(self, now: float) -> set[str]:
        return set()

    def factor(self, backend: Any, now: float) -> float:
        return 0 if self.state_of(backend) else 1

    def hold(self, backend: Any, who: str, holds: bool) -> None:
        before = self.state_of(backend)
        after = before | {who} if holds else before - {who}
        self._members[backend] = after
        if bool(before) != bool(after):
            self.notify_change(backend)


ODD_GATES = [
    OddGate(NightRest, "time-based rules of AWS' and of feature flags"),
    OddGate(LeakyMeter, "ITU-T I.371, the generic cell rate algorithm"),
    OddGate(Breaker, "M. Nygard, Release It!, with Finagle's half-open share"),
    OddGate(
        Canary,
        "Argo Rollouts' setWeight, by hash",
        {"advance": lambda gate, _backend, _now: gate.advance()},
    ),
    OddGate(Both, "a gate of somebody else's that stacks two"),
    OddGate(Colour, "blue and green deployments"),
    OddGate(FairPart, "Twitter's aperture, its bound on a host's share"),
    OddGate(HealingSteps, "Kubernetes' back-off that heals with time, in steps"),
    OddGate(
        Maintenance,
        "locks of maintenance, one a team",
        {
            "hold": lambda gate, backend, _now: gate.hold(backend, "x", holds=True),
            "hold_too": lambda gate, backend, _now: gate.hold(backend, "y", holds=True),
            "release": lambda gate, backend, _now: gate.hold(backend, "x", holds=False),
            "release_too": lambda gate, backend, _now: gate.hold(backend, "y", holds=False),
        },
    ),
]
