"""The pool measures the durations of requests for a balancer that is timed, and for no other."""

from typing import Any

import pytest

from balancers import Outcome, Pool, RoundRobin
from balancers.outcome import FAILURE, SUCCESS, UNKNOWN


class Listening(RoundRobin[str]):
    """Stores what it is called with."""

    def __init__(self, backends: Any = None, *, timed: bool) -> None:
        self.timed = timed
        self.outcomes: list[Outcome] = []
        self.first: list[tuple[str, float, float]] = []
        super().__init__(backends)

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        self.outcomes.append(outcome)

    def progressed(self, backend: str, elapsed: float, now: float) -> None:
        self.first.append((backend, elapsed, now))


@pytest.mark.parametrize("ok", [True, False, None])
def test_a_timed_balancer_gets_the_duration(ok: bool | None) -> None:
    balancer = Listening(["a"], timed=True)
    pool = Pool(balancer)
    pool.release(pool.acquire(2.0), 3.5, ok)
    pool.release(pool.acquire(4.0), 4.0, ok)
    assert balancer.outcomes == [Outcome(ok, 1.5), Outcome(ok, 0.0)]


def test_the_callers_duration_is_used() -> None:
    balancer = Listening(["a"], timed=True)
    pool = Pool(balancer)
    pool.release(pool.acquire(2.0), 3.5, elapsed=0.25, first=0.125)
    assert balancer.outcomes == [Outcome(True, 0.25, first=0.125)]


def test_no_outcome_is_made_for_a_balancer_that_is_not_timed() -> None:
    balancer = Listening(["a"], timed=False)
    pool = Pool(balancer)
    for ok in (True, False, None):
        pool.release(pool.acquire(2.0), 3.5, ok)
    made = balancer.outcomes
    assert made[0] is SUCCESS
    assert made[1] is FAILURE
    assert made[2] is UNKNOWN


def test_a_time_that_goes_backwards_makes_no_negative_duration() -> None:
    balancer = Listening(["a"], timed=True)
    pool = Pool(balancer)
    lease = pool.acquire(5.0)
    pool.release(lease, 4.0)
    assert balancer.outcomes == [Outcome(True, 0.0)]


def test_the_first_progress_is_reported_once_and_is_part_of_the_outcome() -> None:
    balancer = Listening(["a"], timed=True)
    pool = Pool(balancer)
    lease = pool.acquire(1.0)
    pool.progress(lease, 1.5)
    pool.progress(lease, 1.75)
    pool.release(lease, 3.0)
    assert balancer.first == [("a", 0.5, 1.5)]
    assert balancer.outcomes == [Outcome(True, 2.0, first=0.5)]


def test_the_progress_of_a_former_member_is_not_reported() -> None:
    balancer = Listening(["a", "b"], timed=True)
    pool = Pool(balancer)
    lease = pool.acquire(1.0)
    pool.remove(lease.backend, 1.0)
    pool.progress(lease, 1.5)
    pool.release(lease, 3.0)
    assert (balancer.first, balancer.outcomes) == ([], [])
