"""What the gates, the health rules and the health state machine print."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from balancers import ConnectionLimit, Drain, HealthChecks, LeastConnections, Pool, SlowStart
from balancers.gates import (
    ActiveChecks,
    CoolDown,
    CostLimit,
    CostRateLimit,
    DynamicLimit,
    HealthStateMachine,
    Leaky,
    OutlierEjection,
    PassiveChecks,
    RequestRateLimit,
    SlidingWindow,
    WarmUp,
)

REPRS: dict[str, Callable[[], Any]] = {
    "<HealthChecks: <Leaky: unhealthy_threshold 9, ok_threshold 5, healthy_threshold 7>, "
    "promotion time, 0 of 0 unhealthy>": lambda: HealthChecks[str](
        rule=Leaky(9, 5, 7), promotion="time"
    ),
    "<ActiveChecks: interval 5.0 s, timeout 3.0 s, "
    "<Consecutive: unhealthy_threshold 3, healthy_threshold 2>, promotion probes, "
    "0 probes in flight, 0 of 0 unhealthy>": lambda: ActiveChecks[str](rng=Random(1)),
    "<PassiveChecks: max_fails 1, fail_timeout 10.0 s, max_trials 1, "
    "0 of 0 closed or on trial>": PassiveChecks,
    "<OutlierEjection: consecutive_failures 5, rules SuccessRate, max_ejected_share 0.1, "
    "0 of 0 ejected>": OutlierEjection,
    "<OutlierEjection: consecutive_failures None, rules none, max_ejected_share 0.1, dry run, "
    "0 of 0 ejected>": lambda: OutlierEjection[str](None, (), dry_run=True),
    "<CoolDown: consecutive_failures 5, 1.0 to 60.0 s, 0 of 0 closed>": lambda: CoolDown[str](
        rng=Random(1)
    ),
    "<Drain: timeout 30.0 s, last_resort, 0 of 0 draining>": lambda: Drain[str](last_resort=True),
    "<ConnectionLimit: limit 9, 0 of 0 closed>": lambda: ConnectionLimit[str](9),
    "<DynamicLimit: minconn 1, maxconn 3, fullconn 9, limit now 1, 0 of 0 closed>": lambda: (
        DynamicLimit[str](1, 3, 9)
    ),
    "<CostLimit: limit 9, 0 of 0 closed>": lambda: CostLimit[str](9),
    "<RequestRateLimit: 90 per 60.0 s, burst 5, 0 of 0 closed>": lambda: RequestRateLimit[str](
        90, burst=5
    ),
    "<CostRateLimit: 9 per 1 s, burst 9, 0 of 0 closed>": lambda: CostRateLimit[str](9, 1),
    "<SlowStart: window 30.0 s, 8 steps, min_share 0.1, 0 of 0 ramping up>": lambda: SlowStart[str](
        30.0
    ),
    "<WarmUp: window 30.0 s, 8 steps, min_share 0.1, 0 of 0 ramping up, 0 closed>": lambda: WarmUp[
        str
    ](30.0),
    "<HealthStateMachine: unknown, <SlidingWindow: results 4, unhealthy_threshold 2, "
    "healthy_threshold 3>>": lambda: HealthStateMachine(
        rule=SlidingWindow(4, 2, 3), initial="unknown"
    ),
}


@pytest.mark.parametrize("expected", REPRS)
def test_the_repr_shows_the_settings(expected: str) -> None:
    assert repr(REPRS[expected]()) == expected


def test_the_repr_shows_what_is_closed() -> None:
    gates: list[Any] = [
        HealthChecks(1),
        PassiveChecks(),
        OutlierEjection(1),
        Drain(),
        ConnectionLimit(1),
        DynamicLimit(1, 1, 1),
        WarmUp(30.0),
    ]
    pool = Pool(LeastConnections(["a", "b"]), gates)
    pool.release(pool.acquire(0.0, prefer="a"), 1.0, ok=False)
    gates[3].begin("a", 1.0)
    pool.acquire(1.0, prefer="b")
    for gate in gates[:6]:
        assert "1 of 2 " in repr(gate)
    gates[6].begin("a", 1.0)
    assert "1 of 2 ramping up, 0 closed" in repr(gates[6])
    machine = HealthStateMachine(2, 1)
    machine.observe(ok=False)
    assert "healthy, not settled" in repr(machine)
    assert "unhealthy, not settled" not in repr(machine)
    assert repr(gates[0].state_of("a")).startswith("<Health: <HealthStateMachine: unhealthy, ")
