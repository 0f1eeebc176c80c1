"""A pool with every gate: what the gates promise to the pool, and the pool to its users.

Every call goes to two pools with the same gates in different orders.  After each call the law of
gates is checked for every gate and member: each change of a factor was reported, and no factor
changes before ``due``.
"""

import pickle
from collections import Counter, deque
from collections.abc import Callable
from math import inf, nextafter
from random import Random
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
    Balancer,
    ConnectionLimit,
    Drain,
    Event,
    Lease,
    LeastConnections,
    NoBackendAvailable,
    Pool,
    RoundRobin,
    SlowStart,
    WeightedLeastConnections,
)
from balancers.gates import (
    ActiveChecks,
    CoolDown,
    CostRateLimit,
    DynamicLimit,
    FailurePercentage,
    MedianGap,
    OutlierEjection,
    PassiveChecks,
    RequestRateLimit,
    WarmUp,
)
from tests.depth import DEEP
from tests.kinds import PLAIN_GATES

NAMES = st.sampled_from("abcdefg")
WEIGHTS = st.sampled_from([0, 1, 1, 2, 3])
LIMIT, POOL_LIMIT, LONGEST, SHARE = 6, 15, 60.0, 0.4
RUNS, STEPS = 80 if DEEP else 40, 50
ACTIONS = [
    "time_passes",
    "time_passes",
    "requests_start",
    "requests_start",
    "requests_end",
    "requests_end",
    "health_changes",
    "bound_requests",
    "probes_are_sent",
    "drains",
    "membership_changes",
    "settings_change",
    "reading_twice_changes_nothing",
]
Draw = Callable[[st.SearchStrategy[Any]], Any]


def every_gate(fractional: bool) -> list[Any]:
    ramp: Any = (SlowStart[str] if fractional else WarmUp[str])(8.0, 4)
    outliers: OutlierEjection[str] = OutlierEjection(
        3,
        [FailurePercentage(minimum_hosts=3, request_volume=5), MedianGap(request_volume=3)],
        consecutive_gateway_failures=2,
        consecutive_local_failures=4,
        local_rules=[MedianGap(request_volume=3)],
        enforcing={"consecutive gateway failures": 0.5},
        interval=4.0,
        base_ejection_time=6.0,
        jitter=0.5,
        max_ejected_share=SHARE,
        rng=Random(2),
    )
    gates: list[Any] = [
        ActiveChecks(2, 2, rng=Random(1), slow_after=20.0, restores=outliers),
        PassiveChecks(max_fails=2, fail_timeout=5.0, max_trials=2),
        outliers,
        CoolDown(consecutive_failures=10**6, max_time=LONGEST, rng=Random(3)),
        Drain(timeout=10.0),
        ConnectionLimit(LIMIT),
        DynamicLimit(minconn=2, maxconn=5, fullconn=12),
        ramp,
        RequestRateLimit(10**6),  # they open by time only, for which the last check cannot wait
        CostRateLimit(10**6),
    ]
    reasons = {gate.reason for gate in gates}
    others: list[Any] = [kind.make() for kind in PLAIN_GATES.values()]
    return [
        *gates,
        *(one for one in others if one.reason not in reasons and one.fractional <= fractional),
    ]


class AllGates(RuleBasedStateMachine):
    kind: type[Any]
    counts: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.pools: list[Pool[str]] = []
        self.gates: list[list[Any]] = []
        self.events: deque[Event] = deque(maxlen=10_000)
        for reverse in (False, True):
            balancer: Balancer[str] = self.kind()
            gates = every_gate(balancer.fractional)
            ordered = gates[::-1] if reverse else gates
            events: deque[Event] = deque(maxlen=10) if reverse else self.events
            pool = Pool(balancer, ordered, panic=0.3, calm=0.6, limit=POOL_LIMIT, events=events)
            self.gates.append(gates)
            self.pools.append(pool)
        self.now = 0.0
        self.leases: list[list[Lease[str]]] = []
        self.probes: list[list[Any]] = []
        self.draining: set[str] = set()
        self.cooling_until: dict[str, float] = {}
        self.unhealthy: set[str] = set()

    @property
    def members(self) -> list[str]:
        return list(self.pools[0].backends)

    @initialize(members=st.dictionaries(NAMES, st.sampled_from([1, 2]), min_size=3, max_size=7))
    def begin(self, members: dict[str, int]) -> None:
        for pool in self.pools:
            pool.update(members, self.now)

    @rule(action=st.sampled_from(ACTIONS), data=st.data())
    def step(self, action: str, data: st.DataObject) -> None:
        getattr(self, action)(data.draw)

    def time_passes(self, draw: Draw) -> None:
        step = draw(st.sampled_from([0.25, 1.0, 1.0, 4.0, 11.0, -3.0]))
        asked = self.now + step
        self.now = max(self.now, asked)
        self.acquire_and_check(asked)

    def requests_start(self, draw: Draw) -> None:
        avoid = draw(st.sets(NAMES, max_size=2))
        for _ in range(draw(st.integers(1, 6))):
            self.acquire_and_check(self.now, avoid)

    def requests_end(self, draw: Draw) -> None:
        known = draw(st.sampled_from([True, True, True, False]))
        retry_after = draw(st.sampled_from([None, None, None, None, 2.0, 1e9]))
        for _ in range(min(draw(st.integers(1, 9)), len(self.leases))):
            leases = self.leases.pop(draw(st.integers(0, len(self.leases) - 1)))
            current = leases[0]._member
            ok = leases[0].backend not in self.unhealthy if known else None
            status = draw(st.sampled_from([None, 500, 502])) if ok is False else None
            for pool, lease in zip(self.pools, leases, strict=True):
                pool.release(lease, self.now, ok, retry_after=retry_after, status=status)
            if retry_after is not None and not current.former:
                until = self.now + min(retry_after, LONGEST)
                backend = leases[0].backend
                self.cooling_until[backend] = max(until, self.cooling_until.get(backend, 0.0))

    def health_changes(self, draw: Draw) -> None:
        backend, fails = draw(NAMES), draw(st.booleans())
        (self.unhealthy.add if fails else self.unhealthy.discard)(backend)

    def bound_requests(self, draw: Draw) -> None:
        backend = draw(st.sampled_from(sorted(self.unhealthy)) if self.unhealthy else NAMES)
        for _ in range(draw(st.integers(2, 6))):
            answers, leases = self.acquire(self.now, prefer=backend, strict=True)
            assert answers[0] == answers[1], f"the order of gates matters: {answers}"
            if not leases:
                return
            self.check_counts(leases[0])
            for pool, lease in zip(self.pools, leases, strict=True):
                pool.release(lease, self.now, backend not in self.unhealthy)

    def probes_are_sent(self, draw: Draw) -> None:
        self.probe(answered=draw(st.sampled_from([True, True, True, False])))

    def probe(self, answered: bool) -> None:
        sent = [gates[0].probes(self.now) for gates in self.gates]
        assert sent[0] == sent[1]
        awaited = [probe.backend for probe in sent[0]]
        assert len(set(awaited)) == len(awaited)
        for probe in sent[0] if answered else ():
            ok = probe.backend not in self.unhealthy
            answers = {gates[0].answer(probe, ok, self.now) for gates in self.gates}
            assert len(answers) == 1

    def drains(self, draw: Draw) -> None:
        backend, begins = draw(NAMES), draw(st.booleans())
        if backend in self.members:
            for gates in self.gates:
                (gates[4].begin if begins else gates[4].cancel)(backend, self.now)
            (self.draining.add if begins else self.draining.discard)(backend)

    def membership_changes(self, draw: Draw) -> None:
        backend, weight, leaves = draw(NAMES), draw(WEIGHTS), draw(st.booleans())
        known = backend in self.members
        for pool in self.pools:
            if not known:
                pool.add(backend, weight, self.now)
            elif leaves:
                pool.remove(backend, self.now)
            else:
                pool.set_weight(backend, weight, self.now)
        if known and leaves:
            self.draining.discard(backend)
            self.cooling_until.pop(backend, None)

    def settings_change(self, draw: Draw) -> None:
        backend, waiting = draw(NAMES), draw(st.integers(0, 9))
        limit = draw(st.sampled_from([None, 1, 3]))
        for gates in self.gates:
            gates[6].set_waiting(waiting, self.now)
            if backend in self.members:
                gates[5].set(backend, limit)
                gates[7].begin(backend, self.now)
                gates[2].restore(backend, self.now)

    def reading_twice_changes_nothing(self, draw: Draw) -> None:
        """The first reading applies the changes that are due, as a request would do."""
        del draw
        for pool in self.pools:
            pool.snapshot()
        before = self.snapshot()
        for backend in self.members:
            self.pools[0].state(backend)
            self.pools[0].admits(backend)
            self.pools[0].admits(backend, bound=True)
            self.pools[0].effective_weight(backend)
            for gate in self.gates[0]:
                for later in (0.0, 3.0, 1e6):
                    gate.factor(backend, self.now + later)
        assert isinstance(self.pools[0].due, float)
        assert repr(self.pools[0])
        assert all(map(repr, self.gates[0]))
        assert self.snapshot() == before

    def snapshot(self) -> bytes:
        pool = self.pools[0]
        return pickle.dumps(pool)

    def acquire_and_check(self, now: float, avoid: set[str] | None = None) -> None:
        """Acquire from both pools, and check the answer by what is known from outside."""
        type(self).counts["acquired"] += 1
        avoid = avoid or set()
        answers, leases = self.acquire(now, avoid=avoid)
        assert answers[0] == answers[1], f"the order of gates matters: {answers}"
        if leases:
            self.leases.append(leases)
            self.check_pick(leases[0], avoid)
        else:
            type(self).counts["refused"] += 1
            self.check_refusal(avoid)

    def acquire(self, now: float, **options: Any) -> tuple[list[str], list[Lease[str]]]:
        """Acquire from both pools; return the answer of each, and the leases."""
        answers: list[str] = []
        leases: list[Lease[str]] = []
        for pool in self.pools:
            try:
                leases.append(pool.acquire(now, **options))
                answers.append(leases[-1].backend)
            except NoBackendAvailable as refusal:
                answers.append(f"{sorted(refusal.counts.items())} {refusal.retry_at}")
        return answers, leases

    def check_pick(self, lease: Lease[str], avoid: set[str]) -> None:
        assert lease.backend not in avoid
        assert self.pools[0].weight(lease.backend) > 0
        assert lease.backend not in self.draining
        type(self).counts["panic"] += lease.panic
        checks, _, outliers, *_ = self.gates[0]
        healthy = all(gate.factor(lease.backend, self.now) for gate in (checks, outliers))
        assert healthy or lease.panic
        self.check_counts(lease)

    def check_counts(self, lease: Lease[str]) -> None:
        """Check what holds for bound requests too."""
        pool, backend = self.pools[0], lease.backend
        assert self.cooling_until.get(backend, 0.0) <= self.now
        assert pool.in_flight(backend) <= LIMIT
        total = sum(map(pool.in_flight, self.members))
        assert total <= POOL_LIMIT
        load = total + self.gates[0][6]._waiting
        assert pool.in_flight(backend) <= max(2, load * 5 // 12 if load < 12 else 5)

    def check_refusal(self, avoid: set[str]) -> None:
        full = sum(map(self.pools[0].in_flight, self.members)) >= POOL_LIMIT
        for pool in self.pools:
            assert full or not [b for b in self.members if b not in avoid and pool.admits(b)]

    @invariant()
    def changes_were_reported_and_no_factor_changes_before_due(self) -> None:
        for pool in self.pools:
            for place, gate in enumerate(pool._gates):
                if gate.due <= self.now:
                    continue
                last = nextafter(min(gate.due, self.now + 1e6), 0)
                for backend, member in pool._by_backend.items():
                    for when in (self.now, last):
                        reported = member.factors[place]
                        assert gate.factor(backend, when) == reported, (gate, backend, when)

    @invariant()
    def the_budget_holds(self) -> None:
        members = len(self.members)
        allowed = max(0, min(max(int(SHARE * members + 1e-9), 1), members - 1))
        for gates in self.gates:
            assert len(gates[2].ejections()) <= allowed
            type(self).counts["ejected"] += bool(gates[2].ejections())

    def teardown(self) -> None:
        """No backend stays closed for ever: make every one healthy for a while."""
        for backend in self.draining:
            for gates in self.gates:
                gates[4].cancel(backend, self.now)
        self.draining.clear()
        self.unhealthy.clear()
        for gates in self.gates:
            gates[6].set_waiting(0, self.now)
        self.release_all()
        for _ in range(150):
            self.now += 5.0
            self.probe(answered=True)
            for _ in range(3):
                self.acquire_and_check(self.now)
            self.release_all()
        open_now = {b for b in self.members if self.pools[0].weight(b)}
        assert {b for b in self.members if self.pools[0].admits(b)} == open_now
        assert not self.pools[0].panicking or not open_now
        served: set[str] = set()
        for _ in range(len(open_now) * 3):
            self.acquire_and_check(self.now)
            served.add(self.leases[-1][0].backend)
            self.release_all()
        assert served == open_now
        self.check_events()

    def release_all(self) -> None:
        for leases in self.leases:
            for pool, lease in zip(self.pools, leases, strict=True):
                pool.release(lease, self.now)
        self.leases.clear()

    def check_events(self) -> None:
        """Check that every reason that began has ended, and none began twice without an end."""
        current: dict[tuple[object, str], bool] = {}
        for event in self.events:
            assert -inf < event.at <= self.now
            if event.reason == "member":
                current = {key: holds for key, holds in current.items() if key[0] != event.backend}
            if event.reason in {"unhealthy", "ejected", "cooling down", "draining", "panic"}:
                known = current.get((event.backend, event.reason), False)
                if event.backend is None:
                    assert known is not event.began, event
                current[event.backend, event.reason] = event.began
            type(self).counts[event.reason] += 1
        for (backend, reason), holds in current.items():
            assert not (holds and backend in self.members), (backend, reason)


@pytest.mark.parametrize("kind", [WeightedLeastConnections, LeastConnections, RoundRobin])
def test_every_gate_at_once(kind: type[Any]) -> None:
    counts: Counter[str] = Counter()
    machine = type(f"all gates over {kind.__name__}", (AllGates,), {"kind": kind, "counts": counts})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=RUNS, stateful_step_count=STEPS)
    )
    for what in ("unhealthy", "failing", "ejected", "cooling down", "draining", "saturated"):
        assert counts[what] > (RUNS / 5 if DEEP else 0), f"{what} was rare: {counts}"
    for what in ("refused", "panic", "slow start"):
        assert counts[what] > (RUNS / 5 if DEEP else 0), f"{what} was rare: {counts}"
