"""Slow start and warming up: the formula, what starts a ramp, and the limit of a new backend."""

from collections import Counter
from functools import partial
from math import inf, nan
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import (
    ConnectionLimit,
    Drain,
    HealthChecks,
    Lease,
    LeastConnections,
    Pool,
    PowerOfTwoChoices,
    RandomChoice,
    RoundRobin,
    SlowStart,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from balancers.errors import IncompatibleGate, InvalidSetting
from balancers.gates import OutlierEjection, WarmUp

WINDOW = 30.0


def envoy(t: float, window: float, aggression: float, min_share: float) -> float:
    """Return the factor by the formula in Envoy's documentation."""
    return max(min_share, (t / window) ** (1 / aggression)) if t < window else 1.0


@given(
    window=st.floats(0.1, 1e4),
    steps=st.integers(2, 40),
    aggression=st.floats(0.2, 5.0),
    min_share=st.floats(0.01, 1.0),
    share=st.floats(0.0, 1.2),
)
def test_the_share_follows_the_formula_within_a_step(
    window: float, steps: int, aggression: float, min_share: float, share: float
) -> None:
    ramp: SlowStart[str] = SlowStart(window, steps, aggression, min_share)
    Pool(WeightedRoundRobin(["a"]), [ramp])
    ramp.begin("a", 0.0)
    t = share * window
    factor = ramp.factor("a", t)
    rounding = 0.0005 if min_share > 0.001 else 0.001
    assert factor <= envoy(t, window, aggression, min_share) + rounding * (1 + 1e-9)
    earlier = max(0.0, t - window / steps * (1 + 1e-9))
    assert factor >= envoy(earlier, window, aggression, min_share) - rounding * (1 + 1e-9)


@pytest.mark.parametrize(
    ("aggression", "expected"),
    [(1.0, [0.1, 0.25, 0.5, 0.75, 1]), (2.0, [0.1, 0.5, 0.5**0.5, 0.75**0.5, 1])],
)
def test_the_share_is_the_formula_at_the_announced_instants(
    aggression: float, expected: list[float]
) -> None:
    ramp: SlowStart[str] = SlowStart(WINDOW, 4, aggression)
    pool = Pool(WeightedRoundRobin({"old": 8}), [ramp])
    pool.add("new", 8, now=100.0)
    factors = [pool.effective_weight("new") / 8]
    now = 100.0
    while pool.due < inf:
        now = max(now, pool.due)
        pool.acquire(now)
        factors.append(pool.effective_weight("new") / 8)
    assert now == 130.0
    assert factors == [round(factor, 3) for factor in expected]


def test_no_backend_ramps_up_in_a_new_pool() -> None:
    """Footgun 33: every backend is new at the start of a pool."""
    for gate in (SlowStart[str](WINDOW), WarmUp[str](WINDOW)):
        pool = Pool(WeightedLeastConnections({"a": 2, "b": 1}), [gate], now=5.0)
        pool.add("c", 3, now=5.0)
        pool.add("d", 1, now=34.9)
        assert [pool.effective_weight(b) for b in "abcd"] == [2, 1, 3, 1]
        assert gate.due == inf
        pool.add("e", 1, now=35.0)
        assert gate.share("e", 35.0) == 0.1
        for backend in "abcde":
            pool.remove(backend, now=40.0)
        pool.add("f", 1, now=50.0)
        pool.add("g", 1, now=60.0)
        assert gate.share("f", 60.0) == gate.share("g", 60.0) == 1
        pool.add("h", 1, now=80.0)
        assert gate.share("h", 80.0) == 0.1


def test_every_recovery_starts_a_ramp_and_no_other_opening_does() -> None:
    """Footgun 33: every time, but not after a drain or a connection limit."""
    ramp: SlowStart[str] = SlowStart(WINDOW)
    health: HealthChecks[str] = HealthChecks(2, 1)
    outliers: OutlierEjection[str] = OutlierEjection(
        1, base_ejection_time=4.0, max_ejected_share=0.5
    )
    drain: Drain[str] = Drain()
    gates: list[Any] = [ramp, health, outliers, drain, ConnectionLimit(1)]
    pool = Pool(WeightedRoundRobin(["a", "b"]), gates)
    now = 100.0
    for _ in range(3):
        health.observe("a", False, now, immediate=True)
        pool.release(pool.acquire(now), now)
        health.observe("a", True, now + 1)
        pool.release(pool.acquire(now + 1, avoid=["a"]), now + 1)
        assert pool.effective_weight("a") == 0.1
        assert ramp.factor("a", now + 1 + WINDOW) == 1
        now += 50.0
        pool.release(pool.acquire(now), now)
        assert pool.effective_weight("a") == 1
    drain.begin("a", now)
    pool.release(pool.acquire(now), now)
    drain.cancel("a", now)
    leases = [pool.acquire(now), pool.acquire(now)]
    for lease in leases:
        pool.release(lease, now, ok=lease.backend == "b")
    assert pool.state("a") == ("ejected",)
    assert ramp.factor("b", now) == 1  # it was full before
    pool.release(pool.acquire(now), now)
    pool.release(pool.acquire(now + 4.0), now + 4.0)
    assert pool.state("a") == ()
    assert pool.effective_weight("a") == 0.1


def test_a_backend_that_is_initially_down_ramps_up_when_healthy() -> None:
    ramp: SlowStart[str] = SlowStart(WINDOW)
    health: HealthChecks[str] = HealthChecks(1, 1, initial="down")
    pool = Pool(WeightedRoundRobin(["old"]), [ramp, health])
    health.observe("old", True, 0.0)
    assert pool.acquire(0.0).backend == "old"
    pool.acquire(90.0)
    pool.add("new", now=100.0)
    health.observe("new", True, 120.0)
    pool.release(pool.acquire(120.0), 120.0)
    assert ramp.factor("new", 135.0) == pytest.approx(0.5)


def test_low_traffic_does_not_starve_a_new_backend() -> None:
    """Footgun 33: it is served also with one request per second and a share of 0.1."""
    ramp: SlowStart[str] = SlowStart(WINDOW)
    pool = Pool(WeightedRoundRobin(["a", "b", "c"]), [ramp])
    pool.add("new", now=60.0)
    served = Counter(pool.acquire(60.0 + second).backend for second in range(30))
    assert 3 <= served["new"] <= 6  # the area under the ramp is half of a fair share of 7.5


def test_backends_that_ramp_up_together_step_at_different_instants() -> None:
    ramp: SlowStart[int] = SlowStart(WINDOW, 16)
    pool = Pool(WeightedRoundRobin(range(-10, 0)), [ramp])
    pool.update(range(-10, 1000), now=100.0)
    steps: list[int] = []
    for tick in range(0, 3001, 10):
        changed = list(ramp.changes(100.0 + tick / 100))
        assert len(changed) == len(set(changed))
        steps.append(len(changed))
        full = [backend for backend in range(1000) if ramp.factor(backend, 0.0) == 1]
        assert (0 in full) == (tick == 3000)  # the first of them takes the whole window
    assert ramp.due == inf
    assert all(ramp.factor(backend, 130.0) == 1 for backend in range(1000))
    assert sum(steps) > 14_000
    assert max(steps) <= 60  # the mean is 53


@pytest.mark.parametrize(
    ("kind", "follows"),
    [
        (WeightedRoundRobin, {1, 8, 50, 400}),
        (partial(RandomChoice, rng=Random(2)), {1, 8, 50, 400}),
        (WeightedLeastConnections, {400}),
        (partial(PowerOfTwoChoices, rng=Random(2)), {400}),
    ],
)
def test_which_balancers_follow_a_slow_start(kind: Any, follows: set[int]) -> None:
    """A share of 2.4 % was promised, and a balancer by requests in flight gave 12 % and more."""
    for in_flight in (1, 8, 50, 400):
        rng, picks, leases = Random(1), 0, list[Lease[str]]()
        pool = Pool(kind(["a", "b", "c", "d"]), [SlowStart[str](WINDOW)])
        pool.add("new", now=60.0)
        for _ in range(8000):
            if len(leases) == in_flight:
                pool.release(leases.pop(rng.randrange(in_flight)), 60.0)
            leases.append(pool.acquire(60.0))
            picks += leases[-1].backend == "new"
        if in_flight in follows:
            assert 0.018 < picks / 8000 < 0.032, (kind, in_flight)
        elif kind is WeightedLeastConnections and in_flight == 8:
            assert picks / 8000 > 0.1


def test_a_new_backend_gets_every_request_without_a_warm_up_and_not_with_one() -> None:
    """Footgun 3: ten backends have 50 requests in flight each, and the new one gets the next 50."""
    for warm_up in (False, True):
        gates = [WarmUp[int](WINDOW)] if warm_up else []
        pool = Pool(LeastConnections(range(10)), gates)
        leases = [pool.acquire(60.0) for _ in range(500)]
        pool.add(99, now=60.0)
        served = [pool.acquire(60.0).backend for _ in range(50)]
        if not warm_up:
            assert served == [99] * 50
            continue
        assert served.count(99) == 6  # a tenth of the mean of the others, which grew to 54.4
        for second, share in ((15.0, 0.5), (30.0, 1.0)):
            before = pool.in_flight(99)
            for _ in range(80):
                pool.release(pool.acquire(60.0 + second), 60.0 + second)
                leases.append(pool.acquire(60.0 + second))
            mean = sum(pool.in_flight(b) for b in range(10)) / 10
            assert before < pool.in_flight(99) <= share * mean + 1


def test_a_warm_up_does_not_limit_while_no_other_backend_serves() -> None:
    gate: WarmUp[str] = WarmUp(WINDOW)
    health: HealthChecks[str] = HealthChecks(1, 1)
    pool = Pool(LeastConnections(["a", "b"]), [gate, health])
    leases = [pool.acquire(60.0) for _ in range(8)]
    pool.add("new", now=60.0)
    for backend in "ab":
        health.observe(backend, False, 61.0)
    pool.acquire(61.0)
    assert pool.state("new") == ("warming up",)
    for lease in leases:
        pool.release(lease, 62.0)
    for _ in range(40):
        assert pool.acquire(62.0).backend == "new"


def test_bound_requests_pass_and_a_panic_does_not_count_a_warm_up() -> None:
    gate: WarmUp[str] = WarmUp(WINDOW)
    pool = Pool(LeastConnections(["a", "b"]), [gate], panic=0.9)
    for _ in range(20):
        pool.acquire(60.0)
    pool.add("new", now=60.0)
    assert pool.acquire(60.0).backend == "new"
    pool.release(pool.acquire(60.0), 60.0)
    assert not pool.panicking
    assert pool.state("new") == ("warming up",)
    assert pool.acquire(60.0, prefer="new").bound


@pytest.mark.parametrize("gate", [SlowStart, WarmUp])
@pytest.mark.parametrize(
    "settings",
    [
        {"window": 0.0},
        {"window": inf},
        {"window": nan},
        {"steps": 1},
        {"steps": 2.5},
        {"aggression": 0.0},
        {"aggression": nan},
        {"aggression": inf},
        {"min_share": 0.0},
        {"min_share": 1.1},
        {"min_share": nan},
    ],
)
def test_bad_settings(gate: Any, settings: dict[str, Any]) -> None:
    name, value = next(iter(settings.items()))
    with pytest.raises(InvalidSetting, match=f"{name} must be .*not {value}"):
        gate(**{"window": WINDOW, **settings})


def test_a_balancer_without_fractions_refuses_slow_start_and_accepts_warm_up() -> None:
    for balancer in (RoundRobin(["a"]), LeastConnections(["a"])):
        with pytest.raises(IncompatibleGate, match="SlowStart"):
            Pool(balancer, [SlowStart[str](WINDOW)])
        Pool(balancer, [WarmUp[str](WINDOW)])
