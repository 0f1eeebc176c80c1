"""Passive checks: what demotes a backend, what promotes it, and how many trials are let through."""

from itertools import pairwise
from math import inf, nan, nextafter
from random import Random
from typing import Any

import pytest

from balancers import HealthChecks, NoBackendAvailable, Pool, RoundRobin
from balancers.errors import InvalidSetting
from balancers.gates import ActiveChecks, PassiveChecks


def failing(now: float = 0.0, **settings: Any) -> tuple[PassiveChecks[str], Pool[str]]:
    """Return a gate and its pool of a and b, where a is closed for 10 s."""
    gate: PassiveChecks[str] = PassiveChecks(**settings)
    pool = Pool(RoundRobin(["a", "b"]), [gate])
    for _ in range(settings.get("max_fails", 1)):
        pool.release(pool.acquire(now, avoid=["b"]), now, ok=False)
    assert pool.state("a") == ("failing",)
    return gate, pool


def test_one_request_is_let_through_after_the_pause_and_not_a_flood() -> None:
    _, pool = failing()
    assert {pool.acquire(nextafter(10.0, 0)).backend for _ in range(9)} == {"b"}
    assert pool.due == 10.0
    assert [pool.acquire(10.0).backend for _ in range(40)].count("a") == 1


@pytest.mark.parametrize("max_trials", [1, 2, 5])
def test_max_trials_are_let_through_and_a_success_opens(max_trials: int) -> None:
    _, pool = failing(max_trials=max_trials)
    trials = [lease for _ in range(40) if (lease := pool.acquire(10.0)).backend == "a"]
    assert len(trials) == max_trials
    pool.release(trials[0], 11.0, ok=True)
    assert [pool.acquire(11.0).backend for _ in range(8)].count("a") == 4
    for lease in trials[1:]:
        pool.release(lease, 11.0, ok=True)


def test_a_failed_trial_is_another_pause() -> None:
    _, pool = failing()
    for start in (10.0, 25.0, 40.0):
        trial = pool.acquire(start, avoid=["b"])
        pool.release(trial, start + 5.0, ok=False)
        with pytest.raises(NoBackendAvailable) as refusal:
            pool.acquire(start + 5.0, avoid=["b"])
        assert refusal.value.retry_at == start + 15.0


def test_a_trial_that_is_cancelled_or_gets_retry_after_allows_another() -> None:
    _, pool = failing()
    outcomes: list[dict[str, Any]] = [{"ok": None}, {"ok": False, "retry_after": 3.0}]
    for outcome in outcomes:
        trial = pool.acquire(10.0, avoid=["b"])
        with pytest.raises(NoBackendAvailable):
            pool.acquire(10.0, avoid=["b"])
        pool.release(trial, 10.0, **outcome)
    assert pool.acquire(10.0, avoid=["b"]).backend == "a"


def test_a_trial_that_does_not_end_is_given_up_and_may_still_open() -> None:
    _, pool = failing()
    lost = pool.acquire(10.0, avoid=["b"])
    with pytest.raises(NoBackendAvailable) as refusal:
        pool.acquire(19.9, avoid=["b"])
    assert refusal.value.retry_at == 20.0
    second = pool.acquire(20.0, avoid=["b"])
    pool.release(lost, 21.0, ok=None)  # allows no other trial: it was given up
    with pytest.raises(NoBackendAvailable):
        pool.acquire(21.0, avoid=["b"])
    pool.release(second, 22.0, ok=True)
    assert pool.admits("a")


def test_requests_that_started_before_the_pause_are_ignored() -> None:
    gate: PassiveChecks[str] = PassiveChecks()
    pool = Pool(RoundRobin(["a", "b"]), [gate])
    early = [lease for _ in range(8) if (lease := pool.acquire(0.0)).backend == "a"]
    pool.release(early[0], 1.0, ok=False)
    pool.release(early[1], 2.0, ok=True)
    pool.release(early[2], 3.0, ok=False)
    assert not pool.admits("a")
    trial = pool.acquire(11.0, avoid=["b"])  # ten seconds after the first failure, not the third
    pool.release(early[3], 12.0, ok=True)
    assert not pool.admits("a")
    pool.release(trial, 12.0, ok=True)
    assert pool.admits("a")


def test_failures_count_for_fail_timeout_seconds() -> None:
    gate: PassiveChecks[str] = PassiveChecks(max_fails=3, fail_timeout=10.0)
    pool = Pool(RoundRobin(["a", "b"]), [gate])
    for now, ok in ((0.0, False), (4.0, False), (5.0, True), (10.0, False)):
        pool.release(pool.acquire(now, prefer="a"), now, ok=ok)
        assert pool.admits("a")
    pool.release(pool.acquire(13.0, prefer="a"), 13.0, ok=False)
    assert not pool.admits("a")


def test_the_only_member_is_never_closed_as_in_nginx() -> None:
    gate: PassiveChecks[str] = PassiveChecks()
    pool = Pool(RoundRobin(["a"]), [gate])
    for now in (0.0, 1.0, 2.0):
        pool.release(pool.acquire(now), now, ok=False)
    pool.add("b", now=3.0)
    assert {pool.acquire(3.0).backend for _ in range(4)} == {"b"}
    pool.remove("b", 4.0)
    assert pool.acquire(4.0).backend == "a"


def test_probes_do_not_promote_a_backend_that_fails_requests() -> None:
    """With probes alone it flips at every other probe; with either setting it stays closed."""

    def flips(*gates: Any) -> int:
        pool = Pool(RoundRobin(["a", "b"]), gates)
        admitted: list[bool] = []
        for turn in range(3000):
            now = turn / 50
            for gate in gates:
                for probe in gate.probes(now) if hasattr(gate, "probes") else ():
                    gate.answer(probe, True, now)
            lease = pool.acquire(now)
            pool.release(lease, now, ok=lease.backend == "b")
            admitted.append(pool.admits("a"))
        return sum(one != other for one, other in pairwise(admitted))

    def checks(**settings: Any) -> ActiveChecks[str]:
        return ActiveChecks(interval=1.0, timeout=0.5, rng=Random(1), **settings)

    assert flips(checks()) > 40
    assert flips(checks(promotion="time", recovery_time=30.0)) <= 3
    passive: PassiveChecks[str] = PassiveChecks(max_fails=3, fail_timeout=30.0)
    assert flips(ActiveChecks(10**6, 1, rng=Random(1)), passive) <= 5


@pytest.mark.parametrize("promotion", ["probes", "time", "either"])
def test_what_may_promote(promotion: Any) -> None:
    health: HealthChecks[str] = HealthChecks(1, 1, recovery_time=10.0, promotion=promotion)
    pool = Pool(RoundRobin(["a", "b"]), [health])
    pool.release(pool.acquire(0.0, prefer="a"), 0.0, ok=False)
    health.observe("b", True, 0.0)
    pool.release(pool.acquire(0.0, prefer="b"), 0.0, ok=False)
    assert not health.healthy("b")
    assert [health.factor(b, 10.0) for b in "ab"] == {
        "probes": [0, 0],
        "time": [1, 1],
        "either": [1, 0],
    }[promotion]
    for backend in "ab":
        health.observe(backend, True, 5.0)
    assert [health.healthy(b) for b in "ab"] == [promotion != "time"] * 2
    assert [health.factor(b, 10.0) for b in "ab"] == [1, 1]
    health.observe("a", False, 11.0)  # only probes promote after a demotion by probes
    assert health.factor("a", 1e6) == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"max_fails": 0},
        {"max_fails": 1.5},
        {"max_trials": 0},
        {"fail_timeout": 0.0},
        {"fail_timeout": -1.0},
        {"fail_timeout": inf},
        {"fail_timeout": nan},
    ],
)
def test_bad_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match=f"{next(iter(settings))} must be"):
        PassiveChecks(**settings)


def test_bad_promotion() -> None:
    with pytest.raises(InvalidSetting, match=r"promotion must be .*'hope'"):
        HealthChecks(promotion="hope")  # type: ignore[arg-type] # refused
