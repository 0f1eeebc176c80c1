"""The load by durations as Envoy computes it, beside its source translated line by line."""

from math import exp, isfinite
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import FAILURE, SUCCESS, UNKNOWN, Outcome, Pool
from balancers.algorithms import LeastLoaded
from balancers.errors import InvalidSetting
from balancers.loads import Ewma


class Envoy:
    """The cost and the average of one host, in milliseconds and nanoseconds as in Envoy."""

    def __init__(self) -> None:
        self.average, self.updated, self.active = 0.0, 0, 0

    def sample(self, rtt: float, timestamp: int) -> None:
        if rtt <= 0.0:
            return
        passed = timestamp - self.updated
        alpha = 1.0 if passed <= 0 else 1.0 - exp(-(passed / 1e9) / 10.0)
        self.average = rtt if self.average == 0 else alpha * rtt + (1 - alpha) * self.average
        self.updated = timestamp

    def cost(self) -> float:
        if self.average <= 0 and self.active > 0:
            return 1_000_000.0 + self.active
        if self.average > 0:
            return self.average * (self.active + 1)
        return 10.0 * (self.active + 1)


STEPS = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from([0.0, 0.001, 0.25, 3.0, 100.0]),
        st.sampled_from([0.0, 0.001, 0.01, 0.5, 20.0]),
        st.booleans(),
    ),
    max_size=40,
)


@given(STEPS)
def test_the_value_is_the_cost_of_envoy(steps: list[tuple[bool, float, float, bool]]) -> None:
    load, host, now = Ewma[str](), Envoy(), 1000.0
    for starts, step, seconds, ok in steps:
        now += step
        if starts or not host.active:
            load.started("a", now)
            host.active += 1
        else:
            load.finished("a", Outcome(ok, elapsed=seconds, status=200 if ok else 500), now)
            host.active -= 1
            host.sample(seconds * 1000, round(now * 1e9))
        assert load.value("a", now + 5.0) == pytest.approx(host.cost(), rel=1e-6)
        assert load.value("b", now) == Envoy().cost()


def finish(load: Ewma[str], outcome: Outcome, now: float = 1.0) -> float:
    load.started("a", now)
    load.finished("a", outcome, now)
    return load.value("a", now)


def test_a_failure_counts_if_there_was_a_response() -> None:
    load = Ewma[str]()
    assert finish(load, Outcome(ok=False, elapsed=0.5)) == 10.0
    assert finish(load, FAILURE) == finish(load, SUCCESS) == finish(load, UNKNOWN) == 10.0
    assert finish(load, Outcome(ok=None, elapsed=0.5, status=200)) == 10.0
    assert finish(load, Outcome(ok=False, elapsed=0.5, status=503)) == 500.0


def test_the_time_to_the_first_byte_goes_before_the_duration() -> None:
    assert finish(Ewma[str](), Outcome(elapsed=60.0, first=0.2)) == 200.0
    load = Ewma[str](default=0.5)
    assert load.value("a", 0.0) == 500.0
    assert finish(load, Outcome(elapsed=60.0, first=0.0)) == 500.0, "0 is no measurement"


def test_an_earlier_time_counts_as_the_latest() -> None:
    load = Ewma[str]()
    finish(load, Outcome(elapsed=1.0), 10.0)
    load.started("b", 20.0)
    assert finish(load, Outcome(elapsed=2.0), 15.0) == pytest.approx(1000 * (2 - exp(-1)))


def test_the_pool_measures_durations_and_values_stay_finite() -> None:
    load = Ewma[str]()
    pool: Pool[str] = Pool(LeastLoaded(["a"], load=load))
    pool.release(pool.acquire(1.0), 1.25)
    assert load.value("a", 2.0) == 250.0
    pool.release(pool.acquire(2.0), 3.0, elapsed=1e300)
    for _ in range(1000):
        pool.acquire(3.0)
    assert isfinite(load.value("a", 3.0))
    assert repr(load) == "<Ewma: 1 measured>"


@pytest.mark.parametrize("name", ["tau", "default"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "5", None, True])
def test_bad_settings(name: str, value: Any) -> None:
    with pytest.raises(InvalidSetting, match=name):
        Ewma(**{name: value})
