"""Cost without a clock: hashes, comparisons and executed lines with 10 and with 1000 backends.

The bounds follow the docstrings: O(1) may not grow, O(log n) may grow by log 1000 / log 10 = 3.
"""

from collections.abc import Callable, Iterator
from itertools import cycle, islice
from random import Random
from typing import Any

import pytest

from balancers import (
    Balancer,
    ConnectionLimit,
    Drain,
    Gate,
    HashRing,
    HealthChecks,
    IPHash,
    LeastConnections,
    NoBackendAvailable,
    Pool,
    PowerOfTwoChoices,
    RandomChoice,
    RoundRobin,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from tests.work import Counted, Work, work_of

CONSTANT, LOGARITHMIC = 1.25, 3.0
SLACK = 6.0
"""Lines, hashes or comparisons per operation that do not count as growth."""
ADDRESSES = [f"10.{i >> 8}.{i & 255}.7" for i in range(5000)]

Backends = dict[Counted, float]


def named(backend: Counted) -> str:
    return backend.name


MAKERS: dict[str, tuple[Callable[[Backends], Balancer[Counted]], float]] = {
    "RoundRobin": (RoundRobin, CONSTANT),
    "WeightedRoundRobin": (WeightedRoundRobin, CONSTANT),
    "RandomChoice": (lambda backends: RandomChoice(backends, rng=Random(1)), LOGARITHMIC),
    "LeastConnections": (LeastConnections, CONSTANT),
    "WeightedLeastConnections": (WeightedLeastConnections, LOGARITHMIC),
    "PowerOfTwoChoices": (lambda backends: PowerOfTwoChoices(backends, rng=Random(1)), LOGARITHMIC),
    "three choices": (
        lambda backends: PowerOfTwoChoices(backends, rng=Random(1), choices=3),
        LOGARITHMIC,
    ),
    "IPHash": (lambda backends: IPHash(backends, identity=named), CONSTANT),
    "IPHash over HashRing": (
        lambda backends: IPHash(backends, over=HashRing(identity=named, points=20)),
        CONSTANT,
    ),
    "HashRing": (lambda backends: HashRing(backends, identity=named, points=20), CONSTANT),
}
"""Each balancer, and how much the cost of a flip and the next picks may grow."""
PICKS = dict.fromkeys(MAKERS, CONSTANT) | {"WeightedLeastConnections": LOGARITHMIC}
"""How much the cost of a pick may grow when weights do not change."""

every_balancer = pytest.mark.parametrize("name", MAKERS)


def backends_of(n: int, *, weighted: bool) -> Backends:
    weights = (1, 2, 3, 5) if weighted else (1,)
    return {Counted(f"b{i:05}"): weights[i % len(weights)] for i in range(n)}


def warmed_up(name: str, n: int, keys: Iterator[str], *, weighted: bool) -> Balancer[Counted]:
    """Return a balancer after enough picks to learn, sample or build everything that it will."""
    lb = MAKERS[name][0](backends_of(n, weighted=weighted))
    for key in islice(keys, 4 * int(sum(lb.weights.values())) + 3000):
        lb.pick(key)
    return lb


def compare(small: Work, large: Work, growth: float, operations: int = 1) -> None:
    for kind in ("hashes", "comparisons", "lines"):
        before, after = getattr(small, kind) / operations, getattr(large, kind) / operations
        assert after <= growth * before + SLACK, (kind, before, after)


@every_balancer
@pytest.mark.parametrize("weighted", [False, True])
def test_picks_without_changes(name: str, weighted: bool) -> None:
    rounds = 500

    def measure(n: int) -> Work:
        keys = cycle(ADDRESSES)
        lb = warmed_up(name, n, keys, weighted=weighted)

        def serve() -> None:
            for key in islice(keys, rounds):
                backend = lb.pick(key)
                lb.started(backend)
                lb.finished(backend)

        return work_of(serve)

    compare(measure(10), measure(1000), PICKS[name], rounds)


def the_same_backend(lb: Balancer[Counted], _keys: Iterator[str]) -> Iterator[Counted]:
    backend = next(iter(lb.weights))
    while True:
        yield backend


def every_backend_in_turn(lb: Balancer[Counted], _keys: Iterator[str]) -> Iterator[Counted]:
    return cycle(list(lb.weights))


def a_random_backend(lb: Balancer[Counted], _keys: Iterator[str]) -> Iterator[Counted]:
    members, rng = list(lb.weights), Random(2)
    while True:
        yield rng.choice(members)


def the_backend_just_picked(lb: Balancer[Counted], keys: Iterator[str]) -> Iterator[Counted]:
    while True:
        yield lb.pick(next(keys))


def in_turn_with_picks_between(lb: Balancer[Counted], keys: Iterator[str]) -> Iterator[Counted]:
    for backend in every_backend_in_turn(lb, keys):
        for key in islice(keys, 8):
            lb.pick(key)
        yield backend


ADVERSARIES = [
    the_same_backend,
    every_backend_in_turn,
    a_random_backend,
    the_backend_just_picked,
    in_turn_with_picks_between,
]


@every_balancer
@pytest.mark.parametrize("adversary", ADVERSARIES, ids=lambda adversary: adversary.__name__)
def test_flips_each_followed_by_a_pick(name: str, adversary: Any) -> None:
    flips = 100

    def measure(n: int) -> Work:
        keys = cycle(ADDRESSES)
        lb = warmed_up(name, n, keys, weighted=True)
        weights = dict(lb.weights)

        def flip() -> None:
            for backend in islice(adversary(lb, keys), flips):
                lb.put(backend, 0)
                lb.pick(next(keys))
                lb.put(backend, weights[backend])
                lb.pick(next(keys))

        return work_of(flip)

    compare(measure(10), measure(1000), MAKERS[name][1], flips)


@every_balancer
def test_closing_and_reopening_many_backends(name: str) -> None:
    """All but one backend close; with IP hash half, as its docstring says "while most are open".

    A ring removes closed points, and adds them again.  With few other points it builds all points
    at once as vectors, which executes fewer lines with 10 backends.
    """
    growth = 2.0 if "HashRing" in name else MAKERS[name][1]
    share = 0.5 if name == "IPHash" else 0.0

    def measure(n: int) -> tuple[Work, int]:
        keys = cycle(ADDRESSES)
        lb = warmed_up(name, n, keys, weighted=True)
        weights = dict(list(lb.weights.items())[max(1, int(n * share)) :])

        def close_and_reopen() -> None:
            for backend in weights:
                lb.put(backend, 0)
                lb.pick(next(keys))
            for backend, weight in weights.items():
                lb.put(backend, weight)
                lb.pick(next(keys))

        return work_of(close_and_reopen), 2 * len(weights)

    small, small_flips = measure(10)
    large, large_flips = measure(1000)
    scaled = Work()
    for kind in ("hashes", "comparisons", "lines"):
        setattr(scaled, kind, getattr(large, kind) * small_flips / large_flips)
    compare(small, scaled, growth, small_flips)


@every_balancer
def test_a_flip_discards_at_most_the_work_of_the_picks_before(name: str) -> None:
    """Enough picks to learn, then one flip, repeated: picks stay cheap on average."""

    def per_pick(n: int) -> float:
        keys = cycle(ADDRESSES)
        lb = warmed_up(name, n, keys, weighted=False)
        backend, picks = next(iter(lb.weights)), 8 * n

        def pick_and_flip() -> None:
            for _ in range(3):
                for key in islice(keys, picks):
                    lb.pick(key)
                lb.put(backend, 1 - lb.weights[backend])

        return work_of(pick_and_flip).lines / (3 * picks)

    assert per_pick(1000) <= MAKERS[name][1] * per_pick(10) + SLACK


@every_balancer
def test_a_refusal_does_not_scan_the_members(name: str) -> None:
    def measure(n: int) -> Work:
        keys = cycle(ADDRESSES)
        lb = warmed_up(name, n, keys, weighted=True)
        for backend in list(lb.weights):
            lb.put(backend, 0)

        def refuse() -> None:
            with pytest.raises(NoBackendAvailable, match="quiesced"):
                lb.pick(next(keys))

        return work_of(refuse)

    compare(measure(10), measure(1000), CONSTANT)


def gates_without_changes() -> list[Gate[Counted]]:
    first: list[Gate[Counted]] = [HealthChecks(), Drain(), ConnectionLimit(100)]
    second: list[Gate[Counted]] = [HealthChecks(), Drain(), ConnectionLimit(100)]
    return first + second


@pytest.mark.parametrize("make", [RoundRobin, LeastConnections])
def test_the_cost_of_a_pool_does_not_depend_on_the_number_of_backends(make: Any) -> None:
    rounds = 200

    def measure(n: int) -> Work:
        pool: Pool[Counted] = Pool(make(backends_of(n, weighted=False)), gates_without_changes())
        for _ in range(2 * n):
            pool.release(pool.acquire(0.0), 0.0)

        def serve() -> None:
            for _ in range(rounds):
                pool.release(pool.acquire(1.0), 2.0)

        return work_of(serve)

    compare(measure(10), measure(1000), CONSTANT, rounds)


def test_the_cost_of_changes_depends_only_on_the_changed_backends() -> None:
    rounds = 100

    def measure(n: int) -> Work:
        health: HealthChecks[Counted] = HealthChecks(1, 1)
        limit: ConnectionLimit[Counted] = ConnectionLimit(1)
        members = backends_of(n, weighted=False)
        pool: Pool[Counted] = Pool(RoundRobin(members), [health, limit])
        for _ in range(2 * n):
            pool.release(pool.acquire(0.0), 0.0)

        def flap() -> None:
            for backend in islice(cycle(members), rounds):
                health.observe(backend, ok=False, now=0.0)
                pool.release(pool.acquire(0.0), 0.0)
                health.observe(backend, ok=True, now=0.0)
                pool.release(pool.acquire(0.0), 0.0)

        return work_of(flap)

    compare(measure(10), measure(1000), CONSTANT, rounds)


def test_the_cost_of_a_refusal_by_a_full_pool_is_constant() -> None:
    def measure(n: int) -> Work:
        members = backends_of(n, weighted=False)
        pool: Pool[Counted] = Pool(RoundRobin(members), [ConnectionLimit(1), HealthChecks()])
        for _ in members:
            pool.acquire(0.0)

        def refuse() -> None:
            with pytest.raises(NoBackendAvailable, match="saturated"):
                pool.acquire(0.0)

        return work_of(refuse)

    compare(measure(10), measure(1000), CONSTANT)
