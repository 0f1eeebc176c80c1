"""The memory of a simulation does not depend on the number of its requests."""

import tracemalloc
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from balancers import PowerOfTwoChoices, RandomChoice, RoundRobin
from balancers.simulation import Exponential, Poisson, Simulation, simulate


class Picked(RoundRobin[int]):
    """A subclass, which is simulated by its methods."""


def run(balancer: Any, requests: int) -> Simulation[int]:
    return simulate(balancer, Poisson(9.0), Exponential(1.0), requests=requests, seed=1)


def peak(make: Callable[[], Any], requests: int) -> int:
    """Return the peak of allocated bytes."""
    balancer = make()
    tracemalloc.start()
    try:
        run(balancer, requests)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("make", "chunk"),
    [
        (lambda: RoundRobin(range(10)), 1 << 15),
        (lambda: RandomChoice(range(10), rng=Random(1)), 1 << 15),
        (lambda: PowerOfTwoChoices(range(10), rng=Random(1)), 1 << 14),
        (lambda: Picked(range(10)), 1 << 14),
    ],
    ids=["RoundRobin", "RandomChoice", "PowerOfTwoChoices", "subclass"],
)
def test_peak_of_five_chunks_is_that_of_two(make: Callable[[], Any], chunk: int) -> None:
    run(make(), 10)  # what is imported and cached at the first use
    two = peak(make, 2 * chunk)
    assert two < 12e6
    assert peak(make, 5 * chunk) < 1.1 * two
