"""Rows for failure detectors."""

from collections.abc import Callable, Iterator
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
        yield Row("PhiDetector.heartbeat", n, "U", 20, partial(_heartbeat, PhiDetector, n))
        yield Row("TimeoutDetector.heartbeat", n, "U", 20, partial(_heartbeat, _timeout, n))
    numbered = partial(_heartbeat, PhiDetector, 10, numbered=True)
    yield Row("PhiDetector.heartbeat, with numbers", 10, "U", 20, numbered)
    wide = partial(_heartbeat, partial(PhiDetector, window=1_000_000), 2)
    yield Row("PhiDetector.heartbeat, window not full", 2, "U", 20, wide)


def _timeout() -> FailureDetector[int]:
    return TimeoutDetector(timeout=4.0)


def _heartbeat(
    create: Callable[[], FailureDetector[int]], n: int, *, numbered: bool = False
) -> tuple[Run, Run]:
    """Each member sends a heartbeat each second, with so much jitter that phi computes a root."""
    rng, detector = Random(1), create()
    paces = [rng.uniform(0.6, 1.4) for _ in range(1000)]
    events = [(member, pace / n) for pace in paces for member in range(n)]
    for member in range(n):
        detector.add(member, now=0.0)
    heartbeat, now, begin, number = detector.heartbeat, 0.0, 0, 0

    def run(times: int) -> None:
        nonlocal now, begin, number
        while times:
            some = events[begin : begin + times]
            if numbered:
                for member, step in some:
                    now += step
                    number += 1
                    heartbeat(member, now, 1_700_000_000, number)
            else:
                for member, step in some:
                    now += step
                    heartbeat(member, now)
            times -= len(some)
            begin = (begin + len(some)) % len(events)

    run(1500 * n)
    assert detector.tick(now) == ()
    assert len(detector.alive) == n
    return run, attribute()
