"""What a pool says about itself, at the time of the last request and at later ones."""

from math import inf

import pytest

from balancers import (
    ConnectionLimit,
    Drain,
    HealthChecks,
    NoBackendAvailable,
    Pool,
    RoundRobin,
    WeightedRoundRobin,
)


def panics(pool: Pool[str]) -> bool:
    return pool.panicking


def test_totals_include_every_backend_that_left() -> None:
    pool = Pool(RoundRobin([*"abcd"]))
    for number, backend in enumerate("abcd", start=1):
        for _ in range(number):
            pool.release(pool.acquire(1.0, prefer=backend), 1.0, ok=False)
            pool.release(pool.acquire(1.0, prefer=backend), 1.0)
    for backend in "abc":
        pool.remove(backend, 2.0)
        assert (pool.snapshot().requests, pool.snapshot().failures) == (20, 10)
    pool.add("a", now=3.0)
    pool.release(pool.acquire(3.0, prefer="a"), 3.0, ok=False)
    assert (pool.snapshot().requests, pool.snapshot().failures) == (21, 11)


def test_a_panic_shows_before_the_next_request() -> None:
    health = HealthChecks[str](1, 1)
    pool = Pool(RoundRobin(["a", "b"]), [health])
    assert panics(pool) is False
    for backend in "ab":
        health.observe(backend, False, 0.0)
    assert panics(pool) is True
    assert "panic" in repr(pool)
    health.observe("b", True, 0.0)
    assert panics(pool) is False
    assert "panic" not in repr(pool)


def test_the_share_of_a_panic_is_compared_strictly() -> None:
    """It begins below ``panic`` and ends at ``calm``."""
    health = HealthChecks[str](1, 1)
    pool = Pool(RoundRobin([*"abcd"]), [health], panic=0.5, calm=0.75)
    shown: list[bool] = []
    for backend, ok in (("a", False), ("b", False), ("c", False), ("c", True), ("b", True)):
        health.observe(backend, ok, 1.0)
        shown.append(panics(pool))
    assert shown == [False, False, True, True, False]


def test_a_panic_lasts_while_hard_gates_close_everything() -> None:
    health, drain = HealthChecks[str](1, 1), Drain[str]()
    pool = Pool(RoundRobin(["a", "b"]), [health, drain])
    for backend in "ab":
        health.observe(backend, False, 0.0)
    assert panics(pool)
    for backend in "ab":
        drain.begin(backend, 1.0)
    pool.due  # noqa: B018 - reading changes nothing
    with pytest.raises(NoBackendAvailable):
        pool.acquire(1.0)
    assert panics(pool)
    assert pool.state("a") == ("unhealthy", "draining")
    drain.cancel("a", 2.0)
    assert pool.acquire(2.0).backend == "a"


def test_full_is_true_only_while_a_request_that_ends_would_help() -> None:
    limit, drain = ConnectionLimit[str](1), Drain[str]()
    pool = Pool(RoundRobin(["a", "b"]), [limit, drain])
    assert pool.full("a") is False
    lease = pool.acquire(1.0, prefer="a")
    assert pool.full("a") is True
    assert pool.full("b") is False
    drain.begin("a", 2.0)
    assert pool.full("a") is True  # a drain spares bound requests
    pool.set_weight("a", 0, 2.0)
    assert pool.full("a") is True  # and so does weight 0
    pool.release(lease, 3.0)
    assert pool.full("a") is False


def test_full_includes_the_limit_of_the_pool() -> None:
    pool = Pool(RoundRobin(["a", "b"]), limit=1)
    assert pool.full("a") is False
    lease = pool.acquire(1.0)
    assert (pool.full("a"), pool.full("b")) == (True, True)
    assert not pool.admits("a")
    pool.release(lease, 1.0)
    assert (pool.full("a"), pool.full("b")) == (False, False)
    assert pool.admits("a")


def test_a_later_time_is_foreseen_from_its_first_moment() -> None:
    health, limit = HealthChecks[str](1, 1, 10.0), ConnectionLimit[str](1)
    pool = Pool(WeightedRoundRobin([*"abc"]), [health, limit], panic=None)
    lease = pool.acquire(1.0, prefer="a")
    pool.release(lease, 2.0, ok=False)
    before = 11.999999999999998
    assert not pool.admits("a")
    assert pool.due == 12.0
    assert [pool.admits("a", now=now) for now in (2.0, before, 12.0, 99.0)] == [False] * 2 + [
        True
    ] * 2
    assert pool.state("a") == ("unhealthy",)
    limit.set("b", 2)
    first, _ = pool.acquire(3.0, prefer="b"), pool.acquire(3.0, prefer="b")
    pool.release(first, 3.0, ok=False)
    limit.set("b", 1)
    assert [pool.full("b", now=now) for now in (3.0, 12.9, 13.0)] == [False, False, True]


def test_a_kept_member_is_open_to_bound_requests_until_its_time() -> None:
    pool = Pool(RoundRobin(["a", "b"]))
    pool.update(["b"], 1.0, keep=10.0)
    assert [pool.admits("a", bound=True, now=now) for now in (1.0, 10.9, 11.0)] == [
        True,
        True,
        False,
    ]
    assert [pool.admits("a", now=now) for now in (1.0, 10.9, 11.0)] == [False] * 3
    lease = pool.acquire(2.0, prefer="a")
    assert pool.admits("a", bound=True, now=99.0)  # it stays while a request is in flight
    pool.acquire(12.0)
    assert "a" in pool.backends
    pool.release(lease, 13.0)
    assert not pool.admits("a", bound=True)
    assert pool.due == -inf
    pool.acquire(13.0)
    assert "a" not in pool.backends
    assert pool.due == inf
