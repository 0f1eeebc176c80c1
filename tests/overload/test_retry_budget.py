"""The retry budget: at most a share of the requests in flight are retries."""

from math import nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.errors import AlreadyReleased, InvalidSetting
from balancers.overload import RetryBudget


@given(
    st.integers(0, 10),
    st.integers(0, 20).map(lambda twentieths: twentieths / 20),
    st.lists(st.one_of(st.integers(0, 60), st.none()), max_size=80),
)
def test_retries_are_never_more_than_the_budget(
    least: int, share: float, steps: list[int | None]
) -> None:
    """A step is None, which ends a retry, or the requests in flight when a retry asks to start."""
    budget, retries = RetryBudget(share, least), 0
    for in_flight in steps:
        if in_flight is not None:
            allowed = retries < least or retries * 20 < round(share * 20) * in_flight
            assert budget.begin(in_flight) is allowed
            retries += allowed
        elif retries:
            budget.end()
            retries -= 1
        else:
            with pytest.raises(AlreadyReleased, match="no retry"):
                budget.end()
        assert budget.retries == retries


def test_a_share_of_a_tenth_is_exact() -> None:
    """0.1 * 30 is a little more than 3 in floats, which would allow a fourth retry."""
    budget = RetryBudget(share=0.1, min_retries=0)
    assert [budget.begin(30) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize(
    "settings", [{"share": -0.1}, {"share": 1.1}, {"share": nan}, {"min_retries": -1}]
)
def test_settings_outside_their_range(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match=next(iter(settings))):
        RetryBudget(**settings)
    with pytest.raises(InvalidSetting, match="-1"):
        RetryBudget().begin(-1)


def test_the_repr_shows_the_settings_and_the_retries() -> None:
    budget = RetryBudget(share=0.1)
    assert budget.begin(in_flight=0)
    assert repr(budget) == "<RetryBudget: share 0.1, min_retries 3, 1 in flight>"
