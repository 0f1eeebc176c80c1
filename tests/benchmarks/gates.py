"""Rows of the gates alone."""

from collections.abc import Iterator
from random import Random

from balancers import ActiveChecks, Pool, RoundRobin
from tests.benchmarks.floors import attribute
from tests.benchmarks.measure import Run
from tests.benchmarks.row import Row

__all__ = ["rows"]

TICK = 0.01
"""Seconds between two looks at the schedule."""


def rows() -> Iterator[Row]:
    """Give every row of this file."""
    yield Row("ActiveChecks, a probe and its answer", 10_000, "U", 100, _probes)


def _probes() -> tuple[Run, Run]:
    checks: ActiveChecks[int] = ActiveChecks(rng=Random(1))
    pool = Pool(RoundRobin(range(10_000)), [checks])
    now = 0.0

    def run(times: int) -> None:
        nonlocal now
        sent = 0
        while sent < times:
            now += TICK
            for probe in checks.probes(now):
                checks.answer(probe, True, now)
                sent += 1

    run(30_000)
    assert now > TICK * 1000, "each backend once an interval, and no oftener"
    assert all(pool.admits(backend) for backend in (0, 9_999))
    return run, attribute()
