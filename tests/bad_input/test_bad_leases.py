"""Leases released twice, after a removal or in another pool; and invalid times."""

import copy
import re
from math import inf, nan
from typing import Any

import pytest

from balancers import Drain, HealthChecks, Pool, RoundRobin, SlowStart, WeightedRoundRobin
from balancers.errors import AlreadyReleased, ForeignLease, InvalidSetting, InvalidTime
from tests.bad_input.samples import (
    CLIENT,
    INVALID_TIMES,
    every_kind,
    filled,
    gates_for,
    pool_of,
    pool_state,
)
from tests.kinds import Kind


@every_kind
def test_a_lease_is_released_once(kind: Kind) -> None:
    pool = pool_of(kind)
    lease, other = pool.acquire(1.0, CLIENT), pool.acquire(1.0, CLIENT)
    pool.release(lease, 2.0)
    before = pool_state(pool)
    for ok in (True, False, None):
        with pytest.raises(AlreadyReleased, match=repr(lease.backend)):
            pool.release(lease, 2.0, ok)
    assert pool_state(pool) == before
    assert not other.released
    assert sum(pool.in_flight(b) for b in pool.backends) == 1


@every_kind
def test_the_lease_of_a_removed_backend_is_released_once(kind: Kind) -> None:
    pool = pool_of(kind)
    lease = pool.acquire(1.0, CLIENT)
    for backend in kind.leavers(pool.backends, lease.backend):
        pool.remove(backend, 2.0)
    before = pool_state(pool)
    pool.release(lease, 2.0, ok=False)
    assert pool_state(pool) == before
    with pytest.raises(AlreadyReleased):
        pool.release(lease, 2.0)
    assert pool_state(pool) == before


@every_kind
def test_a_former_generations_lease_changes_no_current_count(kind: Kind) -> None:
    pool = Pool(filled(kind, {"a": 1}), gates_for(kind))
    old = pool.acquire(1.0, CLIENT)
    pool.remove("a", 2.0)
    pool.add("a", 1, 2.0)
    new = pool.acquire(3.0, CLIENT)
    before = pool_state(pool)
    for _ in range(3):
        pool.release(old, 3.0, ok=False) if not old.released else None
    assert pool_state(pool) == before
    assert pool.in_flight("a") == 1
    pool.release(new, 4.0)
    assert pool.in_flight("a") == 0
    with pytest.raises(AlreadyReleased):
        pool.release(old, 4.0)


@every_kind
def test_the_lease_of_another_pool_is_refused(kind: Kind) -> None:
    pool, other = pool_of(kind), pool_of(kind)
    lease = other.acquire(1.0, CLIENT)
    pool.acquire(1.0, CLIENT)
    states = pool_state(pool), pool_state(other)
    with pytest.raises(ForeignLease, match=repr(lease.backend)):
        pool.release(lease, 1.0)
    with pytest.raises(ForeignLease):
        copy.deepcopy(other).release(lease, 1.0)
    assert (pool_state(pool), pool_state(other)) == states
    other.release(lease, 1.0)


@pytest.mark.parametrize("wrong", [{"elapsed": -1.0}, {"retry_after": nan}, {"elapsed": inf}])
def test_a_refused_release_does_not_release_the_lease(wrong: dict[str, Any]) -> None:
    pool = Pool(RoundRobin(["a"]))
    lease = pool.acquire(1.0)
    with pytest.raises(InvalidSetting):
        pool.release(lease, 2.0, True, **wrong)
    with pytest.raises(InvalidTime):
        pool.release(lease, nan)
    assert not lease.released
    assert pool.in_flight("a") == 1
    pool.release(lease, 2.0)
    assert pool.in_flight("a") == 0


def test_a_lease_cannot_be_copied() -> None:
    lease = Pool(RoundRobin(["a"])).acquire(1.0)
    for copied in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="'a'"):
            copied(lease)


@every_kind
@pytest.mark.parametrize("now", INVALID_TIMES)
def test_a_pool_refuses_an_invalid_time(kind: Kind, now: float) -> None:
    pool = pool_of(kind)
    lease = pool.acquire(1.0, CLIENT)
    before = pool_state(pool)
    for call in (
        lambda: pool.acquire(now, CLIENT),
        lambda: pool.acquire(now, CLIENT, prefer="a"),
        lambda: pool.release(lease, now),
        lambda: pool.add("new", 1, now),
        lambda: pool.remove("a", now),
        lambda: pool.set_weight("a", 5, now),
        lambda: pool.update(["new"], now),
    ):
        with pytest.raises(InvalidTime, match=re.escape(repr(now))):
            call()
    assert pool_state(pool) == before
    assert not lease.released
    with pytest.raises(InvalidTime):
        Pool(kind.make(), now=now)


@pytest.mark.parametrize("now", INVALID_TIMES)
def test_gates_refuse_an_invalid_time(now: float) -> None:
    health, drain, ramp = HealthChecks[str](), Drain[str](), SlowStart[str](30.0)
    pool = Pool(WeightedRoundRobin(["a", "b"]), [health, drain, ramp])
    drain.begin("b", 1.0)
    pool.acquire(1.0)
    before = pool_state(pool, health, drain, ramp)
    for call in (
        lambda: health.observe("a", ok=False, now=now),
        lambda: health.observe("a", ok=False, now=1.0, started_at=now),
        lambda: drain.begin("a", now),
        lambda: drain.cancel("b", now),
        lambda: drain.drained(now),
        lambda: ramp.begin("a", now),
    ):
        with pytest.raises(InvalidTime, match=re.escape(repr(now))):
            call()
    assert pool_state(pool, health, drain, ramp) == before


@every_kind
def test_an_earlier_time_counts_as_the_latest_seen(kind: Kind) -> None:
    pool = pool_of(kind)
    first = pool.acquire(100.0, CLIENT)
    second = pool.acquire(3.0, CLIENT)
    assert (first.acquired_at, second.acquired_at) == (100.0, 100.0)
    pool.release(second, -5.0)
    pool.add("d", 1, 2.0)
    assert pool.acquire(-1e300, CLIENT).acquired_at == 100.0
