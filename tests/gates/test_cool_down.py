"""Cooling down, and the retry budget."""

from collections import deque
from math import inf, nan
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import Event, NoBackendAvailable, Pool, RoundRobin
from balancers.errors import AlreadyReleased, InvalidSetting
from balancers.gates import CoolDown
from balancers.overload import RetryBudget


def pool_with(**settings: Any) -> tuple[CoolDown[str], Pool[str]]:
    cooling: CoolDown[str] = CoolDown(rng=Random(1), **settings)
    return cooling, Pool(RoundRobin(["a"]), [cooling])


def fail(pool: Pool[str], now: float, begun: float | None = None) -> None:
    pool.release(pool.acquire(now if begun is None else begun), now, ok=False)


def test_retry_after_closes_for_so_long_and_is_no_failure() -> None:
    cooling, pool = pool_with(consecutive_failures=1, max_time=60.0)
    pool.release(pool.acquire(0.0), 10.0, ok=False, retry_after=5.0)
    with pytest.raises(NoBackendAvailable) as refusal:
        pool.acquire(14.9)
    assert (refusal.value.reason, refusal.value.retry_at) == ("cooling down", 15.0)
    lease = pool.acquire(15.0)
    pool.release(lease, 20.0, ok=True, retry_after=1e6)
    assert cooling.until("a") == 80.0  # at most the limit
    assert pool.due == -inf
    assert not pool.admits("a", bound=True)


def test_a_longer_pause_begins_no_second_one() -> None:
    events: deque[Event] = deque(maxlen=10)
    pool = Pool(RoundRobin(["a"]), [CoolDown[str](rng=Random(1))], events=events)
    leases = [pool.acquire(0.0) for _ in range(2)]
    pool.release(leases[0], 1.0, retry_after=5.0)
    pool.release(leases[1], 2.0, retry_after=9.0)
    pool.acquire(11.0)
    told = [(one.at, one.began) for one in events if one.reason == "cooling down"]
    assert told == [(1.0, True), (11.0, False)]


def test_a_pause_is_never_cut_short() -> None:
    cooling, pool = pool_with()
    leases = [pool.acquire(0.0) for _ in range(3)]
    for lease, wait in zip(leases, (30.0, 40.0, 1.0), strict=True):
        pool.release(lease, 1.0, ok=False, retry_after=wait)
    assert cooling.until("a") == 41.0


def test_repeated_failure_pauses_longer_and_longer_until_a_success() -> None:
    cooling, pool = pool_with(
        consecutive_failures=2, base_time=1.0, factor=3.0, max_time=20.0, jitter=0.0
    )
    now, pauses = 0.0, list[float]()
    for _ in range(5):
        fail(pool, now)
        assert cooling.until("a") <= now
        fail(pool, now)
        pauses.append(cooling.until("a") - now)
        now = cooling.until("a")
    assert pauses == [1.0, 3.0, 9.0, 20.0, 20.0]
    pool.release(pool.acquire(now), now, ok=True)
    fail(pool, now)
    fail(pool, now)
    assert cooling.until("a") - now == 1.0


def test_what_began_before_the_pause_counts_nowhere() -> None:
    cooling, pool = pool_with(consecutive_failures=1, base_time=1.0, jitter=0.0)
    leases = [pool.acquire(0.0) for _ in range(10)]
    for lease in leases[:9]:
        pool.release(lease, 5.0, ok=False)
    assert cooling.until("a") == 6.0
    pool.release(leases[9], 5.5, ok=True)
    fail(pool, 6.0)
    assert cooling.until("a") == 8.0  # the late success forgave nothing


def test_a_cancelled_request_counts_nowhere() -> None:
    cooling, pool = pool_with(consecutive_failures=2)
    fail(pool, 0.0)
    pool.release(pool.acquire(0.0), 0.0, ok=None)
    assert cooling.until("a") == -inf
    fail(pool, 0.0)
    assert cooling.until("a") > 0


def test_jitter_only_shortens() -> None:
    waits: set[float] = set()
    for seed in range(50):
        cooling: CoolDown[str] = CoolDown(1, 10.0, jitter=0.5, rng=Random(seed))
        fail(Pool(RoundRobin(["a"]), [cooling]), 0.0)
        waits.add(cooling.until("a"))
    assert 5.0 <= min(waits) < 5.6
    assert 9.4 < max(waits) <= 10.0


def test_a_thousand_pauses_do_not_overflow() -> None:
    cooling, pool = pool_with(consecutive_failures=1, factor=1e10, max_time=5.0, jitter=0.0)
    now = 0.0
    for _ in range(1000):
        fail(pool, now)
        now = cooling.until("a")
    assert now == pytest.approx(1.0 + 999 * 5.0)


def test_panic_leaves_the_cooling_alone() -> None:
    cooling: CoolDown[str] = CoolDown(rng=Random(1))
    pool = Pool(RoundRobin(["a", "b", "c"]), [cooling], panic=1.0)
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
        CoolDown(rng=None)  # type: ignore[arg-type] # what is refused


@given(
    st.integers(0, 10),
    st.integers(0, 20).map(lambda twentieths: twentieths / 20),
    st.lists(st.one_of(st.integers(0, 60), st.none()), max_size=80),
)
def test_retries_are_never_more_than_the_budget(
    least: int, share: float, steps: list[int | None]
) -> None:
    """None ends a retry; a number asks for one with so many requests in flight."""
    budget, retries = RetryBudget(share, least), 0
    for in_flight in steps:
        if in_flight is not None:
            room = retries < least or retries * 20 < round(share * 20) * in_flight
            assert budget.begin(in_flight) is room
            retries += room
        elif retries:
            budget.end()
            retries -= 1
        else:
            with pytest.raises(AlreadyReleased, match="no retry"):
                budget.end()
        assert budget.retries == retries


def test_a_tenth_is_a_tenth() -> None:
    """0.1 * 30 is a little more than 3 in floats: a fourth retry would get in."""
    budget = RetryBudget(share=0.1, min_retries=0)
    assert [budget.begin(30) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize(
    "settings", [{"share": -0.1}, {"share": 1.1}, {"share": nan}, {"min_retries": -1}]
)
def test_budgets_outside_their_range(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match=next(iter(settings))):
        RetryBudget(**settings)
    with pytest.raises(InvalidSetting, match="-1"):
        RetryBudget().begin(-1)
