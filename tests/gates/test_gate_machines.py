"""Drain, limits, ramps, ejection and passive checks, each against a simple model of it."""

from dataclasses import dataclass, field
from math import ceil, inf
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from balancers import (
    ConnectionLimit,
    Drain,
    Lease,
    LeastConnections,
    NoBackendAvailable,
    Pool,
    RoundRobin,
    SlowStart,
    WeightedRoundRobin,
)
from balancers.gates import Drained, DynamicLimit, OutlierEjection, PassiveChecks, WarmUp
from tests.depth import runs

NAMES = st.sampled_from("abcde")
STEPS = st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0])


def is_current(pool: Pool[str], lease: Lease[str]) -> bool:
    """Return whether the lease's backend has been a member ever since."""
    backend = lease.backend
    return backend in pool.backends and pool.generation(backend) == lease.generation


class GateMachine(RuleBasedStateMachine):
    """Membership, time and requests; a subclass adds its gate and its model."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = self.make()
        self.now = 0.0
        self.leases: list[Lease[str]] = []
        self.joined_at: dict[str, float] = {}

    def make(self) -> Pool[str]:
        raise NotImplementedError

    def closed(self, backend: str) -> bool:
        """Return whether the model closes the backend now."""
        raise NotImplementedError

    def request_started(self, lease: Lease[str]) -> None:
        """Called when a request starts."""

    def request_ended(self, lease: Lease[str], ok: bool | None) -> None:
        """Called when a request of a current member ends."""

    def left(self, backend: str) -> None:
        """Called when a backend leaves."""

    def in_flight(self, backend: str) -> int:
        return sum(one.backend == backend and not one._member.former for one in self.leases)

    @initialize(members=st.lists(NAMES, min_size=2, max_size=4, unique=True))
    def begin(self, members: list[str]) -> None:
        for backend in members:
            self.joins(backend)

    @rule(step=STEPS)
    def time_passes(self, step: float) -> None:
        self.now += step
        self.pass_the_time()

    def pass_the_time(self) -> None:
        with pytest.raises(NoBackendAvailable):
            self.pool.acquire(self.now, prefer="not a member", strict=True)

    @rule(backend=NAMES)
    def joins(self, backend: str) -> None:
        if backend not in self.pool:
            self.pool.add(backend, now=self.now)
            self.joined_at[backend] = self.now

    @rule(backend=NAMES)
    def leaves(self, backend: str) -> None:
        if backend in self.pool:
            self.pool.remove(backend, self.now)
            del self.joined_at[backend]
            self.left(backend)

    @rule(times=st.integers(1, 8))
    def requests_start(self, times: int) -> None:
        for _ in range(times):
            opened = {backend for backend in self.joined_at if not self.closed(backend)}
            try:
                lease = self.pool.acquire(self.now)
            except NoBackendAvailable:
                assert not opened
                return
            assert lease.backend in opened
            self.leases.append(lease)
            self.request_started(lease)

    @rule(data=st.data(), ok=st.sampled_from([True, False, False, None]), times=st.integers(1, 5))
    def requests_end(self, data: st.DataObject, ok: bool | None, times: int) -> None:
        for _ in range(min(times, len(self.leases))):
            lease = self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))
            current = not lease._member.former
            self.pool.release(lease, self.now, ok)
            if current:
                self.request_ended(lease, ok)

    @invariant()
    def the_model_agrees(self) -> None:
        for backend in self.joined_at:
            assert self.pool.admits(backend) is not self.closed(backend), backend


class Draining(GateMachine):
    TIMEOUT = 4.0

    def make(self) -> Pool[str]:
        self.gate: Drain[str] = Drain(self.TIMEOUT, last_resort=True)
        self.started_at: dict[str, float] = {}
        self.reported: set[str] = set()
        return Pool(RoundRobin(), [self.gate])

    def closed(self, backend: str) -> bool:
        return backend in self.started_at and len(self.started_at) < len(self.joined_at)

    def left(self, backend: str) -> None:
        self.started_at.pop(backend, None)
        self.reported.discard(backend)

    @rule(backend=NAMES)
    def drains(self, backend: str) -> None:
        if backend in self.joined_at:
            self.gate.begin(backend, self.now)
            self.started_at.setdefault(backend, self.now)

    @rule(backend=NAMES)
    def is_cancelled(self, backend: str) -> None:
        if backend in self.joined_at:
            self.gate.cancel(backend, self.now)
            self.left(backend)

    @rule()
    def is_reported(self) -> None:
        expected: list[Drained] = []
        for backend, started_at in self.started_at.items():
            in_flight = self.in_flight(backend)
            over = not in_flight or started_at + self.TIMEOUT <= self.now
            if over and backend not in self.reported:
                expected.append(Drained(backend, in_flight > 0, in_flight, self.now))
                self.reported.add(backend)
        assert self.gate.drained(self.now) == expected


class Limits(GateMachine):
    LIMIT, POOL_LIMIT = 4, 11

    def make(self) -> Pool[str]:
        self.fixed: ConnectionLimit[str] = ConnectionLimit(self.LIMIT)
        self.dynamic: DynamicLimit[str] = DynamicLimit(minconn=1, maxconn=3, fullconn=9)
        self.own_limits: dict[str, int] = {}
        self.waiting = 0
        gates: list[Any] = [self.fixed, self.dynamic]
        return Pool(LeastConnections(), gates, limit=self.POOL_LIMIT)

    def closed(self, backend: str) -> bool:
        total = sum(map(self.in_flight, self.joined_at))
        load = total + self.waiting + 1
        most = 3 if load >= 9 else max(1, load * 3 // 9)
        return total >= self.POOL_LIMIT or self.in_flight(backend) >= min(
            self.own_limits.get(backend, self.LIMIT), most
        )

    def left(self, backend: str) -> None:
        self.own_limits.pop(backend, None)

    @rule(backend=NAMES, n=st.sampled_from([None, 1, 2, 9]))
    def is_set(self, backend: str, n: int | None) -> None:
        if backend in self.joined_at:
            self.fixed.set(backend, n)
            self.own_limits[backend] = self.LIMIT if n is None else n

    @rule(waiting=st.integers(0, 8))
    def some_wait(self, waiting: int) -> None:
        self.dynamic.set_waiting(waiting, self.now)
        self.waiting = waiting


class Ramps(GateMachine):
    """The share is computed from the time, and the mean from all backends, each time."""

    WINDOW, RAMP_STEPS, MIN_SHARE = 6.0, 3, 0.2

    def make(self) -> Pool[str]:
        self.gate: Any = WarmUp(self.WINDOW, self.RAMP_STEPS, min_share=self.MIN_SHARE)
        self.ramp_starts: dict[str, float] = {}
        self.populated_at = inf
        return Pool(LeastConnections(), [self.gate])

    def joins(self, backend: str) -> None:
        if backend not in self.pool:
            self.drop_finished_ramps()
            if not self.joined_at:
                self.populated_at = self.now
            if self.now - self.populated_at >= self.WINDOW:
                self.ramp_up(backend)
        super().joins(backend)

    joins = rule(backend=NAMES)(joins)

    @rule(backend=NAMES)
    def ramp_begins(self, backend: str) -> None:
        if backend in self.joined_at:
            self.drop_finished_ramps()
            self.ramp_starts.pop(backend, None)
            self.ramp_up(backend)
            self.gate.begin(backend, self.now)

    def ramp_up(self, backend: str) -> None:
        early = len(self.ramp_starts) * (5**0.5 - 1) / 2 % 1
        self.ramp_starts[backend] = self.now - early * self.WINDOW / self.RAMP_STEPS

    def drop_finished_ramps(self) -> None:
        """The gate counts the ramps in progress as of the latest time it was passed."""
        self.pass_the_time()
        self.ramp_starts = {b: start for b, start in self.ramp_starts.items() if self.share(b) < 1}

    def left(self, backend: str) -> None:
        self.ramp_starts.pop(backend, None)

    def share(self, backend: str) -> float:
        if backend not in self.ramp_starts:
            return 1.0
        start = self.ramp_starts[backend]
        steps = [k for k in range(4) if start + self.WINDOW * k / self.RAMP_STEPS <= self.now]
        return [self.MIN_SHARE, 0.333, 0.667, 1.0][steps[-1]]

    def closed(self, backend: str) -> bool:
        share = self.share(backend)
        others = [n for b in self.joined_at if self.share(b) == 1 and (n := self.in_flight(b))]
        if share == 1 or not others or not self.in_flight(backend):
            return False
        return self.in_flight(backend) >= share * sum(others) / len(others) - 1e-9


class Ejections(GateMachine):
    """Three failures in a row eject for 4 s, 8 s, … at most 10 s, and at most two of five."""

    def make(self) -> Pool[str]:
        self.gate: OutlierEjection[str] = OutlierEjection(
            3,
            [],
            interval=1000.0,
            base_ejection_time=4.0,
            max_ejection_time=10.0,
            max_ejected_share=0.4,
        )
        self.failures: dict[str, int] = {}
        self.ejections: dict[str, int] = {}
        self.ejected_until: dict[str, float] = {}
        self.changed_at: dict[str, float] = {}
        return Pool(RoundRobin(), [self.gate])

    def allowed(self) -> int:
        members = len(self.joined_at)
        return max(0, min(max(1, members * 2 // 5), members - 1))

    def end_expired(self) -> None:
        for backend, until in list(self.ejected_until.items()):
            if until <= self.now:
                self.restore(backend, until)

    def restore(self, backend: str, when: float) -> None:
        del self.ejected_until[backend]
        self.failures[backend], self.changed_at[backend] = 0, when

    def closed(self, backend: str) -> bool:
        return self.ejected_until.get(backend, -inf) > self.now

    def left(self, backend: str) -> None:
        self.end_expired()
        for record in (self.failures, self.ejections, self.ejected_until, self.changed_at):
            record.pop(backend, None)
        while len(self.ejected_until) > self.allowed():
            self.restore(min(self.ejected_until, key=self.ejected_until.__getitem__), self.now)

    def request_ended(self, lease: Lease[str], ok: bool | None) -> None:
        self.end_expired()
        backend = lease.backend
        if ok is None or lease.acquired_at < self.changed_at.get(backend, -inf):
            return
        self.failures[backend] = 0 if ok else self.failures.get(backend, 0) + 1
        if self.failures[backend] == 3:
            self.failures[backend] = 0
            if len(self.ejected_until) < self.allowed() and backend not in self.ejected_until:
                count = self.ejections[backend] = self.ejections.get(backend, 0) + 1
                self.ejected_until[backend] = self.now + min(4.0 * count, 10.0)
                self.changed_at[backend] = self.now

    @invariant()
    def never_too_many(self) -> None:
        self.end_expired()
        assert sum(map(self.closed, self.joined_at)) <= self.allowed()
        assert {one.backend for one in self.gate.ejections()} >= {
            backend for backend in self.joined_at if self.closed(backend)
        }


@dataclass
class PassiveModel:
    """One backend: its phase, its failures, and the trials in flight."""

    ignore_before: float
    phase: str = "open"
    until: float = inf
    failures: list[float] = field(default_factory=list[float])
    trials: list[float] = field(default_factory=list[float])


class Passive(GateMachine):
    """Two failures within four seconds close for four seconds; then two requests are on trial."""

    FAILS, PAUSE, TRIALS = 2, 4.0, 2

    def make(self) -> Pool[str]:
        self.models: dict[str, PassiveModel] = {}
        return Pool(RoundRobin(), [PassiveChecks(self.FAILS, self.PAUSE, self.TRIALS)], panic=None)

    def model(self, backend: str) -> PassiveModel:
        model = self.models.setdefault(backend, PassiveModel(self.joined_at[backend]))
        if model.until <= self.now:
            if model.phase == "paused":
                model.phase, model.ignore_before = "trial", model.until
            model.until = inf
            model.trials = []
        return model

    def closed(self, backend: str) -> bool:
        model = self.model(backend)
        full = model.phase == "paused" or len(model.trials) >= self.TRIALS
        return full and len(self.joined_at) > 1

    def left(self, backend: str) -> None:
        self.models.pop(backend, None)

    def request_started(self, lease: Lease[str]) -> None:
        model = self.model(lease.backend)
        if model.phase == "trial":
            model.trials.append(lease.acquired_at)
            if len(model.trials) >= self.TRIALS:
                model.until = self.now + self.PAUSE

    def request_ended(self, lease: Lease[str], ok: bool | None) -> None:
        model = self.model(lease.backend)
        if lease.acquired_at < model.ignore_before:
            return
        if model.phase == "trial" and ok is None:
            if lease.acquired_at in model.trials:
                model.trials.remove(lease.acquired_at)
                model.until = inf
        elif model.phase == "trial" and ok:
            self.models[lease.backend] = PassiveModel(model.ignore_before)
        elif ok is False and model.phase != "paused":
            model.failures = [t for t in [*model.failures, self.now] if t > self.now - self.PAUSE]
            if model.phase == "trial" or len(model.failures) >= self.FAILS:
                self.models[lease.backend] = PassiveModel(self.now, "paused", self.now + self.PAUSE)


@pytest.mark.parametrize("machine", [Draining, Limits, Ramps, Ejections, Passive])
def test_a_gate_against_its_model(machine: type[GateMachine]) -> None:
    run_state_machine_as_test(
        machine, settings=settings(max_examples=runs(200), stateful_step_count=50)
    )


def test_slow_start_and_warm_up_have_the_same_ramp() -> None:
    """The model above tests WarmUp; its share equals the factor of SlowStart."""
    warm, slow = WarmUp[str](6.0, 3, 1.5, 0.2), SlowStart[str](6.0, 3, 1.5, 0.2)
    Pool(LeastConnections(["a"]), [warm])
    Pool(WeightedRoundRobin(["a"]), [slow])
    for gate in (warm, slow):
        gate.begin("a", 1.0)
    for tenth in range(80):
        now = 1.0 + tenth / 10
        assert warm.share("a", now) == slow.factor("a", now)
    assert ceil(slow.factor("a", 7.0)) == 1
