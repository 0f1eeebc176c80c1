"""Rows for plans of three backends, through a pool with requests in flight."""

from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any

from balancers import (
    Balancer,
    HashRing,
    LeastConnections,
    Pool,
    PowerOfTwoChoices,
    RoundRobin,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from tests.benchmarks.floors import attribute, names, weights
from tests.benchmarks.measure import Run, repeated
from tests.benchmarks.row import Row

__all__ = ["rows"]


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    for name, make, reach in PLANNED:
        yield Row(f"Pool of {name}, a plan of 3", 100, "U", reach, partial(_plans, make))


def _two_by_count(backends: list[str]) -> Balancer[str]:
    return PowerOfTwoChoices(backends, rng=Random(1))


PLANNED: list[tuple[str, Callable[[list[str]], Any], int]] = [
    ("RoundRobin", RoundRobin, 75),
    ("LeastConnections", LeastConnections, 75),
    ("WeightedRoundRobin", lambda b: WeightedRoundRobin(weights(len(b))), 150),
    ("WeightedLeastConnections", lambda b: WeightedLeastConnections(weights(len(b))), 150),
    ("HashRing", HashRing, 130),
    ("PowerOfTwoChoices", _two_by_count, 400),
]
"""The balancers whose plans are measured, while requests of unequal numbers are in flight."""


def _plans(make: Callable[[list[str]], Any]) -> tuple[Run, Run]:
    pool: Pool[str] = Pool(make(names(100)))
    keys = [f"user:{number}" for number in range(1000)]
    for key in keys[:150]:
        pool.acquire(0.0, key)
    plan, number = pool.plan, 0

    def one() -> list[str]:
        nonlocal number
        number = (number + 1) % 1000
        return plan(1.0, keys[number])

    firsts = {one()[0] for _ in range(600)}
    assert len(firsts) > 1
    assert len({*one()}) == 3
    return repeated(one), attribute()
