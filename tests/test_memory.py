"""Nothing grows with use: what a balancer or pool holds after much work is what it held after some.

Measured by the bytes of what can be reached from it, not by the process's memory.
"""

import gc
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from sys import getsizeof
from types import FunctionType, ModuleType
from typing import Any

import pytest

from balancers import (
    Balancer,
    ConnectionLimit,
    Drain,
    Gate,
    HealthChecks,
    NoBackendAvailable,
    Pool,
    SlowStart,
    WeightedRoundRobin,
)
from balancers.gates import CoolDown, DynamicLimit, OutlierEjection, PassiveChecks, WarmUp
from tests.depth import DEEP
from tests.kinds import KINDS, Kind, by_name

MEMBERS = {"a": 1, "b": 2.5, "c": 3, "d": 1, "e": 0.7, "f": 2}
SOME, MUCH = 2000, 11 if DEEP else 3
BLOCK = 110_000
"""Bytes: 4096 triples drawn ahead may come later than the first measure."""
GROWTH = 1.2
"""How much more MUCH times the work may hold; blocks and heaps breathe."""


def held(thing: object) -> int:
    """Count the bytes of what a thing leads to, classes, modules and functions aside."""
    seen: set[int] = set()
    size = 0
    ahead = [thing]
    while ahead:
        found = ahead.pop()
        if id(found) not in seen and not isinstance(found, type | ModuleType | FunctionType):
            seen.add(id(found))
            size += getsizeof(found)
            ahead.extend(gc.get_referents(found))
    return size


def addresses(rng: Random) -> Iterator[str]:
    while True:
        yield f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}"


def quiet(lb: Balancer[str], rng: Random) -> None:
    for key, _ in zip(addresses(rng), range(SOME), strict=False):
        lb.pick(key)


def requests(lb: Balancer[str], rng: Random) -> None:
    flying: deque[str] = deque()
    for key, _ in zip(addresses(rng), range(SOME), strict=False):
        flying.append(lb.pick(key, avoid=rng.sample([*MEMBERS], rng.randrange(3))))
        lb.started(flying[-1])
        if len(flying) > 20:
            lb.finished(flying.popleft())
    for backend in flying:
        lb.finished(backend)


def flips(lb: Balancer[str], rng: Random) -> None:
    for key, _ in zip(addresses(rng), range(SOME), strict=False):
        backend = rng.choice("bcdef")
        lb.put(backend, rng.choice([0, MEMBERS[backend], 0.25 * MEMBERS[backend]]))
        lb.pick(key)
        if rng.random() < 0.1:
            lb.discard(backend)


def assert_bounded(thing: Any, work: Any) -> None:
    rng = Random(1)
    work(thing, rng)
    before = max(held(thing) for _ in range(2) if work(thing, rng) is None)
    for _ in range(MUCH):
        work(thing, rng)
    assert held(thing) <= GROWTH * before + BLOCK


@pytest.mark.parametrize("work", [quiet, requests, flips])
@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_a_balancer_holds_no_more_after_much_work(kind: Kind, work: Any) -> None:
    lb = kind.make()
    for backend, weight in MEMBERS.items():
        lb.put(backend, weight)
    assert_bounded(lb, work)


@pytest.mark.parametrize("n", [3, 5, 60])
def test_a_period_grown_shorter_is_learned_again(n: int) -> None:
    """One of equals closes: more was remembered than the period has, and for ever more."""
    lb = WeightedRoundRobin(range(n))
    for closed in range(2):
        lb.put(closed, 0)
        served = [lb.pick() for _ in range(4 * n)]
        assert len(lb._period) == len(lb._picks) == n - closed - 1
        assert served[-1] in lb._period


@pytest.mark.parametrize("n", [5, 60])
def test_a_period_too_long_to_learn_is_not_remembered(n: int) -> None:
    assert_bounded(WeightedRoundRobin({f"b{i}": 1_000_003 + 7919 * i for i in range(n)}), quiet)


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_a_pool_holds_no_more_after_much_work(kind: Kind) -> None:
    lb = kind.make()
    health, drain, limit = HealthChecks[str](2, 1), Drain[str](5.0), ConnectionLimit[str](4)
    gates: list[Gate[str]] = [health, drain, limit]
    gates += [OutlierEjection(3, interval=2.0, base_ejection_time=1.0), CoolDown(rng=Random(1))]
    gates += [PassiveChecks(2, 3.0), DynamicLimit(2, 4, 20)]
    gates.append(SlowStart(3.0) if lb.fractional else WarmUp(3.0))
    pool = Pool(lb, gates, panic=0.3, calm=0.5, limit=30, events=deque(maxlen=50))
    pool.update(MEMBERS)
    ticks = iter(range(10**9))

    def work(pool: Pool[str], rng: Random) -> None:
        now, flying = 0.0, list[Any]()
        for key, tick in zip(addresses(rng), ticks, strict=False):
            now, backend = tick / 10, rng.choice([*pool.backends])
            health.observe(backend, rng.random() < 0.8, now)
            (drain.begin if rng.random() < 0.05 else drain.cancel)(backend, now)
            drain.drained(now)
            with suppress(NoBackendAvailable):
                flying.append(pool.acquire(now, key))
            if len(flying) > 9:
                pool.release(flying.pop(rng.randrange(9)), now, rng.choice([True, False, None]))
            if rng.random() < 0.02:
                pool.remove(backend, now)
                pool.add(backend, MEMBERS[backend], now)
            if tick % SOME == SOME - 1:
                break
        for lease in flying:
            pool.release(lease, now)

    assert_bounded(pool, work)
