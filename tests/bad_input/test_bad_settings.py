"""Settings of the wrong type, and entries of another queue."""

from collections import deque
from collections.abc import Callable
from copy import deepcopy
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
import pytest

from balancers import Drain, Event, HealthChecks, Outcome, Pool, RoundRobin, SlowStart
from balancers.errors import InvalidSetting
from balancers.gates import (
    ActiveChecks,
    CoolDown,
    FailurePercentage,
    MedianGap,
    OutlierEjection,
    PassiveChecks,
    SuccessRate,
)
from balancers.http import CheckResult, HealthReport
from balancers.overload import AdmissionQueue, RetryBudget

NUMBERS: dict[str, Callable[[Any], object]] = {
    "interval": lambda x: ActiveChecks[str](rng=Random(1), interval=x),
    "jitter": lambda x: ActiveChecks[str](rng=Random(1), jitter=x),
    "recovery_time": lambda x: HealthChecks[str](recovery_time=x),
    "fail_timeout": lambda x: PassiveChecks[str](fail_timeout=x),
    "max_ejected_share": lambda x: OutlierEjection[str](max_ejected_share=x),
    "base_ejection_time": lambda x: OutlierEjection[str](base_ejection_time=x),
    "enforcing": lambda x: OutlierEjection[str](enforcing=x),
    "max_time": lambda x: CoolDown[str](rng=Random(1), max_time=x),
    "factor": lambda x: CoolDown[str](rng=Random(1), factor=x),
    "timeout": lambda x: Drain[str](timeout=x),
    "aggression": lambda x: SlowStart[str](30.0, aggression=x),
    "min_share": lambda x: SlowStart[str](30.0, min_share=x),
    "window": SlowStart[str],
    "share": lambda x: RetryBudget(share=x),
    "gap": lambda x: MedianGap(gap=x),
    "percentage": lambda x: FailurePercentage(percentage=x),
    "latency": lambda x: CheckResult("a", True, latency=x),
    "uptime": lambda x: HealthReport(uptime=x, version="1"),
    "panic": lambda x: Pool(RoundRobin[str](), panic=x),
}


NO_NUMBERS: list[Any] = ["3", None, True, b"", [1], 1j]
CASES = {(name, repr(value)): value for name in NUMBERS for value in NO_NUMBERS}
del CASES["panic", "None"]  # None is a setting of its own


@pytest.mark.parametrize(("name", "value"), [(name, v) for (name, _), v in CASES.items()])
def test_a_setting_must_be_a_number(name: str, value: object) -> None:
    with pytest.raises(InvalidSetting, match=f"{name} must be a number") as refused:
        NUMBERS[name](value)
    assert repr(value) in str(refused.value)


@pytest.mark.parametrize("share", [0.2, np.float64(0.2), np.float32(0.25), Fraction(1, 5)])
def test_any_real_number_is_a_share(share: Any) -> None:
    budget = RetryBudget(share=share, min_retries=0)
    assert sum(budget.begin(in_flight=100) for _ in range(100)) == round(float(share) * 100)


@pytest.mark.parametrize(
    "make",
    [
        lambda: HealthChecks[str](rule=3),  # type: ignore[arg-type] # invalid
        lambda: OutlierEjection[str](rules=[SuccessRate(), 3]),  # type: ignore[list-item] # invalid
        lambda: OutlierEjection[str](jitter=1.0, rng=3),  # type: ignore[arg-type] # invalid
    ],
)
def test_a_rule_and_a_generator_must_be_of_their_type(make: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match="not 3"):
        make()


@pytest.mark.parametrize("value", ["3", True, -1.0, float("nan"), float("inf"), 1j])
@pytest.mark.parametrize("name", ["elapsed", "retry_after"])
def test_the_times_of_an_outcome_must_be_finite_seconds(name: str, value: Any) -> None:
    with pytest.raises(InvalidSetting, match=f"{name} must be finite seconds"):
        Outcome(**{name: value})


@pytest.mark.parametrize("events", [[], 5, deque[Event]()])
def test_events_must_be_a_deque_with_a_maxlen(events: Any) -> None:
    with pytest.raises(InvalidSetting, match="deque with a maxlen"):
        Pool(RoundRobin[str](), events=events)


@pytest.mark.parametrize("check", [("", True), (5, True), ("a", "no"), ("a", 1)])
def test_a_check_result_has_a_name_and_a_boolean(check: Any) -> None:
    with pytest.raises(InvalidSetting):
        CheckResult(check[0], check[1], 0.1)


def test_a_copy_of_a_queue_shares_its_items_and_has_its_places() -> None:
    queue: AdmissionQueue[Any] = AdmissionQueue(3)
    item = (number for number in list[int]())  # a generator cannot be copied
    place = queue.join(item, 1.0)
    clone = deepcopy(queue)
    assert clone.leave(place)
    assert len(queue) == 1
    assert queue.leave(place)


def test_a_place_in_one_queue_is_not_valid_in_another() -> None:
    first: AdmissionQueue[str] = AdmissionQueue(2)
    second: AdmissionQueue[str] = AdmissionQueue(2)
    place, other = first.join("first", 1.0), second.join("second", 1.0)
    assert not first.leave(other)
    assert len(first) == 1
    assert first.leave(place)
    assert not first.leave(place)
