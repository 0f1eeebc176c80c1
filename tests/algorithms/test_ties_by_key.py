"""Least connections with ``ties`` against a slow model: a list in the order of the next picks."""

import copy
import pickle
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import pytest

from balancers import (
    HashRing,
    IPHash,
    LeastConnections,
    Maglev,
    NoBackendAvailable,
    Pool,
    Rendezvous,
    RoundRobin,
)
from balancers.errors import AlreadyInUse, InvalidKey, InvalidPick, InvalidSetting, InvalidWeight
from balancers.hashing import Anchor, BoundedLoad, HashedBalancer, Jump, Memento, MultiProbe
from tests.depth import runs

METHODS: list[Callable[..., HashedBalancer[Any]]] = [
    HashRing,
    Rendezvous,
    partial(Maglev, size=127),
    MultiProbe,
]


class Model:
    """The definition: the fewest in flight, then the order of the key, or the longest unpicked."""

    def __init__(self, ties: HashedBalancer[str]) -> None:
        self.ties = ties
        self.counts: dict[str, int] = {}
        self.order: list[str] = []  # the next pick of equal counts is the first

    def put(self, backend: str, weight: float) -> None:
        self.ties.put(backend, weight)
        if backend not in self.counts:
            self.counts[backend] = 0
            self.order.append(backend)

    def discard(self, backend: str) -> None:
        self.ties.discard(backend)
        if backend in self.counts:
            del self.counts[backend]
            self.order.remove(backend)

    def change(self, backend: str, change: int) -> None:
        if backend in self.counts and self.counts[backend] + change >= 0:
            self.counts[backend] += change
            self.touch(backend)

    def touch(self, backend: str) -> None:
        self.order.remove(backend)
        self.order.append(backend)

    def pick(self, key: str | None, avoid: list[str]) -> str | None:
        weights = self.ties.weights
        eligible = [b for b in self.order if weights[b] and b not in avoid]
        if not eligible:
            return None
        least = min(self.counts[b] for b in eligible)
        tie = [b for b in eligible if self.counts[b] == least]
        if key is None:
            picked = tie[0]
        else:
            picked = next(b for b in self.ties.succession(self.ties.hash_key(key)) if b in tie)
        self.touch(picked)
        return picked


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weights", [(0, 1), (0, 1, 2, 0.5)])
def test_any_history_is_that_of_the_model(  # noqa: C901, PLR0912 - one branch for each action
    method: Callable[..., HashedBalancer[Any]], weights: tuple[float, ...]
) -> None:
    names = "abcdef"
    for seed in range(runs(120)):
        rng = Random(seed)
        model, lb = Model(method()), LeastConnections[str](ties=method())
        for step in range(150):
            what, backend = rng.randrange(10), rng.choice(names)
            if what < 2 or step < len(names):
                weight = rng.choice(weights)
                model.put(backend, weight)
                lb.put(backend, weight)
            elif what == 2:
                model.discard(backend)
                lb.discard(backend)
            elif what == 3:
                model.change(backend, -1)
                lb.finished(backend)
            elif what == 4:
                model.change(backend, 1)
                lb.started(backend)
            elif what == 5:
                lb = copy.deepcopy(lb) if rng.random() < 0.5 else pickle.loads(pickle.dumps(lb))  # noqa: S301 - its own pickle
            else:
                key = None if what == 6 else f"key {rng.randrange(20)}"
                avoid = rng.sample([*names, "x"], rng.randrange(4)) if what > 7 else []
                expected = model.pick(key, avoid)
                if expected is None:
                    with pytest.raises(NoBackendAvailable):
                        lb.pick(key, 0.0, avoid)
                else:
                    if rng.random() < 0.2:
                        plan = copy.deepcopy(lb).plan(3, key, 0.0, avoid)
                        assert plan[0] == expected
                        for place in range(1, len(plan)):
                            shorter = [*avoid, *plan[:place]]
                            assert copy.deepcopy(lb).pick(key, 0.0, shorter) == plan[place]
                    assert lb.pick(key, 0.0, avoid) == expected
                    if rng.random() < 0.8:
                        model.change(expected, 1)
                        lb.started(expected)
        assert lb.weights == model.ties.weights


@pytest.mark.parametrize("method", [*METHODS, Jump, Memento, partial(Anchor, capacity=9)])
def test_an_idle_balancer_picks_what_its_ties_pick(
    method: Callable[..., HashedBalancer[Any]],
) -> None:
    alone = method(["a", "b", "c"])
    lb = LeastConnections(["a", "b", "c"], ties=method())
    assert [lb.pick(f"{n}") for n in range(200)] == [alone.pick(f"{n}") for n in range(200)]
    assert not lb.keyed


def test_without_a_key_idle_backends_are_picked_in_turn() -> None:
    lb = LeastConnections(["a", "b", "c"], ties=HashRing())
    assert "".join(lb.pick() for _ in range(6)) == "abcabc"
    without = LeastConnections(["a", "b", "c"])
    assert "".join(without.pick("key") for _ in range(6)) == "abcabc"


def test_the_members_of_ties_become_members() -> None:
    lb = LeastConnections({"b": 2, "c": 1}, ties=HashRing({"a": 1, "b": 1}))
    assert lb.weights == {"a": 1, "b": 2, "c": 1}
    assert lb.pick(7, avoid=["b", "c"]) == "a"


def test_an_update_that_ties_refuse_changes_nothing() -> None:
    """Only the last member of Jump can leave, and no weight of a ring is as high as 1e300."""
    lb = LeastConnections(["a", "b"], ties=Jump())
    pool = Pool(lb)
    with pytest.raises(InvalidSetting):
        pool.update({"b": 1}, now=1.0)
    assert list(pool.backends) == ["a", "b"]
    assert [lb.pick() for _ in range(3)] == ["a", "b", "a"]
    ring: HashRing[str] = HashRing(["a"])
    with pytest.raises(InvalidWeight):
        LeastConnections({"b": -1}, ties=ring)
    assert ring.weights == {"a": 1}
    LeastConnections(ties=ring)


def test_ties_belong_to_one_balancer() -> None:
    ring: HashRing[str] = HashRing(["a"])
    lb = LeastConnections(ties=ring)
    for taking in (
        lambda: LeastConnections(ties=ring),
        lambda: Pool(ring),
        lambda: BoundedLoad(ring),
        lambda: IPHash(over=ring),
    ):
        with pytest.raises(AlreadyInUse):
            taking()
    copied = copy.deepcopy(lb)
    copied.put("b", 1)
    assert lb.weights == {"a": 1}
    taken: Any = copied
    with pytest.raises(AlreadyInUse):
        Pool(taken._by_key)
    owned: HashRing[str] = HashRing(["a"])
    Pool(owned)
    with pytest.raises(AlreadyInUse):
        LeastConnections(ties=owned)


@pytest.mark.parametrize("ties", ["key", 1, True, HashRing, RoundRobin(), IPHash(), object()])
def test_other_objects_are_refused(ties: Any) -> None:
    with pytest.raises(InvalidSetting, match="ties"):
        LeastConnections(["a"], ties=ties)


def test_bad_keys_and_changed_ties_are_refused() -> None:
    ring: HashRing[str] = HashRing()
    lb = LeastConnections(["a", "b"], ties=ring)
    with pytest.raises(InvalidKey):
        lb.pick(1 << 64)
    bad: Any = 1.5
    with pytest.raises(TypeError):
        lb.pick(bad)
    with pytest.raises(TypeError):
        lb.pick("key", avoid="a")
    ring.discard("a")
    ring.discard("b")
    with pytest.raises(InvalidPick):
        lb.pick("key")
    assert [lb.pick() for _ in range(2)] == ["a", "b"]


def test_a_pool_closes_and_opens_its_backends_as_without_ties() -> None:
    pool = Pool(LeastConnections(["a", "b", "c"], ties=Rendezvous()))
    owner = pool.acquire(0.0, key="user").backend
    lease = pool.acquire(0.0, key="user")
    assert lease.backend != owner
    pool.release(lease, 1.0)
    pool.set_weight(owner, 0)
    assert pool.acquire(1.0, key="user").backend == lease.backend
    pool.remove(owner)
    pool.add(owner)
    assert pool.acquire(1.0, key="user").backend == owner
