"""Events pair: each end of a reason follows its begin, for drains, pauses, limits and ramps."""

from collections import Counter, deque
from collections.abc import Iterable
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from balancers import (
    Event,
    HealthChecks,
    Lease,
    LeastConnections,
    NoBackendAvailable,
    Pool,
    SlowStart,
    WeightedLeastConnections,
)
from balancers.gates import CoolDown, CostRateLimit, MemberGate, RequestRateLimit, WarmUp
from tests.depth import runs
from tests.kinds import GATES, PLAIN_GATES, GateKind

NAMES = "abcd"


class Refusal(MemberGate[str, None]):
    """A gate that refuses new members at times, so that a change of the pool is undone."""

    reason = "refused"
    refuses = False

    def new_state(self, now: float) -> None:
        if self.refuses:
            raise RuntimeError("refused")

    def factor(self, backend: str, now: float) -> float:
        return 1


def check_pairs(events: Iterable[Event], current: set[tuple[object, str]]) -> None:
    """Update the reasons that hold.  Fail if one begins twice, or ends without a begin."""
    for event in events:
        key = (event.backend, event.reason)
        assert (key in current) is not event.began, (event, current)
        (current.add if event.began else current.discard)(key)
        if event.reason == "member" and not event.began:
            current.difference_update({one for one in current if one[0] == event.backend})


class Case:
    """A pool with one gate, and random calls of it."""

    def __init__(self, rows: list[GateKind], seed: int) -> None:
        self.rng = rng = Random(seed)
        row = rng.choice(rows)
        self.gate = row.make()
        self.events_of_gate = [*row.events.values()]
        self.health: HealthChecks[str] = HealthChecks(1, 1, recovery_time=2.0)
        self.refusal = Refusal()
        self.events: deque[Event] = deque(maxlen=10_000)
        kind: Any = WeightedLeastConnections if self.gate.fractional else LeastConnections
        gates: list[Any] = [self.gate, self.health, self.refusal]
        rng.shuffle(gates)
        self.pool = Pool(kind(["a", "b", "c"]), gates, events=self.events)
        self.now = 0.0
        self.leases: list[Lease[str]] = []
        self.current: set[tuple[object, str]] = set()

    def step(self) -> None:
        rng, pool, backend = self.rng, self.pool, self.rng.choice(NAMES)
        self.now += rng.choice([0.0, 0.0, 0.0, 0.5, 1.0, 7.0])
        now = self.now + rng.choice([0.0, 0.0, 0.0, -3.0, 2.0, 9.0])
        action = rng.randrange(10)
        if action < 3:
            with suppress(NoBackendAvailable):
                prefer = rng.choice([None, backend])
                avoid = rng.choice([set[str](), {rng.choice(NAMES)}])
                self.leases.append(pool.acquire(now, prefer=prefer, avoid=avoid))
        elif action < 5 and self.leases:
            lease = self.leases.pop(rng.randrange(len(self.leases)))
            retry_after = rng.choice([None, None, 0.0, 1.0, 3.0])
            pool.release(lease, now, rng.choice([True, False, None]), retry_after=retry_after)
        elif action == 5:
            self.refusal.refuses = rng.random() < 0.4
            change = pool.remove if backend in pool.backends else pool.add
            try:
                change(backend, now=now)
            except RuntimeError:  # the pool has called `removed`: every reason has ended
                self.check(Counter())
                self.current = {one for one in self.current if one[0] != backend}
        elif backend in pool.backends:
            if action == 6:
                self.health.observe(backend, rng.random() < 0.5, now)
            else:
                self.call(backend, now)

    def call(self, backend: str, now: float) -> None:
        """Call a method of the gate."""
        if self.events_of_gate:
            self.rng.choice(self.events_of_gate)(self.gate, backend, now)

    def check_law(self) -> None:
        """Each change of a factor was announced, also when the gate is ahead of the pool."""
        pool = self.pool
        place = pool._gates.index(self.gate)
        if self.gate.due > pool._members.now:
            for backend, member in pool._by_backend.items():
                factor = self.gate.factor(backend, pool._members.now)
                assert member.factors[place] == factor, (self.gate, backend)

    def check(self, counts: Counter[str]) -> None:
        counts.update(f"{event.reason} {event.detail}" for event in self.events if not event.began)
        check_pairs(self.events, self.current)
        self.events.clear()
        if isinstance(self.gate, CoolDown | WarmUp | SlowStart | RequestRateLimit | CostRateLimit):
            return  # time ends these reasons too
        for backend in self.pool.backends:
            closed = self.gate.factor(backend, self.now) == 0
            assert ((backend, self.gate.reason) in self.current) is closed


def is_health(kind: GateKind) -> bool:
    """Return whether a gate is one of those of ``test_soft_gates``."""
    gate = kind.make()
    return gate.soft and not gate.fractional


ROWS = {
    name: [row for row in GATES if row.name.partition("-")[0] == name]
    for name, kind in PLAIN_GATES.items()
    if not is_health(kind)
}
ENDS = {
    "Drain": ["draining cancelled", "drained cancelled"],
    "CoolDown": ["cooling down "],
    "ConnectionLimit": ["saturated 1 of 2 in flight"],
    "DynamicLimit": ["saturated 1 of 2 in flight"],
    "CostLimit": ["saturated cost 1 of 3"],
    "RequestRateLimit": ["rate limited "],
    "CostRateLimit": ["rate limited "],
    "SlowStart": ["slow start ", "slow start replaced"],
    "WarmUp": ["slow start ", "slow start replaced", "warming up 1 in flight"],
}
"""The ends that must happen, with their details."""


@pytest.mark.parametrize("name", ROWS)
def test_each_end_of_a_reason_follows_its_begin(name: str) -> None:
    counts: Counter[str] = Counter()
    for seed in range(runs(600)):
        case = Case(ROWS[name], seed)
        for _ in range(120):
            case.step()
            case.check(counts)
            case.check_law()
    for end in ENDS.get(name, ()):
        assert counts[end] > 5, f"{end!r} was rare: {counts}"


def test_a_ramp_that_is_replaced_ends_before_the_next_one_begins() -> None:
    events: deque[Event] = deque(maxlen=99)
    ramp: SlowStart[str] = SlowStart(10.0)
    pool = Pool(WeightedLeastConnections(["a"]), [ramp], events=events)
    events.clear()
    for now in (0.0, 4.0, 20.0):
        ramp.begin("a", now)
    pool.remove("a", 21.0)
    assert [event[:3] + event[4:] for event in events if event.reason == "slow start"] == [
        (0.0, "slow start", True, "for 10.0 s"),
        (4.0, "slow start", False, "replaced"),
        (4.0, "slow start", True, "for 10.0 s"),
        (14.0, "slow start", False, ""),  # it was over before the next one began
        (20.0, "slow start", True, "for 10.0 s"),
    ]
