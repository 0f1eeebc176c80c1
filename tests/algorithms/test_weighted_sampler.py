"""What is drawn is drawn by weight: shares and pairs against their probabilities.

Seeds are fixed; a count may be 4.5 standard deviations off: by chance one in 150 000 is more.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import permutations
from math import prod, sqrt
from random import Random
from typing import Any, NoReturn

import pytest

from balancers import PowerOfTwoChoices, RandomChoice
from balancers.loads import InFlight

DEVIATIONS = 4.5
WEIGHTS = {"a": 5, "b": 3, "c": 1, "d": 0.5, "e": 0}
DRAWS = 30_000


def assert_drawn(counts: Mapping[Any, int], chances: Mapping[Any, float]) -> None:
    """Each count is what its probability says, and nothing else was drawn."""
    total = sum(counts.values())
    assert set(counts) <= set(chances)
    for what, chance in chances.items():
        spread = sqrt(total * chance * (1 - chance))
        assert abs(counts.get(what, 0) - total * chance) <= DEVIATIONS * spread, what


def by_weight(weights: Mapping[Any, float]) -> dict[Any, float]:
    return {b: weight / sum(weights.values()) for b, weight in weights.items() if weight}


def orders(weights: Mapping[str, float], size: int) -> dict[Any, float]:
    """The chance of each order of ``size``, each next one drawn by weight among the rest."""
    chances: dict[Any, float] = {}
    for order in permutations([b for b, weight in weights.items() if weight], size):
        left = [sum(weights.values()) - sum(weights[b] for b in order[:i]) for i in range(size)]
        chances[order] = prod(weights[b] / rest for b, rest in zip(order, left, strict=True))
    return chances


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_equal_weights_are_drawn_alike(n: int) -> None:
    lb = RandomChoice(range(n), rng=Random(n))
    assert_drawn(Counter(lb.pick() for _ in range(DRAWS)), dict.fromkeys(range(n), 1 / n))


def test_random_choice_is_proportional_to_weight() -> None:
    lb = RandomChoice(WEIGHTS, rng=Random(1))
    assert_drawn(Counter(lb.pick() for _ in range(DRAWS)), by_weight(WEIGHTS))
    assert_drawn(
        Counter(lb.pick(avoid=["a", "c"]) for _ in range(DRAWS // 5)), by_weight({"b": 3, "d": 0.5})
    )


def test_random_choice_follows_its_weights_between_flips() -> None:
    """A change before every pick: what was drawn ahead is never served late."""
    lb, seen = RandomChoice(WEIGHTS, rng=Random(2)), [Counter[str](), Counter[str]()]
    for turn in range(DRAWS // 2):
        lb.put("a", 0 if turn % 2 else 5)
        seen[turn % 2][lb.pick()] += 1
    assert_drawn(seen[0], by_weight(WEIGHTS))
    assert_drawn(seen[1], by_weight(WEIGHTS | {"a": 0}))


def test_two_choices_are_drawn_by_weight_among_the_rest() -> None:
    lb = PowerOfTwoChoices(WEIGHTS, rng=Random(3))
    pairs: Counter[Any] = Counter()
    while sum(pairs.values()) < DRAWS:
        lap = [candidate.backend for candidate in lb._next_lap()]
        pairs.update(zip(lap[::2], lap[1::2], strict=True))
    assert_drawn(pairs, orders(WEIGHTS, 2))


@pytest.mark.parametrize("avoid", [[], ["b"]])
def test_three_choices_are_drawn_by_weight_among_the_rest(avoid: list[str]) -> None:
    lb = PowerOfTwoChoices(WEIGHTS, rng=Random(4), choices=3)
    groups: Counter[Any] = Counter()
    for _ in range(DRAWS // 4):
        groups[tuple(candidate.backend for candidate in lb._group_but(avoid))] += 1
    left = {backend: weight for backend, weight in WEIGHTS.items() if backend not in avoid}
    assert_drawn(groups, orders(left, 3))


@pytest.mark.parametrize("load", [None, InFlight[str]()])
def test_idle_choices_go_to_the_first_drawn(load: InFlight[str] | None) -> None:
    """Ties go to the first drawn, so an idle pool is served by weight."""
    lb = PowerOfTwoChoices(WEIGHTS, rng=Random(5), load=load)
    assert_drawn(Counter(lb.pick() for _ in range(DRAWS)), by_weight(WEIGHTS))


def test_any_load_decides_and_hears_what_happens() -> None:
    heard: list[tuple[object, ...]] = []

    class Reported(InFlight[str]):
        def value(self, backend: str, now: float) -> float:
            heard.append(("value", now))
            return {"a": 10.0, "b": 4.0, "c": 3.0}[backend]

        def removed(self, backend: str) -> None:
            heard.append(("removed", backend))

    lb = PowerOfTwoChoices({"a": 1, "b": 2, "c": 1}, rng=Random(6), choices=3, load=Reported())
    assert {lb.pick(now=7.0) for _ in range(50)} == {"b"}  # 4/2 against 10 and 3
    assert set(heard) == {("value", 7.0)}
    lb.discard("b")
    assert heard[-1] == ("removed", "b")
    assert {lb.pick() for _ in range(50)} == {"c"}


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
