"""Cost of the hash methods without a clock: executed lines, and hashes of a key that was hashed."""

from collections.abc import Callable
from math import log
from random import Random
from statistics import fmean
from typing import Any

import pytest

from balancers import HashRing, Maglev, Rendezvous
from balancers.hashing import Anchor, BoundedLoad, HashedBalancer, Jump, Memento, MultiProbe
from balancers.hashing.anchor import resettle
from balancers.hashing.jump import jump
from tests.work import work_of

CONSTANT, LOGARITHMIC = 1.25, 3.0
"""How much the lines per pick may grow from 10 backends to 1000; log 1000 / log 10 is 3."""
SLACK = 2.0
METHODS: dict[str, tuple[Callable[[Any], HashedBalancer[Any]], float]] = {
    "HashRing": (HashRing, CONSTANT),
    "Maglev": (Maglev, CONSTANT),
    "MultiProbe": (MultiProbe, CONSTANT),
    "Jump": (Jump, LOGARITHMIC),
    "Memento": (Memento, LOGARITHMIC),
    "Anchor": (lambda backends: Anchor(backends, capacity=2 * len(backends)), CONSTANT),
    "Rendezvous": (Rendezvous, CONSTANT),  # the loop over the members is one vector operation
}
DIGESTS = [*map(Random(1).getrandbits, [64] * 400)]

every_method = pytest.mark.parametrize("name", METHODS)


def lines_per(call: Callable[[int], object]) -> float:
    def each() -> None:
        for digest in DIGESTS:
            call(digest)

    each()
    return work_of(each).lines / len(DIGESTS)


@every_method
def test_a_pick_costs_what_the_page_says(name: str) -> None:
    make, growth = METHODS[name]
    small, large = (lines_per(make(range(n)).pick_hashed) for n in (10, 1000))
    assert large <= growth * small + SLACK


@every_method
def test_a_flip_costs_what_the_page_says(name: str) -> None:
    make, growth = METHODS[name]

    def measure(n: int) -> float:
        lb = make(range(n))

        def flip(digest: int) -> None:
            backend = lb.pick_hashed(digest)
            lb.put(backend, 0)
            lb.pick_hashed(digest)
            lb.put(backend, 1)

        return lines_per(flip)

    small, large = measure(10), measure(1000)
    assert large <= growth * small + 10 * SLACK


def test_a_bounded_pick_adds_one_step_per_full_backend() -> None:
    lb = BoundedLoad(Jump(range(100)), c=1)

    def lines() -> float:
        return work_of(lambda: [lb.pick_hashed(digest) for digest in DIGESTS]).lines / len(DIGESTS)

    idle = lines()
    for backend in range(50):
        lb.started(backend)
    half_full = lines()
    assert idle < half_full <= 3 * idle  # half of the picks are passed on, on average once


def test_jump_does_the_stated_number_of_jumps() -> None:
    """1 + 1/2 + … + 1/n: 7.5 for a thousand members."""
    jumps = fmean(len({jump(digest, n) for n in range(1, 1001)}) for digest in DIGESTS[:150])
    assert jumps == pytest.approx(7.5, abs=0.6)


class CountedSteps(int):
    """A hash that counts how often it is hashed again: each time it is multiplied."""

    total = 0

    def __mul__(self, other: int) -> "CountedSteps":
        CountedSteps.total += 1
        return CountedSteps(int(self) * other)

    def __and__(self, other: int) -> "CountedSteps":
        return CountedSteps(int(self) & other)


def hashed_again(bucket_of: Callable[[int], int], remaining: Any, replacement: Any) -> float:
    """Return how often ``resettle`` hashes a key again, on average."""
    CountedSteps.total = 0
    for digest in DIGESTS:
        resettle(CountedSteps(digest), bucket_of(digest), remaining, replacement)
    return CountedSteps.total / len(DIGESTS)


@pytest.mark.parametrize("capacity", [101, 200, 400, 1000])
def test_anchor_hashes_a_key_as_often_as_the_page_says(capacity: int) -> None:
    """At most 1 + ln(capacity / members) times, the first hash included."""
    lb = Anchor(range(100), capacity=capacity)
    again = hashed_again(lambda digest: digest % capacity, lb._remaining, lb._replacement)
    assert 0 <= again <= log(capacity / 100) + 0.15


@pytest.mark.parametrize("left", [200, 500])
def test_memento_hashes_a_key_as_often_as_the_page_says(left: int) -> None:
    """ln(buckets / members) times more than jump."""
    lb = Memento(range(1000))
    for backend in Random(2).sample(range(999), 1000 - left):
        lb.discard(backend)
    again = hashed_again(lambda digest: jump(digest, 1000), lb._remaining, lb._remaining)
    assert again == pytest.approx(log(1000 / left), rel=0.2)
