"""Plans of every balancer: what retries would pick, one turn, and the distribution of draws."""

import pickle
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise, permutations
from math import sqrt
from random import Random, SystemRandom
from typing import Any

import pytest

from balancers import (
    HashRing,
    IPHash,
    LeastConnections,
    NoBackendAvailable,
    PowerOfTwoChoices,
    RandomChoice,
    RoundRobin,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from balancers.errors import BalancersError, InvalidSetting, NotPlannable
from balancers.hashing import HashedBalancer
from balancers.interop import caddy, envoy
from balancers.membership import Membership
from balancers.testing.plan_programs import picks_after, planned, retried
from tests.depth import runs
from tests.kinds import KINDS, PRESETS, Kind, by_name

SEEDS = runs(20)
EVERY = [*KINDS, *PRESETS]
DRAWN = {"envoy.LeastRequest"}
BAD_N = [0, -1, True, False, 1.0, 2.5, "3", None, float("nan")]


def keys_of(kind: Kind) -> list[Any]:
    if not kind.make().keyed:
        return [None]
    return [*(kind.keys or [f"key-{number}" for number in range(40)])][:40]


def weights_of(kind: Kind) -> list[float]:
    if kind.weights == "whole":
        return [1, 2, 3, 5]
    return [*(kind.weights or (1, 2, 0.5, 3, 0.7))]


def shaken(kind: Kind, rng: Random, members: int) -> tuple[Any, list[str]]:
    """Return a balancer after some traffic and changes, and the names of its members."""
    balancer: Any = kind.make()
    names = [f"10.0.0.{number}:80" for number in range(members)]
    for name in names:
        balancer.put(name, rng.choice(weights_of(kind)))
    keys, flights = keys_of(kind), list[Any]()
    for _ in range(25):
        action, name = rng.random(), rng.choice(names)
        if action < 0.25:
            balancer.put(name, rng.choice([0, *weights_of(kind)]))
        elif action < 0.3 and "stacked" not in kind.traits:
            balancer.discard(name)
        elif action < 0.4 and name in balancer.weights:
            balancer.started(name, bound=True)
            flights.append(name)
        elif action < 0.55 and flights:
            balancer.finished(flights.pop(rng.randrange(len(flights))))
        else:
            avoid = rng.sample(names, rng.randrange(3)) if members > 2 else []
            try:
                flights.append(balancer.pick(rng.choice(keys), avoid=avoid))
                balancer.started(flights[-1])
            except NoBackendAvailable:
                pass
    return balancer, names


@pytest.mark.parametrize("kind", EVERY, ids=by_name)
def test_a_plan_is_what_picks_with_a_growing_avoid_return(kind: Kind) -> None:
    drawn = "random" in kind.traits or kind.name in DRAWN
    for seed in range(SEEDS):
        rng = Random(seed)
        members = min(rng.choice([1, 2, 3, 6, 30]), kind.max_members or 30)
        balancer, names = shaken(kind, rng, members)
        for _ in range(3):
            avoid = rng.choice([(), [], rng.sample(names, rng.randint(0, members))])
            n = rng.choice([1, 2, 3, members, 10**6, 10**30])
            key, before = rng.choice(keys_of(kind)), deepcopy(balancer)
            plan = planned(balancer, n, key=key, avoid=avoid)
            if drawn:
                assert plan[:1] == retried(before, 1, key=key, avoid=avoid)
                assert len({*plan}.difference(avoid)) == len(plan) <= n
            else:
                assert plan == retried(before, n, key=key, avoid=avoid)
            assert picks_after(balancer, 12, key=key) == picks_after(
                before, 12, picked=True, key=key, avoid=avoid
            )


@pytest.mark.parametrize("kind", EVERY, ids=by_name)
def test_a_plan_refuses_what_a_pick_refuses_and_changes_nothing_then(kind: Kind) -> None:
    balancer: Any = kind.make()
    key = keys_of(kind)[0]
    for _ in range(3):
        assert str(raised(balancer.plan, 2, key)) == str(raised(balancer.pick, key))
        balancer.put("10.0.0.1:80", 1)
        balancer.put("10.0.0.2:80", 1)
        both = ["10.0.0.1:80", "10.0.0.2:80"]
        for avoid in (both, "10.0.0.1:80", 7):
            for _ in range(2):
                plan, pick = (
                    raised(balancer.plan, 2, key, 0.0, avoid),
                    raised(deepcopy(balancer).pick, key, 0.0, avoid),
                )
                assert (type(plan), str(plan)) == (type(pick), str(pick))
        for bad in BAD_N:
            before = picks_after(balancer, 6, key=key)
            error = raised(balancer.plan, bad, key)
            assert isinstance(error, InvalidSetting), bad
            assert repr(bad) in str(error)
            assert picks_after(balancer, 6, key=key) == before
        for _ in range(2):
            if balancer.keyed and kind.name.split(".")[0] not in {"haproxy", "caddy"}:
                plan, pick = raised(balancer.plan, 2), raised(balancer.pick)
                assert (type(plan), str(plan)) == (type(pick), str(pick))
            balancer.put("10.0.0.2:80", 0)
            balancer.put("10.0.0.1:80", 0)


def raised(call: Callable[..., Any], *arguments: Any) -> Exception | None:
    try:
        call(*arguments)
    except (BalancersError, TypeError) as error:
        return error
    return None


@pytest.mark.parametrize(
    ("make", "counts"),
    [
        (lambda: RoundRobin([*"abc"]), {"a": 100, "b": 100, "c": 100}),
        (lambda: LeastConnections([*"abc"]), {"a": 100, "b": 100, "c": 100}),
        (lambda: WeightedRoundRobin({"a": 5, "b": 1, "c": 1}), {"a": 214, "b": 43, "c": 43}),
        (lambda: WeightedLeastConnections({"a": 5, "b": 1, "c": 1}), {"a": 214, "b": 43, "c": 43}),
    ],
)
def test_the_first_backends_of_plans_have_the_shares_of_picks(
    make: Callable[[], Any], counts: dict[str, int]
) -> None:
    balancer = make()
    assert Counter(balancer.plan(3)[0] for _ in range(300)) == counts


@pytest.mark.parametrize("make", [RandomChoice, PowerOfTwoChoices])
@pytest.mark.parametrize("warm", [0, 1, 3000])
@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (4, 2, 1, 1), (50, 1, 1, 1)])
def test_all_orders_of_drawn_plans_have_their_probabilities(
    make: Any, warm: int, weights: tuple[int, ...]
) -> None:
    """Each member of a plan is what a pick that avoids those before it would be.

    An order of n plans with the probability p occurs n p ± 6 √(n p) times, and ± 6 more.  For 24
    orders in 18 cases this fails with a probability below 10⁻⁶.  ``warm`` picks decide whether
    prepared samples, drawn ones, or both are used.
    """
    backends = dict(zip("abcd", weights, strict=True))
    rng = Random(f"{warm} {weights}")
    balancer = make(backends, rng=rng)
    total, counts = 4000, Counter[str]()
    for number in range(total):
        if warm < 2 and number % 2:
            balancer.put("d", weights[3] + 1)  # the samples are discarded
            balancer.pick()
            balancer.put("d", weights[3])
        for _ in range(warm if not number else 0):
            balancer.pick()
        counts["".join(balancer.plan(4))] += 1
    for order in permutations("abcd"):
        expected = total * probability(order, backends, 2 if make is PowerOfTwoChoices else 1)
        assert abs(counts["".join(order)] - expected) <= 6 * sqrt(expected) + 6, order


def probability(order: tuple[str, ...], weights: dict[str, int], choices: int) -> float:
    """Return the probability of an order of backends without requests in flight.

    The first sample of a group wins the tie, so each place is drawn by weight from those left.
    """
    assert choices in {1, 2}
    result, left = 1.0, sum(weights.values())
    for backend in order:
        result *= weights[backend] / left
        left -= weights[backend]
    return result


def test_two_choices_rank_by_load_behind_the_first() -> None:
    balancer = PowerOfTwoChoices(["a", "b", "c", "d"], rng=Random(1))
    for backend, busy in (("b", 1), ("c", 2), ("d", 3)):
        for _ in range(busy):
            balancer.started(backend)
    lasts = Counter(balancer.plan(4)[-1] for _ in range(400))
    assert set(lasts) == {"d"}
    seconds = Counter(balancer.plan(4)[1] for _ in range(3000))
    # "a" is first in 1 of 2 plans, and then "b" in 2 of 3; "b" first in 1 of 3; "c" in 1 of 6, and
    # then "a" in 2 of 3, "b" in 1 of 3: the standard deviation is 0.009.
    assert abs(seconds["b"] / 3000 - (1 / 2 * 2 / 3 + 1 / 6 / 3)) < 0.05


@pytest.mark.parametrize("make", [RandomChoice, PowerOfTwoChoices])
def test_the_later_backends_of_successive_plans_are_independent(make: Any) -> None:
    """Otherwise all requests that are retried in some time meet at one backend.

    The second backend of a plan is one of three with the same probability, so it is that of the
    plan before in 1 of 3 cases, with a standard deviation of 0.011.
    """
    balancer = make({"a": 1000, "b": 1, "c": 1, "d": 1}, rng=Random(6))
    seconds = [plan[1] for _ in range(2000) if (plan := balancer.plan(2))[0] == "a"]
    assert len(seconds) > 600
    same = sum(one == other for one, other in pairwise(seconds))
    assert abs(same / len(seconds) - 1 / 3) < 0.08


@pytest.mark.parametrize("make", [RandomChoice, PowerOfTwoChoices, envoy.LeastRequest])
def test_a_plan_draws_no_more_numbers_than_a_pick(make: Any) -> None:
    rng, other = Random(3), Random(3)
    ours, theirs = make([*"abcdefgh"], rng=rng), make([*"abcdefgh"], rng=other)
    for number in range(5000):
        if number % 700 == 0:
            for each in (ours, theirs):
                each.put("h", 1 + number % 2)
        assert ours.plan(1 + number % 9)[0] == theirs.pick()
        assert rng.random() == other.random()
    assert pickle.dumps(ours) == pickle.dumps(deepcopy(ours))


def test_a_generator_without_a_state_is_allowed() -> None:
    balancer = PowerOfTwoChoices([*"abcd"], rng=SystemRandom())
    for _ in range(200):
        balancer.put("a", 2)
        assert sorted(balancer.plan(9)) == [*"abcd"]
        balancer.put("a", 1)


def test_a_load_that_raises_leaves_the_generator_as_after_a_pick() -> None:
    class Fails:
        broken = False

        def value(self, backend: str, now: float = 0.0) -> float:
            if self.broken and backend == "a":
                raise ZeroDivisionError
            return 0

        def started(self, backend: str, now: float = 0.0) -> None: ...
        def finished(self, backend: str, outcome: Any = None, now: float = 0.0) -> None: ...
        def removed(self, backend: str) -> None: ...

    rng, load = Random(4), Fails()
    balancer: Any = PowerOfTwoChoices([*"abcd"], rng=rng, load=load)
    weights = dict(balancer.weights)
    load.broken = True
    for _ in range(50):
        with pytest.raises(ZeroDivisionError):
            balancer.plan(4)
    load.broken = False
    assert balancer.weights == weights
    assert sorted(balancer.plan(4)) == [*"abcd"]


def test_a_learned_period_is_not_lost() -> None:
    balancer = WeightedRoundRobin({f"b{number}": 1 + number % 3 for number in range(40)})
    twin = deepcopy(balancer)
    for number in range(400):
        assert balancer.plan(3)[0] == twin.pick()
        if number % 7 == 0:
            assert balancer.plan(40)[0] == twin.pick()
    assert balancer._period
    assert [balancer.pick() for _ in range(200)] == [twin.pick() for _ in range(200)]


class Rotated(HashedBalancer[str]):
    """Its pick with ``avoid`` does not depend on the order without."""

    def pick_hashed(self, digest: int, avoid: Any = ()) -> str:
        avoid = self.check_pick(digest, avoid)
        left = [b for b, weight in self.weights.items() if weight and b not in avoid]
        return left[digest % len(left)]

    def chooser(self, count: int) -> Any:
        raise NotImplementedError


def test_a_hashed_balancer_of_the_user_gets_a_plan() -> None:
    balancer = Rotated([*"abcdef"])
    for number in range(60):
        for avoid in ([], ["a"], ["b", "e"]):
            key = f"key-{number}"
            assert balancer.plan(4, key, avoid=avoid) == retried(balancer, 4, avoid, key=key)


class Unplanned(Membership[str]):
    keyed = True

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> str:
        return next(b for b in self.weights if b not in avoid)


def test_a_balancer_over_one_without_a_plan_says_so() -> None:
    for balancer in (
        IPHash(["a"], over=Unplanned()),
        caddy.Cookie(["a"], fallback=Unplanned()),
    ):
        with pytest.raises(NotPlannable, match="Unplanned"):
            balancer.plan(2, "192.0.2.1")
    assert not hasattr(Unplanned(), "plan")
    assert IPHash(["a"], over=HashRing()).plan(2, "192.0.2.1") == ["a"]
