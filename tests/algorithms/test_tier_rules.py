"""What tiers guarantee in states of their own: limits, drains, retries, copies."""

import pickle
from collections import Counter
from copy import deepcopy
from fractions import Fraction

import pytest

from balancers import LeastConnections, NoBackendAvailable, WeightedRoundRobin
from balancers.algorithms import Tiers
from tests.algorithms.tier_members import members, set_condition, tier_of, tiers


def test_full_is_not_down() -> None:
    lb = tiers((4, 2))
    for backend in members(0, 4):
        set_condition(lb, backend, "full")
    assert lb.shares == (Fraction(1), Fraction(0))
    assert [lb.pick() for _ in range(4)] == ["b0", "b1", "b0", "b1"]
    set_condition(lb, "a2", "open")
    assert {lb.pick() for _ in range(4)} == {"a2"}


def test_those_that_leave_are_not_counted() -> None:
    lb = tiers((4, 2))
    for backend in members(0, 4)[1:]:
        set_condition(lb, backend, "leaving")
    assert lb.shares == (Fraction(1), Fraction(0))
    assert {lb.pick() for _ in range(9)} == {"a0"}
    set_condition(lb, "a1", "down")
    assert lb.shares == (Fraction(7, 10), Fraction(3, 10))


def test_without_a_pool_weight_0_means_leaving() -> None:
    lb = tiers((4, 2))
    for backend in members(0, 4)[1:]:
        lb.put(backend, 0)
    assert lb.shares == (Fraction(1), Fraction(0))
    lb.put("a0", 0)
    assert lb.shares == (Fraction(0), Fraction(1))
    assert lb.pick() == "b0"


def test_retries_go_on_to_the_next_tier() -> None:
    for settings in ({}, {"overflow": False}):
        lb = tiers((2, 1, 1), **settings)
        assert lb.pick(avoid=["a0", "a1"]) == "b0"
        assert lb.pick(avoid=["a0", "a1", "b0"]) == "c0"
        with pytest.raises(NoBackendAvailable, match=r"avoided \(4 avoided\)"):
            lb.pick(avoid=["a0", "a1", "b0", "c0"])
    assert lb.pick(avoid=["b0"])[0] == "a"


def test_a_retry_waits_only_for_a_full_member_that_it_has_not_tried() -> None:
    lb = tiers((2, 1), overflow=False)
    set_condition(lb, "a0", "full")
    with pytest.raises(NoBackendAvailable, match="saturated") as refused:
        lb.pick(avoid=["a1"])
    assert refused.value.full == 1
    assert lb.pick(avoid=["a0", "a1"]) == "b0"


def test_overflow_prefers_tiers_with_healthy_members() -> None:
    """In a panic, those that are down have weights, and come last."""
    lb = tiers((1, 2, 1))
    for backend in members(1, 2):
        set_condition(lb, backend, "down", usable=True)
    assert lb.pick(avoid=["a0"]) == "c0"
    assert lb.pick(avoid=["a0", "c0"])[0] == "b"


def test_all_down_and_the_pool_fails_open() -> None:
    lb = tiers((4, 2))
    for backend in (*members(0, 4), *members(1, 2)):
        set_condition(lb, backend, "down", usable=True)
    assert lb.shares == (Fraction(2, 3), Fraction(1, 3))
    assert Counter(lb.pick()[0] for _ in range(60)) == {"a": 40, "b": 20}
    lb.put("b0", 0)
    assert lb.shares == (Fraction(4, 5), Fraction(1, 5))


def test_a_refusal_uses_the_turn_of_its_tier_only() -> None:
    lb = tiers((4, 4), overflow=False)
    for backend in members(0, 4)[:2]:
        set_condition(lb, backend, "down")
    for backend in members(0, 4)[2:]:
        set_condition(lb, backend, "full")
    found: Counter[object] = Counter()
    for _ in range(100):
        try:
            found[lb.pick()[0]] += 1
        except NoBackendAvailable as error:
            found[error.reason, error.full] += 1
    assert found == {"b": 30, ("saturated", 2): 70}


def test_copies_and_pickles_continue_alike() -> None:
    lb = tiers((4, 3, 2))
    for backend in ("a0", "a1", "a2", "b0"):
        set_condition(lb, backend, "down")
    for _ in range(7):
        lb.pick()
    twins = [deepcopy(lb), pickle.loads(pickle.dumps(lb))]  # noqa: S301 - pickled here
    set_condition(lb, "a2", "open")
    expected = [lb.pick() for _ in range(50)]
    for twin in twins:
        set_condition(twin, "a2", "open")
        assert [twin.pick() for _ in range(50)] == expected
        assert twin.shares == lb.shares


def test_reading_changes_nothing() -> None:
    lb = tiers((4, 2))
    set_condition(lb, "a0", "down")
    lb.pick()
    set_condition(lb, "a1", "down")
    before = pickle.dumps(lb)
    assert (lb.shares, lb.factor, lb.overflow) == ((Fraction(7, 10), Fraction(3, 10)), 1.4, True)
    assert (
        repr(lb) == "<Tiers: factor=1.4, over <RoundRobin: 2 of 4 open>, <RoundRobin: 2 of 2 open>>"
    )
    assert pickle.dumps(lb) == before


def test_of_several_kinds_only_common_abilities_count() -> None:
    mixed = Tiers([WeightedRoundRobin[str](), LeastConnections[str]()], tier=tier_of)
    assert not mixed.fractional
    assert Tiers([WeightedRoundRobin[str](), WeightedRoundRobin[str]()], tier=tier_of).fractional
    mixed.put("a0")
    mixed.put("b0")
    mixed.started("b0")
    assert mixed.load_of("b0") == 1
    assert mixed.load_of("a0") is None
    mixed.finished("b0")
    assert mixed.load_of("b0") == 0
