"""The health machine, not its rules alone: every beginning, failures at once, and panic."""

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


class Plainly:
    """What was seen since the last flip, and nothing clever: the specification."""

    def __init__(self, unhealthy: int, healthy: int, initial: Initial) -> None:
        self.thresholds = {True: unhealthy, False: healthy}
        self.up = initial != "down"
        self.undecided = initial == "unknown"
        self.seen: list[str] = []

    def observe(self, seen: str) -> None:
        self.seen = [*self.seen, seen]
        threshold = self.thresholds[self.up]
        in_a_row = self.seen[-threshold:] == ["bad" if self.up else "good"] * threshold
        if self.undecided or seen == "at once" or in_a_row:
            self.up = seen == "good"
            self.undecided = False
            self.seen = []


def walk(
    machine: HealthStateMachine, model: Plainly, symbols: tuple[str, ...], left: int
) -> tuple[int, int]:
    """Go through every sequence; give how many results and flips there were."""
    tried = flips = 0
    for seen in symbols if left else ():
        real, plain = copy(machine), copy(model)
        was = plain.up
        plain.observe(seen)
        ok = seen == "good"
        if seen != "at once":
            assert machine.would_be_healthy(ok) is plain.up
        assert real.observe(ok, immediate=seen == "at once") is (plain.up != was)
        assert real.healthy is plain.up
        assert real.settled is (not plain.undecided and not counts_against(plain))
        deeper = walk(real, plain, symbols, left - 1)
        tried += 1 + deeper[0]
        flips += (plain.up != was) + deeper[1]
    return tried, flips


def counts_against(model: Plainly) -> bool:
    """Whether the last result speaks against the state, and so may be the first of a row."""
    return bool(model.seen) and (model.seen[-1] == "good") != model.up


@pytest.mark.parametrize("initial", ["unknown", "up", "down"])
@pytest.mark.parametrize(("unhealthy", "healthy"), [*product(range(1, 5), repeat=2)])
def test_every_sequence_of_twelve_from_every_beginning(
    unhealthy: int, healthy: int, initial: Initial
) -> None:
    machine = HealthStateMachine(unhealthy, healthy, initial=initial)
    tried, flips = walk(machine, Plainly(unhealthy, healthy, initial), ("good", "bad"), 12)
    assert tried == 2**13 - 2
    assert flips > 100


@pytest.mark.parametrize("initial", ["unknown", "up", "down"])
@pytest.mark.parametrize(("unhealthy", "healthy"), [(1, 1), (3, 2), (2, 4)])
def test_every_sequence_of_seven_with_failures_at_once(
    unhealthy: int, healthy: int, initial: Initial
) -> None:
    machine = HealthStateMachine(unhealthy, healthy, initial=initial)
    symbols = ("good", "bad", "at once")
    tried, _ = walk(machine, Plainly(unhealthy, healthy, initial), symbols, 7)
    assert tried == sum(3**length for length in range(1, 8))


def close_and_open(gate: Any) -> tuple[Callable[[int], None], Callable[[int], None]]:
    """Give how a soft gate closes a backend at 1 s, and opens it again at 50 s."""
    if hasattr(gate, "observe"):
        return (
            lambda b: gate.observe(b, False, 1.0, immediate=True),
            lambda b: gate.observe(b, True, 50.0),
        )

    def fail(pool: Pool[int], backend: int, now: float, ok: bool) -> None:
        pool.release(pool.acquire(now, prefer=backend, strict=True), now, ok)

    pool: Pool[int] = gate.of
    if hasattr(gate, "restore"):
        return lambda b: fail(pool, b, 1.0, False), lambda b: gate.restore(b, 50.0)
    return lambda b: fail(pool, b, 1.0, False), lambda b: fail(pool, b, 50.0, True)


@pytest.mark.parametrize(
    "make",
    [
        lambda: HealthChecks[int](3, 1),
        lambda: ActiveChecks[int](3, 1, rng=Random(1)),
        lambda: OutlierEjection[int](1, (), base_ejection_time=300.0, max_ejected=1.0),
        lambda: PassiveChecks[int](1, 40.0),
    ],
    ids=["health", "probes", "ejection", "marks"],
)
def test_every_soft_gate_may_be_ignored_in_panic_and_no_drain_is(make: Callable[[], Any]) -> None:
    """Nine may serve and one more drains: panic below 4 open, calm again from 7 on."""
    gate, drain = make(), Drain[int]()
    events: deque[Event] = deque(maxlen=100)
    gates = [gate, drain]
    pool = Pool(RoundRobin(range(10)), gates, panic=4 / 9, calm=7 / 9, events=events)
    gate.of = pool
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
    assert pool.panicking is not isinstance(gate, PassiveChecks)  # six are open, or all on trial
    reopen(3)
    assert served(51.0) >= {0, 1, 2, 3, 6, 7, 8}
    assert 9 not in served(51.0)
    assert not pool.panicking
    told = [(event.began, event.detail) for event in events if event.reason == "panic"]
    assert [began for began, _ in told] == [True, False]
    assert told[0][1] == "3 of 9 open"
