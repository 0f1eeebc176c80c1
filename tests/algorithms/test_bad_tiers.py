"""Bad input of tiers: a typed error that names the value, and nothing has changed."""

import pickle
from collections.abc import Callable
from math import inf, nan
from typing import Any

import pytest

from balancers import LeastConnections, NoBackendAvailable, Pool, RoundRobin
from balancers.algorithms import Tiers
from balancers.errors import AlreadyInUse, InvalidSetting, InvalidWeight
from balancers.hashing import Jump
from tests.algorithms.tier_members import members, set_condition, tier_of, tiers

HUGE = pytest.param(1 << 50_000, id="huge")


def one() -> RoundRobin[str]:
    return RoundRobin(["a0"])


@pytest.mark.parametrize("balancers", [[], (), {}, iter(())])
def test_at_least_one_balancer(balancers: Any) -> None:
    with pytest.raises(InvalidSetting, match="one balancer or more"):
        Tiers(balancers, tier=tier_of)


@pytest.mark.parametrize("balancers", [None, 5, "ab", b"ab", ["a"], [None], [RoundRobin], one()])
def test_only_balancers(balancers: Any) -> None:
    with pytest.raises(TypeError, match="balancers must be"):
        Tiers(balancers, tier=tier_of)


@pytest.mark.parametrize("factor", [0, -1, nan, -inf, HUGE, None, "1.4", True, 1j, [1]])
def test_only_factors_above_0(factor: Any) -> None:
    inner = one()
    with pytest.raises(InvalidSetting, match="factor must be"):
        Tiers([inner], tier=tier_of, factor=factor)
    assert Tiers([inner], tier=tier_of).pick() == "a0"


@pytest.mark.parametrize("settings", [{"tier": None}, {"tier": 0}, {"tier": "a"}])
def test_only_functions(settings: Any) -> None:
    with pytest.raises(TypeError, match="tier must be a function"):
        Tiers([one()], **settings)


@pytest.mark.parametrize("overflow", [None, 0, 1, "no"])
def test_only_flags(overflow: Any) -> None:
    with pytest.raises(InvalidSetting, match="overflow"):
        Tiers([one()], tier=tier_of, overflow=overflow)


@pytest.mark.parametrize("tier", [2, -1, HUGE, True, 0.0, 1.5, nan, None, "0", [0], b"\x00"])
def test_tiers_out_of_range(tier: Any) -> None:
    odd = Tiers([RoundRobin[str](), RoundRobin[str]()], tier=lambda _: tier)
    with pytest.raises(InvalidSetting, match="tier of 'x' must be an int from 0 to 1, not"):
        odd.put("x")
    assert odd.weights == {}
    assert [{**each.weights} for each in odd.balancers] == [{}, {}]
    with pytest.raises(InvalidSetting):
        Pool(odd).add("x")


def test_a_function_that_raises() -> None:
    known = {"a0": 0, "b0": 1}
    lb = Tiers([RoundRobin[str](), RoundRobin[str]()], tier=known.__getitem__)
    lb.put("a0")
    lb.put("b0")
    with pytest.raises(KeyError):
        lb.put("x")
    assert {**lb.weights} == {"a0": 1, "b0": 1}
    pool = Pool(lb)
    with pytest.raises(KeyError):
        pool.update(["a0", "x"])
    assert {*pool.backends} == {"a0", "b0"}
    assert [{**each.weights} for each in lb.balancers] == [{"a0": 1}, {"b0": 1}]


def test_a_member_stays_in_its_tier() -> None:
    answers = iter([0, 1])
    lb = Tiers([RoundRobin[str](), RoundRobin[str]()], tier=lambda _: next(answers))
    lb.put("x")
    lb.put("x", 0)
    lb.put("x", 2)
    assert [{**each.weights} for each in lb.balancers] == [{"x": 2}, {}]
    lb.discard("x")
    lb.put("x")
    assert [{**each.weights} for each in lb.balancers] == [{}, {"x": 1}]


def test_members_of_another_tier_are_refused() -> None:
    first, second = RoundRobin(["a0", "b0"]), RoundRobin(["b1"])
    with pytest.raises(InvalidSetting, match=r"'b0' belongs to .*, and is a member of"):
        Tiers([first, second], tier=tier_of)
    with pytest.raises(InvalidSetting, match="tier of 'd0' must be an int from 0 to 1"):
        Tiers([RoundRobin(["a0"]), RoundRobin(["d0"])], tier=tier_of)
    first.discard("b0")
    lb = Tiers([first, second], tier=tier_of)
    assert {**lb.weights} == {"a0": 1, "b1": 1}


def test_a_balancer_belongs_to_one_owner() -> None:
    inner = one()
    for build in TAKEN:
        with pytest.raises(AlreadyInUse):
            build(inner)
    lb = Tiers([inner], tier=tier_of)
    for build in (*TAKEN, Pool):
        with pytest.raises(AlreadyInUse):
            build(inner)
    assert Pool(lb).acquire(0.0).backend == "a0"
    with pytest.raises(AlreadyInUse):
        Tiers([lb], tier=tier_of)
    free = one()
    with pytest.raises(AlreadyInUse):
        Tiers([free, inner], tier=tier_of)
    assert Pool(free).acquire(0.0).backend == "a0"


TAKEN: list[Callable[[Any], object]] = [lambda inner: Tiers([inner, inner], tier=tier_of)]


def test_a_refused_change_of_an_inner_balancer_changes_nothing() -> None:
    lb = Tiers([Jump(members(0, 3)), Jump(["b0"])], tier=tier_of)
    with pytest.raises(InvalidSetting):
        lb.discard("a0")
    assert lb.shares[0] == 1
    assert [*lb.weights] == ["a0", "a1", "a2", "b0"]
    for weight in (-1, nan, "1"):
        with pytest.raises(InvalidWeight):
            lb.put("a0", weight)  # type: ignore[arg-type]  # wrong on purpose
        with pytest.raises(InvalidWeight):
            lb.put("a3", weight)  # type: ignore[arg-type]  # wrong on purpose
    assert [{*each.weights} for each in lb.balancers] == [{"a0", "a1", "a2"}, {"b0"}]


def test_unknown_conditions_and_backends() -> None:
    lb = tiers((2, 2))
    before = pickle.dumps(lb)
    for condition in ("", "closed", None, 0, ["open"]):
        with pytest.raises(InvalidSetting, match="condition must be open, full, down or leaving"):
            set_condition(lb, "a0", condition)
    lb.condition_changed("x", "down")
    lb.discard("x")
    lb.started("x")
    lb.finished("x")
    unhashable: Any = [1]
    for call in (lb.put, lb.discard, lb.started, lb.finished):
        with pytest.raises(TypeError):
            call(unhashable)
    assert pickle.dumps(lb) == before
    with pytest.raises(TypeError, match="avoid"):
        lb.pick(avoid="a0")


def test_empty_tiers() -> None:
    lb = tiers((0, 0, 0))
    assert not any(lb.shares)
    with pytest.raises(NoBackendAvailable, match="empty"):
        lb.pick()
    with pytest.raises(NoBackendAvailable, match="empty"):
        lb.plan(2)
    lb.put("c0")
    assert lb.pick() == "c0"
    lb.put("c0", 0)
    with pytest.raises(NoBackendAvailable, match="quiesced"):
        lb.pick()
    lb.discard("c0")
    with pytest.raises(NoBackendAvailable, match="empty"):
        Pool(lb).acquire(0.0)


@pytest.mark.parametrize("factor", [5e-324, 1e-300, 0.1, 1e300])
def test_extreme_factors_are_exact(factor: float) -> None:
    lb = tiers((4, 4), factor)
    set_condition(lb, "a0", "down")
    first, second = lb.shares
    assert first + second == 1
    assert (first == 1) is (factor > 1)
    assert [lb.pick()[0] for _ in range(14)].count("a") == (14 if factor > 1 else 6)


def test_a_thousand_tiers() -> None:
    inner = [LeastConnections([number]) for number in range(1000)]
    lb = Tiers(inner, tier=lambda number: number)
    for number in range(999):
        assert lb.pick() == number
        lb.put(number, 0)
    assert lb.pick() == 999
