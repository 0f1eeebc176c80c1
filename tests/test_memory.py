"""Memory does not grow with use: a balancer or pool is as large after much work as after some.

The size is the bytes of every object that can be reached from it, not the memory of the process.
"""

import gc
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
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
from tests.kinds import KINDS, PLAIN_GATES, Kind, by_name
from tests.kinds.kind import Event

MEMBERS = {"a": 1, "b": 2.5, "c": 3, "d": 1, "e": 0.7, "f": 2}
SOME, MUCH = 2000, 6 if DEEP else 3
BLOCK = 110_000
"""Bytes: a block of 4096 samples may be allocated after the first measurement."""
GROWTH = 1.2
"""How much larger it may be after ``MUCH`` times the work: blocks and heaps vary."""


def reachable_size(root: object) -> int:
    """Return the bytes of every object reachable from this one.

    Classes, modules and functions are not counted.
    """
    seen: set[int] = set()
    size = 0
    left = [root]
    while left:
        found = left.pop()
        if id(found) not in seen and not isinstance(found, type | ModuleType | FunctionType):
            seen.add(id(found))
            size += getsizeof(found)
            left.extend(gc.get_referents(found))
    return size


def addresses(rng: Random) -> Iterator[str]:
    while True:
        yield f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}"


def picks(_kind: Kind, lb: Balancer[str], rng: Random) -> None:
    for key, _ in zip(addresses(rng), range(SOME), strict=False):
        lb.pick(key)


def requests(_kind: Kind, lb: Balancer[str], rng: Random) -> None:
    in_flight: deque[str] = deque()
    for key, _ in zip(addresses(rng), range(SOME), strict=False):
        in_flight.append(lb.pick(key, avoid=rng.sample([*MEMBERS], rng.randrange(3))))
        lb.started(in_flight[-1])
        if len(in_flight) > 20:
            lb.finished(in_flight.popleft())
    for backend in in_flight:
        lb.finished(backend)


def flips(kind: Kind, lb: Balancer[str], rng: Random) -> None:
    for key, _ in zip(addresses(rng), range(SOME), strict=False):
        backend = rng.choice("bcdef")
        lb.put(backend, rng.choice([0, MEMBERS[backend], 0.25 * MEMBERS[backend]]))
        lb.pick(key)
        if rng.random() < 0.1:
            for each in kind.leavers(lb.weights, backend):
                lb.discard(each)


def assert_bounded(subject: Any, work: Callable[[Random], None]) -> None:
    """Check the size of ``subject`` after ``work`` on it."""
    rng = Random(1)
    work(rng)
    sizes: list[int] = []
    for _ in range(2):
        work(rng)
        sizes.append(reachable_size(subject))
    for _ in range(MUCH):
        work(rng)
    assert reachable_size(subject) <= GROWTH * max(sizes) + BLOCK


@pytest.mark.parametrize("work", [picks, requests, flips])
@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_a_balancer_does_not_grow_with_work(kind: Kind, work: Any) -> None:
    lb = kind.make(MEMBERS)
    assert_bounded(lb, partial(work, kind, lb))


@pytest.mark.parametrize("n", [3, 5, 60])
def test_a_shorter_period_is_recorded_again(n: int) -> None:
    """One of n equal backends closes: more picks are recorded than the new period has."""
    lb = WeightedRoundRobin(range(n))
    for closed in range(2):
        lb.put(closed, 0)
        served = [lb.pick() for _ in range(4 * n)]
        assert len(lb._period) == len(lb._picks) == n - closed - 1
        assert served[-1] in lb._period


@pytest.mark.parametrize("n", [5, 60])
def test_a_period_that_is_too_long_is_not_recorded(n: int) -> None:
    lb = WeightedRoundRobin({f"b{i}": 1_000_003 + 7919 * i for i in range(n)})

    def work(_rng: Random) -> None:
        for _ in range(SOME):
            lb.pick()

    assert_bounded(lb, work)


def add_other_gates(gates: list[Gate[str]], fractional: bool) -> list[tuple[Any, Event]]:
    """Add the gates of the registry whose reason is missing, and return their own calls."""
    reasons = {gate.reason for gate in gates}
    calls: list[tuple[Any, Event]] = []
    for row in PLAIN_GATES.values():
        gate = row.make()
        if gate.reason not in reasons and gate.fractional <= fractional:
            gates.append(gate)
            calls += [(gate, event) for event in row.events.values()]
    return calls


@pytest.mark.deep
@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_a_pool_does_not_grow_with_work(kind: Kind) -> None:
    lb = kind.make()
    health, drain, limit = HealthChecks[str](2, 1), Drain[str](5.0), ConnectionLimit[str](4)
    gates: list[Gate[str]] = [health, drain, limit]
    gates += [OutlierEjection(3, interval=2.0, base_ejection_time=1.0), CoolDown(rng=Random(1))]
    gates += [PassiveChecks(2, 3.0), DynamicLimit(2, 4, 20)]
    gates.append(SlowStart(3.0) if lb.fractional else WarmUp(3.0))
    calls = add_other_gates(gates, lb.fractional)
    pool = Pool(lb, gates, panic=0.3, calm=0.5, limit=30, events=deque(maxlen=50))
    pool.update(MEMBERS)
    ticks = iter(range(10**9))

    def work(rng: Random) -> None:
        now, in_flight = 0.0, list[Any]()
        for key, tick in zip(addresses(rng), ticks, strict=False):
            now, backend = tick / 10, rng.choice([*pool.backends])
            health.observe(backend, rng.random() < 0.8, now)
            (drain.begin if rng.random() < 0.05 else drain.cancel)(backend, now)
            drain.drained(now)
            if calls:
                gate, event = rng.choice(calls)
                event(gate, backend, now)
            with suppress(NoBackendAvailable):
                in_flight.append(pool.acquire(now, key))
            if len(in_flight) > 9:
                pool.release(in_flight.pop(rng.randrange(9)), now, rng.choice([True, False, None]))
            if rng.random() < 0.02:
                leavers = kind.leavers(pool.backends, backend)
                for each in leavers:
                    pool.remove(each, now)
                for each in reversed(leavers):
                    pool.add(each, MEMBERS[each], now)
            if tick % SOME == SOME - 1:
                break
        for lease in in_flight:
            pool.release(lease, now)

    assert_bounded(pool, work)
