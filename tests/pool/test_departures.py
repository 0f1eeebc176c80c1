"""Kept members that are overdue: the time is over, and requests are in flight."""

from math import inf

import pytest

from balancers import HealthChecks, Pool, RoundRobin
from balancers.hashing import Jump
from balancers.pool import Lease


def overdue_pool() -> tuple[Pool[str], list[Lease[str]]]:
    """Return a pool in which the time of "a" is over at 6.0, with two requests in flight."""
    pool = Pool(RoundRobin([*"abc"]))
    leases = [pool.acquire(1.0, prefer="a") for _ in range(2)]
    pool.update([*"bc"], 2.0, keep=3.0)
    assert pool.due == 5.0
    pool.acquire(6.0)
    assert pool.due == inf
    return pool, leases


def test_it_leaves_when_its_last_request_has_ended() -> None:
    pool, leases = overdue_pool()
    first, second = leases
    pool.release(first, 7.0)
    assert pool.due == inf
    pool.acquire(7.0)
    assert "a" in pool
    assert pool.admits("a", bound=True)
    assert pool.state("a") == ("leaving",)
    pool.release(second, 8.0)
    assert pool.due == -inf
    assert not pool.admits("a", bound=True)
    assert not pool.full("a")
    pool.acquire(8.0)
    assert "a" not in pool
    assert pool.due == inf


def test_it_returns_with_its_requests() -> None:
    pool, leases = overdue_pool()
    pool.update([*"abc"], 7.0)
    assert pool.in_flight("a") == 2
    for lease in leases:
        pool.release(lease, 8.0)
    pool.acquire(9.0)
    assert "a" in pool
    assert (pool.due, pool.state("a"), pool.admits("a")) == (inf, (), True)


def test_it_can_be_kept_again_and_then_has_a_new_time() -> None:
    pool, leases = overdue_pool()
    pool.update([*"abc"], 7.0)
    pool.update([*"bc"], 7.0, keep=10.0)
    assert pool.due == 17.0
    for lease in leases:
        pool.release(lease, 8.0)
    assert pool.due == 17.0
    assert pool.admits("a", bound=True)
    pool.acquire(16.9)
    assert "a" in pool
    pool.acquire(17.0)
    assert "a" not in pool


def test_a_removed_one_is_gone_and_joins_anew() -> None:
    pool, leases = overdue_pool()
    pool.remove("a", 7.0)
    assert "a" not in pool
    assert pool.due == inf
    pool.add("a", 2, 8.0)
    for lease in leases:
        pool.release(lease, 9.0)
    assert (pool.in_flight("a"), pool.due, pool.admits("a")) == (0, inf, True)
    assert pool.snapshot().requests == 3


def test_two_idle_ones_leave_at_their_own_times() -> None:
    pool = Pool(RoundRobin([*"abc"]))
    pool.update([*"bc"], 1.0, keep=10.0)
    pool.update([*"c"], 2.0, keep=3.0)
    assert pool.due == 5.0
    assert [pool.admits("b", True, now) for now in (4.9, 5.0)] == [True, False]
    assert [pool.admits("a", True, now) for now in (5.0, 10.9, 11.0)] == [True, True, False]
    pool.acquire(5.0)
    assert [*pool.backends] == ["a", "c"]
    assert pool.due == 11.0
    pool.add("d", now=11.0)
    assert [*pool.backends] == ["c", "d"]


def test_a_balancer_that_allows_only_the_last_to_leave_delays_the_others() -> None:
    """Of two idle members whose time is over, one can leave only after a third."""
    pool = Pool(Jump([*"abc"]))
    lease = pool.acquire(1.0, "k", prefer="c")
    pool.update([*"a"], 2.0, keep=3.0)
    pool.acquire(6.0, "k")
    assert [*pool.backends] == [*"abc"]
    assert pool.due == inf
    pool.release(lease, 7.0)
    assert pool.due == -inf
    pool.acquire(7.0, "k")
    assert [*pool.backends] == ["a"]
    assert pool.due == inf


@pytest.mark.parametrize("soft", [False, True])
def test_a_return_keeps_what_gates_know(soft: bool) -> None:
    health = HealthChecks[str](1, 1)
    pool = Pool(RoundRobin([*"ab"]), [health])
    if soft:
        health.observe("a", False, 1.0)
    pool.update(["b"], 2.0, keep=3.0)
    assert pool.state("a") == (("leaving", "unhealthy") if soft else ("leaving",))
    pool.update(["a", "b"], 3.0)
    assert pool.state("a") == (("unhealthy",) if soft else ())
    assert pool.effective_weight("a") == (not soft)
