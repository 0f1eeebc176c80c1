"""Recoveries between two requests, and errors of one gate that must not cost another its news."""

from collections import deque
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from balancers import (
    Drain,
    Event,
    HashRing,
    HealthChecks,
    LeastConnections,
    Outcome,
    Pool,
    RoundRobin,
    SlowStart,
    WeightedRoundRobin,
)
from balancers.gates import ActiveChecks, MemberGate, PassiveChecks, WarmUp


class Fragile(MemberGate[str, None]):
    """Raises an error in the methods that are named in ``failing``."""

    reason = "fragile"
    soft = True

    def __init__(self) -> None:
        super().__init__()
        self.failing: set[str] = set()
        self.calls: list[tuple[str, str]] = []

    def call(self, method: str, backend: str) -> None:
        self.calls.append((method, backend))
        if method in self.failing:
            raise ArithmeticError(method)

    def new_state(self, now: float) -> None:
        del now

    def factor(self, backend: str, now: float) -> float:
        del now
        if "factor" in self.failing and backend in "bd":
            raise ArithmeticError(backend)
        return 1

    def recovered(self, backend: str, now: float) -> None:
        del now
        self.call("recovered", backend)

    def started(self, backend: str, in_flight: int, now: float) -> None:
        del in_flight, now
        self.call("started", backend)

    def finished(
        self, backend: str, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        del outcome, in_flight, started_at, now
        self.call("finished", backend)

    def removed(self, backend: str, now: float) -> None:
        super().removed(backend, now)
        self.call("removed", backend)


def flap(health: HealthChecks[str], backend: str, now: float) -> None:
    health.observe(backend, False, now)
    health.observe(backend, True, now)


def test_a_recovery_between_two_requests_starts_a_ramp() -> None:
    health: HealthChecks[str] = HealthChecks(1, 1)
    pool = Pool(WeightedRoundRobin(["a", "b"]), [SlowStart[str](10.0), health])
    pool.acquire(0.0)
    flap(health, "a", 1.0)
    assert pool.effective_weight("a") == 0.1
    assert pool.state("a") == ()
    assert pool.admits("a")
    lease = pool.acquire(1.0)
    assert pool.effective_weight("a") == 0.1
    pool.release(lease, 1.0)
    pool.acquire(12.0)
    assert pool.effective_weight("a") == 1


def test_a_cold_backend_is_not_flooded_after_a_recovery_between_two_requests() -> None:
    """Of 15 requests, all 15 went to the cold backend."""
    health: HealthChecks[str] = HealthChecks(1, 1)
    pool = Pool(LeastConnections([*"abc"]), [health, WarmUp[str](30.0)])
    for backend in "bc" * 15:
        pool.acquire(0.0, prefer=backend)
    flap(health, "a", 1.0)
    picks = [pool.acquire(1.0).backend for _ in range(15)]
    assert picks.count("a") <= 3


def test_every_recovery_at_once_starts_a_ramp() -> None:
    for close_first in (False, True):
        health: HealthChecks[str] = HealthChecks(1, 1)
        pool = Pool(WeightedRoundRobin([*"abcd"]), [health, SlowStart[str](10.0)])
        for backend in "bcd":
            health.observe(backend, False, 0.0)
        if close_first:
            pool.acquire(0.0)
        for backend in "bcd":
            health.observe(backend, True, 1.0)
        pool.acquire(1.0)
        assert [pool.effective_weight(b) for b in "abcd"] == [1, 0.1, 0.1, 0.1]


def test_no_recovery_while_another_soft_gate_closes_it() -> None:
    health, other = HealthChecks[str](1, 1), HealthChecks[str](1, 1)
    pool = Pool(WeightedRoundRobin(["a", "b"]), [health, other, SlowStart[str](10.0)])
    other.observe("a", False, 0.0)
    pool.acquire(0.0)
    flap(health, "a", 1.0)
    pool.acquire(1.0)
    other.observe("a", True, 20.0)
    assert pool.effective_weight("a") == 0.1


def test_the_end_of_a_drain_is_no_recovery() -> None:
    drain: Drain[str] = Drain()
    pool = Pool(WeightedRoundRobin(["a", "b"]), [drain, SlowStart[str](10.0)])
    drain.begin("a", 0.0)
    drain.cancel("a", 0.0)
    pool.acquire(0.0)
    assert pool.effective_weight("a") == 1


@pytest.mark.parametrize("method", ["factor", "recovered"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_gate_that_raises_costs_no_other_gate_its_recoveries(method: str, place: int) -> None:
    fragile, health, ramp = Fragile(), HealthChecks[str](1, 1), SlowStart[str](10.0)
    gates: list[Any] = [health, ramp]
    gates.insert(place, fragile)
    pool = Pool(WeightedRoundRobin([*"abcd"]), gates)
    for backend in "bcd":
        health.observe(backend, False, 0.0)
    pool.acquire(0.0)
    fragile.failing = {method}
    for backend in "bcd":
        health.observe(backend, True, 1.0)
        fragile.notify_change(backend)
    for _ in range(2):
        with pytest.raises(ArithmeticError):
            pool.acquire(1.0)
        assert pool.due == float("-inf")
    fragile.failing = set()
    pool.acquire(1.0)
    assert [pool.effective_weight(b) for b in "abcd"] == [1, 0.1, 0.1, 0.1]
    assert {backend for name, backend in fragile.calls if name == "recovered"} == {*"bcd"}


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_gate_that_raises_at_the_end_of_a_request_costs_no_other_gate_its_news(
    place: int,
) -> None:
    fragile, health, second = Fragile(), HealthChecks[str](1), HealthChecks[str](1)
    gates: list[Any] = [health, second]
    gates.insert(place, fragile)
    balancer = LeastConnections(["a"])
    pool = Pool(balancer, gates, limit=1)
    lease = pool.acquire(0.0)
    fragile.failing = {"finished"}
    with pytest.raises(ArithmeticError):
        pool.release(lease, 1.0, ok=False)
    assert pool.state("a") == ("unhealthy",)
    assert [gate.factor("a", 1.0) for gate in (health, second)] == [0, 0]
    assert (lease.released, pool.in_flight("a")) == (True, 0)
    assert pool.acquire(1.0).backend == "a"


@pytest.mark.parametrize("place", [0, 1])
def test_a_gate_that_raises_when_a_backend_leaves_keeps_the_counts_right(place: int) -> None:
    fragile, health = Fragile(), HealthChecks[str](1)
    gates: list[Any] = [health]
    gates.insert(place, fragile)
    pool = Pool(RoundRobin([*"abc"]), gates, limit=2)
    pool.acquire(0.0, prefer="a")
    pool.acquire(0.0, prefer="b")
    fragile.failing = {"removed"}
    with pytest.raises(ArithmeticError):
        pool.update(["c"], 1.0)
    assert list(pool.backends) == ["c"]
    assert pool.acquire(1.0).backend == "c"
    assert [backend for name, backend in fragile.calls if name == "removed"] == ["a", "b"]
    pool.add("a", now=2.0)
    assert pool.state("a") == ()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_factor_that_raises_keeps_the_recoveries_found_before_it(place: int) -> None:
    """The changes of "a" and "c" are applied before the one of "d" raises the error."""
    fragile, health, ramp = Fragile(), HealthChecks[str](1, 1), SlowStart[str](10.0)
    gates: list[Any] = [health, ramp]
    gates.insert(place, fragile)
    pool = Pool(WeightedRoundRobin([*"abcd"]), gates)
    for backend in "acd":
        health.observe(backend, False, 0.0)
    pool.acquire(0.0)
    fragile.failing = {"factor"}
    for backend in "acd":
        health.observe(backend, True, 1.0)
        fragile.notify_change(backend)
    with pytest.raises(ArithmeticError):
        pool.acquire(1.0)
    fragile.failing = set()
    pool.acquire(1.0)
    assert [pool.effective_weight(b) for b in "abcd"] == [0.1, 1, 0.1, 0.1]


def test_the_order_of_gates_does_not_decide_which_ramp_steps_first() -> None:
    """Ramps that begin together step at different times.  The first member has the first ramp."""
    weights: list[list[float]] = []
    for reverse in (False, True):
        first, second = HealthChecks[str](1, 1), HealthChecks[str](1, 1)
        gates: list[Any] = [first, second, SlowStart[str](10.0, 5)]
        pool = Pool(WeightedRoundRobin([*"abc"]), gates[::-1] if reverse else gates)
        for ok in (False, True):
            second.observe("a", ok, 1.0)
            first.observe("b", ok, 1.0)
            pool.acquire(1.0)
        weights.append([])
        for step in range(100):
            pool.acquire(1.0 + step / 10)
            weights[-1] += [pool.effective_weight(backend) for backend in "ab"]
    assert weights[0] == weights[1]
    assert weights[0][::2] != weights[0][1::2]


class Refusing(RoundRobin[str]):
    """Raises an error when the weight of a backend in ``failing`` changes."""

    failing = ""

    def put(self, backend: str, weight: float = 1) -> None:
        if backend in self.failing:
            raise ArithmeticError(backend)
        super().put(backend, weight)


def pool_after_changes(failing: str, panic: float | None, ok: bool) -> Pool[str]:
    """Return a pool after two backends failed, or recovered, while the balancer raised errors."""
    health: HealthChecks[str] = HealthChecks(1, 1)
    balancer = Refusing([*"abc"])
    pool = Pool(balancer, [health], panic=panic)
    for backend in "bc" if ok else "a":
        health.observe(backend, False, 0.0)
    pool.acquire(0.0)
    balancer.failing = failing
    for backend in "bc":
        health.observe(backend, ok, 1.0)
    for _ in range(2):
        with suppress(ArithmeticError, LookupError):
            pool.acquire(1.0)
    balancer.failing = ""
    pool.snapshot()
    assert all(pool.effective_weight(b) == weight for b, weight in balancer.weights.items())
    return pool


@pytest.mark.parametrize("panic", [None, 0.0, 0.5])
@pytest.mark.parametrize("failing", ["a", "b", "c", "abc"])
def test_a_balancer_that_raises_at_a_change_gets_it_again(
    failing: str, panic: float | None
) -> None:
    for ok in (False, True):
        pool, other = (pool_after_changes(name, panic, ok) for name in (failing, ""))
        assert pool.panicking == other.panicking
        for backend in "abc":
            assert pool.effective_weight(backend) == other.effective_weight(backend)
            assert pool.state(backend) == other.state(backend)


def test_reading_does_not_use_up_a_slow_start() -> None:
    """A dashboard or a session reads the pool long after the last request."""
    for read in (False, True):
        health: HealthChecks[str] = HealthChecks(1, 1)
        pool = Pool(WeightedRoundRobin(["a", "b"]), [health, SlowStart[str](30.0)])
        pool.acquire(1.0)
        flap(health, "a", 500.0)
        if read:
            pool.snapshot()
            assert pool.effective_weight("a") == 0.1
            assert pool.admits("a", bound=True, now=506.0)
            assert pool.due > 1.0
        pool.acquire(506.0)
        assert pool.effective_weight("a") == 0.1
        pool.acquire(521.0)
        assert 0.4 < pool.effective_weight("a") < 0.6
        pool.acquire(600.0)
        assert pool.effective_weight("a") == 1


def test_reading_does_not_flood_a_cold_backend() -> None:
    health: HealthChecks[str] = HealthChecks(1, 1)
    pool = Pool(LeastConnections([*"abc"]), [health, WarmUp[str](30.0)])
    for backend in "bc" * 15:
        pool.acquire(0.0, prefer=backend)
    flap(health, "a", 500.0)
    pool.snapshot()
    picks = [pool.acquire(506.0).backend for _ in range(15)]
    assert picks.count("a") <= 3


def test_a_recovery_that_was_read_ends_with_the_backend() -> None:
    health: HealthChecks[str] = HealthChecks(1, 1)
    pool = Pool(WeightedRoundRobin(["a", "b"]), [health, SlowStart[str](30.0)])
    pool.acquire(1.0)
    flap(health, "a", 500.0)
    pool.snapshot()
    pool.remove("a", 505.0)
    assert pool.acquire(506.0).backend == "b"


def test_an_interruption_loses_no_recovery() -> None:
    class Interrupting(Fragile):
        def recovered(self, backend: str, now: float) -> None:
            super().recovered(backend, now)
            if "interrupt" in self.failing:
                raise KeyboardInterrupt

    fragile, health, ramp = Interrupting(), HealthChecks[str](1, 1), SlowStart[str](10.0)
    pool = Pool(WeightedRoundRobin([*"abcd"]), [fragile, health, ramp])
    for backend in "bcd":
        flap(health, backend, 1.0)
    fragile.failing = {"interrupt"}
    with pytest.raises(KeyboardInterrupt):
        pool.acquire(1.0)
    fragile.failing = set()
    pool.acquire(1.0)
    assert [pool.effective_weight(b) for b in "abcd"] == [1, 0.1, 0.1, 0.1]


def test_a_failed_join_leaves_no_gate_with_a_backend_that_is_no_member() -> None:
    """Also if a gate raises when the join is undone."""

    class Refusing(Fragile):
        def added(self, backend: str, now: float) -> None:
            super().added(backend, now)
            self.call("added", backend)

    passive: PassiveChecks[str] = PassiveChecks()
    first, last = Refusing(), Refusing()
    pool = Pool(RoundRobin(["a"]), [first, passive, last], panic=None)
    first.failing, last.failing = {"removed"}, {"added"}
    with pytest.raises(ArithmeticError, match="added"):
        pool.add("b", now=0.0)
    pool.release(pool.acquire(0.0), 0.0, ok=False)
    assert pool.state("a") == ()  # nginx never closes a single server


def test_a_failed_join_leaves_no_events() -> None:
    class Refusing(Fragile):
        def added(self, backend: str, now: float) -> None:
            super().added(backend, now)
            self.call("added", backend)

    for before in (0, 3):
        events: deque[Event] = deque(maxlen=3)
        health, last = HealthChecks[str](initial="down"), Refusing()
        ramp = SlowStart[str](10.0)
        pool = Pool(WeightedRoundRobin([*"abc"][:before]), [health, ramp, last], events=events)
        kept = [*events]
        last.failing = {"added"}
        with pytest.raises(ArithmeticError, match="added"):
            pool.add("x", now=100.0)
        assert [event for event in events if event.backend == "x"] == []
        assert all(event in kept for event in events)


def test_a_failed_join_keeps_the_events_of_other_members() -> None:
    events: deque[Event] = deque(maxlen=100)
    checks: ActiveChecks[Any] = ActiveChecks(1, 1, rng=Random(5), interval=3.0, timeout=1.0)
    pool: Pool[Any] = Pool(HashRing(["a", "b"]), [checks], events=events)
    pool.acquire(0.0, "key")
    checks.probes(4.0)
    events.clear()
    with pytest.raises(TypeError):
        pool.add(2.5, now=6.0)  # it has no name; the deadlines of the probes have passed
    pool.acquire(6.0, "key")
    assert {event.backend for event in events if event.reason == "unhealthy"} == {"a", "b"}


def test_a_reader_agrees_with_a_request_after_a_release() -> None:
    health: HealthChecks[str] = HealthChecks(1, 1)
    pool = Pool(WeightedRoundRobin(["a", "b"]), [health, SlowStart[str](10.0)])
    lease = pool.acquire(0.0)
    pool.acquire(0.0)
    health.observe("a", False, 1.0)
    pool.acquire(1.0)
    health.observe("a", True, 1.0)
    assert pool.effective_weight("a") == 0.1
    pool.release(lease, 6.0)
    assert pool.effective_weight("a") == 0.1
    pool.acquire(6.0)
    assert pool.effective_weight("a") == 0.1


def test_a_reading_that_raises_loses_no_recovery() -> None:
    for place in (0, 2):
        fragile, health = Fragile(), HealthChecks[str](1, 1)
        gates: list[Any] = [health, SlowStart[str](10.0)]
        gates.insert(place, fragile)
        pool = Pool(WeightedRoundRobin(["a", "b"]), gates)
        pool.acquire(0.0)
        health.observe("a", False, 1.0)
        pool.acquire(1.0)
        health.observe("a", True, 1.0)
        fragile.failing = {"recovered"}
        with pytest.raises(ArithmeticError):
            pool.state("a")
        fragile.failing = set()
        pool.acquire(100.0)
        assert pool.effective_weight("a") == 0.1
