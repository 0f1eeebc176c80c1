"""A balancer that fails when a panic begins leaves no request in the limit of the pool."""

import pytest

from balancers import HealthChecks, NoBackendAvailable, Pool, RoundRobin


class Failing(RoundRobin[str]):
    """Refuses a positive weight while ``fails`` is True."""

    fails = False

    def put(self, backend: str, weight: float = 1) -> None:
        if self.fails and weight:
            raise RuntimeError("not now")
        super().put(backend, weight)


def test_the_requests_of_a_backend_that_left_do_not_count_although_the_panic_failed() -> None:
    lb, health = Failing(["a", "b"]), HealthChecks[str](1, 1)
    pool = Pool(lb, [health], limit=1)
    health.observe("b", False, 0.0)
    lease = pool.acquire(0.0)
    lb.fails = True
    with pytest.raises(RuntimeError, match="not now"):
        pool.remove("a", 1.0)
    lb.fails = False
    assert [*pool.backends] == ["b"]
    pool.release(lease, 2.0)
    assert pool.acquire(2.0).backend == "b"
    with pytest.raises(NoBackendAvailable, match="saturated"):
        pool.acquire(2.0)


def test_the_requests_of_a_backend_that_stays_count_on() -> None:
    lb = Failing(["a", "b"])
    pool = Pool(lb, limit=1)
    lease = pool.acquire(0.0)
    lb.fails = True
    with pytest.raises(RuntimeError, match="not now"):
        pool.update(["b", "c"], 1.0)
    lb.fails = False
    with pytest.raises(NoBackendAvailable, match="saturated"):
        pool.acquire(1.0)
    pool.release(lease, 2.0)
    assert pool.acquire(2.0).backend in {"a", "b"}
