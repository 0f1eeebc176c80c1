"""What a dashboard reads: a snapshot of the counts, and events that pair."""

import copy
import pickle
from collections import Counter, deque
from random import Random
from typing import Any

import pytest

from balancers import (
    ConnectionLimit,
    Drain,
    Event,
    HealthChecks,
    Lease,
    NoBackendAvailable,
    Pool,
    RoundRobin,
    WeightedRoundRobin,
)
from balancers.gates import CoolDown, OutlierEjection, PassiveChecks, WarmUp
from balancers.pool import MemberSnapshot


def test_a_snapshot_counts_requests_failures_and_refusals() -> None:
    limit, drain = ConnectionLimit[str](1), Drain[str]()
    pool = Pool(WeightedRoundRobin({"a": 2, "b": 1}), [limit, drain])
    first, second = pool.acquire(0.0), pool.acquire(0.0)
    for options in ({}, {"prefer": "a", "strict": True}, {"prefer": "x", "strict": True}):
        with pytest.raises(NoBackendAvailable):
            pool.acquire(1.0, **options)  # type: ignore[arg-type]  # made of the parameters
    pool.release(first, 2.0, ok=False)
    drain.begin("b", 2.0)
    snapshot = pool.snapshot()
    assert snapshot.at == 2.0
    assert (snapshot.in_flight, snapshot.requests, snapshot.failures) == (1, 2, 1)
    assert snapshot.refusals == {"saturated": 2, "unknown": 1}
    assert snapshot.members == (
        MemberSnapshot("a", 2, 2, (), 0, 1, 1),
        MemberSnapshot("b", 1, 0, ("saturated", "draining"), 1, 1, 0),
    )
    pool.release(second, 3.0, ok=None)
    pool.remove("a")
    after = pool.snapshot()
    assert (after.in_flight, after.requests, after.failures) == (0, 2, 1)
    assert [member.backend for member in after.members] == ["b"]


def test_the_limit_of_the_pool_is_a_state_of_every_member() -> None:
    pool = Pool(RoundRobin(["a"]), limit=1)
    pool.acquire(0.0)
    assert pool.snapshot().members[0].state == ("saturated",)
    with pytest.raises(NoBackendAvailable):
        pool.acquire(0.0)
    assert pool.snapshot().refusals == {"saturated": 1}


def test_a_snapshot_is_not_what_the_pool_keeps() -> None:
    pool = Pool(RoundRobin[str]())
    with pytest.raises(NoBackendAvailable) as refusal:
        pool.acquire(0.0)
    snapshot: Any = pool.snapshot()
    snapshot.refusals["empty"] = 99
    counts: Any = refusal.value.counts
    counts["empty"] = 99
    assert pool.snapshot().refusals == {"empty": 1}
    pool.add("a")
    assert pool.snapshot().members[0].requests == 0


def test_a_request_that_a_gate_undoes_is_not_counted() -> None:
    class Failing(ConnectionLimit[str]):
        def started(self, backend: str, in_flight: int, now: float) -> None:
            raise ArithmeticError

    pool = Pool(RoundRobin(["a"]), [Failing(5)])
    with pytest.raises(ArithmeticError):
        pool.acquire(0.0)
    assert (pool.snapshot().requests, pool.snapshot().in_flight) == (0, 0)


def test_counts_survive_copies() -> None:
    pool = Pool(RoundRobin(["a"]))
    pool.release(pool.acquire(0.0), 0.0, ok=False)
    for copied in (copy.deepcopy(pool), pickle.loads(pickle.dumps(pool))):  # noqa: S301 - own
        assert copied.snapshot() == pool.snapshot()


@pytest.mark.parametrize("seed", range(20))
def test_every_end_in_the_events_ends_a_begin(seed: int) -> None:
    """No reason of a backend ends twice, or begins twice without an end in between."""
    rng = Random(seed)
    health, drain = HealthChecks[str](2, 1, recovery_time=3.0), Drain[str](5.0, last_resort=True)
    outliers = OutlierEjection[str](2, max_ejected_share=0.5, base_ejection_time=4.0)
    cool, passive = CoolDown[str](3, rng=Random(seed)), PassiveChecks[str](fail_timeout=2.0)
    limit, ramp = ConnectionLimit[str](3), WarmUp[str](5.0)
    gates: list[Any] = [health, drain, outliers, cool, passive, limit, ramp]
    events: deque[Event] = deque(maxlen=100_000)
    pool = Pool(RoundRobin([*"abcd"]), gates, limit=8, events=events)
    leases: list[Lease[str]] = []
    now = 0.0
    for _ in range(600):
        now += rng.choice([0.0, 0.1, 1.0])
        backend, action = rng.choice("abcde"), rng.randrange(10)
        if action < 5:
            try:
                leases.append(pool.acquire(now, prefer=rng.choice([None, backend])))
            except NoBackendAvailable:
                continue
        elif action == 5 and leases:
            lease = leases.pop(rng.randrange(len(leases)))
            after = rng.choice([None, None, 2.0])
            pool.release(lease, now, rng.choice([True, False, False, None]), retry_after=after)
        elif backend not in pool:
            pool.add(backend, now=now)
        elif action == 6:
            rng.choice([drain.begin, drain.cancel])(backend, now)
            drain.drained(now)
        elif action == 7:
            health.observe(backend, rng.random() < 0.5, now)
        elif action == 8:
            limit.set(backend, rng.choice([1, 4]), now)
            ramp.begin(backend, now)
        else:
            wanted = rng.sample("abcde", rng.randrange(2, 6))
            pool.update(wanted, now, keep=rng.choice([None, 0.0, 3.0]))
    check_pairs(events)
    seen = Counter(event.reason for event in events)
    assert {"member", "leaving", "draining", "saturated", "slow start"} <= set(seen)


def check_pairs(events: deque[Event]) -> None:
    holds: set[tuple[object, str]] = set()
    for event in events:
        if event.reason == "member" and not event.began:
            holds = {pair for pair in holds if pair[0] != event.backend or pair[1] == "member"}
        pair = (event.backend, event.reason)
        assert event.began is (pair not in holds), event
        holds ^= {pair}
