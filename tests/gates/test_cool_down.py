"""Cooling down: its pauses, their lengths, and the requests that it ignores."""

from collections import deque
from math import inf, nan
from random import Random
from typing import Any

import pytest

from balancers import Event, NoBackendAvailable, Pool, RoundRobin
from balancers.errors import InvalidSetting
from balancers.gates import CoolDown


def pool_with(**settings: Any) -> tuple[CoolDown[str], Pool[str]]:
    gate: CoolDown[str] = CoolDown(rng=Random(1), **settings)
    return gate, Pool(RoundRobin(["a"]), [gate])


def fail(pool: Pool[str], now: float, started_at: float | None = None) -> None:
    pool.release(pool.acquire(now if started_at is None else started_at), now, ok=False)


def test_retry_after_closes_for_that_long_and_is_not_a_failure() -> None:
    gate, pool = pool_with(consecutive_failures=1, max_time=60.0)
    pool.release(pool.acquire(0.0), 10.0, ok=False, retry_after=5.0)
    with pytest.raises(NoBackendAvailable) as refusal:
        pool.acquire(14.9)
    assert (refusal.value.reason, refusal.value.retry_at) == ("cooling down", 15.0)
    lease = pool.acquire(15.0)
    pool.release(lease, 20.0, ok=True, retry_after=1e6)
    assert gate.until("a") == 80.0  # at most max_time
    assert pool.due == -inf
    assert not pool.admits("a", bound=True)


def test_a_pause_that_is_extended_does_not_begin_again() -> None:
    events: deque[Event] = deque(maxlen=10)
    pool = Pool(RoundRobin(["a"]), [CoolDown[str](rng=Random(1))], events=events)
    leases = [pool.acquire(0.0) for _ in range(2)]
    pool.release(leases[0], 1.0, retry_after=5.0)
    pool.release(leases[1], 2.0, retry_after=9.0)
    pool.acquire(11.0)
    recorded = [(one.at, one.began) for one in events if one.reason == "cooling down"]
    assert recorded == [(1.0, True), (11.0, False)]


def test_a_pause_is_never_shortened() -> None:
    gate, pool = pool_with()
    leases = [pool.acquire(0.0) for _ in range(3)]
    for lease, wait in zip(leases, (30.0, 40.0, 1.0), strict=True):
        pool.release(lease, 1.0, ok=False, retry_after=wait)
    assert gate.until("a") == 41.0


def test_repeated_failure_pauses_longer_and_longer_until_a_success() -> None:
    gate, pool = pool_with(
        consecutive_failures=2, base_time=1.0, factor=3.0, max_time=20.0, jitter=0.0
    )
    now, pauses = 0.0, list[float]()
    for _ in range(5):
        fail(pool, now)
        assert gate.until("a") <= now
        fail(pool, now)
        pauses.append(gate.until("a") - now)
        now = gate.until("a")
    assert pauses == [1.0, 3.0, 9.0, 20.0, 20.0]
    pool.release(pool.acquire(now), now, ok=True)
    fail(pool, now)
    fail(pool, now)
    assert gate.until("a") - now == 1.0


def test_requests_that_started_before_the_pause_are_ignored() -> None:
    gate, pool = pool_with(consecutive_failures=1, base_time=1.0, jitter=0.0)
    leases = [pool.acquire(0.0) for _ in range(10)]
    for lease in leases[:9]:
        pool.release(lease, 5.0, ok=False)
    assert gate.until("a") == 6.0
    pool.release(leases[9], 5.5, ok=True)
    fail(pool, 6.0)
    assert gate.until("a") == 8.0  # the late success reset nothing


def test_a_cancelled_request_is_not_counted() -> None:
    gate, pool = pool_with(consecutive_failures=2)
    fail(pool, 0.0)
    pool.release(pool.acquire(0.0), 0.0, ok=None)
    assert gate.until("a") == -inf
    fail(pool, 0.0)
    assert gate.until("a") > 0


def test_jitter_only_shortens() -> None:
    waits: set[float] = set()
    for seed in range(50):
        gate: CoolDown[str] = CoolDown(1, 10.0, jitter=0.5, rng=Random(seed))
        fail(Pool(RoundRobin(["a"]), [gate]), 0.0)
        waits.add(gate.until("a"))
    assert 5.0 <= min(waits) < 5.6
    assert 9.4 < max(waits) <= 10.0


def test_a_thousand_pauses_do_not_overflow() -> None:
    gate, pool = pool_with(consecutive_failures=1, factor=1e10, max_time=5.0, jitter=0.0)
    now = 0.0
    for _ in range(1000):
        fail(pool, now)
        now = gate.until("a")
    assert now == pytest.approx(1.0 + 999 * 5.0)


def test_a_panic_does_not_ignore_a_cool_down() -> None:
    gate: CoolDown[str] = CoolDown(rng=Random(1))
    pool = Pool(RoundRobin(["a", "b", "c"]), [gate], panic=1.0)
    for _ in range(2):
        pool.release(pool.acquire(0.0), 0.0, retry_after=9.0)
    assert {pool.acquire(1.0).backend for _ in range(3)} == {"c"}


@pytest.mark.parametrize(
    "settings",
    [
        {"consecutive_failures": 0},
        {"base_time": 0.0},
        {"base_time": 61.0},
        {"max_time": inf},
        {"factor": 0.9},
        {"factor": nan},
        {"jitter": 1.1},
        {"jitter": -0.1},
    ],
)
def test_settings_outside_their_range(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match=next(iter(settings))):
        pool_with(**settings)
    with pytest.raises(TypeError, match="None"):
        CoolDown(rng=None)  # type: ignore[arg-type] # refused


def test_the_repr_shows_the_settings_and_what_is_closed() -> None:
    gate, pool = pool_with()
    assert repr(gate) == "<CoolDown: consecutive_failures 5, 1.0 to 60.0 s, 0 of 1 closed>"
    pool.release(pool.acquire(0.0), 1.0, retry_after=5.0)
    assert "1 of 1 closed" in repr(gate)
