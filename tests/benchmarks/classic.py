"""Rows for the algorithms that pick without a key."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice
from random import Random
from typing import Any

from balancers import (
    Balancer,
    HashRing,
    IPHash,
    LeastConnections,
    PowerOfTwoChoices,
    RandomChoice,
    RoundRobin,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from tests.benchmarks.floors import attribute, names, weights
from tests.benchmarks.measure import Run, repeated
from tests.benchmarks.row import SIZES, Row
from tests.references import NaiveWeightedRoundRobin

__all__ = ["rows"]

Make = Callable[[int], Balancer[str]]
CLIENT = "192.0.2.7"
SETTLED = 30_000
"""After this number of picks, every pre-sampled block has its full size."""


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    for n, most in ((3, 33), (10, 30)):
        yield Row("LeastConnections, a request, crowded", n, "U", most, partial(_crowded, n))
    for n in SIZES:
        large = n == SIZES[-1]
        yield Row("RoundRobin.pick", n, "U", 2.4, partial(_round_robin, n))
        yield Row("WeightedRoundRobin.pick, replaying", n, "U", 2.3, partial(_replay, n))
        yield Row(
            "WeightedRoundRobin.pick, not replaying", n, "U", 200 if large else 60,
            partial(_scan, n),
        )  # fmt: skip
        for name, reach, make in (
            ("RandomChoice.pick, uniform", 3.8 if large else 3.1, _uniform),
            ("RandomChoice.pick, weighted", 4.6 if large else 3.7, _weighted),
            ("PowerOfTwoChoices.pick, uniform", 10 if large else 5.2, _two_uniform),
            ("PowerOfTwoChoices.pick, weighted", 20 if large else 13, _two_weighted),
        ):
            yield Row(name, n, "U", reach, partial(_sampled, make, n))
        for loaded in (False, True):
            state = "loaded" if loaded else "idle"
            yield Row(
                f"LeastConnections, a request, {state}", n, "U", 40 if large else 30,
                partial(_requests, _least, n, loaded),
            )  # fmt: skip
            reach = (190 if large else 130) if loaded else (130 if large else 105)
            yield Row(
                f"WeightedLeastConnections, a request, {state}", n, "U", reach,
                partial(_requests, _weighted_least, n, loaded),
            )  # fmt: skip
        for kind, flipped in FLIP_BALANCERS.items():
            reach = 620 if large else 420 if kind.startswith("PowerOfTwo") else 250
            yield Row(
                f"{kind}, a flip and a pick", n, "U", reach,
                partial(_flips, flipped, n),
            )  # fmt: skip


def _uniform(n: int) -> Balancer[str]:
    return RandomChoice(names(n), rng=Random(1))


def _weighted(n: int) -> Balancer[str]:
    return RandomChoice(weights(n), rng=Random(1))


def _two_uniform(n: int) -> Balancer[str]:
    return PowerOfTwoChoices(names(n), rng=Random(1))


def _two_weighted(n: int) -> Balancer[str]:
    return PowerOfTwoChoices(weights(n), rng=Random(1))


def _least(n: int) -> Balancer[str]:
    return LeastConnections(names(n))


def _weighted_least(n: int) -> Balancer[str]:
    return WeightedLeastConnections(weights(n))


FLIP_BALANCERS: dict[str, Make] = {
    "RoundRobin": lambda n: RoundRobin(names(n)),
    "WeightedRoundRobin": lambda n: WeightedRoundRobin(weights(n)),
    "RandomChoice": _weighted,
    "LeastConnections": _least,
    "WeightedLeastConnections": _weighted_least,
    "PowerOfTwoChoices": _two_weighted,
    "IPHash": lambda n: IPHash(names(n)),
    "HashRing": lambda n: HashRing(names(n)),
}


def _round_robin(n: int) -> tuple[Run, Run]:
    lb = RoundRobin(names(n))
    assert [lb.pick() for _ in range(3 * n)] == names(n) * 3
    return repeated(lb.pick), attribute()


def _replay(n: int) -> tuple[Run, Run]:
    lb, plain = WeightedRoundRobin(weights(n)), NaiveWeightedRoundRobin()
    for backend, weight in weights(n).items():
        plain.put(backend, weight)
    for _ in range(min(200, 20_000 // n)):
        assert lb.pick() == plain.pick()
    period = int(sum(weights(n).values()))
    for _ in range(2 * period):
        lb.pick()
    assert Counter(lb.pick() for _ in range(period)) == weights(n)
    return repeated(lb.pick), attribute()


def _scan(n: int) -> tuple[Run, Run]:
    """Use weights whose period is too long to be replayed."""
    uneven = {backend: 1_000_003 + 7919 * i for i, backend in enumerate(names(n))}
    lb, plain = WeightedRoundRobin(uneven), NaiveWeightedRoundRobin()
    for backend, weight in uneven.items():
        plain.put(backend, weight)
    for _ in range(min(200, 20_000 // n)):
        assert lb.pick() == plain.pick()
    return repeated(lb.pick), attribute()


def _sampled(make: Make, n: int) -> tuple[Run, Run]:
    lb = make(n)
    counts = Counter(lb.pick() for _ in range(SETTLED))
    assert counts.keys() <= lb.weights.keys()
    total = sum(lb.weights.values())
    expected = sum(1 - (1 - weight / total) ** SETTLED for weight in lb.weights.values())
    assert abs(len(counts) - expected) <= expected / 50, "about 8 standard errors at 10 000"
    return repeated(lb.pick), attribute()


def _requests(make: Make, n: int, loaded: bool) -> tuple[Run, Run]:
    """Time pick, start and end of a request; if loaded, the oldest of three per backend ends."""
    lb = make(n)
    pick, started, finished = lb.pick, lb.started, lb.finished
    in_flight: deque[str] = deque()
    for _ in range(3 * n if loaded else 0):
        in_flight.append(pick())
        started(in_flight[-1])
    counts = Counter(in_flight)
    for backend in in_flight:
        share = lb.weights[backend] / sum(lb.weights.values()) if lb.fractional else 1
        expected = len(in_flight) * share if lb.fractional else 3
        assert abs(counts[backend] - expected) <= 1 + expected / 2, (backend, counts[backend])

    def request() -> None:
        backend = pick()
        started(backend)
        finished(backend)

    def request_under_load() -> None:
        backend = pick()
        started(backend)
        in_flight.append(backend)
        finished(in_flight.popleft())

    return repeated(request_under_load if loaded else request), attribute()


def _crowded(n: int) -> tuple[Run, Run]:
    """Time requests that end in random order, with a hundred in flight per backend."""
    lb, rng = LeastConnections(names(n)), Random(1)
    ends = [rng.randrange(100 * n) for _ in range(5000)]
    in_flight = list[str]()
    for _ in range(100 * n):
        in_flight.append(lb.pick())
        lb.started(in_flight[-1])
    assert set(Counter(in_flight).values()) == {100}
    pick, started, finished, end = lb.pick, lb.started, lb.finished, cycle(ends)

    def run(times: int) -> None:
        for place in islice(end, times):
            backend = pick()
            started(backend)
            finished(in_flight[place])
            in_flight[place] = backend

    return run, attribute()


def _flips(make: Make, n: int) -> tuple[Run, Run]:
    """Close half of the backends one by one, then open them; one pick after each flip."""
    lb = make(n)
    full: dict[str, float] = dict(lb.weights)
    for _ in range(3000):
        lb.pick(CLIENT)
    half = cycle(list(full)[: max(1, len(full) // 2)])
    closed: set[str] = set()
    pick, put = lb.pick, lb.put

    def flip() -> Any:
        backend = next(half)
        if backend in closed:
            closed.discard(backend)
            put(backend, full[backend])
        else:
            closed.add(backend)
            put(backend, 0)
        return pick(CLIENT)

    assert all(flip() not in closed for _ in islice(cycle([0]), 100))
    return repeated(flip), attribute()
