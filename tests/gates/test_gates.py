"""Health checks, drain, connection limits and ramps by example."""

from math import inf, nextafter

import pytest

from balancers import (
    ConnectionLimit,
    Drain,
    HealthChecks,
    NoBackendAvailable,
    Pool,
    RoundRobin,
    SlowStart,
    WeightedRoundRobin,
)
from balancers.gates import Drained, HealthStateMachine


def pool_with(health: HealthChecks[str]) -> Pool[str]:
    return Pool(RoundRobin(["a", "b"]), [health])


def send(pool: Pool[str], ok: bool | None, now: float, started_at: float | None = None) -> None:
    """Send one request to a."""
    lease = pool.acquire(now if started_at is None else started_at, prefer="a", strict=True)
    pool.release(lease, now, ok)


def test_the_state_machine_counts_results_in_a_row() -> None:
    machine = HealthStateMachine(3, 2)
    assert [machine.observe(ok) for ok in (False, False, True, False, False)] == [False] * 5
    assert machine.observe(False)
    assert not machine.healthy
    assert [machine.observe(ok) for ok in (True, False, True)] == [False] * 3
    assert machine.observe(True)
    assert machine.healthy


def test_probes_and_requests_are_counted_separately_and_either_demotes() -> None:
    health: HealthChecks[str] = HealthChecks(3, 2)
    pool = pool_with(health)
    for _ in range(2):
        health.observe("a", False, 0.0)
        send(pool, ok=False, now=0.0)
    assert health.healthy("a")
    send(pool, ok=False, now=0.0)
    assert not health.healthy("a")
    assert pool.state("a") == ("unhealthy",)


def test_probes_promote_and_requests_do_not() -> None:
    health: HealthChecks[str] = HealthChecks(1, 2)
    pool = Pool(RoundRobin(["a"]), [health], panic=1.0)
    health.observe("a", False, 0.0)
    for _ in range(5):
        lease = pool.acquire(1.0)
        assert lease.panic
        pool.release(lease, 1.0, ok=True)
    assert not health.healthy("a")
    health.observe("a", True, 100.0)
    assert not health.healthy("a")
    health.observe("a", True, 101.0)
    assert health.healthy("a")


def test_without_probes_time_promotes_at_the_announced_instant() -> None:
    health: HealthChecks[str] = HealthChecks(1, recovery_time=10.0)
    pool = pool_with(health)
    send(pool, ok=False, now=5.0)
    with pytest.raises(NoBackendAvailable) as refusal:
        pool.acquire(6.0, avoid=["b"])
    assert refusal.value.retry_at == pool.due == 15.0
    assert health.factor("a", nextafter(15.0, 0)) == 0
    assert health.factor("a", 15.0) == 1
    with pytest.raises(NoBackendAvailable):
        pool.acquire(nextafter(15.0, 0), avoid=["b"])
    assert pool.acquire(15.0, avoid=["b"]).backend == "a"


def test_a_probe_replaces_promotion_by_time() -> None:
    health: HealthChecks[str] = HealthChecks(1, 2, recovery_time=10.0)
    pool = pool_with(health)
    send(pool, ok=False, now=0.0)
    health.observe("a", False, 1.0)
    assert list(health.changes(1000.0)) == ["a"]
    assert not health.healthy("a")


def test_a_probe_that_replaces_promotion_by_time_ends_its_announcement() -> None:
    """The model check found that a refusal still named the time of the recovery."""
    health: HealthChecks[str] = HealthChecks(1, 2, recovery_time=10.0)
    pool = Pool(RoundRobin(["a"]), [health], panic=None)
    send(pool, ok=False, now=0.0)
    with pytest.raises(NoBackendAvailable) as refused:
        pool.acquire(1.0)
    assert refused.value.retry_at == 10.0
    health.observe("a", False, 1.0)
    with pytest.raises(NoBackendAvailable) as refused:
        pool.acquire(1.0)
    assert refused.value.retry_at == pool.due == inf


def test_a_cancelled_request_is_not_counted() -> None:
    health: HealthChecks[str] = HealthChecks(2)
    pool = pool_with(health)
    send(pool, ok=False, now=0.0)
    send(pool, ok=None, now=0.0)
    assert health.healthy("a")
    send(pool, ok=False, now=0.0)
    assert not health.healthy("a")


def test_a_probe_sent_before_the_flip_is_ignored() -> None:
    health: HealthChecks[str] = HealthChecks(1, 1)
    pool_with(health)
    health.observe("a", False, 5.0)
    health.observe("a", True, 6.0, started_at=4.0)
    assert not health.healthy("a")
    health.observe("a", True, 7.0, started_at=6.0)
    assert health.healthy("a")


def test_a_drain_ends_when_idle_or_at_its_deadline_and_is_reported_once() -> None:
    drain: Drain[str] = Drain(timeout=30.0)
    pool = Pool(RoundRobin(["a", "b"]), [drain])
    leases = [pool.acquire(0.0) for _ in range(4)]
    for backend in "ab":
        drain.begin(backend, 10.0)
    assert drain.drained(10.0) == []
    for lease in leases:
        if lease.backend == "a":
            pool.release(lease, 20.0)
    drain.begin("b", 35.0)  # keeps its deadline
    assert drain.drained(39.9) == [Drained("a", False, 0, 39.9)]
    assert drain.drained(40.0) == [Drained("b", True, 2, 40.0)]
    assert drain.drained(50.0) == []
    assert pool.weight("a") == 1
    drain.cancel("a", 51.0)
    assert pool.acquire(51.0).backend == "a"


def test_bound_requests_pass_a_drain() -> None:
    drain: Drain[str] = Drain()
    pool = Pool(RoundRobin(["a", "b"]), [drain])
    drain.begin("a", 0.0)
    assert pool.acquire(0.0, prefer="a").backend == "a"
    assert (pool.admits("a"), pool.admits("a", bound=True)) == (False, True)


def test_with_last_resort_all_are_open_while_every_member_drains() -> None:
    drain: Drain[str] = Drain(last_resort=True)
    pool = Pool(RoundRobin(["a", "b"]), [drain])
    drain.begin("a", 0.0)
    assert {pool.acquire(0.0).backend for _ in range(4)} == {"b"}
    drain.begin("b", 0.0)
    assert {pool.acquire(0.0).backend for _ in range(4)} == {"a", "b"}
    pool.add("c")
    assert {pool.acquire(0.0).backend for _ in range(4)} == {"c"}
    pool.remove("c")
    assert {pool.acquire(0.0).backend for _ in range(4)} == {"a", "b"}
    drain.cancel("a", 1.0)
    assert {pool.acquire(1.0).backend for _ in range(4)} == {"a"}


def test_a_backend_with_its_own_limit() -> None:
    limit: ConnectionLimit[str] = ConnectionLimit(1)
    pool = Pool(RoundRobin(["a"]), [limit])
    limit.set("a", 3)
    leases = [pool.acquire(0.0) for _ in range(3)]
    with pytest.raises(NoBackendAvailable, match="saturated"):
        pool.acquire(0.0)
    limit.set("a", None)
    pool.release(leases.pop(), 0.0)
    pool.release(leases.pop(), 0.0)
    for prefer in (None, "a"):  # bound requests are refused too
        with pytest.raises(NoBackendAvailable, match="saturated"):
            pool.acquire(0.0, prefer=prefer)
    pool.release(leases.pop(), 0.0)
    assert pool.acquire(0.0).backend == "a"


def test_a_ramp_changes_only_at_announced_instants() -> None:
    ramp: SlowStart[str] = SlowStart(30.0, steps=7)
    pool = Pool(WeightedRoundRobin(["old"]), [ramp], now=-100.0)
    pool.add("new", 1, now=10.0)
    factors = [ramp.factor("new", 10.0)]
    now = 10.0
    pool.acquire(now)
    while pool.due < inf:
        due = pool.due
        assert due > now
        assert ramp.factor("new", nextafter(due, 0)) == factors[-1]
        pool.acquire(due)
        factors.append(ramp.factor("new", due))
        assert pool.effective_weight("new") == factors[-1]
        now = due
    assert factors == [0.1, *(round(step / 7, 3) for step in range(1, 8))]
    assert now == 40.0
    assert pool.effective_weight("new") == 1
    ramp.begin("new", 50.0)
    assert pool.effective_weight("new") == 0.1


def test_a_ramp_at_a_very_late_time_still_ends() -> None:
    ramp: SlowStart[str] = SlowStart(1e-6)
    ramp.added("a", 1e17)
    assert ramp.factor("a", 1e17) == 1
    assert ramp.due == inf


def test_gates_clamp_time_as_pools_do() -> None:
    """Callers pass times that were read before the latest request of the pool."""
    drain, ramp = Drain[str](timeout=30.0), SlowStart[str](10.0, 5)
    health: HealthChecks[str] = HealthChecks(1, 1)
    pool = Pool(WeightedRoundRobin(["a", "b"]), [drain, ramp, health])
    pool.acquire(100.0, prefer="a")
    health.observe("a", False, 100.0)
    drain.begin("b", 100.0)
    ramp.begin("b", 100.0)
    ramp.begin("b", 20.0)
    drain.begin("a", 20.0)
    assert drain.drained(129.0) == [("b", False, 0, 129.0)]
    assert drain.drained(130.0) == [("a", True, 1, 130.0)]
    assert ramp.factor("b", 100.0) == 0.1
    health.observe("a", True, 20.0, started_at=100.0)
    assert health.healthy("a")
    health.observe("a", False, 20.0, started_at=99.0)
    assert health.healthy("a")


def test_a_member_that_joins_or_leaves_is_no_pending_change() -> None:
    for gate in (Drain[str](), HealthChecks[str](), ConnectionLimit[str](1)):
        pool = Pool(RoundRobin(["a"]), [gate])
        pool.add("b")
        assert pool.due == inf
        pool.remove("b")
        assert pool.due == inf


def test_a_pending_change_of_a_backend_that_left_is_dropped() -> None:
    drain: Drain[str] = Drain()
    pool = Pool(RoundRobin(["a", "b"]), [drain])
    drain.begin("b", 1.0)
    assert pool.due == -inf
    pool.remove("b")
    assert pool.due == inf
