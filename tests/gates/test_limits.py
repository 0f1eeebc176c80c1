"""The limits of backends: a number, or one that grows with the load of the pool."""

from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import (
    ConnectionLimit,
    Drain,
    Event,
    HealthChecks,
    LeastConnections,
    NoBackendAvailable,
    Pool,
    RoundRobin,
)
from balancers.errors import InvalidSetting, InvalidTime
from balancers.gates import DynamicLimit
from balancers.overload import AdmissionQueue


def haproxy(beconn: int, minconn: int, maxconn: int, fullconn: int) -> int:
    """Return the limit by the rule of HAProxy's source."""
    if beconn >= fullconn or minconn == maxconn:
        return maxconn
    return max(minconn, beconn * maxconn // fullconn)


@given(
    minconn=st.integers(1, 50),
    more=st.integers(0, 50),
    full=st.integers(1, 300),
    load=st.integers(0),
)
def test_the_rule_is_that_of_haproxy(minconn: int, more: int, full: int, load: int) -> None:
    gate: DynamicLimit[str] = DynamicLimit(minconn, minconn + more, full)
    load %= 400
    assert gate.limit_at(load) == haproxy(load, minconn, minconn + more, full)


def test_the_line_goes_through_zero_as_in_the_source_and_not_the_manual() -> None:
    gate: DynamicLimit[str] = DynamicLimit(10, 100, 1000)
    assert gate.limit_at(50) == 10  # the line of the manual gives 14
    assert gate.limit_at(500) == 50  # and 55


def test_the_limit_grows_with_the_load_and_waiting_requests_are_load() -> None:
    gate: DynamicLimit[str] = DynamicLimit(minconn=1, maxconn=10, fullconn=20)
    pool = Pool(RoundRobin(["a", "b"]), [gate])
    leases = [pool.acquire(0.0), pool.acquire(0.0)]
    with pytest.raises(NoBackendAvailable, match="saturated"):
        pool.acquire(0.0)
    gate.set_waiting(3, 0.0)
    leases += [pool.acquire(0.0) for _ in range(4)]
    assert [pool.in_flight(b) for b in "ab"] == [3, 3]
    gate.set_waiting(0, 0.0)
    for lease in leases:
        pool.release(lease, 1.0)
    assert [pool.admits(b) for b in "ab"] == [True, True]


def test_a_limit_that_changes_by_a_billion_is_fast() -> None:
    """It once iterated over all numbers between the two limits."""
    gate: DynamicLimit[str] = DynamicLimit(1, 10**9, 2)
    pool = Pool(RoundRobin(["a", "b"]), [gate])
    leases = [pool.acquire(0.0) for _ in range(6)]
    for lease in leases:
        pool.release(lease, 1.0)
    assert pool.admits("a")


def test_the_event_of_a_limit_that_was_set_has_its_time() -> None:
    events: deque[Event] = deque(maxlen=9)
    limit: ConnectionLimit[str] = ConnectionLimit(5)
    pool = Pool(RoundRobin(["a"]), [limit], events=events)
    for _ in range(3):
        pool.acquire(1000.0)
    limit.set("a", 2, now=1001.0)
    assert events[-1][:4] == (1001.0, "saturated", True, "a")


def test_a_queue_in_front_of_a_pool_with_a_limit() -> None:
    pool = Pool(RoundRobin(["a", "b"]), limit=2)
    queue: AdmissionQueue[str] = AdmissionQueue(limit=3, timeout=10.0)
    leases = [pool.acquire(0.0) for _ in range(2)]
    for name in "xyz":
        with pytest.raises(NoBackendAvailable):
            pool.acquire(0.0)
        queue.join(name, 0.0)
    served: list[str] = []
    while leases:
        pool.release(leases.pop(), 1.0)
        woken = queue.wake(1.0)
        if woken is not None:
            served.append(woken.item)
            leases.append(pool.acquire(1.0))
    assert served == ["x", "y", "z"]


def test_the_order_of_gates_does_not_matter_when_two_backends_change_at_once() -> None:
    picks: list[list[str]] = []
    for reverse in (False, True):
        drain, health, limit = Drain[str](), HealthChecks[str](1, 1), ConnectionLimit[str](9)
        gates: list[Any] = [drain, health, limit]
        pool = Pool(LeastConnections(["a", "b", "c"]), gates[::-1] if reverse else gates)
        drain.begin("b", 0.0)
        health.observe("a", False, 0.0)
        picks.append([pool.acquire(0.0).backend for _ in range(2)])
        drain.cancel("b", 1.0)
        health.observe("a", True, 1.0)
        picks[-1] += [pool.acquire(1.0).backend for _ in range(6)]
    assert picks[0] == picks[1]


@pytest.mark.parametrize(
    "settings",
    [{"minconn": 0}, {"maxconn": 0}, {"fullconn": 0}, {"minconn": 11}, {"fullconn": 2.5}],
)
def test_bad_numbers(settings: dict[str, Any]) -> None:
    name = next(iter(settings))
    with pytest.raises(InvalidSetting, match=f"{name} must"):
        DynamicLimit(**{"minconn": 1, "maxconn": 10, "fullconn": 100, **settings})


def test_bad_calls() -> None:
    gate: DynamicLimit[str] = DynamicLimit(1, 10, 100)
    with pytest.raises(InvalidSetting, match="requests must be"):
        gate.set_waiting(-1, 0.0)
    with pytest.raises(InvalidTime):
        gate.set_waiting(1, float("nan"))
    for limit in (0, -1, 2.5, True):
        with pytest.raises(InvalidSetting, match="limit must be"):
            Pool(RoundRobin(["a"]), limit=limit)  # type: ignore[arg-type] # refused
