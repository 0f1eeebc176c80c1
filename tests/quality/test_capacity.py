"""The capacity after failures is that of the worst of all combinations."""

from collections.abc import Callable
from fractions import Fraction
from itertools import combinations
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import RoundRobin
from balancers.errors import InvalidSetting, InvalidWeight
from balancers.quality import capacity

WEIGHTS = st.lists(
    st.integers(0, 9) | st.floats(0, 1e300, allow_subnormal=True), min_size=1, max_size=7
).filter(any)


@given(WEIGHTS, st.data())
def test_every_combination_leaves_at_least_what_remains(
    weights: list[float], data: st.DataObject
) -> None:
    failures = data.draw(st.integers(0, len(weights)))
    found = capacity(weights, failures)
    left = {
        failed: sum(
            (Fraction(w) for place, w in enumerate(weights) if place not in failed), Fraction(0)
        )
        for failed in combinations(range(len(weights)), failures)
    }
    assert float(found.remaining) == float(min(left.values()))
    assert left[tuple(sorted(found.worst))] == min(left.values())
    total = sum(map(Fraction, weights))
    assert float(found.total) == float(total)
    assert found.fraction == pytest.approx(float(min(left.values()) / total))


@given(WEIGHTS, st.integers(0, 3), st.floats(0, 10))
def test_the_load_is_kept_by_the_others(weights: list[float], failures: int, load: float) -> None:
    found = capacity(weights, min(failures, len(weights)), load)
    assert found.load_after is not None
    if found.fraction:
        assert found.load_after * found.fraction == pytest.approx(load)
    else:
        assert found.load_after == (inf if load else 0)
    assert found.overloaded == (found.load_after >= 1)


def test_values() -> None:
    found = capacity({"a": 1, "b": 3, "c": 2, "d": 3}, failures=2, load=0.4)
    assert found.worst == ("b", "d"), "of equal weights, the first listed"
    assert (found.total, found.remaining) == (9, 3)
    assert found.fraction == pytest.approx(1 / 3)
    assert found.load_after == pytest.approx(1.2)
    assert found.overloaded
    assert capacity([1] * 10, 1, load=0.9).load_after == pytest.approx(1.0)
    assert capacity([1] * 10, 1, load=0.9).overloaded
    assert not capacity([1] * 10, 1, load=0.899).overloaded
    unknown = capacity([2, 1], 1)
    assert (unknown.load, unknown.load_after, unknown.overloaded) == (None, None, False)
    assert capacity(RoundRobin(["a", "b"]).weights, 1).fraction == 0.5
    assert capacity(np.array([0.1] * 3), 1).remaining == pytest.approx(0.2)
    all_fail = capacity({"a": 1}, 1, load=0.5)
    assert (all_fail.remaining, all_fail.load_after, all_fail.overloaded) == (0, inf, True)
    assert capacity({"a": 1}, 1, load=0).load_after == 0
    assert capacity({"a": 1e300, "b": 5e-324}, 1).fraction == 0.0


@pytest.mark.parametrize("weight", [1, 0.1, 0.3, 1e300])
def test_a_load_that_the_rest_can_just_not_serve(weight: float) -> None:
    """9 of 10 remain: at 0.9 the others have a load of 1, whatever the rounding of 0.9 / 0.9."""
    for n in range(2, 60):
        for failures in range(1, n):
            load = (n - failures) / n
            found = capacity([weight] * n, failures, load)
            assert found.fraction == load, (n, failures)
            assert found.overloaded, (n, failures)


def test_a_load_of_negative_zero_is_zero() -> None:
    assert str(capacity([1, 1], 1, load=-0.0)).endswith("a load of 0 becomes 0")


def test_it_prints_a_sentence() -> None:
    assert str(capacity([3, 1], 0)) == (
        "after 0 failures of 2 backends, at least 100 % of the capacity remains; worst: none"
    )
    assert repr(capacity([3, 1], 1)) == "<Capacity: 0.25 remains after 1 of 2 fail>"
    assert capacity([3, 1], 1) == capacity([3, 1], 1) != capacity([3, 1], 0)


WRONG: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "too many": (lambda: capacity([1, 1], 3), InvalidSetting, "at most 2, not 3"),
    "negative": (lambda: capacity([1, 1], -1), InvalidSetting, "-1"),
    "bool": (lambda: capacity([1, 1], True), InvalidSetting, "True"),
    "float": (lambda: capacity([1, 1], 1.0), InvalidSetting, "1.0"),  # type: ignore[call-overload]  # invalid
    "zero": (lambda: capacity({"a": 0}, 0), InvalidWeight, r"\{'a': 0\}"),
    "empty": (lambda: capacity({}, 0), InvalidWeight, r"\{\}"),
    "weight": (lambda: capacity({"a": nan}, 0), InvalidWeight, "'a'"),
    "str": (lambda: capacity("12", 0), TypeError, "'12'"),  # type: ignore[arg-type]  # invalid
}


@pytest.mark.parametrize("wrong", WRONG)
def test_invalid_arguments(wrong: str) -> None:
    call, error, message = WRONG[wrong]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("load", [-1, nan, inf, True, "1", 10**400])
def test_invalid_loads(load: Any) -> None:
    with pytest.raises(InvalidSetting, match="load must be"):
        capacity([1], 0, load)
