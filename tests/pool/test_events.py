"""Events: every transition is recorded once, with its reason and time, if the pool has a deque."""

import copy
from collections import deque
from random import Random
from typing import Any

import pytest

from balancers import (
    ConnectionLimit,
    Drain,
    Event,
    HealthChecks,
    LeastConnections,
    NoBackendAvailable,
    Pool,
    RoundRobin,
    SlowStart,
    WeightedRoundRobin,
)
from balancers.errors import AlreadyInUse, InvalidSetting
from balancers.gates import ActiveChecks, CoolDown, OutlierEjection, PassiveChecks, WarmUp

Records = list[tuple[float, str, bool, object, str]]


def pool_with(*gates: Any, **settings: Any) -> tuple[Pool[str], deque[Event]]:
    events: deque[Event] = deque(maxlen=100)
    pool = Pool(RoundRobin(["a", "b"]), gates, events=events, **settings)
    events.clear()
    return pool, events


def take_events(events: deque[Event]) -> Records:
    records = [tuple(event) for event in events]
    events.clear()
    return records  # type: ignore[return-value] # a tuple of an Event's fields


def fail(pool: Pool[str], backend: str, now: float, **outcome: Any) -> None:
    pool.release(pool.acquire(now, prefer=backend, strict=True), now, ok=False, **outcome)


def test_members_are_added_and_removed() -> None:
    pool, events = pool_with()
    pool.update(["b", "c"], now=3.0)
    assert take_events(events) == [(3.0, "member", False, "a", ""), (3.0, "member", True, "c", "")]


def test_health_events_say_what_demoted_and_promoted() -> None:
    health: HealthChecks[str] = HealthChecks(1, 1, recovery_time=10.0)
    pool, events = pool_with(health)
    fail(pool, "a", 1.0)
    pool.acquire(30.0)
    health.observe("a", False, 31.0)
    health.observe("a", True, 32.0)
    assert take_events(events) == [
        (1.0, "unhealthy", True, "a", "by requests"),
        (11.0, "unhealthy", False, "a", "by time"),  # the time of the change, not of the next call
        (31.0, "unhealthy", True, "a", "by probes"),
        (32.0, "unhealthy", False, "a", "by probes"),
    ]


def test_a_missing_answer_is_recorded_at_its_deadline() -> None:
    checks: ActiveChecks[str] = ActiveChecks(1, rng=Random(1), timeout=3.0)
    pool, events = pool_with(checks)
    sent = {probe.backend: probe for probe in checks.probes(5.0)}
    assert checks.answer(sent["b"], True, 5.5)
    pool.acquire(20.0)
    assert take_events(events) == [(8.0, "unhealthy", True, "a", "by probes")]


def test_ejections_name_their_rule_and_a_dry_run() -> None:
    for dry_run, mark in ((False, ""), (True, ", dry run")):
        outliers: OutlierEjection[str] = OutlierEjection(1, base_ejection_time=4.0, dry_run=dry_run)
        pool, events = pool_with(outliers)
        fail(pool, "a", 1.0)
        pool.acquire(9.0)
        assert take_events(events) == [
            (1.0, "ejected", True, "a", f"consecutive failures{mark}"),
            (5.0, "ejected", False, "a", ""),
        ]
        fail(pool, "a", 9.0)
        outliers.restore("a", 10.0)
        assert [event.at for event in events] == [9.0, 10.0]


def test_a_drain_is_recorded_from_beginning_to_end() -> None:
    drain: Drain[str] = Drain(timeout=30.0)
    pool, events = pool_with(drain)
    leases = [pool.acquire(0.0), pool.acquire(0.0)]
    drain.begin("a", 1.0)
    drain.begin("a", 2.0)
    drain.begin("b", 2.0)
    pool.release(leases[0], 3.0)
    drain.drained(4.0)
    drain.drained(40.0)
    drain.cancel("b", 41.0)
    drain.cancel("b", 42.0)
    assert take_events(events) == [
        (1.0, "draining", True, "a", "until 31.0"),
        (2.0, "draining", True, "b", "until 32.0"),
        (4.0, "drained", True, "a", "idle"),
        (40.0, "drained", True, "b", "forced, 1 in flight"),
        (41.0, "drained", False, "b", "cancelled"),
        (41.0, "draining", False, "b", "cancelled"),
    ]


def test_limits_of_a_backend_and_of_the_pool() -> None:
    limit: ConnectionLimit[str] = ConnectionLimit(2)
    pool, events = pool_with(limit, limit=3)
    leases = [pool.acquire(float(turn)) for turn in range(3)]
    with pytest.raises(NoBackendAvailable, match="saturated"):
        pool.acquire(3.0)
    pool.release(leases[0], 4.0)
    limit.set("b", 1)
    limit.set("b", None)
    assert take_events(events) == [
        (2.0, "saturated", True, "a", "2 of 2 in flight"),
        (2.0, "saturated", True, None, "3 of 3 in flight"),
        (4.0, "saturated", False, None, "2 of 3 in flight"),
        (4.0, "saturated", False, "a", "1 of 2 in flight"),
        (4.0, "saturated", True, "b", "1 of 1 in flight"),
        (4.0, "saturated", False, "b", "1 of 2 in flight"),
    ]


def test_a_cool_down_has_a_cause_and_ends_before_the_next_begins() -> None:
    pool, events = pool_with(
        CoolDown(consecutive_failures=2, base_time=5.0, jitter=0.0, rng=Random(1))
    )
    fail(pool, "a", 1.0, retry_after=2.0)
    fail(pool, "b", 1.0)
    fail(pool, "b", 1.0)
    lease = pool.acquire(3.0)
    pool.release(lease, 5.0, retry_after=1.0)
    assert take_events(events) == [
        (1.0, "cooling down", True, "a", "retry_after"),
        (1.0, "cooling down", True, "b", "2 failures in a row"),
        (3.0, "cooling down", False, "a", ""),
        (5.0, "cooling down", True, "a", "retry_after"),
    ]


def test_marks_and_trials() -> None:
    pool, events = pool_with(PassiveChecks(fail_timeout=10.0))
    fail(pool, "a", 1.0)
    fail(pool, "a", 12.0)
    pool.release(pool.acquire(30.0, avoid=["b"]), 31.0)
    assert take_events(events) == [
        (1.0, "failing", True, "a", "1 failed"),
        (11.0, "failing", False, "a", "the pause is over"),
        (11.0, "on trial", True, "a", ""),
        (12.0, "on trial", False, "a", "the trial failed"),
        (12.0, "failing", True, "a", "the trial failed"),
        (22.0, "failing", False, "a", "the pause is over"),
        (22.0, "on trial", True, "a", ""),
        (31.0, "on trial", False, "a", "the trial succeeded"),
    ]


def test_ramps() -> None:
    for balancer, gate in (
        (WeightedRoundRobin(["a"]), SlowStart[str](30.0)),
        (LeastConnections(["a"]), WarmUp[str](30.0)),
    ):
        events: deque[Event] = deque(maxlen=10)
        pool: Pool[str] = Pool(balancer, [gate], events=events)
        pool.add("b", now=50.0)
        pool.acquire(100.0)
        assert take_events(events)[1:] == [
            (50.0, "slow start", True, "b", "for 30.0 s"),
            (50.0, "member", True, "b", ""),
            (80.0, "slow start", False, "b", ""),
        ]


def test_a_backend_that_warms_up_is_recorded_as_full() -> None:
    events: deque[Event] = deque(maxlen=100)
    pool = Pool(LeastConnections(["a"]), [WarmUp[str](30.0)], events=events)
    leases = [pool.acquire(50.0) for _ in range(10)]
    pool.add("b", now=50.0)
    events.clear()
    assert pool.acquire(50.0).backend == "b"
    pool.release(leases.pop(), 51.0)
    pool.release(pool.acquire(51.0, prefer="b"), 51.0)
    for lease in leases:
        pool.release(lease, 51.0)
    assert [(e.reason, e.began, e.backend) for e in events] == [
        ("warming up", True, "b"),
        ("warming up", False, "b"),  # no other backend has requests
    ]


def test_panic_begins_and_ends() -> None:
    health: HealthChecks[str] = HealthChecks(1, 1)
    pool, events = pool_with(health, panic=0.6)
    health.observe("a", False, 1.0)
    assert pool.acquire(2.0).panic
    health.observe("a", True, 3.0)
    assert not pool.acquire(4.0).panic
    records = take_events(events)
    assert [record for record in records if record[1] == "panic"] == [
        (2.0, "panic", True, None, "1 of 2 open"),
        (4.0, "panic", False, None, "2 of 2 open"),
    ]


def test_a_copy_has_its_own_events() -> None:
    drain: Drain[str] = Drain()
    pool, events = pool_with(drain)
    copied = copy.deepcopy(pool)
    copied.remove("a", 1.0)
    assert not events
    copied.add("a", now=2.0)
    copied_drain: Any = copied._gates[0]
    copied_drain.begin("a", 3.0)
    assert not events
    drain.begin("a", 1.0)
    assert len(events) == 1
    assert [event.reason for event in copied_drain._events] == ["member", "member", "draining"]


def test_the_deque_of_events_must_be_bounded() -> None:
    events: deque[Event] = deque(maxlen=3)
    pool = Pool(RoundRobin(range(10)), events=events)
    assert [event.backend for event in events] == [7, 8, 9]
    pool.remove(0, 1.0)
    assert events[-1] == Event(1.0, "member", False, 0)
    endless: deque[Event] = deque()
    with pytest.raises(InvalidSetting, match="maxlen"):
        Pool(RoundRobin(["a"]), events=endless)


def test_a_gate_of_a_refused_pool_records_nothing() -> None:
    drain: Drain[str] = Drain()
    other_pools_gate: Drain[str] = Drain()
    Pool(RoundRobin(["x"]), [other_pools_gate])
    events: deque[Event] = deque(maxlen=9)
    with pytest.raises(AlreadyInUse):
        Pool(RoundRobin(["a"]), [drain, other_pools_gate], events=events)
    Pool(RoundRobin(["a"]), [drain])
    drain.begin("a", 1.0)
    assert not events


def test_a_kept_member_leaves_and_returns_with_its_time() -> None:
    pool, events = pool_with()
    pool.update(["b"], 3.0, keep=30.0)
    pool.update(["a", "b"], 4.0, keep=30.0)
    pool.update(["b"], 5.0, keep=1.5)
    pool.acquire(6.5)
    assert take_events(events) == [
        (3.0, "leaving", True, "a", "until 33.0"),
        (4.0, "leaving", False, "a", ""),
        (5.0, "leaving", True, "a", "until 6.5"),
        (6.5, "member", False, "a", ""),
    ]


def test_the_events_of_the_whole_pool_say_how_many_members_serve() -> None:
    health, drain = HealthChecks[str](1, 1), Drain[str](last_resort=True)
    pool, events = pool_with(health, drain, panic=0.6, limit=1)
    health.observe("a", False, 1.0)
    pool.release(pool.acquire(2.0), 3.0)
    health.observe("a", True, 4.0)
    drain.begin("a", 5.0)
    drain.begin("b", 5.0)
    pool.release(pool.acquire(6.0), 7.0)
    drain.cancel("b", 8.0)
    pool.release(pool.acquire(9.0), 10.0)
    assert take_events(events) == [
        (1.0, "unhealthy", True, "a", "by probes"),
        (2.0, "panic", True, None, "1 of 2 open"),
        (2.0, "saturated", True, None, "1 of 1 in flight"),
        (3.0, "saturated", False, None, "0 of 1 in flight"),
        (4.0, "unhealthy", False, "a", "by probes"),
        (5.0, "draining", True, "a", "until 35.0"),
        (5.0, "draining", True, "b", "until 35.0"),
        (6.0, "last resort", True, None, "2 of 2 serve"),
        (6.0, "panic", False, None, "0 of 0 open"),
        (6.0, "saturated", True, None, "1 of 1 in flight"),
        (7.0, "saturated", False, None, "0 of 1 in flight"),
        (8.0, "draining", False, "b", "cancelled"),
        (9.0, "last resort", False, None, "1 of 2 serve"),
        (9.0, "saturated", True, None, "1 of 1 in flight"),
        (10.0, "saturated", False, None, "0 of 1 in flight"),
    ]


def test_a_change_that_fails_leaves_no_events_of_its_backends_and_keeps_the_others() -> None:
    """The gates have recorded events about the backends before the balancer refuses one."""

    class Loud(HealthChecks[str]):
        def added(self, backend: str, now: float) -> None:
            super().added(backend, now)
            self.record_event(backend, True, now, "joins", "loud")
            if backend == "d":
                self.record_event("a", True, now, "beside it", "loud")
                raise ArithmeticError(backend)

    pool, events = pool_with(Loud())
    pool.add("c", now=1.0)
    before = list(events)
    assert [event.reason for event in before] == ["loud", "member"]
    for _ in range(2):
        with pytest.raises(ArithmeticError):
            pool.update([*"abcxd"], 2.0)
    beside = (2.0, "loud", True, "a", "beside it")
    assert take_events(events) == [*map(tuple, before), beside, beside]


def test_events_must_be_a_deque_that_is_named() -> None:
    values: list[Any] = [[], deque[Event](), 7]
    for wrong in values:
        with pytest.raises(InvalidSetting) as refused:
            Pool(RoundRobin(["a"]), events=wrong)
        assert str(refused.value) == f"events must be a deque with a maxlen, not {wrong!r}"
