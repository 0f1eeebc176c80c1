"""Drain, limits, ramps and ejection, each in a pool of its own against the plainest model."""

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


class GateMachine(RuleBasedStateMachine):
    """Membership, time and requests; a subclass adds its gate, its model and what they agree on."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = self.make()
        self.now = 0.0
        self.held: list[Lease[str]] = []
        self.joined_at: dict[str, float] = {}

    def make(self) -> Pool[str]:
        raise NotImplementedError

    def closed(self, backend: str) -> bool:
        """Whether the model closes it now."""
        raise NotImplementedError

    def began(self, lease: Lease[str]) -> None:
        """Tell the model of a request that begins."""

    def ended(self, lease: Lease[str], ok: bool | None) -> None:
        """Tell the model of a request that ended on a current member."""

    def left(self, backend: str) -> None:
        """Tell the model who left."""

    def flying(self, backend: str) -> int:
        return sum(x.backend == backend and not x.account.former for x in self.held if x.account)

    @initialize(members=st.lists(NAMES, min_size=2, max_size=4, unique=True))
    def begin(self, members: list[str]) -> None:
        for backend in members:
            self.comes(backend)

    @rule(step=STEPS)
    def time_passes(self, step: float) -> None:
        self.now += step
        self.tell_the_time()

    def tell_the_time(self) -> None:
        with pytest.raises(NoBackendAvailable):
            self.pool.acquire(self.now, prefer="stranger", strict=True)

    @rule(backend=NAMES)
    def comes(self, backend: str) -> None:
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
    def requests_begin(self, times: int) -> None:
        for _ in range(times):
            opened = {backend for backend in self.joined_at if not self.closed(backend)}
            try:
                lease = self.pool.acquire(self.now)
            except NoBackendAvailable:
                assert not opened
                return
            assert lease.backend in opened
            self.held.append(lease)
            self.began(lease)

    @rule(data=st.data(), ok=st.sampled_from([True, False, False, None]), times=st.integers(1, 5))
    def requests_end(self, data: st.DataObject, ok: bool | None, times: int) -> None:
        for _ in range(min(times, len(self.held))):
            lease = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
            current = lease.account is not None and not lease.account.former
            self.pool.release(lease, self.now, ok)
            if current:
                self.ended(lease, ok)

    @invariant()
    def the_model_agrees(self) -> None:
        for backend in self.joined_at:
            assert self.pool.admits(backend) is not self.closed(backend), backend


class Draining(GateMachine):
    TIMEOUT = 4.0

    def make(self) -> Pool[str]:
        self.gate: Drain[str] = Drain(self.TIMEOUT, last_resort=True)
        self.since: dict[str, float] = {}
        self.reported: set[str] = set()
        return Pool(RoundRobin(), [self.gate])

    def closed(self, backend: str) -> bool:
        return backend in self.since and len(self.since) < len(self.joined_at)

    def left(self, backend: str) -> None:
        self.since.pop(backend, None)
        self.reported.discard(backend)

    @rule(backend=NAMES)
    def drains(self, backend: str) -> None:
        if backend in self.joined_at:
            self.gate.begin(backend, self.now)
            self.since.setdefault(backend, self.now)

    @rule(backend=NAMES)
    def is_cancelled(self, backend: str) -> None:
        if backend in self.joined_at:
            self.gate.cancel(backend, self.now)
            self.left(backend)

    @rule()
    def is_asked(self) -> None:
        expected: list[Drained] = []
        for backend, since in self.since.items():
            flying = self.flying(backend)
            over = not flying or since + self.TIMEOUT <= self.now
            if over and backend not in self.reported:
                expected.append(Drained(backend, flying > 0, flying, self.now))
                self.reported.add(backend)
        assert self.gate.drained(self.now) == expected


class Limits(GateMachine):
    LIMIT, POOL_LIMIT = 4, 11

    def make(self) -> Pool[str]:
        self.fixed: ConnectionLimit[str] = ConnectionLimit(self.LIMIT)
        self.dynamic: DynamicLimit[str] = DynamicLimit(minconn=1, maxconn=3, fullconn=9)
        self.own: dict[str, int] = {}
        self.waiting = 0
        gates: list[Any] = [self.fixed, self.dynamic]
        return Pool(LeastConnections(), gates, limit=self.POOL_LIMIT)

    def closed(self, backend: str) -> bool:
        total = sum(map(self.flying, self.joined_at))
        load = total + self.waiting + 1
        most = 3 if load >= 9 else max(1, load * 3 // 9)
        return total >= self.POOL_LIMIT or self.flying(backend) >= min(
            self.own.get(backend, self.LIMIT), most
        )

    def left(self, backend: str) -> None:
        self.own.pop(backend, None)

    @rule(backend=NAMES, n=st.sampled_from([None, 1, 2, 9]))
    def is_set(self, backend: str, n: int | None) -> None:
        if backend in self.joined_at:
            self.fixed.set(backend, n)
            self.own[backend] = self.LIMIT if n is None else n

    @rule(waiting=st.integers(0, 8))
    def some_wait(self, waiting: int) -> None:
        self.dynamic.set_waiting(waiting, self.now)
        self.waiting = waiting


class Ramps(GateMachine):
    """The share restated, and who climbs kept as a dict; the mean is summed each time."""

    WINDOW, RAMP_STEPS, FLOOR = 6.0, 3, 0.2

    def make(self) -> Pool[str]:
        self.gate: Any = WarmUp(self.WINDOW, self.RAMP_STEPS, min_share=self.FLOOR)
        self.begun: dict[str, float] = {}
        self.peopled_at = inf
        return Pool(LeastConnections(), [self.gate])

    def comes(self, backend: str) -> None:
        if backend not in self.pool:
            self.forget_the_done()
            if not self.joined_at:
                self.peopled_at = self.now
            if self.now - self.peopled_at >= self.WINDOW:
                self.climb(backend)
        super().comes(backend)

    comes = rule(backend=NAMES)(comes)

    @rule(backend=NAMES)
    def begins(self, backend: str) -> None:
        if backend in self.joined_at:
            self.forget_the_done()
            self.begun.pop(backend, None)
            self.climb(backend)
            self.gate.begin(backend, self.now)

    def climb(self, backend: str) -> None:
        early = len(self.begun) * (5**0.5 - 1) / 2 % 1
        self.begun[backend] = self.now - early * self.WINDOW / self.RAMP_STEPS

    def forget_the_done(self) -> None:
        """The gate counts those who still climb as it last heard of the time."""
        self.tell_the_time()
        self.begun = {b: begun for b, begun in self.begun.items() if self.share(b) < 1}

    def left(self, backend: str) -> None:
        self.begun.pop(backend, None)

    def share(self, backend: str) -> float:
        if backend not in self.begun:
            return 1.0
        begun = self.begun[backend]
        steps = [k for k in range(4) if begun + self.WINDOW * k / self.RAMP_STEPS <= self.now]
        return [self.FLOOR, 0.333, 0.667, 1.0][steps[-1]]

    def closed(self, backend: str) -> bool:
        share = self.share(backend)
        others = [n for b in self.joined_at if self.share(b) == 1 and (n := self.flying(b))]
        if share == 1 or not others or not self.flying(backend):
            return False
        return self.flying(backend) >= share * sum(others) / len(others) - 1e-9


class Ejections(GateMachine):
    """Three errors in a row eject for 4 s, 8 s, … at most 10 s, and at most two of five."""

    def make(self) -> Pool[str]:
        self.gate: OutlierEjection[str] = OutlierEjection(
            3, [], interval=1000.0, base_ejection_time=4.0, max_ejection_time=10.0, max_ejected=0.4
        )
        self.errors: dict[str, int] = {}
        self.times: dict[str, int] = {}
        self.out: dict[str, float] = {}
        self.turned: dict[str, float] = {}
        return Pool(RoundRobin(), [self.gate])

    def allowed(self) -> int:
        members = len(self.joined_at)
        return max(0, min(max(1, members * 2 // 5), members - 1))

    def restore(self) -> None:
        for backend, until in list(self.out.items()):
            if until <= self.now:
                self.take_back(backend, until)

    def take_back(self, backend: str, when: float) -> None:
        del self.out[backend]
        self.errors[backend], self.turned[backend] = 0, when

    def closed(self, backend: str) -> bool:
        return self.out.get(backend, -inf) > self.now

    def left(self, backend: str) -> None:
        self.restore()
        for of in (self.errors, self.times, self.out, self.turned):
            of.pop(backend, None)
        while len(self.out) > self.allowed():
            self.take_back(min(self.out, key=self.out.__getitem__), self.now)

    def ended(self, lease: Lease[str], ok: bool | None) -> None:
        self.restore()
        backend = lease.backend
        if ok is None or lease.acquired_at < self.turned.get(backend, -inf):
            return
        self.errors[backend] = 0 if ok else self.errors.get(backend, 0) + 1
        if self.errors[backend] == 3:
            self.errors[backend] = 0
            if len(self.out) < self.allowed() and backend not in self.out:
                times = self.times[backend] = self.times.get(backend, 0) + 1
                self.out[backend] = self.now + min(4.0 * times, 10.0)
                self.turned[backend] = self.now

    @invariant()
    def never_too_many(self) -> None:
        self.restore()
        assert sum(map(self.closed, self.joined_at)) <= self.allowed()
        assert {one.backend for one in self.gate.ejections()} >= {
            backend for backend in self.joined_at if self.closed(backend)
        }


@dataclass
class Mark:
    """One backend: how it stands, and the requests on trial that were not heard of."""

    turned: float
    phase: str = "open"
    until: float = inf
    failures: list[float] = field(default_factory=list[float])
    trials: list[float] = field(default_factory=list[float])


class Marks(GateMachine):
    """Two failures within four seconds are a pause of four, and then two are tried."""

    FAILS, PAUSE, TRIALS = 2, 4.0, 2

    def make(self) -> Pool[str]:
        self.marks: dict[str, Mark] = {}
        return Pool(RoundRobin(), [PassiveChecks(self.FAILS, self.PAUSE, self.TRIALS)])

    def mark(self, backend: str) -> Mark:
        mark = self.marks.setdefault(backend, Mark(self.joined_at[backend]))
        if mark.until <= self.now:
            if mark.phase == "paused":
                mark.phase, mark.turned = "trial", mark.until
            mark.until = inf
            mark.trials = []
        return mark

    def closed(self, backend: str) -> bool:
        mark = self.mark(backend)
        full = mark.phase == "paused" or len(mark.trials) >= self.TRIALS
        return full and len(self.joined_at) > 1

    def left(self, backend: str) -> None:
        self.marks.pop(backend, None)

    def began(self, lease: Lease[str]) -> None:
        mark = self.mark(lease.backend)
        if mark.phase == "trial":
            mark.trials.append(lease.acquired_at)
            if len(mark.trials) >= self.TRIALS:
                mark.until = self.now + self.PAUSE

    def ended(self, lease: Lease[str], ok: bool | None) -> None:
        mark = self.mark(lease.backend)
        if lease.acquired_at < mark.turned:
            return
        if mark.phase == "trial" and ok is None:
            if lease.acquired_at in mark.trials:
                mark.trials.remove(lease.acquired_at)
                mark.until = inf
        elif mark.phase == "trial" and ok:
            self.marks[lease.backend] = Mark(mark.turned)
        elif ok is False and mark.phase != "paused":
            mark.failures = [t for t in [*mark.failures, self.now] if t > self.now - self.PAUSE]
            if mark.phase == "trial" or len(mark.failures) >= self.FAILS:
                self.marks[lease.backend] = Mark(self.now, "paused", self.now + self.PAUSE)


@pytest.mark.parametrize("machine", [Draining, Limits, Ramps, Ejections, Marks])
def test_a_gate_against_its_model(machine: type[GateMachine]) -> None:
    run_state_machine_as_test(
        machine, settings=settings(max_examples=runs(200), stateful_step_count=50)
    )


def test_a_slow_start_is_the_same_ramp() -> None:
    """WarmUp is held against the model above; its share is the slow start's factor."""
    warm, slow = WarmUp[str](6.0, 3, 1.5, 0.2), SlowStart[str](6.0, 3, 1.5, 0.2)
    Pool(LeastConnections(["a"]), [warm])
    Pool(WeightedRoundRobin(["a"]), [slow])
    for gate in (warm, slow):
        gate.begin("a", 1.0)
    for tenth in range(80):
        now = 1.0 + tenth / 10
        assert warm.share("a", now) == slow.factor("a", now)
    assert ceil(slow.factor("a", 7.0)) == 1
