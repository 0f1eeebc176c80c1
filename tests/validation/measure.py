"""Simulates a run, and compares its figures with what they must be."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import fmean
from typing import Any

from balancers.simulation import Replications, Simulation, replicate
from balancers.simulation._regression import controlled
from tests.validation.model import Crossing, Figure, Order, Run

__all__ = [
    "ERRORS", "Found", "Results", "crosses", "crossing_of", "holds", "less", "measured", "ordered",
    "tolerance",
]  # fmt: skip

ERRORS = 4
"""A figure may be wrong by this many standard errors."""


@dataclass(frozen=True)
class Found:
    """A measured figure, and its standard error."""

    value: float
    error: float = 0.0
    requests: int = 0
    """The number of requests that were counted, in all replications."""


Results = dict[tuple[str, str], Found]
"""The measured figures, by table and cell."""


def waiting_share(run: Simulation[Any]) -> float:
    """Return the share of requests that waited.  Those that did not took as long as their work."""
    records: Any = run.records
    return float((records["response"] > records["work"]).mean())


Measure = Callable[[Simulation[Any]], float]
MEASURES: dict[str, Measure] = {
    "mean": lambda run: run.response.mean,
    "p50": lambda run: run.response.percentile(50),
    "p99": lambda run: run.response.percentile(99),
    "p99.9": lambda run: run.response.percentile(99.9),
    "waiting share": waiting_share,
    "refused share": lambda run: run.failed / run.requests,
    "tries": lambda run: run.tries / run.requests,
    "utilisation": lambda run: fmean(use.utilisation for use in run.servers.values()),
}
"""Figures of one replication."""


def measured(run: Run) -> list[Found]:
    """Simulate a run with all its seeds, and return its figures in their order."""
    runs = replicate(
        run.make, run.arrivals, run.service, requests=run.requests, seeds=run.seeds, **run.options
    )
    by_interval = any(figure.share == 0 for figure in run.figures)
    assert runs.steady or by_interval, f"{run.name}: {runs.unsteady}"
    counted = sum(each.requests for each in runs.simulations)
    return [found(runs, MEASURES[figure.measure], counted) for figure in run.figures]


def found(runs: Replications, measure: Measure, counted: int) -> Found:
    controls = [list(values) for values in zip(*runs.controls, strict=True)]
    estimate = controlled([measure(each) for each in runs.simulations], controls)
    return Found(estimate.mean, estimate.error, counted)


def tolerance(figure: Figure, found: Found) -> float:
    """Return how much the figure may be wrong, as a share of it."""
    assert figure.expected is not None
    return max(ERRORS * found.error / figure.expected, figure.share)  # NaN if the error is NaN


def holds(figure: Figure, found: Found) -> bool:
    """Whether the figure is what it must be, or no figure is known."""
    if figure.expected is None:
        return True
    return abs(found.value / figure.expected - 1) <= tolerance(figure, found)


def less(low: Found, high: Found, factor: float = 1.0) -> bool:
    """Whether a figure is less than another one, times a factor, by four standard errors."""
    margin = ERRORS * sqrt(low.error**2 + (factor * high.error) ** 2)
    return low.value + margin < factor * high.value


def ordered(order: Order, results: Results) -> bool:
    found = [results[order.table, cell] for cell in order.cells]
    return all(less(low, high, order.factor) for low, high in pairwise(found))


def pair(crossing: Crossing, every: float, results: Results) -> tuple[Found, Found]:
    other = crossing.others.get(every)
    constant = Found(crossing.constant)
    return (
        results["stale", crossing.cells[every]],
        constant if other is None else results["stale", other],
    )


def crosses(crossing: Crossing, results: Results) -> bool:
    (fresh, fresh_other), (old, old_other) = (
        pair(crossing, every, results) for every in crossing.between
    )
    return less(fresh, fresh_other) and less(old_other, old)


def crossing_of(crossing: Crossing, results: Results) -> float:
    """Return where the figures are equal, by linear interpolation; NaN if they never are."""
    low, high = crossing.between
    times = [every for every in crossing.cells if low <= every <= high]
    excess = {
        every: mine.value - other.value
        for every in times
        for mine, other in [pair(crossing, every, results)]
    }
    for before, after in pairwise(times):
        if excess[before] < 0 <= excess[after]:
            slope = (excess[after] - excess[before]) / (after - before)
            return before - excess[before] / slope
    return float("nan")
