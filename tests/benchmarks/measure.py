"""Interleaved timing of two operations: both in every round, and the median of the ratios."""

import gc
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from statistics import median
from time import process_time_ns

__all__ = [
    "Clock",
    "Effort",
    "Measured",
    "Run",
    "measure",
    "repeated",
    "without_garbage_collection",
]

Run = Callable[[int], object]
"""Runs an operation the given number of times."""
Clock = Callable[[], int]
"""Nanoseconds of processor time, so that other programs do not count."""


@dataclass(frozen=True)
class Effort:
    """The number of rounds, and the target duration of a round in nanoseconds."""

    rounds: int
    budget: int


@dataclass(frozen=True)
class Measured:
    """Nanoseconds per operation of ours and of the other one, and the median ratio."""

    ours: float
    other: float
    ratio: float


def repeated(operation: Callable[[], object]) -> Run:
    """Return a run that calls an operation without arguments in the cheapest loop."""

    def run(times: int) -> None:
        for _ in repeat(None, times):
            operation()

    return run


def measure(ours: Run, other: Run, effort: Effort, clock: Clock = process_time_ns) -> Measured:
    """Time both operations in every round, alternating which one is first."""
    runs = [(run, _times(run, effort.budget, clock)) for run in (ours, other)]
    took: tuple[list[float], list[float]] = ([], [])
    with without_garbage_collection():
        for number in range(effort.rounds):
            for which in (number % 2, 1 - number % 2):
                run, times = runs[which]
                started = clock()
                run(times)
                took[which].append((clock() - started) / times)
    ratios = [mine / theirs for mine, theirs in zip(*took, strict=True)]
    return Measured(median(took[0]), median(took[1]), median(ratios))


def _times(run: Run, budget: int, clock: Clock) -> int:
    """Return how many times an operation fits the budget, at least 1."""
    times = 1
    while True:
        started = clock()
        run(times)
        took = clock() - started
        if 4 * took >= budget:
            return max(1, times * budget // took)
        times *= 4


@contextmanager
def without_garbage_collection() -> Generator[None]:
    """Collect garbage now, and disable collection until the end of the block."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
