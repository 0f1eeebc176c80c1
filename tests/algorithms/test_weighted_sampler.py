"""Sampling is by weight: counts of backends, pairs and triples against their probabilities.

Seeds are fixed.  A count may differ by 4.5 standard deviations; one in 150 000 differs by more.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import permutations
from math import prod, sqrt
from random import Random
from typing import Any, NoReturn

import pytest

from balancers import PowerOfTwoChoices, RandomChoice
from balancers.algorithms._alias_table import AliasTable
from balancers.algorithms._weighted_sampler import WeightedSampler
from balancers.loads import InFlight

DEVIATIONS = 4.5
WEIGHTS = {"a": 5, "b": 3, "c": 1, "d": 0.5, "e": 0}
SAMPLES = 30_000


def assert_sampled(counts: Mapping[Any, int], probabilities: Mapping[Any, float]) -> None:
    """Assert that each count agrees with its probability, and that nothing else was sampled."""
    total = sum(counts.values())
    assert set(counts) <= set(probabilities)
    for item, probability in probabilities.items():
        deviation = sqrt(total * probability * (1 - probability))
        assert abs(counts.get(item, 0) - total * probability) <= DEVIATIONS * deviation, item


def by_weight(weights: Mapping[Any, float]) -> dict[Any, float]:
    return {b: weight / sum(weights.values()) for b, weight in weights.items() if weight}


def orders(weights: Mapping[str, float], size: int) -> dict[Any, float]:
    """Return the probability of each order of ``size`` backends, sampled without replacement."""
    probabilities: dict[Any, float] = {}
    for order in permutations([b for b, weight in weights.items() if weight], size):
        rests = [sum(weights.values()) - sum(weights[b] for b in order[:i]) for i in range(size)]
        probabilities[order] = prod(weights[b] / rest for b, rest in zip(order, rests, strict=True))
    return probabilities


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_equal_weights_are_sampled_equally_often(n: int) -> None:
    lb = RandomChoice(range(n), rng=Random(n))
    assert_sampled(Counter(lb.pick() for _ in range(SAMPLES)), dict.fromkeys(range(n), 1 / n))


def test_random_choice_is_proportional_to_weight() -> None:
    lb = RandomChoice(WEIGHTS, rng=Random(1))
    assert_sampled(Counter(lb.pick() for _ in range(SAMPLES)), by_weight(WEIGHTS))
    assert_sampled(
        Counter(lb.pick(avoid=["a", "c"]) for _ in range(SAMPLES // 5)),
        by_weight({"b": 3, "d": 0.5}),
    )


def test_random_choice_follows_its_weights_between_flips() -> None:
    """Weights change before every pick: no pick comes from a block of earlier weights."""
    lb, seen = RandomChoice(WEIGHTS, rng=Random(2)), [Counter[str](), Counter[str]()]
    for turn in range(SAMPLES // 2):
        lb.put("a", 0 if turn % 2 else 5)
        seen[turn % 2][lb.pick()] += 1
    assert_sampled(seen[0], by_weight(WEIGHTS))
    assert_sampled(seen[1], by_weight(WEIGHTS | {"a": 0}))


def test_two_choices_are_sampled_by_weight_without_replacement() -> None:
    lb = PowerOfTwoChoices(WEIGHTS, rng=Random(3))
    pairs: Counter[Any] = Counter()
    while sum(pairs.values()) < SAMPLES:
        block = [candidate.backend for candidate in lb._next_block()]
        pairs.update(zip(block[::2], block[1::2], strict=True))
    assert_sampled(pairs, orders(WEIGHTS, 2))


@pytest.mark.parametrize("avoid", [[], ["b"]])
def test_three_choices_are_sampled_by_weight_without_replacement(avoid: list[str]) -> None:
    lb = PowerOfTwoChoices(WEIGHTS, rng=Random(4), choices=3)
    groups: Counter[Any] = Counter()
    for _ in range(SAMPLES // 4):
        groups[tuple(candidate.backend for candidate in lb._sample_avoiding(avoid))] += 1
    left = {backend: weight for backend, weight in WEIGHTS.items() if backend not in avoid}
    assert_sampled(groups, orders(left, 3))


@pytest.mark.parametrize("load", [None, InFlight[str]()])
def test_a_tie_goes_to_the_choice_sampled_first(load: InFlight[str] | None) -> None:
    """So an idle pool is served by weight."""
    lb = PowerOfTwoChoices(WEIGHTS, rng=Random(5), load=load)
    assert_sampled(Counter(lb.pick() for _ in range(SAMPLES)), by_weight(WEIGHTS))


def test_a_custom_load_decides_and_is_informed() -> None:
    calls: list[tuple[object, ...]] = []

    class Reported(InFlight[str]):
        def value(self, backend: str, now: float) -> float:
            calls.append(("value", now))
            return {"a": 10.0, "b": 4.0, "c": 3.0}[backend]

        def removed(self, backend: str) -> None:
            calls.append(("removed", backend))

    lb = PowerOfTwoChoices({"a": 1, "b": 2, "c": 1}, rng=Random(6), choices=3, load=Reported())
    assert {lb.pick(now=7.0) for _ in range(50)} == {"b"}  # 4/2 against 10 and 3
    assert set(calls) == {("value", 7.0)}
    lb.discard("b")
    assert calls[-1] == ("removed", "b")
    assert {lb.pick() for _ in range(50)} == {"c"}


def test_reprs_show_the_size_and_the_total_weight() -> None:
    sampler = WeightedSampler[str](Random(1))
    sampler.set_weight(sampler.insert("a"), 3)
    sampler.insert("b")
    assert repr(sampler) == "<WeightedSampler: 1 of 2 open>"
    assert repr(sampler._tree) == "<SumTree: total weight 3>"
    assert repr(AliasTable([(0, 3), (1, 1.5)])) == "<AliasTable: 2 items, total weight 4.5>"


def test_only_random_and_randbytes_are_used() -> None:
    class Strict(Random):
        def refuse(self, *arguments: Any, **named: Any) -> NoReturn:
            raise AssertionError("another method of the generator was used")

        getrandbits = choice = choices = sample = shuffle = randrange = refuse
        randint = uniform = triangular = expovariate = gauss = betavariate = refuse

        def randbytes(self, n: int) -> bytes:
            return bytes(int(self.random() * 256) for _ in range(n))

    for lb in (
        RandomChoice(WEIGHTS, rng=Strict(1)),
        PowerOfTwoChoices(WEIGHTS, rng=Strict(1)),
        PowerOfTwoChoices(WEIGHTS, rng=Strict(1), choices=4),
    ):
        for turn in range(300):
            lb.put("c", turn % 3)
            lb.pick(avoid=["a"] if turn % 2 else [])
