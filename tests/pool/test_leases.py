"""A lease: what it says, and how its end is reported."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from balancers import HashRing, HealthChecks, NoBackendAvailable, Outcome, Pool, RoundRobin
from balancers.errors import (
    AlreadyInUse,
    AlreadyReleased,
    InvalidSetting,
    InvalidTime,
    MissingKey,
)
from balancers.gate import Gate
from balancers.outcome import FAILURE, SUCCESS, UNKNOWN


class Ends(Gate[str]):
    """Notes how requests end."""

    reason = "ends"

    def __init__(self) -> None:
        self.ends: list[tuple[Outcome, float, float]] = []

    def factor(self, backend: str, now: float) -> float:
        del backend, now
        return 1

    def changes(self, now: float) -> Iterable[str]:
        del now
        return ()

    def finished(
        self, backend: str, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        del backend, in_flight
        self.ends.append((outcome, started_at, now))


def test_a_lease_says_what_it_stands_for() -> None:
    health = HealthChecks[str](1)
    pool = Pool(RoundRobin(["a"]), [health])
    lease = pool.acquire(1.5, key="k")
    assert (lease.backend, lease.acquired_at, lease.key) == ("a", 1.5, "k")
    assert (lease.bound, lease.panic, lease.released) == (False, False, False)
    assert repr(lease) == "<Lease of 'a', since 1.5>"
    health.observe("a", False, 2.0)
    bound = pool.acquire(2.0, prefer="a")
    assert (bound.key, bound.bound, bound.panic) == (None, True, True)
    assert repr(bound) == "<Lease of 'a', since 2.0, bound, panic>"
    panic = pool.acquire(2.0)
    assert repr(panic) == "<Lease of 'a', since 2.0, panic>"
    pool.release(lease, 3.0)
    assert repr(lease) == "<Lease of 'a', released>"
    assert lease.released


@pytest.mark.parametrize(
    ("reported", "released", "expected"),
    [
        ({}, {}, Outcome(False)),
        ({"status": 503}, {}, Outcome(False, status=503)),
        ({"retry_after": 2.0}, {}, Outcome(False, retry_after=2.0)),
        ({"retry_after": 2.0, "status": 503}, {}, Outcome(False, None, 2.0, 503)),
        ({"retry_after": 2.0}, {"elapsed": 0.5, "status": 500}, Outcome(False, 0.5, 2.0, 500)),
        ({"status": 503}, {"retry_after": 4.0, "status": 500}, Outcome(False, None, 4.0, 500)),
    ],
)
def test_a_reported_failure_is_the_outcome(
    reported: dict[str, Any], released: dict[str, Any], expected: Outcome
) -> None:
    ends = Ends()
    pool = Pool(RoundRobin(["a"]), [ends])
    lease = pool.acquire(1.0)
    lease.failed(**reported)
    assert not lease.released
    pool.release(lease, 2.0, **released)
    assert ends.ends == [(expected, 1.0, 2.0)]
    assert pool.snapshot().failures == 1
    with pytest.raises(AlreadyReleased) as refused:
        lease.failed()
    assert str(refused.value) == "already released: <Lease of 'a', released>"
    with pytest.raises(AlreadyReleased) as refused:
        pool.release(lease, 3.0)
    assert str(refused.value) == "released twice: <Lease of 'a', released>"


def test_an_invalid_report_leaves_the_lease_as_it_was() -> None:
    ends = Ends()
    pool = Pool(RoundRobin(["a"]), [ends])
    lease = pool.acquire(1.0)
    with pytest.raises(InvalidSetting):
        lease.failed(retry_after=-1.0)
    pool.release(lease, 2.0)
    assert ends.ends == [(Outcome(), 1.0, 2.0)]


def clock_of(*times: float) -> Callable[[], float]:
    left = list(times)
    return lambda: left.pop(0)


@pytest.mark.parametrize(
    ("error", "ok"), [(None, True), (ValueError, False), (KeyboardInterrupt, None)]
)
def test_the_end_of_the_block_is_the_outcome(error: type[BaseException] | None, ok: Any) -> None:
    ends = Ends()
    pool = Pool(RoundRobin(["a"]), [ends])
    context = pool.lease(clock_of(1.0, 4.0))
    assert repr(context) == "<LeaseContext: no lease>"
    if error is None:
        with context as lease:
            assert repr(context) == f"<LeaseContext: {lease!r}>"
    else:
        with pytest.raises(error), context:
            raise error
    assert repr(context) == "<LeaseContext: no lease>"
    assert ends.ends == [(Outcome(ok), 1.0, 4.0)]
    with pytest.raises(AlreadyInUse) as refused, context:
        pass
    assert str(refused.value) == (
        "entered twice: <LeaseContext: no lease>; call lease() for each request"
    )


def test_a_lease_that_is_released_in_its_block_ends_once() -> None:
    ends = Ends()
    pool = Pool(RoundRobin(["a"]), [ends])
    with pool.lease(clock_of(1.0)) as lease:
        pool.release(lease, 2.0, ok=None)
    assert ends.ends == [(Outcome(None), 1.0, 2.0)]


def test_a_clock_that_fails_at_the_end_still_ends_the_lease() -> None:
    ends = Ends()
    pool = Pool(RoundRobin(["a"]), [ends])
    with pytest.raises(InvalidTime), pool.lease(clock_of(1.0, float("nan"))):
        pass
    with pytest.raises(IndexError), pool.lease(clock_of(2.0)):
        pass
    assert ends.ends == [(Outcome(), 1.0, 1.0), (Outcome(), 2.0, 2.0)]
    assert pool.in_flight("a") == 0


def test_a_context_that_could_not_be_entered_can_be_entered_later() -> None:
    pool = Pool(RoundRobin[str]())
    context = pool.lease(clock_of(1.0, 2.0, 3.0))
    with pytest.raises(LookupError), context:
        pass
    context.__exit__(None, None, None)
    pool.add("a")
    with context as lease:
        assert lease.acquired_at == 2.0
    assert lease.released


def test_a_context_acquires_with_its_arguments() -> None:
    pool = Pool(HashRing([*"abcdef"]))
    for key in ("one", "two", "three"):
        home = pool.acquire(0.0, key).backend
        with pool.lease(clock_of(1.0, 2.0), key) as lease:
            assert (lease.backend, lease.key) == (home, key)
        with pool.lease(clock_of(1.0, 2.0), key, avoid=[home]) as lease:
            assert lease.backend != home
        with pool.lease(clock_of(1.0, 2.0), key, "c") as lease:
            assert (lease.backend, lease.bound) == ("c", True)
        with pool.lease(clock_of(1.0, 2.0), key, "x") as lease:
            assert (lease.backend, lease.bound) == (home, False)
        with pytest.raises(NoBackendAvailable), pool.lease(clock_of(1.0), key, "x", True):
            pass
    with pytest.raises(MissingKey), pool.lease(clock_of(1.0)):
        pass


@pytest.mark.parametrize("clock", [5.0, None, "now"])
def test_what_is_no_clock_is_named(clock: Any) -> None:
    with pytest.raises(TypeError) as refused:
        Pool(RoundRobin(["a"])).lease(clock)
    assert str(refused.value) == f"clock must be a function that returns seconds, not {clock!r}"


class Heard(RoundRobin[str]):
    """Notes how requests end."""

    def __init__(self) -> None:
        super().__init__(["a"])
        self.ends: list[tuple[Outcome, float]] = []

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        self.ends.append((outcome, now))


@pytest.mark.parametrize("status", [None, 503])
@pytest.mark.parametrize("retry_after", [None, 2.0])
@pytest.mark.parametrize("elapsed", [None, 0.5])
@pytest.mark.parametrize("ok", [True, False, None])
def test_the_balancer_and_the_gates_get_the_outcome(
    ok: bool | None, elapsed: float | None, retry_after: float | None, status: int | None
) -> None:
    ends, balancer = Ends(), Heard()
    pool = Pool(balancer, [ends])
    pool.release(pool.acquire(1.0), 4.0, ok, elapsed, retry_after, status)
    outcome = Outcome(ok, elapsed, retry_after, status)
    assert balancer.ends == [(outcome, 4.0)]
    assert ends.ends == [(outcome, 1.0, 4.0)]
    if elapsed is retry_after is status:
        plain = {True: SUCCESS, False: FAILURE, None: UNKNOWN}[ok]
        assert balancer.ends[0][0] is ends.ends[0][0] is plain


@pytest.mark.parametrize("ok", [1, 0, "yes", 0.5, np.True_, np.False_])
def test_another_result_is_treated_like_that_of_an_outcome(ok: Any) -> None:
    pool = Pool(RoundRobin(["a"]), [ends := Ends()])
    lease = pool.acquire(1.0)
    try:
        expected = Outcome(ok)
    except (TypeError, ValueError) as error:
        with pytest.raises(type(error)):
            pool.release(lease, 2.0, ok)
        assert not lease.released
    else:
        pool.release(lease, 2.0, ok)
        assert ends.ends == [(expected, 1.0, 2.0)]
