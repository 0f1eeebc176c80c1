"""A stale balancer picks by what was known at the last renewal, and else keeps all laws."""

import pickle
from copy import deepcopy
from math import inf, nan
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers import HashRing, LeastConnections, Pool, PowerOfTwoChoices, RoundRobin
from balancers.errors import AlreadyInUse, InvalidSetting, InvalidTime, MissingKey, UnknownBackend
from balancers.gates import Drain
from balancers.simulation import Constant, Every, Exponential, Poisson, Stale, simulate
from balancers.testing import check_balancer
from tests.depth import runs


def stale_least(backends: Any = ()) -> Stale[Any]:
    return Stale(LeastConnections(backends), every=10.0)


def stale_turns(backends: Any = ()) -> Stale[Any]:
    return Stale(RoundRobin(backends), every=10.0)


def stale_ring(backends: Any = ()) -> Stale[Any]:
    return Stale(HashRing(backends, points=8), every=10.0)


@pytest.mark.parametrize(
    ("make", "traits"),
    [
        (stale_least, ()),
        (stale_turns, ("rotating",)),
        (stale_ring, ("keyed", "weighted", "minimal_disruption")),
    ],
)
def test_it_keeps_the_laws_of_balancers(make: Any, traits: tuple[str, ...]) -> None:
    check_balancer(make, traits=traits, examples=runs(200))


def test_one_that_has_seen_a_later_time_is_not_simulated_again() -> None:
    """Its board would not be renewed before that time, even if it shows no loads."""
    stale = Stale(LeastConnections(["a", "b"]), every=1.0)
    assert stale.latest == -inf
    simulate(stale, Every(4.0), Constant(0.5), requests=10, seed=1)
    assert stale.latest == 40.5
    assert stale.load_of("a", 0.0) == stale.load_of("b", 0.0) == 0
    with pytest.raises(InvalidTime, match=r"40\.5"):
        simulate(stale, Every(4.0), Constant(0.5), requests=10, seed=1)


STEPS = st.lists(
    st.tuples(st.integers(0, 8).map(lambda step: step / 4), st.sampled_from(["start", "end"])),
    max_size=30,
)


@given(STEPS, st.sampled_from([0.5, 1.0, 3.0]))
@settings(max_examples=runs(500), deadline=None)
def test_it_picks_by_the_loads_of_the_last_renewal(
    steps: list[tuple[float, str]], every: float
) -> None:
    """The loads of the board are those that a fresh balancer had before the renewal."""
    stale = Stale(LeastConnections(["a", "b", "c"]), every)
    fresh = LeastConnections(["a", "b", "c"])
    now, board, renewed = 0.0, {"a": 0.0, "b": 0.0, "c": 0.0}, 0
    rng = Random(1)
    for gap, step in steps:
        now += gap
        if int(now // every) > renewed:
            board = {each: fresh.load_of(each) for each in "abc"}
            renewed = int(now // every)
        assert {each: stale.load_of(each, now) for each in "abc"} == board
        assert board[stale.pick(now=now)] == min(board.values())
        backend = rng.choice("abc")
        for balancer in (fresh, stale):
            if step == "start":
                balancer.started(backend, now)
            else:
                balancer.finished(backend, now=now)


def test_load_of_changes_nothing() -> None:
    lb = Stale(LeastConnections(["a", "b"]), every=1.0)
    lb.pick(now=0.0)
    lb.started("a", 0.5)
    before = pickle.dumps(lb)
    assert lb.load_of("a", 7.0) == 1
    assert lb.load_of("a", 0.5) == 0
    assert pickle.dumps(lb) == before
    assert Stale(RoundRobin(["a"]), every=1.0).load_of("a") is None
    with pytest.raises(UnknownBackend):
        lb.load_of("c", 7.0)


def test_changes_of_members_are_not_delayed() -> None:
    lb = Stale(LeastConnections(["a"]), every=100.0)
    lb.pick(now=1.0)
    lb.started("a", 1.0)
    lb.discard("a")
    lb.put("b")
    lb.put("a")
    assert {lb.pick(now=2.0) for _ in range(4)} == {"a", "b"}
    assert lb.load_of("a", 300.0) == 0, "what was not reported of the earlier member is forgotten"
    lb.started("unknown", 2.0)
    lb.finished("unknown", now=2.0)


def test_copies_are_independent() -> None:
    lb = Stale(LeastConnections(["a", "b"]), every=1.0)
    lb.pick(now=0.0)
    lb.started("a", 0.5)
    for copy in (deepcopy(lb), pickle.loads(pickle.dumps(lb))):  # noqa: S301 - made here
        copy.started("a", 0.6)
        assert (lb.load_of("a", 2.0), copy.load_of("a", 2.0)) == (1, 2)
    with pytest.raises(AlreadyInUse):
        Pool(lb._balancer)


def test_bad_settings_and_times() -> None:
    for every in (0, -1.0, nan, inf, "1", None, True):
        with pytest.raises(InvalidSetting):
            Stale(LeastConnections(["a"]), every)  # type: ignore[arg-type]  # what is tested
    wrong: list[Any] = [None, LeastConnections, 5]
    for balancer in wrong:
        with pytest.raises(InvalidSetting):
            Stale(balancer, 1.0)
    taken = LeastConnections(["a"])
    Stale(taken, 1.0)
    with pytest.raises(AlreadyInUse):
        Stale(taken, 1.0)
    lb = Stale(LeastConnections(["a"]), 1.0)
    for now in (nan, inf):
        with pytest.raises(InvalidTime):
            lb.pick(now=now)
    with pytest.raises(MissingKey):
        Stale(HashRing(["a"]), 1.0).pick()
    tiny = Stale(LeastConnections(["a"]), 1e-300)
    assert tiny.pick(now=1e200) == "a"
    assert repr(lb) == "<Stale: every 1.0 s, <LeastConnections: 1 of 1 open>>"


def test_it_works_in_a_pool() -> None:
    drain = Drain[str]()
    pool = Pool(Stale(PowerOfTwoChoices(["a", "b"], rng=Random(1)), every=2.0), [drain])
    run = simulate(pool, Poisson(1.0), Exponential(0.5), requests=400, seed=1)
    assert run.answered == run.requests
