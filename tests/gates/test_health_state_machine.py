"""The health state machine: its initial states, immediate failures, and panic."""

from collections import deque
from collections.abc import Callable
from copy import copy
from itertools import product
from random import Random
from typing import Any, Literal

import pytest

from balancers import Drain, Event, HealthChecks, Pool, RoundRobin
from balancers.gates import ActiveChecks, HealthStateMachine, OutlierEjection, PassiveChecks

Initial = Literal["unknown", "up", "down"]


class Model:
    """The specification: all results since the last flip."""

    def __init__(self, unhealthy: int, healthy: int, initial: Initial) -> None:
        self.thresholds = {True: unhealthy, False: healthy}
        self.up = initial != "down"
        self.undecided = initial == "unknown"
        self.results: list[str] = []

    def observe(self, result: str) -> None:
        self.results = [*self.results, result]
        threshold = self.thresholds[self.up]
        in_a_row = self.results[-threshold:] == ["bad" if self.up else "good"] * threshold
        if self.undecided or result == "immediate" or in_a_row:
            self.up = result == "good"
            self.undecided = False
            self.results = []


def walk(
    machine: HealthStateMachine, model: Model, symbols: tuple[str, ...], left: int
) -> tuple[int, int]:
    """Try every sequence; return how many results and flips there were."""
    tried = flips = 0
    for result in symbols if left else ():
        actual, expected = copy(machine), copy(model)
        before = expected.up
        expected.observe(result)
        ok = result == "good"
        if result != "immediate":
            assert machine.would_be_healthy(ok) is expected.up
        assert actual.observe(ok, immediate=result == "immediate") is (expected.up != before)
        assert actual.healthy is expected.up
        assert actual.settled is (not expected.undecided and not last_is_contrary(expected))
        deeper = walk(actual, expected, symbols, left - 1)
        tried += 1 + deeper[0]
        flips += (expected.up != before) + deeper[1]
    return tried, flips


def last_is_contrary(model: Model) -> bool:
    """Return whether the last result is contrary to the state."""
    return bool(model.results) and (model.results[-1] == "good") != model.up


@pytest.mark.parametrize("initial", ["unknown", "up", "down"])
@pytest.mark.parametrize(("unhealthy", "healthy"), [*product(range(1, 5), repeat=2)])
def test_every_sequence_of_twelve_from_every_initial_state(
    unhealthy: int, healthy: int, initial: Initial
) -> None:
    machine = HealthStateMachine(unhealthy, healthy, initial=initial)
    tried, flips = walk(machine, Model(unhealthy, healthy, initial), ("good", "bad"), 12)
    assert tried == 2**13 - 2
    assert flips > 100


@pytest.mark.parametrize("initial", ["unknown", "up", "down"])
@pytest.mark.parametrize(("unhealthy", "healthy"), [(1, 1), (3, 2), (2, 4)])
def test_every_sequence_of_seven_with_immediate_failures(
    unhealthy: int, healthy: int, initial: Initial
) -> None:
    machine = HealthStateMachine(unhealthy, healthy, initial=initial)
    symbols = ("good", "bad", "immediate")
    tried, _ = walk(machine, Model(unhealthy, healthy, initial), symbols, 7)
    assert tried == sum(3**length for length in range(1, 8))


def close_and_open(gate: Any) -> tuple[Callable[[int], None], Callable[[int], None]]:
    """Return functions that make the gate close a backend at 1 s, and open it at 50 s."""
    if hasattr(gate, "observe"):
        return (
            lambda b: gate.observe(b, False, 1.0, immediate=True),
            lambda b: gate.observe(b, True, 50.0),
        )

    def fail(pool: Pool[int], backend: int, now: float, ok: bool) -> None:
        pool.release(pool.acquire(now, prefer=backend, strict=True), now, ok)

    pool: Pool[int] = gate.pool
    if hasattr(gate, "restore"):
        return lambda b: fail(pool, b, 1.0, False), lambda b: gate.restore(b, 50.0)
    return lambda b: fail(pool, b, 1.0, False), lambda b: fail(pool, b, 50.0, True)


@pytest.mark.parametrize(
    "make",
    [
        lambda: HealthChecks[int](3, 1),
        lambda: ActiveChecks[int](3, 1, rng=Random(1)),
        lambda: OutlierEjection[int](1, (), base_ejection_time=300.0, max_ejected_share=1.0),
        lambda: PassiveChecks[int](1, 40.0),
    ],
    ids=["health", "probes", "ejection", "passive"],
)
def test_a_panic_ignores_every_soft_gate_and_no_drain(make: Callable[[], Any]) -> None:
    """Nine may serve and one drains: a panic starts below 4 open, and ends from 7 open on."""
    gate, drain = make(), Drain[int]()
    events: deque[Event] = deque(maxlen=100)
    gates = [gate, drain]
    pool = Pool(RoundRobin(range(10)), gates, panic=4 / 9, calm=7 / 9, events=events)
    gate.pool = pool
    drain.begin(9, 0.0)
    close, reopen = close_and_open(gate)

    def served(now: float) -> set[int]:
        leases = [pool.acquire(now) for _ in range(18)]
        assert {lease.panic for lease in leases} == {pool.panicking}
        for lease in leases:
            pool.release(lease, now, ok=None)
        return {lease.backend for lease in leases}

    for backend in range(5):
        close(backend)
    assert served(2.0) == {5, 6, 7, 8}
    close(5)
    assert served(3.0) == set(range(9))
    for backend in range(3):
        reopen(backend)
    assert served(50.0) == set(range(9))
    assert pool.panicking is not isinstance(
        gate, PassiveChecks
    )  # 6 are open; passive: all, on trial
    reopen(3)
    assert served(51.0) >= {0, 1, 2, 3, 6, 7, 8}
    assert 9 not in served(51.0)
    assert not pool.panicking
    panics = [(event.began, event.detail) for event in events if event.reason == "panic"]
    assert [began for began, _ in panics] == [True, False]
    assert panics[0][1] == "3 of 9 open"
