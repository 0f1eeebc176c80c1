"""What tiers guarantee in states of their own: limits, drains, retries, copies."""

import pickle
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from fractions import Fraction
from math import inf
from random import Random
from typing import Any

import pytest

from balancers import (
    Balancer,
    LeastConnections,
    NoBackendAvailable,
    Pool,
    Rendezvous,
    RoundRobin,
    WeightedRoundRobin,
)
from balancers.algorithms import Tiers, Zones
from balancers.balancer import Key
from balancers.errors import InvalidSetting, MissingKey, NotPlannable, UnknownBackend
from balancers.outcome import SUCCESS, Outcome
from tests.algorithms.tier_members import members, set_condition, tier_of, tiers
from tests.depth import runs


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


class Plan:
    """An object of the caller, whose method determines tiers and zones."""

    def tier(self, backend: str) -> int:
        return tier_of(backend)

    def zone(self, backend: str) -> str:
        return backend[0]

    def __deepcopy__(self, memo: object) -> Any:
        raise AssertionError("copied")


def test_copies_share_the_function() -> None:
    lb = Tiers([RoundRobin(["a0"]), RoundRobin(["b0"])], tier=Plan().tier)
    assert Pool(lb).explain(0.0).backend == "a0"
    zones = Zones({"a": RoundRobin(["a0"])}, zone=Plan().zone, weights={"a": 1})
    twin = deepcopy(zones)
    twin.put("a1")
    assert [twin.pick() for _ in range(2)] == ["a0", "a1"]


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


INNER: list[Callable[[list[str]], Any]] = [RoundRobin, LeastConnections, WeightedRoundRobin]


@pytest.mark.parametrize("seed", range(runs(200)))
def test_a_plan_is_what_retries_would_get_and_takes_one_turn(seed: int) -> None:
    rng = Random(seed)
    inner = [rng.choice(INNER)(members(tier, rng.randrange(1, 4))) for tier in range(3)]
    lb = Tiers(inner, tier=tier_of, factor=rng.choice([1.4, inf, 0.5]), overflow=rng.random() < 0.7)
    for _ in range(20):
        backend = rng.choice([*lb.weights])
        set_condition(lb, backend, rng.choice(["open", "open", "full", "down", "leaving"]))
        if rng.random() < 0.3:
            lb.started(rng.choice([*lb.weights]))
        avoid = rng.sample([*lb.weights], rng.randrange(3))
        twin = deepcopy(lb)
        try:
            first = twin.pick(avoid=avoid)
        except NoBackendAvailable as error:
            with pytest.raises(NoBackendAvailable, match=error.reason):
                lb.plan(9, avoid=avoid)
        else:
            plan = deepcopy(lb).plan(9, avoid=avoid)
            assert plan[0] == first
            for place in range(1, len(plan)):
                assert deepcopy(lb).pick(avoid=[*avoid, *plan[:place]]) == plan[place]
            with pytest.raises(NoBackendAvailable):
                deepcopy(lb).pick(avoid=[*avoid, *plan])
            shorter = rng.randrange(1, 4)
            assert lb.plan(shorter, avoid=avoid) == plan[:shorter]
        for _ in range(2):
            if any(weight for weight in lb.weights.values()):
                assert outcome_of(lb) == outcome_of(twin)


def outcome_of(lb: Tiers[str]) -> str:
    try:
        return lb.pick()
    except NoBackendAvailable as error:
        return error.reason


def test_a_plan_of_keyed_tiers_goes_on_to_the_next_tier() -> None:
    lb = Tiers([Rendezvous(members(0, 2)), Rendezvous(members(1, 2))], tier=tier_of)
    set_condition(lb, "a0", "down")
    for key in map(str, range(50)):
        plan = lb.plan(4, key)
        assert [lb.pick(key, avoid=plan[:place]) for place in range(3)] == plan
    with pytest.raises(MissingKey):
        lb.plan(2)
    with pytest.raises(InvalidSetting):
        lb.plan(0, "key")


class NoPlan(Balancer[str]):
    """A balancer of another author, without a plan."""

    @property
    def weights(self) -> Mapping[str, float]:
        return {}

    def put(self, backend: str, weight: float = 1) -> None: ...

    def discard(self, backend: str) -> None: ...

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        return "b0"


def test_a_plan_needs_a_plan_of_each_balancer() -> None:
    lb = Tiers([RoundRobin(["a0"]), NoPlan()], tier=tier_of)
    before = pickle.dumps(lb)
    with pytest.raises(NotPlannable):
        lb.plan(1)
    assert pickle.dumps(lb) == before
    pool = Pool(tiers((2, 2)))
    assert pool.plan(0.0, n=4) == ["a0", "a1", "b0", "b1"]
    assert pool.plan(0.0, n=2) == ["a1", "a0"]


class Listener(NoPlan):
    """Stores what it is informed of."""

    timed = True

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def started(self, backend: str, now: float = 0.0, bound: bool = False) -> None:
        self.calls.append(("started", backend, now, bound))

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        self.calls.append(("finished", backend, outcome, now))

    def charged(self, *arguments: object) -> None:
        self.calls.append(("charged", *arguments))

    def progressed(self, *arguments: object) -> None:
        self.calls.append(("progressed", *arguments))

    def condition_changed(self, *arguments: object) -> None:
        self.calls.append(("condition_changed", *arguments))


def test_each_balancer_is_informed_of_its_own_members_only() -> None:
    listener = Listener()
    lb = Tiers([LeastConnections(["a0"]), listener], tier=tier_of)
    lb.put("b0")
    assert lb.timed
    for backend in ("a0", "b0", "x"):
        lb.started(backend, 1.0, bound=True)
        lb.charged(backend, 5, 2.0)
        lb.progressed(backend, 0.5, 3.0)
        lb.condition_changed(backend, "full")
        lb.finished(backend, SUCCESS, 4.0)
    assert listener.calls == [
        ("started", "b0", 1.0, True),
        ("charged", "b0", 5, 2.0),
        ("progressed", "b0", 0.5, 3.0),
        ("condition_changed", "b0", "full"),
        ("finished", "b0", SUCCESS, 4.0),
    ]
    with pytest.raises(UnknownBackend):
        lb.load_of("x")
    assert not tiers((1, 1)).timed
