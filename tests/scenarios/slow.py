"""One of ten backends is ten times slower than the others, or fails at once.

Each backend serves one request after the other, in 20 ms on average (exponential), and requests
wait for it.  They arrive at random, as many as keep ten equal backends busy for 60 % of the time.
"""

from collections.abc import Iterator
from random import Random

from balancers import Pool, PowerOfTwoChoices
from balancers.algorithms import LeastLoaded
from balancers.load import Load
from balancers.loads import PeakEwma
from tests.scenarios.scenario import Row
from tests.scenarios.servers import Answer, Served, Server, run

__all__ = ["NAME", "WHAT", "rows"]

NAME = "slow"
WHAT = "One of ten backends that is ten times slower, or that fails in 1 ms, gets few requests."
BACKENDS = [f"10.0.0.{number}:80" for number in range(10)]
ODD = BACKENDS[0]
MEAN, LOAD, SECONDS = 0.02, 0.6, 60.0
SEEDS = (1, 2, 3)


def one_slow(backend: str, now: float, rng: Random) -> Answer:
    """Take ten times longer on one backend."""
    del now
    mean = 10 * MEAN if backend == ODD else MEAN
    return Answer(rng.expovariate(1 / mean))


def one_fails(backend: str, now: float, rng: Random) -> Answer:
    """Fail in a millisecond on one backend."""
    del now
    if backend == ODD:
        return Answer(0.001, ok=False, waits=False)
    return Answer(rng.expovariate(1 / MEAN))


def sent(lb: PowerOfTwoChoices[str] | LeastLoaded[str], server: Server, seed: int) -> list[Served]:
    rate = LOAD * len(BACKENDS) / MEAN
    return run(Pool(lb), server, rate=rate, seconds=SECONDS, seed=seed)


def two_choices(seed: int, load: Load[str] | None) -> PowerOfTwoChoices[str]:
    return PowerOfTwoChoices(BACKENDS, rng=Random(seed), load=load)


def p99(served: list[Served]) -> float:
    """Return the duration that one of a hundred requests exceeds, in seconds."""
    return sorted(each.ended - each.began for each in served)[len(served) * 99 // 100]


def in_flight(served: list[Served]) -> float:
    """Return how many requests were in flight on the odd backend, on average over time."""
    return sum(each.ended - each.began for each in served if each.backend == ODD) / SECONDS


def rows() -> Iterator[Row]:
    """Simulate, and yield the figures."""
    for seed in SEEDS:
        base = p99(sent(two_choices(seed, None), one_slow, seed))
        found = p99(sent(two_choices(seed, PeakEwma()), one_slow, seed)) / base
        yield Row(
            f"slow, seed {seed}: p99 of two choices over PeakEwma, × by in-flight", found, 0.5
        )
        found = p99(sent(LeastLoaded(BACKENDS, load=PeakEwma()), one_slow, seed)) / base
        yield Row(f"slow, seed {seed}: p99 of LeastLoaded over PeakEwma, × the same", found, 0.5)
    for seed in SEEDS:
        base = in_flight(sent(two_choices(seed, PeakEwma(penalty=0)), one_fails, seed))
        served = sent(two_choices(seed, PeakEwma()), one_fails, seed)
        name = f"fails, seed {seed}: in flight there, × that without a penalty"
        yield Row(name, in_flight(served) / base, 0.1)
        found = sum(each.backend == ODD for each in served) / len(served)
        yield Row(f"fails, seed {seed}: its share of the requests", found, 0.01)
