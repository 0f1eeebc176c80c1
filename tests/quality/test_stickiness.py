"""The cost of sticky sessions, in capacity and in sessions that would have to move."""

from collections.abc import Callable
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.errors import InvalidSetting, InvalidWeight, UnknownBackend
from balancers.quality import session_skew, stickiness_cost

PAIRS = st.lists(
    st.tuples(st.integers(0, 99), st.sampled_from([0, 0.5, 1, 2])), min_size=1, max_size=8
).filter(lambda pairs: any(weight for _, weight in pairs))


@given(PAIRS, st.floats(0.01, 3))
def test_at_the_usable_load_the_busiest_backend_is_just_full(
    pairs: list[tuple[int, float]], load: float
) -> None:
    counts = {place: count for place, (count, _) in enumerate(pairs)}
    weights = {place: weight for place, (_, weight) in enumerate(pairs)}
    cost = stickiness_cost(counts, weights, load)
    assert cost.skew == session_skew(counts, weights)
    assert 0 < cost.usable <= 1
    assert (1 + cost.extra_capacity) * cost.usable == pytest.approx(1)
    full = stickiness_cost(counts, weights, cost.usable)
    assert max(full.loads.values()) <= 1 + 1e-12
    if cost.usable < 1:
        assert max(full.loads.values()) == pytest.approx(1)
    assert set(cost.loads) == {backend for backend, weight in weights.items() if weight}
    assert all(cost.loads[backend] >= 1 for backend in cost.overloaded)
    on_weighted = sum(count for count, weight in pairs if weight)
    if on_weighted == sum(counts.values()):
        capacities = sum(weights.values())
        carried = sum(cost.loads[b] * weights[b] for b in cost.loads) / capacities
        assert carried == pytest.approx(load), "the load is distributed and does not vanish"


@given(PAIRS)
def test_as_many_sessions_move_as_are_missing_elsewhere(pairs: list[tuple[int, float]]) -> None:
    counts = [count for count, _ in pairs]
    cost = stickiness_cost(dict(enumerate(counts)), {b: w for b, (_, w) in enumerate(pairs)})
    missing = sum(max(0, share.fair - share.sessions) for share in cost.skew.shares.values())
    assert cost.to_move * sum(counts) == pytest.approx(missing, abs=1e-9)


def test_values() -> None:
    cost = stickiness_cost({"old": 60, "new": 20}, {"old": 1, "new": 1}, load=0.8)
    assert (cost.extra_capacity, cost.to_move) == (0.5, 0.25)
    assert cost.usable == pytest.approx(2 / 3)
    assert cost.loads == pytest.approx({"old": 1.2, "new": 0.4})
    assert cost.overloaded == ("old",)
    fair = stickiness_cost({"a": 10, "b": 20}, {"a": 1, "b": 2})
    assert (fair.usable, fair.to_move, fair.loads, fair.overloaded) == (1, 0, {}, ())
    none = stickiness_cost({}, {"a": 1, "b": 0}, load=0.5)
    assert (none.usable, none.extra_capacity, none.to_move, none.loads) == (1, 0, 0, {"a": 0.5})
    closed = stickiness_cost({"old": 3, "new": 3}, {"old": 0, "new": 1}, load=0.5)
    assert (closed.usable, closed.to_move, closed.loads) == (1, 0.5, {"new": 0.25})
    assert str(closed).splitlines()[2:] == [
        "old             3     0    inf",
        "new             3     6    0.5  0.25",
    ]
    assert repr(closed) == "<StickinessCost: 100 % of the capacity is usable>"


WRONG: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "unknown": (lambda: stickiness_cost({"z": 1}, {"a": 1}), UnknownBackend, "'z'"),
    "count": (lambda: stickiness_cost({"a": -1}, {"a": 1}), InvalidSetting, "'a'"),
    "weight": (lambda: stickiness_cost({"a": 1}, {"a": -1}), InvalidWeight, "'a'"),
    "zero": (lambda: stickiness_cost({"a": 1}, {"a": 0}), InvalidWeight, r"\{'a': 0\}"),
    "empty": (lambda: stickiness_cost({}, {}), InvalidWeight, r"\{\}"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_invalid_arguments(wrong: str) -> None:
    call, error, message = WRONG[wrong]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("load", [-1, nan, inf, True, "1"])
def test_invalid_loads(load: Any) -> None:
    with pytest.raises(InvalidSetting, match="load must be"):
        stickiness_cost({"a": 1}, {"a": 1}, load)
