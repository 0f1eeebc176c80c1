"""Rows for failure detectors."""

from collections.abc import Iterator
from functools import partial
from random import Random

from balancers.redundancy import FailureDetector, PhiDetector, TimeoutDetector
from tests.benchmarks.floors import attribute
from tests.benchmarks.measure import Run
from tests.benchmarks.row import Row

__all__ = ["rows"]


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    for n in (2, 10, 100):
        yield Row("PhiDetector.heartbeat", n, "U", 20, partial(_heartbeat, PhiDetector(), n))
        detector: FailureDetector[int] = TimeoutDetector(timeout=4.0)
        yield Row("TimeoutDetector.heartbeat", n, "U", 20, partial(_heartbeat, detector, n))


def _heartbeat(detector: FailureDetector[int], n: int) -> tuple[Run, Run]:
    """Each member sends a heartbeat each second, with so much jitter that phi computes a root."""
    rng = Random(1)
    paces = [rng.uniform(0.6, 1.4) for _ in range(1000)]
    events = [(member, pace / n) for pace in paces for member in range(n)]
    for member in range(n):
        detector.add(member, now=0.0)
    heartbeat, now, begin = detector.heartbeat, 0.0, 0

    def run(times: int) -> None:
        nonlocal now, begin
        while times:
            some = events[begin : begin + times]
            for member, step in some:
                now += step
                heartbeat(member, now)
            times -= len(some)
            begin = (begin + len(some)) % len(events)

    run(1500 * n)
    assert detector.tick(now) == ()
    assert len(detector.alive) == n
    return run, attribute()
