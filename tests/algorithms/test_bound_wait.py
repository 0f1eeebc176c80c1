"""How long a backend waits for a pick of weighted round robin after bound requests and changes.

The promise: at most 18 times its usual gap, and one pick more for each open backend of a lower
weight.  Without any bound request nothing is promised, because the picks are those of nginx.
"""

from copy import deepcopy
from itertools import count
from random import Random

import pytest

from balancers import WeightedRoundRobin
from tests.depth import runs
from tests.references import NaiveWeightedRoundRobin

Action = tuple[str, int, float]
Lb = WeightedRoundRobin[int]

FAMILIES: list[list[float]] = [
    [1, 100],
    [1, 20, 0.2],
    [100, 1, 1, 1],
    [1, 10, 10, 10, 10],
    [1, 2, 5, 20, 0.1, 0.3],
    [20, *[0.1] * 12],
    [1, 10, *[0.1] * 10],
    [1] * 30,
]
"""Starting weights.  The last has so many members that vectors are used."""


def do(lb: Lb, action: Action) -> None:
    kind, backend, value = action
    if kind == "pick":
        if any(lb.weights.values()):
            lb.pick()
    elif kind == "bind":
        for _ in range(int(value)):
            lb.started(backend, bound=True)
    elif kind == "leave":
        old = lb.weights[backend]
        lb.discard(backend)
        lb.put(backend, old)
    else:
        old = lb.weights[backend]
        lb.put(backend, value)
        if kind == "flash":
            if any(lb.weights.values()):
                lb.pick()
            lb.put(backend, old)


def waits(lb: Lb) -> dict[int, int]:
    """Return after how many picks each open backend is picked; all weights stay as they are."""
    lb, waiting = deepcopy(lb), {b for b, weight in lb.weights.items() if weight}
    found: dict[int, int] = {}
    for number in count(1):
        if len(found) == len(waiting):
            return found
        backend = lb.pick()
        found.setdefault(backend, number)
    raise AssertionError


def longest_wait(lb: Lb) -> float:
    """Return the longest wait, in usual gaps, without the picks of backends of lower weight."""
    total = sum(lb.weights.values())
    lower = {
        b: sum(0 < w < weight for w in lb.weights.values()) for b, weight in lb.weights.items()
    }
    return max(
        ((wait - lower[b]) * lb.weights[b] / total for b, wait in waits(lb).items()), default=0
    )


def random_action(rng: Random, weights: list[float]) -> Action:
    backend = rng.randrange(len(weights))
    kind = rng.choice(["pick", "pick", "bind", "bind", "flash", "flash", "put", "close", "leave"])
    value = {
        "bind": float(rng.choice([1, 5, 40])),
        "flash": rng.choice([0, 0, *weights]),
        "put": rng.choice([weights[backend], *weights]),
        "close": 0,
    }.get(kind, 0)
    return kind, backend, value


def score(weights: list[float], actions: list[Action]) -> float:
    lb: Lb = WeightedRoundRobin(dict(enumerate(weights)))
    for action in actions:
        do(lb, action)
    lb.started(0, bound=True)
    able = [weight for weight in lb.weights.values() if weight]
    was_bound = lb._may_have_debts
    if not was_bound or not able or sum(able) > 20_000 * min(able):
        return 0
    return longest_wait(lb)


@pytest.mark.parametrize("weights", FAMILIES, ids=str)
def test_a_guided_search_finds_no_longer_wait_than_the_promise(weights: list[float]) -> None:
    """Change a sequence of actions at random, and keep what makes the longest wait longer."""
    rng = Random(len(weights))
    for _ in range(2):
        best = [random_action(rng, weights) for _ in range(rng.choice([10, 40]))]
        longest = score(weights, best)
        for _ in range(runs(250)):
            tried = best.copy()
            for _ in range(rng.randint(1, 4)):
                tried[rng.randrange(len(tried))] = random_action(rng, weights)
            if (found := score(weights, tried)) >= longest:
                best, longest = tried, found
            assert longest <= 18, (weights, best)


def test_flips_of_others_between_bound_requests_do_not_add_up() -> None:
    """Each flip lifted the limit once, and the debts of all these rounds were added."""
    for rounds in (1, 3, 30):
        lb = WeightedRoundRobin({"a": 1, "b": 100})
        for _ in range(rounds):
            for _ in range(5):
                lb.started("a", bound=True)
            lb.put("b", 0)
            lb.pick()
            lb.put("b", 100)
        for _ in range(40):
            lb.started("a", bound=True)
        waited = next(number for number in count(1) if lb.pick() == "a")
        assert waited <= 18 * 101


def test_debts_of_many_light_backends_do_not_add_up() -> None:
    lb = WeightedRoundRobin({"a": 1, "b": 100, **{f"light{i}": 0.01 for i in range(10)}})
    for backend in [*lb.weights, "a"]:
        for _ in range(0 if backend == "b" else 50):
            lb.started(backend, bound=True)
    total = sum(lb.weights.values())
    assert next(number for number in count(1) if lb.pick() == "a") <= 18 * total + 10


def test_a_change_of_weight_before_the_first_bound_request_counts_too() -> None:
    lb = WeightedRoundRobin({"a": 1000, "b": 1, "c": 1})
    for _ in range(501):
        lb.pick()
    lb.put("a", 1)
    lb.started("b", bound=True)
    assert longest_wait_of(lb, "abc") <= 18 * 3


def longest_wait_of(lb: WeightedRoundRobin[str], backends: str) -> int:
    picks = [lb.pick() for _ in range(2000)]
    return max(picks.index(backend) + 1 for backend in backends)


@pytest.mark.parametrize("fine", [1, 1 / 3])
def test_many_members_with_fine_weights_charge_like_the_reference(fine: float) -> None:
    """Numbers that need several limbs are limited exactly like small ones."""
    rng = Random(5)
    for _ in range(runs(100)):
        lb, plain = WeightedRoundRobin[str](), NaiveWeightedRoundRobin()
        for index in range(26):
            weight = fine if index < 2 else 1 + index % 5 * rng.choice([1, 1, 9])
            lb.put(f"b{index}", weight)
            plain.put(f"b{index}", weight)
        for _ in range(60):
            backend = f"b{rng.choice([0, 1, 2, rng.randrange(26)])}"
            action = rng.random()
            if action < 0.4:
                for _ in range(rng.choice([1, 5, 30])):
                    lb.started(backend, bound=True)
                    plain.started(backend, bound=True)
            elif action < 0.6:
                weight = rng.choice([0, 0, fine, 3, 40])
                lb.put(backend, weight)
                plain.put(backend, weight)
            elif any(lb.weights.values()):
                assert lb.pick() == plain.pick()
