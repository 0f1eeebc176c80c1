"""A new backend, and backends that were slow for a time, with loads by duration.

Each backend serves any number of requests at once.  Each request takes the same time, give or take
a fifth, or a time with an exponential distribution.  Requests arrive at random, 40 per second.  A
new backend joins four old ones after a minute.
"""

from collections.abc import Iterator
from functools import partial
from itertools import product
from random import Random
from typing import Protocol

from balancers import Pool, PowerOfTwoChoices, SlowStart
from balancers.algorithms import LeastLoaded
from balancers.loads import PeakEwma
from tests.scenarios.scenario import Row
from tests.scenarios.servers import Answer, Served, Server, run

__all__ = ["NAME", "WHAT", "rows"]

NAME = "latency"
WHAT = "A new backend gets no flood of requests, and a backend that was slow gets requests again."
OLD = ["a", "b", "c", "d"]
SEEDS = (1, 2, 3)
JOINS, WINDOW, LATER = 60.0, 2.0, 30.0
SLOW, FAST = 10.0, 1.0
RAMP = 10.0


class Make(Protocol):
    """Makes a balancer of the old backends."""

    __name__: str

    def __call__(self, seed: int) -> PowerOfTwoChoices[str] | LeastLoaded[str]: ...


def two_choices(seed: int) -> PowerOfTwoChoices[str]:
    return PowerOfTwoChoices(OLD, rng=Random(seed), load=PeakEwma())


def least_loaded(seed: int) -> LeastLoaded[str]:
    del seed
    return LeastLoaded(OLD, load=PeakEwma())


def about(mean: float) -> Server:
    """Return servers that take ``mean`` seconds, give or take a fifth."""

    def server(backend: str, now: float, rng: Random) -> Answer:
        del backend, now
        return Answer(mean * rng.uniform(0.8, 1.2), waits=False)

    return server


def exponential(mean: float) -> Server:
    """Return servers that take ``mean`` seconds on average, with an exponential distribution."""

    def server(backend: str, now: float, rng: Random) -> Answer:
        del backend, now
        return Answer(rng.expovariate(1 / mean), waits=False)

    return server


def was_slow(slow: frozenset[str], backend: str, now: float, rng: Random) -> Answer:
    """Take ten seconds on slow backends for the first minute, and one second from then on."""
    del rng
    return Answer(SLOW if backend in slow and now < JOINS else FAST, waits=False)


def share(served: list[Served], backend: str, begin: float, end: float) -> float:
    """Return a backend's share of the requests that began in this time."""
    picked = [each.backend for each in served if begin <= each.began < end]
    return picked.count(backend) / len(picked)


def newcomer(make: Make, server: Server, ramp: float | None = None) -> tuple[float, float]:
    """Return the highest share of a new backend, and the least later share of any backend.

    ``ramp`` is the window of a slow start, in seconds.
    """
    first: list[float] = []
    later: list[float] = []
    for seed in SEEDS:
        end = JOINS + WINDOW + LATER
        pool = Pool(make(seed), [] if ramp is None else [SlowStart[str](ramp)])
        served = run(pool, server, rate=40.0, seconds=end, seed=seed, joins=("new", JOINS))
        first.append(share(served, "new", JOINS, JOINS + WINDOW))
        later += [share(served, backend, JOINS + WINDOW, end) for backend in (*OLD, "new")]
    return max(first), min(later) * (len(OLD) + 1)


def average(make: Make, slow: frozenset[str]) -> float:
    """Return the highest average of a backend thirty seconds after its last slow answer."""
    lb = make(1)
    end = JOINS + SLOW + LATER
    run(Pool(lb), partial(was_slow, slow), rate=40.0, seconds=end, seed=1)
    return max(lb.load_of(backend, end) for backend in OLD) / FAST


def rows() -> Iterator[Row]:
    """Simulate, and yield the figures."""
    makes: tuple[Make, ...] = (two_choices, least_loaded)
    servers = {f"{mean:g} s": about(mean) for mean in (1.0, 0.2, 0.05)}
    servers |= {f"{mean:g} s exponential": exponential(mean) for mean in (1.0, 0.2)}
    cases: list[tuple[str, Server, float | None]]
    cases = [(name, server, None) for name, server in servers.items()]
    cases.append(("1 s exponential, slow start", exponential(1.0), RAMP))
    for make, (durations, server, ramp) in product(makes, cases):
        name = f"{make.__name__.replace('_', ' ')}, {durations}"
        first, later = newcomer(make, server, ramp)
        yield Row(f"{name}: share of a new backend in its first 2 s", first, 0.3)
        yield Row(
            f"{name}: least of five shares in the 30 s after, × fair", later, 0.5, at_most=False
        )
    for make in makes:
        name = make.__name__.replace("_", " ")
        found = average(make, frozenset(OLD))
        yield Row(f"{name}: average 30 s after all were slow, × duration", found, 1.05)
        found = average(make, frozenset("a"))
        yield Row(f"{name}: average 30 s after one was slow, × duration", found, 1.05)
