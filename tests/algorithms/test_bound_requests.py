"""A weighted round robin is charged for bound requests, up to a bounded debt."""

from collections import Counter
from itertools import count
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import Drain, Pool, WeightedRoundRobin
from balancers.algorithms import weighted_round_robin
from balancers.sessions import CookieSessions
from tests.references import NaiveWeightedRoundRobin
from tests.sessions.samples import Browser, tokens

MANY = {f"b{i}": 1 + i % 6 for i in range(40)}


@pytest.mark.parametrize("weights", [{"a": 1, "b": 1}, {"a": 5, "b": 3, "c": 2}, {"a": 3, "b": 1}])
@pytest.mark.parametrize("pattern", ["bp", "bbpp", "bbbbpppp"])
def test_when_half_of_all_requests_stick_the_totals_come_back(
    weights: dict[str, float], pattern: str
) -> None:
    """Half of all belong to one backend, whose share is half or more: nobody is a pick off."""
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
def test_when_any_half_sticks_the_totals_come_back(weights: dict[str, float]) -> None:
    """Each request belongs to "a" by a coin's toss: runs of them stay within the debt."""
    rng, lb, served, n = Random(1), WeightedRoundRobin(weights), Counter[str](), 40_000
    for _ in range(n):
        bound = rng.random() < 0.5
        backend = "a" if bound else lb.pick()
        lb.started(backend, 0.0, bound)
        served[backend] += 1
    total = sum(weights.values())
    for backend, weight in weights.items():
        assert served[backend] / n == pytest.approx(weight / total, abs=0.012)


def test_a_debt_of_one_pick_would_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of all bound to the heavier of 3 and 1, in turn, made its share 0.83."""
    for debt, share in ((1, 0.8333), (16, 0.75)):
        monkeypatch.setattr(weighted_round_robin, "_DEBT", debt)
        lb, picked = WeightedRoundRobin({"a": 3, "b": 1}), Counter[str]()
        for _ in range(6000):
            lb.started("a", 0.0, True)
            picked[lb.pick()] += 1
        assert 0.5 + picked["a"] / 12_000 == pytest.approx(share, abs=0.001)


def test_who_has_more_than_its_share_by_sessions_alone_gets_no_more() -> None:
    lb, served = WeightedRoundRobin([*"abcd"]), Counter[str]()
    for _ in range(1000):
        lb.started("a", 0.0, True)
        served[lb.pick()] += 1
    assert served["a"] <= 1
    assert max(served[b] for b in "bcd") - min(served[b] for b in "bcd") <= 1


@pytest.mark.parametrize("weights", [{"a": 1, "b": 1}, {"a": 1, "b": 9, "c": 3}, MANY])
def test_after_a_million_bound_requests_a_backend_is_picked_again_soon(
    weights: dict[str, float],
) -> None:
    """Within 18 of its usual gaps; each is the total by its weight."""
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
def test_the_wait_is_bounded_whatever_came_before(
    weights: dict[str, float], bound: list[bool]
) -> None:
    for backend, weight in weights.items():
        lb = WeightedRoundRobin(weights)
        for stuck in bound:
            lb.started(backend, 0.0, True) if stuck else lb.pick()
        waited = next(number for number in count(1) if lb.pick() == backend)
        assert waited <= 18 * sum(weights.values()) / weight


@given(
    st.dictionaries(st.sampled_from(sorted(MANY)), st.sampled_from([0, 1, 2, 5, 0.5]), min_size=2),
    st.lists(
        st.tuples(st.sampled_from(["pick", "bind", "flip", "weigh", "leave"]), st.integers(0, 39)),
        max_size=80,
    ),
    st.booleans(),
)
def test_loop_and_vector_charge_as_the_reference_does(
    weights: dict[str, float], steps: list[tuple[str, int]], large: bool
) -> None:
    weights = {**MANY, **weights} if large else weights
    lb, naive, names = WeightedRoundRobin(weights), NaiveWeightedRoundRobin(), list(weights)
    for backend, weight in weights.items():
        naive.put(backend, weight)
    for action, place in steps:
        backend = names[place % len(names)]
        if action == "bind":
            lb.started(backend, 0.0, True)
            naive.started(backend, True)
        elif action == "flip":
            weight = 0 if lb.weights.get(backend) else 3
            lb.put(backend, weight)
            naive.put(backend, weight)
        elif action == "weigh":
            for each in (lb, naive):
                each.put(backend, 1 + place * 25)
        elif action == "leave":
            for each in (lb, naive):
                each.discard(backend)
        elif any(lb.weights.values()):
            assert lb.pick() == naive.pick()


@pytest.mark.parametrize("change", ["weigh", "close", "leave"])
@pytest.mark.parametrize("others", [1, 40])
def test_a_debt_is_bounded_by_the_weights_as_they_are(change: str, others: int) -> None:
    """A debt of 16 picks of 1000 others' weight is no debt of 16 000 picks once those are gone."""
    lb = WeightedRoundRobin({"heavy": 1000, "b": 1, **{f"c{i}": 1 for i in range(others)}})
    for _ in range(100):
        lb.started("b", 0.0, True)
    if change == "leave":
        lb.discard("heavy")
    else:
        lb.put("heavy", 1 if change == "weigh" else 0)
    total = sum(lb.weights.values())
    most = 18 * total + len(lb.weights) + 16
    assert next(number for number in count(1) if lb.pick() == "b") <= most
    if change == "close":
        lb.put("heavy", 1000)
        assert next(number for number in count(1) if lb.pick() == "b") <= 18 * (total + 1000)


def test_weights_that_change_where_nobody_was_bound_forgive_nothing() -> None:
    lb, naive = WeightedRoundRobin({"a": 1000, "b": 1, "c": 1}), NaiveWeightedRoundRobin()
    for backend, weight in lb.weights.items():
        naive.put(backend, weight)
    picks = [lb.pick() for _ in range(501)]
    lb.put("a", 1)
    waits = [lb.pick() for _ in range(600)]
    assert picks == [naive.pick() for _ in range(501)]
    naive.put("a", 1)
    assert waits == [naive.pick() for _ in range(600)]
    assert max(Counter(waits).values()) > 300, "nginx keeps what each is owed, and so do we"


def test_a_plain_start_and_a_stranger_charge_nobody() -> None:
    lb, plain = (
        WeightedRoundRobin({"a": 5, "b": 1, "c": 0}),
        WeightedRoundRobin({"a": 5, "b": 1, "c": 0}),
    )
    for backend in ("a", "b"):
        lb.started(backend)
        lb.finished(backend)
    lb.started("c", 0.0, True)
    lb.started("stranger", 0.0, True)
    assert [lb.pick() for _ in range(30)] == [plain.pick() for _ in range(30)]
    assert lb._period, "and what is replayed goes on"
    lb.started("b")
    lb.started("c", 0.0, True)
    assert lb._period


def test_through_a_pool_and_cookies_the_rest_is_balanced() -> None:
    drain = Drain[str]()
    pool = Pool(WeightedRoundRobin({"a": 3, "b": 2, "c": 1}), [drain])
    sticky, served = CookieSessions(pool, tokens()), Counter[str]()
    regular = Browser()
    home = regular.visit(pool, sticky, 0.0)[1].backend
    for number in range(6000):
        browser = regular if number % 2 else Browser()
        served[browser.visit(pool, sticky, number / 1000)[1].backend] += 1
    assert home == "a"
    assert served["a"] == pytest.approx(3000, abs=3)
    assert served["b"] == pytest.approx(2000, abs=3)
    drain.begin("a", 7.0)
    later = Counter(
        (regular if number % 2 else Browser()).visit(pool, sticky, 7.0)[1].backend
        for number in range(600)
    )
    assert later["a"] == 300
    assert later["b"] == pytest.approx(200, abs=2)
