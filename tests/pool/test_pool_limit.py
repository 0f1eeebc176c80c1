"""The limit of a pool: requests in flight on all of its members together."""

from typing import Any

import pytest

from balancers import (
    Drain,
    NoBackendAvailable,
    Outcome,
    Pool,
    RoundRobin,
)


def test_the_limit_of_the_pool_holds_for_every_request_until_a_release() -> None:
    drain: Drain[str] = Drain()
    pool = Pool(RoundRobin(["a", "b", "c"]), [drain], limit=4)
    drain.begin("c", 0.0)
    leases = [pool.acquire(0.0) for _ in range(4)]
    every_option: list[dict[str, Any]] = [
        {},
        {"prefer": "a"},
        {"prefer": "a", "strict": True},
        {"avoid": ["a"]},
    ]
    for options in every_option:
        with pytest.raises(NoBackendAvailable) as refusal:
            pool.acquire(0.0, **options)
        assert refusal.value.reason == "saturated"
        assert dict(refusal.value.counts) == {"saturated": 3, "draining": 1}
    assert pool.state("a") == ("saturated",)
    assert pool.state("c") == ("draining", "saturated")
    assert not pool.admits("a")
    assert not pool.admits("c", bound=True)
    pool.release(leases.pop(), 1.0)
    assert pool.state("a") == ()
    assert pool.acquire(1.0).backend in "ab"


def test_requests_on_a_former_member_are_not_counted() -> None:
    pool = Pool(RoundRobin(["a", "b"]), limit=4)
    leases = [pool.acquire(0.0) for _ in range(4)]
    pool.remove("a", 1.0)
    leases += [pool.acquire(1.0) for _ in range(2)]
    with pytest.raises(NoBackendAvailable, match="saturated"):
        pool.acquire(1.0)
    pool.add("a", now=2.0)
    for lease in leases[:4:2]:
        assert lease.backend == "a"
        pool.release(lease, 2.0)  # leases from before the removal
    with pytest.raises(NoBackendAvailable, match="saturated"):
        pool.acquire(2.0)


def test_a_gate_that_raises_on_start_does_not_change_the_count() -> None:
    class Raising(Drain[str]):
        def started(self, backend: str, in_flight: int, now: float) -> None:
            raise RuntimeError("no")

    pool = Pool(RoundRobin(["a"]), [Raising()], limit=1)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="no"):
            pool.acquire(0.0)
    assert pool.admits("a")


def test_a_gate_that_raises_on_release_does_not_change_the_count() -> None:
    class Raising(Drain[str]):
        def finished(
            self, backend: str, outcome: Outcome, in_flight: int, started_at: float, now: float
        ) -> None:
            raise RuntimeError("no")

    pool = Pool(RoundRobin(["a"]), [Raising()], limit=1)
    for _ in range(3):
        lease = pool.acquire(0.0)
        with pytest.raises(RuntimeError, match="no"):
            pool.release(lease, 0.0)
    assert pool.admits("a")
