"""A resolver that flaps: ``update(..., keep=seconds)`` keeps what is known of a vanished member."""

import copy
import pickle
from collections import deque
from math import inf, nan
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
from balancers.errors import InvalidSetting, InvalidWeight, UnknownBackend
from balancers.gates import CoolDown, OutlierEjection, PassiveChecks
from balancers.hashing import Jump
from tests.kinds import KINDS, Kind, by_name

KEY = "192.0.2.7"


def test_a_flap_forgives_nothing_with_keep() -> None:
    """In-flight counts, ejections, failing marks, an operator's drain and limits survive."""
    drain, limit, health = Drain[str](), ConnectionLimit[str](10), HealthChecks[str](1)
    passive = PassiveChecks[str]()
    outliers = OutlierEjection[str](1, max_ejected_share=1.0)
    pool = Pool(LeastConnections([*"abcdef"]), [drain, limit, health, passive, outliers])
    held = pool.acquire(0.0, prefer="a")
    drain.begin("b", 0.0)
    limit.set("c", 3)
    health.observe("d", False, 0.0)
    pool.release(pool.acquire(0.0, prefer="e"), 0.0, ok=False)
    before = {backend: (pool.state(backend), pool.generation(backend)) for backend in "abcde"}
    assert before["e"][0] == ("unhealthy", "failing", "ejected")
    for now in (1.0, 2.0, 3.0):
        pool.update(["f"], now, keep=30.0)
        for _ in range(9):
            lease = pool.acquire(now)
            assert lease.backend == "f"
            pool.release(lease, now)
        pool.update([*"fedcba"], now + 0.5, keep=30.0)
        assert {b: (pool.state(b), pool.generation(b)) for b in "abcde"} == before
        assert pool.in_flight("a") == 1
    for _ in range(3):
        pool.acquire(4.0, prefer="c", strict=True)
    with pytest.raises(NoBackendAvailable):
        pool.acquire(4.0, prefer="c", strict=True)
    pool.release(held, 4.0)
    assert pool.in_flight("a") == 0


def test_without_keep_a_vanished_member_leaves_at_once() -> None:
    drain: Drain[str] = Drain()
    pool = Pool(RoundRobin(["a", "b"]), [drain])
    drain.begin("a", 0.0)
    pool.update(["b"], 1.0)
    assert "a" not in pool
    pool.update(["a", "b"], 2.0)
    assert pool.state("a") == ()


def test_a_vanished_member_serves_bound_requests_only() -> None:
    pool = Pool(RoundRobin(["a", "b"]))
    pool.update(["b"], 0.0, keep=10.0)
    assert pool.state("a") == ("leaving",)
    assert not pool.admits("a")
    assert pool.admits("a", bound=True)
    assert pool.acquire(1.0, prefer="a").bound
    assert pool.weight("a") == 1
    assert pool.effective_weight("a") == 0
    pool.update([], 1.0, keep=10.0)
    with pytest.raises(NoBackendAvailable) as refusal:
        pool.acquire(1.0)
    assert (refusal.value.reason, refusal.value.counts) == ("leaving", {"leaving": 2})
    assert (refusal.value.full, refusal.value.retry_at) == (0, 10.0)


def test_a_vanished_member_is_forgotten_when_it_is_idle_and_the_time_is_over() -> None:
    events: deque[Event] = deque(maxlen=20)
    pool = Pool(RoundRobin(["a", "b"]), events=events)
    lease = pool.acquire(0.0, prefer="a")
    events.clear()
    pool.update(["b"], 1.0, keep=10.0)
    assert pool.due == 11.0
    pool.update(["b"], 5.0, keep=10.0)  # the time counts from the first update without it
    pool.acquire(11.0)
    assert pool.in_flight("a") == 1  # overdue, but not idle
    assert pool.due == inf
    pool.release(lease, 20.0)
    assert pool.due == -inf
    assert pool.acquire(20.0).backend == "b"
    assert "a" not in pool
    assert [(e.at, e.reason, e.began, e.backend) for e in events] == [
        (1.0, "leaving", True, "a"),
        (20.0, "member", False, "a"),
    ]
    with pytest.raises(UnknownBackend):
        pool.state("a")


def test_a_member_that_returns_has_its_weight_and_its_event() -> None:
    events: deque[Event] = deque(maxlen=20)
    pool = Pool(WeightedRoundRobin({"a": 2, "b": 1}), events=events)
    pool.update({"b": 1}, 1.0, keep=10.0)
    pool.update({"a": 5, "b": 1}, 2.0, keep=10.0)
    assert (pool.effective_weight("a"), pool.due) == (5, inf)
    assert [(e.reason, e.began) for e in events][-2:] == [("leaving", True), ("leaving", False)]
    pool.update({"b": 1}, 3.0, keep=10.0)
    pool.add("a", 3, 4.0)
    assert pool.effective_weight("a") == 3
    pool.update({"b": 1}, 5.0, keep=10.0)
    pool.set_weight("a", 7, 6.0)  # it is still leaving
    assert (pool.weight("a"), pool.effective_weight("a")) == (7, 0)
    pool.update({"a": 7, "b": 1}, 7.0, keep=10.0)
    assert pool.effective_weight("a") == 7
    assert pool.generation("a") == 1


def test_a_kept_member_can_be_removed_at_once() -> None:
    pool = Pool(RoundRobin(["a", "b"]))
    pool.update(["b"], 0.0, keep=10.0)
    pool.remove("a", 1.0)
    assert (list(pool.backends), pool.due) == (["b"], inf)
    pool.update([], 2.0, keep=10.0)
    pool.update([], 3.0)
    assert not pool.backends
    pool.update(["a"], 4.0, keep=0.0)
    pool.update([], 4.0, keep=0.0)
    pool.update(["b"], 4.0, keep=0.0)
    assert list(pool.backends) == ["b"]
    pool.update([], 4.0, keep=0.0)
    assert pool.state("b") == ("leaving",)  # to read removes no member
    with pytest.raises(NoBackendAvailable, match="empty"):
        pool.acquire(4.0)
    assert not pool.backends


def test_an_absence_is_no_recovery() -> None:
    pool = Pool(WeightedRoundRobin(["a", "b"]), [HealthChecks[str](), SlowStart[str](30.0)])
    pool.update(["b"], 100.0, keep=60.0)
    pool.acquire(100.0)
    pool.update(["a", "b"], 101.0, keep=60.0)
    assert pool.effective_weight("a") == 1


@pytest.mark.parametrize("keep", ["3", True, -1.0, nan, inf, 1e301])
def test_a_wrong_keep_changes_nothing(keep: Any) -> None:
    pool = Pool(RoundRobin(["a", "b"]))
    with pytest.raises(InvalidSetting, match="keep"):
        pool.update(["b"], 0.0, keep=keep)
    assert pool.state("a") == ()
    with pytest.raises(InvalidWeight):
        pool.update({"b": -1}, 0.0, keep=1.0)
    assert (pool.state("a"), pool.due) == ((), inf)


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_every_balancer_keeps_and_forgets(kind: Kind) -> None:
    """Also for the one that lets only its last member leave: then the rest wait for it."""
    pool: Pool[str] = Pool(kind.make())
    pool.update([*"abcd"], 0.0)
    for round_ in range(1, 4):
        now = 10.0 * round_
        pool.update(["a", "c"], now, keep=5.0)
        copies = [copy.deepcopy(pool), pickle.loads(pickle.dumps(pool))]  # noqa: S301 - own
        for copied in (pool, *copies):
            picks = {copied.acquire(now, KEY).backend for _ in range(8)}
            assert picks <= {"a", "c"}
        pool.update([*"abcd"], now + 1, keep=5.0)
        assert [pool.generation(b) for b in "abcd"] == [1, 2, 3, 4]
    pool.update(["a", "b"], 50.0, keep=5.0)
    pool.acquire(55.0, KEY)
    kept = set(pool.backends) - {"a", "b"}
    assert all(pool.in_flight(b) for b in kept)


def test_jump_forgets_a_member_when_it_is_the_last() -> None:
    pool = Pool(Jump([*"abc"]))
    pool.update(["a", "c"], 0.0, keep=1.0)
    assert pool.acquire(5.0, "key").backend in "ac"
    assert list(pool.backends) == [*"abc"]
    assert pool.due == inf
    pool.update(["a"], 6.0, keep=1.0)
    pool.acquire(7.0, "key")
    assert set(pool.backends) <= {*"abc"}
    leases = sum(pool.in_flight(b) for b in pool.backends if b != "a")
    assert list(pool.backends) == ["a"] or leases


def test_a_member_that_became_idle_is_forgotten_whatever_happens_to_others() -> None:
    for change in ("add", "update"):
        pool = Pool(RoundRobin([*"abc"]))
        leases = {lease.backend: lease for lease in [pool.acquire(0.0) for _ in range(3)]}
        pool.update(["a"], 0.0, keep=5.0)
        pool.acquire(6.0)
        pool.release(leases["b"], 7.0)
        if change == "add":
            pool.add("c", now=7.0)
        else:
            pool.update(["a"], 7.0, keep=1000.0)
        pool.acquire(8.0)
        assert list(pool.backends) == ["a", "c"]


def test_reading_removes_no_member() -> None:
    pool = Pool(RoundRobin([*"abc"]))
    pool.update(["b", "c"], 0.0, keep=0.0)
    assert [pool.state(backend) for backend in pool.backends] == [("leaving",), (), ()]
    assert not pool.admits("a", bound=True)  # a request would remove it
    with pytest.raises(NoBackendAvailable, match="unknown"):
        pool.acquire(0.0, prefer="a", strict=True)
    assert "a" not in pool


def test_a_reader_knows_that_the_time_of_a_kept_member_will_be_over() -> None:
    pool = Pool(RoundRobin(["a", "b"]))
    pool.update(["b"], 0.0, keep=10.0)
    answers = [pool.admits("a", bound=True, now=now) for now in (0.0, 9.0, 10.0)]
    assert answers == [True, True, False]
    lease = pool.acquire(1.0, prefer="a")
    assert pool.admits("a", bound=True, now=20.0)
    pool.release(lease, 11.0)
    assert not pool.admits("a", bound=True, now=20.0)


def test_a_change_after_the_time_finds_the_member_forgotten() -> None:
    drain: Drain[str] = Drain()
    pool = Pool(RoundRobin(["a", "b"]), [drain])
    drain.begin("a", 0.0)
    pool.update(["b"], 0.0, keep=10.0)
    pool.update(["a", "b"], 10.0, keep=10.0)
    assert (pool.state("a"), pool.generation("a")) == ((), 3)
    pool.update(["b"], 11.0, keep=10.0)
    with pytest.raises(UnknownBackend):
        pool.set_weight("a", 2, 21.0)
    with pytest.raises(UnknownBackend):
        pool.remove("a", 21.0)


def test_a_failed_change_tells_the_gates_no_time_that_the_pool_has_not() -> None:
    cool: CoolDown[str] = CoolDown(rng=Random(1))
    pool = Pool(RoundRobin(["a", "b"]), [cool])
    lease = pool.acquire(0.0, prefer="a")
    pool.update(["a"], 0.0, keep=1.0)
    with pytest.raises(UnknownBackend):
        pool.remove("zz", now=100.0)
    pool.release(lease, 1.0, retry_after=2.0)
    assert pool.acquire(50.0).backend == "a"


def test_a_member_whose_time_is_over_can_be_removed() -> None:
    pool = Pool(RoundRobin(["a", "b"]))
    pool.update(["a"], 0.0, keep=1.0)
    pool.remove("b", now=5.0)
    assert list(pool.backends) == ["a"]


def test_jump_keeps_serving_the_sessions_of_a_member_that_cannot_leave() -> None:
    pool = Pool(Jump([*"abc"]))
    pool.update(["a", "c"], 1.0, keep=1.0)
    pool.acquire(5.0, "x")
    assert pool.admits("b", bound=True)
    assert pool.acquire(6.0, "x", prefer="b", strict=True).bound
