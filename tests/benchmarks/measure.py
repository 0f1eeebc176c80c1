"""Interleaved timing: the same rounds for both, and medians of per-round ratios."""

import gc
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from statistics import median
from time import perf_counter_ns

__all__ = ["Clock", "Effort", "Measured", "Run", "measure", "repeated", "uncollected"]

Run = Callable[[int], object]
"""Does an operation so many times."""
Clock = Callable[[], int]
"""Nanoseconds."""


@dataclass(frozen=True)
class Effort:
    """How many rounds, and how many nanoseconds a round should take."""

    rounds: int
    budget: int


@dataclass(frozen=True)
class Measured:
    """Nanoseconds an operation, ours and the other's, and ours in units of the other's."""

    ours: float
    other: float
    ratio: float


def repeated(operation: Callable[[], object]) -> Run:
    """Run an operation without arguments in the cheapest loop there is."""

    def run(times: int) -> None:
        for _ in repeat(None, times):
            operation()

    return run


def measure(ours: Run, other: Run, effort: Effort, clock: Clock = perf_counter_ns) -> Measured:
    """Time both in every round, now one first and now the other."""
    runs = [(run, _times(run, effort.budget, clock)) for run in (ours, other)]
    took: tuple[list[float], list[float]] = ([], [])
    with uncollected():
        for number in range(effort.rounds):
            for which in (number % 2, 1 - number % 2):
                run, times = runs[which]
                begun = clock()
                run(times)
                took[which].append((clock() - begun) / times)
    ratios = [mine / its for mine, its in zip(*took, strict=True)]
    return Measured(median(took[0]), median(took[1]), median(ratios))


def _times(run: Run, budget: int, clock: Clock) -> int:
    """Say how often it fits the budget: once at least."""
    times = 1
    while True:
        begun = clock()
        run(times)
        took = clock() - begun
        if 4 * took >= budget:
            return max(1, times * budget // took)
        times *= 4


@contextmanager
def uncollected() -> Generator[None]:
    """Collect garbage now, and not until the end of the block."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
