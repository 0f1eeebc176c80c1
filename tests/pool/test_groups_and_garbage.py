"""Garbage collection closes a group while the pool informs the groups: no other group misses it."""

import gc
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest

from balancers import Drain, Gate, HealthChecks, LeastConnections, Pool, RoundRobin
from balancers.pool import Group


class Holder:
    """Refers to itself, so only garbage collection deletes it and its group."""

    def __init__(self, group: Group[str]) -> None:
        self.me, self.group = self, group


class Collecting(RoundRobin[str]):
    """Collects garbage whenever a weight changes."""

    collects = False

    def put(self, backend: str, weight: float = 1) -> None:
        super().put(backend, weight)
        if self.collects:
            gc.collect()


@pytest.fixture(autouse=True)
def _without_other_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("order", [*permutations(["garbage", "collecting", "kept"])])
@pytest.mark.parametrize("change", ["drain", "weight", "update"])
def test_every_other_group_gets_a_weight(order: tuple[str, ...], change: str) -> None:
    drain = Drain[str]()
    pool = Pool(RoundRobin(["a", "b"]), [drain])
    lbs: dict[str, Any] = {
        "garbage": LeastConnections[str](),
        "collecting": Collecting(),
        "kept": LeastConnections[str](),
    }
    groups = {name: pool.group(lbs[name], ["a", "b"]) for name in order}
    Holder(groups.pop("garbage"))
    lbs["collecting"].collects = True
    if change == "drain":
        drain.begin("a", 1.0)
    elif change == "weight":
        pool.set_weight("a", 0, 1.0)
    else:
        pool.update(["b"], 1.0, keep=9.0)
    pool.acquire(2.0)
    assert {lbs[name].weights["a"] for name in groups} == {0}
    internal: Any = pool
    assert len(internal._members.groups.all) == 2


@pytest.mark.parametrize("panic", [None, 0.5])
def test_a_group_that_is_collected_while_its_own_weight_changes(panic: float | None) -> None:
    drain, health = Drain[str](), HealthChecks[str](1, 1)
    gates: list[Gate[str]] = [drain, health]
    pool = Pool(RoundRobin(["a", "b", "c"]), gates, panic=panic)
    lb = Collecting()
    Holder(pool.group(lb, ["a", "b", "c"]))
    kept = pool.group(LeastConnections(), ["a", "b", "c"])
    drain.begin("b", 0.0)
    health.observe("c", False, 0.0)
    pool.acquire(0.5)
    lb.collects = True
    drain.cancel("b", 1.0)
    drain.begin("a", 1.0)
    health.observe("c", True, 1.0)
    assert {pool.acquire(1.0).backend for _ in range(4)} == {"b", "c"}
    assert {kept.acquire(1.0).backend for _ in range(4)} == {"b", "c"}
    pool.update(["a", "b"], 2.0)
    internal: Any = pool
    assert len(internal._members.groups.all) == 1
