"""Weighted round robin charges bound requests to their backend, up to a bounded debt."""

from collections import Counter
from itertools import count
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import Drain, Pool, WeightedRoundRobin
from balancers.algorithms import _smooth_balancer
from balancers.sessions import CookieSessions
from tests.references import NaiveWeightedRoundRobin
from tests.sessions.samples import Browser, tokens

MANY = {f"b{i}": 1 + i % 6 for i in range(40)}


@pytest.mark.parametrize("weights", [{"a": 1, "b": 1}, {"a": 5, "b": 3, "c": 2}, {"a": 3, "b": 1}])
@pytest.mark.parametrize("pattern", ["bp", "bbpp", "bbbbpppp"])
def test_totals_are_by_weight_when_every_second_request_is_bound(
    weights: dict[str, float], pattern: str
) -> None:
    """Half of the requests belong to one backend, whose share is half or more."""
    lb, served = WeightedRoundRobin(weights), Counter[str]()
    n = 1000
    for number in range(n):
        if pattern[number % len(pattern)] == "b":
            backend = "a"
            lb.started(backend, 0.0, True)
        else:
            backend = lb.pick()
            lb.started(backend)
        served[backend] += 1
    total = sum(weights.values())
    for backend, weight in weights.items():
        assert abs(served[backend] - n * weight / total) <= len(pattern)


@pytest.mark.parametrize("weights", [{"a": 3, "b": 1}, {"a": 5, "b": 1, "c": 1}, {"a": 6, "b": 4}])
def test_totals_are_by_weight_when_a_random_half_is_bound(weights: dict[str, float]) -> None:
    """Each request is bound to "a" at random: runs of bound requests stay within the debt."""
    rng, lb, served, n = Random(1), WeightedRoundRobin(weights), Counter[str](), 40_000
    for _ in range(n):
        bound = rng.random() < 0.5
        backend = "a" if bound else lb.pick()
        lb.started(backend, 0.0, bound)
        served[backend] += 1
    total = sum(weights.values())
    for backend, weight in weights.items():
        assert served[backend] / n == pytest.approx(weight / total, abs=0.012)


def test_a_maximum_debt_of_one_pick_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every second request bound to the heavier of 3 and 1, its share would be 0.83."""
    for debt, share in ((1, 0.8333), (16, 0.75)):
        monkeypatch.setattr(_smooth_balancer, "_MAX_DEBT", debt)
        lb, picked = WeightedRoundRobin({"a": 3, "b": 1}), Counter[str]()
        for _ in range(6000):
            lb.started("a", 0.0, True)
            picked[lb.pick()] += 1
        assert 0.5 + picked["a"] / 12_000 == pytest.approx(share, abs=0.001)


def test_a_backend_with_more_than_its_share_by_sessions_gets_no_picks() -> None:
    lb, served = WeightedRoundRobin([*"abcd"]), Counter[str]()
    for _ in range(1000):
        lb.started("a", 0.0, True)
        served[lb.pick()] += 1
    assert served["a"] <= 1
    assert max(served[b] for b in "bcd") - min(served[b] for b in "bcd") <= 1


@pytest.mark.parametrize("weights", [{"a": 1, "b": 1}, {"a": 1, "b": 9, "c": 3}, MANY])
def test_a_backend_is_picked_soon_after_a_million_bound_requests(
    weights: dict[str, float],
) -> None:
    """Within 18 times its usual gap, which is the total weight divided by its weight."""
    lb, backend = WeightedRoundRobin(weights), next(iter(weights))
    for _ in range(1_000_000):
        lb.started(backend, 0.0, True)
    gap = sum(weights.values()) / weights[backend]
    waited = next(number for number in count(1) if lb.pick() == backend)
    assert waited <= 18 * gap
    period = int(sum(weights.values()))
    for _ in range(20 * period):
        lb.pick()
    assert Counter(lb.pick() for _ in range(period)) == weights


@given(
    st.dictionaries(st.sampled_from([*"abcde"]), st.integers(1, 30), min_size=2),
    st.lists(st.booleans(), max_size=200),
)
def test_the_wait_is_bounded_for_any_history(weights: dict[str, float], bound: list[bool]) -> None:
    for backend, weight in weights.items():
        lb = WeightedRoundRobin(weights)
        for is_bound in bound:
            lb.started(backend, 0.0, True) if is_bound else lb.pick()
        waited = next(number for number in count(1) if lb.pick() == backend)
        assert waited <= 18 * sum(weights.values()) / weight


@given(
    st.dictionaries(st.sampled_from(sorted(MANY)), st.sampled_from([0, 1, 2, 5, 0.5]), min_size=2),
    st.lists(
        st.tuples(
            st.sampled_from(["pick", "bind", "flip", "set_weight", "leave"]), st.integers(0, 39)
        ),
        max_size=80,
    ),
    st.booleans(),
)
def test_plain_and_vector_scan_charge_like_the_reference(
    weights: dict[str, float], steps: list[tuple[str, int]], large: bool
) -> None:
    weights = {**MANY, **weights} if large else weights
    lb, naive, names = WeightedRoundRobin(weights), NaiveWeightedRoundRobin(), list(weights)
    for backend, weight in weights.items():
        naive.put(backend, weight)
    for action, number in steps:
        backend = names[number % len(names)]
        if action == "bind":
            lb.started(backend, 0.0, True)
            naive.started(backend, True)
        elif action == "flip":
            weight = 0 if lb.weights.get(backend) else 3
            lb.put(backend, weight)
            naive.put(backend, weight)
        elif action == "set_weight":
            for each in (lb, naive):
                each.put(backend, 1 + number * 25)
        elif action == "leave":
            for each in (lb, naive):
                each.discard(backend)
        elif any(lb.weights.values()):
            assert lb.pick() == naive.pick()


@pytest.mark.parametrize("change", ["set_weight", "close", "leave"])
@pytest.mark.parametrize("others", [1, 40])
def test_a_debt_is_bounded_by_the_present_weights(change: str, others: int) -> None:
    """When a heavy backend leaves, a debt of 16 picks does not become one of 16 000 picks."""
    lb = WeightedRoundRobin({"heavy": 1000, "b": 1, **{f"c{i}": 1 for i in range(others)}})
    for _ in range(100):
        lb.started("b", 0.0, True)
    if change == "leave":
        lb.discard("heavy")
    else:
        lb.put("heavy", 1 if change == "set_weight" else 0)
    total = sum(lb.weights.values())
    longest = 18 * total + len(lb.weights) + 16
    assert next(number for number in count(1) if lb.pick() == "b") <= longest
    if change == "close":
        lb.put("heavy", 1000)
        assert next(number for number in count(1) if lb.pick() == "b") <= 18 * (total + 1000)


def test_without_bound_requests_a_change_of_weight_keeps_current_weights() -> None:
    lb, naive = WeightedRoundRobin({"a": 1000, "b": 1, "c": 1}), NaiveWeightedRoundRobin()
    for backend, weight in lb.weights.items():
        naive.put(backend, weight)
    picks = [lb.pick() for _ in range(501)]
    lb.put("a", 1)
    later = [lb.pick() for _ in range(600)]
    assert picks == [naive.pick() for _ in range(501)]
    naive.put("a", 1)
    assert later == [naive.pick() for _ in range(600)]
    assert max(Counter(later).values()) > 300, "as in nginx, current weights are kept"


def test_picked_requests_and_closed_or_unknown_backends_are_not_charged() -> None:
    lb, plain = (
        WeightedRoundRobin({"a": 5, "b": 1, "c": 0}),
        WeightedRoundRobin({"a": 5, "b": 1, "c": 0}),
    )
    for backend in ("a", "b"):
        lb.started(backend)
        lb.finished(backend)
    lb.started("c", 0.0, True)
    lb.started("not a member", 0.0, True)
    assert [lb.pick() for _ in range(30)] == [plain.pick() for _ in range(30)]
    assert lb._period, "the replay continues"
    lb.started("b")
    lb.started("c", 0.0, True)
    assert lb._period


def test_with_sticky_sessions_the_other_requests_are_balanced() -> None:
    drain = Drain[str]()
    pool = Pool(WeightedRoundRobin({"a": 3, "b": 2, "c": 1}), [drain])
    sticky, served = CookieSessions(pool, tokens()), Counter[str]()
    regular = Browser()
    session_backend = regular.visit(pool, sticky, 0.0)[1].backend
    for number in range(6000):
        browser = regular if number % 2 else Browser()
        served[browser.visit(pool, sticky, number / 1000)[1].backend] += 1
    assert session_backend == "a"
    assert served["a"] == pytest.approx(3000, abs=3)
    assert served["b"] == pytest.approx(2000, abs=3)
    drain.begin("a", 7.0)
    later = Counter(
        (regular if number % 2 else Browser()).visit(pool, sticky, 7.0)[1].backend
        for number in range(600)
    )
    assert later["a"] == 300
    assert later["b"] == pytest.approx(200, abs=2)
