"""Rows for many picks at once, and for more choices and other loads than the usual ones."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from random import Random
from typing import Any

from balancers import PowerOfTwoChoices, RandomChoice, RoundRobin, WeightedRoundRobin
from balancers.loads import InFlight
from tests.benchmarks.classic import SETTLED
from tests.benchmarks.floors import names, weights
from tests.benchmarks.measure import Run, repeated
from tests.benchmarks.row import Row

__all__ = ["rows"]

BLOCK = 1 << 16
"""The number of picks of one call."""


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    for n in (10, 100, 1000):
        for name, reach, make in (
            ("RoundRobin", -5 if n == 1000 else -30, _in_turn),
            ("WeightedRoundRobin", -5 if n == 1000 else -20, _replayed),
            ("RandomChoice, uniform", -2.5, _uniform),
            ("RandomChoice, weighted", -1.5, _weighted),
        ):
            what = f"picks_ahead(2¹⁶) of {name}"
            yield Row(what, n, "a loop of picks", reach, partial(_ahead, make, n))
    for n in (10, 100, 10_000):
        for kind, backends in (("uniform", names), ("weighted", weights)):
            for name, load in (("choices=3", False), ("load=", True)):
                what = f"PowerOfTwoChoices.pick, {name}, {kind}"
                yield Row(what, n, "two choices", 4, partial(_compared, n, backends(n), load))


def _in_turn(n: int) -> RoundRobin[str]:
    return RoundRobin(names(n))


def _replayed(n: int) -> WeightedRoundRobin[str]:
    return WeightedRoundRobin(weights(n))


def _uniform(n: int) -> RandomChoice[str]:
    return RandomChoice(names(n), rng=Random(1))


def _weighted(n: int) -> RandomChoice[str]:
    return RandomChoice(weights(n), rng=Random(1))


def _ahead(make: Callable[[int], Any], n: int) -> tuple[Run, Run]:
    """Take picks in blocks, and one by one after they are equal and every period is learned."""
    lb, other = make(n), make(n)
    for _ in range(2):
        places = {backend: place for place, backend in enumerate(lb.weights)}
        picked = lb.picks_ahead(2 * BLOCK).tolist()
        assert picked == [places[other.pick()] for _ in range(2 * BLOCK)]

    def loop() -> None:
        for _ in repeat(None, BLOCK):
            other.pick()

    return repeated(partial(lb.picks_ahead, BLOCK)), repeated(loop)


def _compared(n: int, backends: Any, load: bool) -> tuple[Run, Run]:
    """Pick with a third of the backends busy, against the usual two choices in the same state."""
    arguments: dict[str, Any] = {"load": InFlight[str]()} if load else {"choices": 3}
    ours = PowerOfTwoChoices(backends, rng=Random(1), **arguments)
    usual = PowerOfTwoChoices(backends, rng=Random(1))
    busy = names(n)[::3]
    for lb in (ours, usual):
        for backend in busy:
            lb.started(backend)
        picked = Counter(lb.pick() for _ in range(SETTLED))
        assert sum(picked[backend] for backend in busy) < SETTLED / 4, "all of a sample are busy"
    return repeated(ours.pick), repeated(usual.pick)
