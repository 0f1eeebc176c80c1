"""The retry budget: at most a share of the requests in flight are retries."""

import copy
from contextlib import suppress
from math import nan
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import LeastConnections, Pool
from balancers.errors import AlreadyInUse, AlreadyReleased, InvalidSetting
from balancers.overload import BudgetedRequest, RetryBudget


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


@pytest.mark.parametrize(("share", "allowed"), [(1.0, 10), (0.5, 5), (0.2, 2), (0.0, 0)])
@pytest.mark.parametrize("released_before", [True, False])
def test_all_requests_fail_at_once(share: float, allowed: int, released_before: bool) -> None:
    """At a share of 1.0, 5 of 10 retries were allowed after the leases had been released."""
    budget, pool = RetryBudget(share, min_retries=0), Pool(LeastConnections(["a"]))
    requests: list[BudgetedRequest] = []
    leases = [pool.acquire(0.0) for _ in range(10)]
    for _ in leases:
        requests.append(budget.request())
        requests[-1].__enter__()
    retries: list[bool] = []
    for request, lease in zip(requests, leases, strict=True):
        if released_before:
            pool.release(lease, 1.0, ok=False)
        retries.append(request.retry())
        if not released_before:
            pool.release(lease, 1.0, ok=False)
    assert retries.count(True) == budget.retries == allowed
    for request in requests:
        request.__exit__(None, None, None)
    assert (budget.requests, budget.retries) == (0, 0)


def test_requests_against_a_model() -> None:
    """The model is a dict of the requests in flight, with True for those that are retried."""
    for seed in range(30):
        rng = Random(seed)
        twentieths, least = rng.randrange(21), rng.randrange(4)
        budget = RetryBudget(twentieths / 20, least)
        model: dict[BudgetedRequest, bool] = {}
        for _ in range(300):
            if not model or (len(model) < 40 and rng.random() < 0.4):
                request = budget.request()
                assert request.__enter__() is request
                model[request] = False
                continue
            request = rng.choice([*model])
            if rng.random() < 0.6:
                model[request] = False  # the last attempt has failed
                retries = sum(model.values())
                model[request] = retries < least or retries * 20 < twentieths * len(model)
                assert request.retry() is model[request]
            else:
                del model[request]
                request.__exit__(None, None, None)
            assert (budget.requests, budget.retries) == (len(model), sum(model.values()))


def test_a_request_is_in_flight_in_its_block_only() -> None:
    budget = RetryBudget(min_retries=1)
    request = budget.request()
    with pytest.raises(AlreadyReleased, match="with block"):
        request.retry()
    with request:
        assert request.retry()
        assert repr(request) == "<BudgetedRequest: entered, retrying>"
        assert copy.deepcopy(budget).retries == 1
        with pytest.raises(AlreadyInUse, match="once"):
            request.__enter__()
    assert (budget.requests, budget.retries) == (0, 0)
    with suppress(OSError), budget.request() as failing:
        assert failing.retry()
        raise OSError("no route")
    assert (budget.requests, budget.retries) == (0, 0)
    assert repr(request) == "<BudgetedRequest: ended>"
    with pytest.raises(AlreadyReleased, match="with block"):
        request.retry()
    with pytest.raises(AlreadyInUse, match="once"):
        request.__enter__()
    assert (budget.requests, budget.retries) == (0, 0)


@pytest.mark.parametrize("steps", ["x", "xx", "xix", "ixx", "ixxx", "ixix", "xiixx"])
def test_the_end_of_a_request_that_is_not_in_flight_counts_nothing(steps: str) -> None:
    """Each step is i (enter) or x (exit).  The counts became negative."""
    budget = RetryBudget(min_retries=9)
    with budget.request() as other:
        assert other.retry()
        request, in_flight, entered = budget.request(), False, False
        for step in steps:
            if step == "x":
                request.__exit__(None, None, None)
                in_flight = False
            elif entered:
                with pytest.raises(AlreadyInUse, match="once"):
                    request.__enter__()
            else:
                request.__enter__()
                assert request.retry()
                in_flight = entered = True
            assert (budget.requests, budget.retries) == (1 + in_flight, 1 + in_flight)
    assert (budget.requests, budget.retries) == (0, 0)


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
