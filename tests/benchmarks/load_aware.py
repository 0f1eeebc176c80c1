"""Rows for requests through pools that compare loads, and for what they report.

A request is ``acquire`` and ``release``, at later times each, so that durations differ and decay.
"""

from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any

import numpy as np

from balancers import Balancer, LeastConnections, Outcome, Pool, PowerOfTwoChoices, RoundRobin
from balancers.algorithms import LeastLoaded, Tiers
from balancers.hashing import PrefixAffinity, chain
from balancers.loads import InFlight, PeakEwma
from tests.benchmarks.floors import attribute, names
from tests.benchmarks.measure import Run, repeated
from tests.benchmarks.row import Row

__all__ = ["rows"]

DURATIONS = (0.01, 0.03, 0.02, 0.05, 0.04)
"""In seconds.  Each request takes the next one."""


class Slotted:
    """A plain object with the fields of an outcome."""

    __slots__ = ("elapsed", "first", "ok", "retry_after", "status")

    def __init__(
        self,
        ok: bool | None = True,
        elapsed: float | None = None,
        retry_after: float | None = None,
        status: int | None = None,
        first: float | None = None,
    ) -> None:
        self.ok = ok
        self.elapsed = elapsed
        self.retry_after = retry_after
        self.status = status
        self.first = first


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    yield Row("Outcome with a duration", 0, "a slotted object", 2, _outcome)
    for n, reach in ((10, 150), (100, 150), (1000, 170)):
        name = "Pool of two choices over PeakEwma, a request"
        yield Row(name, n, "U", reach, partial(_requests, _two_choices, n))
    name = "Pool of LeastLoaded over InFlight, a request"
    yield Row(name, 10, "U", 105, partial(_requests, _least_in_flight, 10))
    for n in (10, 100, 1000):
        name = "Pool of Tiers of two LeastConnections"
        yield Row(f"{name}, a request", n, "U", 90, partial(_requests, _tiers, n))
        yield Row(f"{name}, spilling", n, "U", 100, partial(_requests, _spilling_tiers, n))
    for n in (10, 100, 1000):
        for make in (RoundRobin, LeastConnections):
            name = f"A group with LeastConnections of a Pool of {make.__name__}, a request"
            yield Row(name, n, "U", 80, partial(_group_requests, make, n))
        for blocks, reach in ((16, 1100), (256, 1300)):
            name = f"Pool of PrefixAffinity, {blocks}"
            cached, cost = f"{name} cached blocks", 16 * blocks
            yield Row(f"{cached}, a request", n, "U", 200, partial(_prompts, blocks, n))
            yield Row(f"{cached}, cost=", n, "U", 270, partial(_prompts, blocks, n, cost))
            new = f"{name} blocks, all but 2 new, cost="
            yield Row(new, n, "U", reach, partial(_new_prompts, blocks, n, cost))
    name = "chain of 4096 tokens, an array"
    yield Row(name, 0, "U", 3000, partial(_chain, np.arange(4096)))
    yield Row("chain of 4096 tokens, a list", 0, "U", 6000, partial(_chain, [*range(4096)]))


def _chain(tokens: Any) -> tuple[Run, Run]:
    assert len(chain(tokens)) == 256 * 8
    return repeated(lambda: chain(tokens)), attribute()


def _prompts(blocks: int, n: int, cost: int = 0) -> tuple[Run, Run]:
    """Requests of 64 sessions, whose prompts begin with the same two blocks and are cached."""
    rng = Random(1)
    keys = [
        chain([7] * 32 + [rng.randrange(50_000) for _ in range(16 * blocks - 32)])
        for _ in range(64)
    ]
    balancer = PrefixAffinity(names(n))
    pool = Pool(balancer)
    acquire, release = pool.acquire, pool.release
    now, number = 0.0, 0

    def request() -> None:
        nonlocal now, number
        number += 1
        now += DURATIONS[number % 5]
        lease = acquire(now, keys[number % 64], cost=cost)
        release(lease, now)

    for _ in range(256):
        request()
    assert all(balancer.cached_blocks(balancer.pick(key), key) == blocks for key in keys)
    return repeated(request), attribute()


def _new_prompts(blocks: int, n: int, cost: int) -> tuple[Run, Run]:
    """Requests whose prompts have only the same first two blocks, to caches that are full."""
    balancer = PrefixAffinity(names(n), capacity=8 * blocks)
    pool = Pool(balancer)
    acquire, release = pool.acquire, pool.release
    first, rest = chain([7] * 32), Random(1).randbytes(8 * (blocks - 3))
    now, number = 0.0, 0

    def request() -> None:
        nonlocal now, number
        number += 1
        now += DURATIONS[number % 5]
        lease = acquire(now, first + number.to_bytes(8) + rest, cost=cost)
        release(lease, now)

    for _ in range(16 * n):
        request()
    key = first + bytes(8) + rest
    assert balancer.cached_blocks(balancer.pick(key), key) == 2
    return repeated(request), attribute()


def _outcome() -> tuple[Run, Run]:
    assert Outcome(True, 0.25).elapsed == Slotted(True, 0.25).elapsed == 0.25
    return repeated(lambda: Outcome(True, 0.25)), repeated(lambda: Slotted(True, 0.25))


def _two_choices(backends: list[str]) -> Balancer[str]:
    return PowerOfTwoChoices(backends, rng=Random(1), load=PeakEwma())


def _least_in_flight(backends: list[str]) -> Balancer[str]:
    return LeastLoaded(backends, load=InFlight())


def _tiers(backends: list[str], factor: float = 1.4) -> Balancer[str]:
    half = len(backends) // 2
    second = {*backends[half:]}
    inner = [LeastConnections(backends[:half]), LeastConnections(backends[half:])]
    return Tiers(inner, tier=lambda backend: int(backend in second), factor=factor)


def _spilling_tiers(backends: list[str]) -> Balancer[str]:
    """Return tiers of which the first one is not enough, so that both serve."""
    return _tiers(backends, factor=0.7)


def _requests(make: Callable[[list[str]], Balancer[str]], n: int) -> tuple[Run, Run]:
    balancer: Any = make(names(n))
    pool: Pool[str] = Pool(balancer)
    acquire, release = pool.acquire, pool.release
    now, number = 0.0, 0

    def request() -> None:
        nonlocal now, number
        lease = acquire(now)
        number += 1
        now += DURATIONS[number % 5]
        release(lease, now)

    for _ in range(20 * n):
        request()
    served = sum(member.requests > 0 for member in pool.snapshot().members)
    assert served == (n // 2 if make is _tiers else n)
    assert any(balancer.load_of(b, now) for b in pool.backends) is (make is _two_choices)
    return repeated(request), attribute()


def _group_requests(make: Callable[[list[str]], Any], n: int) -> tuple[Run, Run]:
    pool: Pool[str] = Pool(make(names(n)))
    group = pool.group(LeastConnections(), names(n))
    acquire, release = group.acquire, pool.release
    now = 0.0

    def request() -> None:
        nonlocal now
        lease = acquire(now)
        now += 0.01
        release(lease, now)

    for _ in range(2 * n):
        request()
    assert {member.requests for member in pool.snapshot().members} == {2}
    return repeated(request), attribute()
