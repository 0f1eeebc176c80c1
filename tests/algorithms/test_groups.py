"""Groups of three or more are sampled by weight without replacement: exactly, and through ``pick``.

The exact tests replace the random numbers by every point of a grid that is so fine that each order
has a whole number of points.  Then the counts are the probabilities.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import permutations, product
from math import comb, lcm, perm
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import PowerOfTwoChoices
from balancers.algorithms import _alias_table
from balancers.algorithms._alias_table import AliasTable
from balancers.loads import InFlight
from tests.algorithms.test_weighted_sampler import assert_sampled, by_weight, orders

Group = tuple[Any, ...]


class Grid(Random):
    """Returns given numbers from 0 to below 1, in the format that the table reads."""

    def __init__(self, columns: Iterable[list[Fraction]]) -> None:
        super().__init__()
        self.columns = iter(columns)

    def randbytes(self, n: int) -> bytes:
        column = next(self.columns)
        size = n // len(column)
        unit = {4: 1 << 32, 8: 1 << 53}[size]
        shift = {4: 0, 8: 11}[size]
        numbers = [int(number * unit) << shift for number in column]
        return b"".join(number.to_bytes(size, "little") for number in numbers)


def sampled_on_a_grid(weights: list[float], size: int, fineness: list[int]) -> Counter[Group]:
    """Return how often each group is sampled when all points of the grid are."""
    axes = [[Fraction(2 * i + 1, 2 * fine) for i in range(fine)] for fine in fineness]
    points = list(product(*axes))
    columns = [[point[turn] for point in points] for turn in range(size)]
    table = AliasTable(list(enumerate(weights)))
    flat = table.sample(Grid(columns), len(points), size).tolist()
    return Counter(tuple(flat[at : at + size]) for at in range(0, len(flat), size))


@pytest.mark.parametrize("wide", [False, True], ids=["32 bits", "53 bits"])
@pytest.mark.parametrize(("n", "size"), [(3, 3), (4, 3), (6, 3), (5, 4), (5, 5), (9, 3)])
def test_every_order_of_equal_weights_is_sampled_equally_often(
    n: int, size: int, wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if wide:
        monkeypatch.setattr(_alias_table, "_MAX_SHORT", 1)
    found = sampled_on_a_grid([7] * n, size, [n - turn for turn in range(size)])
    assert found == dict.fromkeys(permutations(range(n), size), 1)
    assert len(found) == perm(n, size)


@pytest.mark.parametrize(
    "weights", [[1, 2, 3], [3, 2, 1], [1, 1, 2, 4], [4, 1, 2, 1], [0.5, 1.5, 1], [1, 6, 1, 1]]
)
def test_the_orders_have_exactly_their_probabilities(weights: list[float]) -> None:
    exact = {at: Fraction(weight) for at, weight in enumerate(weights)}
    total = sum(exact.values())
    step = Fraction(1, lcm(*(weight.denominator for weight in exact.values())))
    fineness = [
        lcm(*(int((total - sum(gone)) / step) for gone in set(permutations(exact.values(), turn))))
        for turn in range(3)
    ]
    found = sampled_on_a_grid(weights, 3, fineness)
    points = sum(found.values())
    expected = orders_of(exact)
    assert {order: Fraction(count, points) for order, count in found.items()} == expected


def orders_of(weights: dict[int, Fraction]) -> dict[Group, Fraction]:
    """Return the exact probability of each order of three."""
    probabilities: dict[Group, Fraction] = {}
    for order in permutations(weights, 3):
        left, probability = sum(weights.values()), Fraction(1)
        for place in order:
            probability *= weights[place] / left
            left -= weights[place]
        probabilities[order] = probability
    return probabilities


@given(
    weights=st.lists(
        st.sampled_from([1, 1, 2, 3, 0.1, 0.7, 1e-6, 1e6, 12345.678]), min_size=3, max_size=40
    ),
    size=st.integers(3, 12),
    seed=st.integers(0, 2**32),
)
def test_groups_consist_of_different_indices(weights: list[float], size: int, seed: int) -> None:
    size = min(size, len(weights))
    table = AliasTable(list(enumerate(weights, start=5)))
    flat = table.sample(Random(seed), 200, size).tolist()
    assert len(flat) == 200 * size
    for at in range(0, len(flat), size):
        assert len(set(flat[at : at + size])) == size
        assert all(5 <= index < 5 + len(weights) for index in flat[at : at + size])


@pytest.mark.parametrize("share", [Fraction(0), 1 - Fraction(1, 2**53)])
@pytest.mark.parametrize("weights", [[0.1, 0.2, 0.3, 0.7], [1e11, 1, 1e11, 3], [1, 1e11, 0.3, 0.1]])
def test_extreme_random_numbers_lead_to_different_indices(
    weights: list[float], share: Fraction
) -> None:
    """Rounding errors must not lead to an index that is in the group already."""
    last = [share]
    for earlier in product([Fraction(0), Fraction(1, 2), 1 - Fraction(1, 2**53)], repeat=3):
        columns = [*([each] for each in earlier), last]
        found = AliasTable(list(enumerate(weights))).sample(Grid(columns), 1, 4).tolist()
        assert sorted(found) == [0, 1, 2, 3]


def groups(lb: PowerOfTwoChoices[Any], size: int) -> Iterator[Group]:
    """Yield the groups that picks compare, for ever."""
    names = list(lb.weights)
    while True:
        for sample in lb.samples_ahead(1000).tolist():
            assert len(sample) == size
            yield tuple(names[place] for place in sample)


WEIGHTS = {"a": 5, "b": 3, "c": 1, "d": 0.5, "e": 0}


@pytest.mark.parametrize("load", [None, InFlight[Any]()])
@pytest.mark.parametrize(
    ("weights", "choices"),
    [(WEIGHTS, 3), (WEIGHTS, 4), (WEIGHTS, 9), (dict.fromkeys("abcde", 2), 3), (WEIGHTS, 1)],
)
def test_groups_are_sampled_by_weight_without_replacement(
    weights: dict[str, float], choices: int, load: InFlight[Any] | None
) -> None:
    load = type(load)() if load is not None else None
    lb = PowerOfTwoChoices(weights, rng=Random(7), choices=choices, load=load)
    size = min(choices, sum(weight > 0 for weight in weights.values()))
    found = Counter(group for group, _ in zip(groups(lb, size), range(30_000), strict=False))
    assert_sampled(found, orders(weights, size))


def test_a_weight_that_is_too_small_for_a_table_is_sampled_by_the_tree() -> None:
    lb = PowerOfTwoChoices({"a": 1e30, "b": 1, "c": 2, "d": 1e-20}, rng=Random(1), choices=3)
    found = Counter(group for group, _ in zip(groups(lb, 3), range(3000), strict=False))
    assert set(found) == {("a", "b", "c"), ("a", "c", "b")}
    assert 900 < found["a", "b", "c"] < 1100


def test_the_least_loaded_of_each_group_is_picked() -> None:
    """With 0 to 7 requests, k is the least of three in C(7 - k, 2) of C(8, 3) groups."""
    for load in (None, InFlight[int]()):
        lb = PowerOfTwoChoices(range(8), rng=Random(3), choices=3, load=load)
        for backend in range(8):
            for _ in range(backend):
                lb.started(backend)
        found = Counter(lb.pick() for _ in range(20_000))
        assert_sampled(found, {k: comb(7 - k, 2) / comb(8, 3) for k in range(6)})


class Halved(InFlight[str]):
    """Half of the requests in flight, as a float."""

    def value(self, backend: str, now: float) -> float:
        return super().value(backend, now) / 2


@pytest.mark.parametrize("choices", [1, 2, 3, 4])
@pytest.mark.parametrize("load", [None, InFlight[str], Halved])
def test_a_tie_goes_to_the_first_of_its_group(
    choices: int, load: Callable[[], InFlight[str]] | None
) -> None:
    """Idle backends are picked by weight, and so are those with loads in proportion to weights."""
    weights: dict[str, float] = {"a": 4, "b": 2, "c": 2, "d": 0}
    lb = PowerOfTwoChoices(
        weights, rng=Random(8), choices=choices, load=load() if load is not None else None
    )
    for backend in ["", *"aabc"]:
        lb.started(backend)
        if backend in {"", "c"}:
            assert_sampled(Counter(lb.pick() for _ in range(9000)), by_weight(weights))
            assert_sampled(Counter(lb.pick(avoid=[]) for _ in range(9000)), by_weight(weights))


@pytest.mark.parametrize("choices", [3, 5, 200])
def test_choices_among_fewer_open_backends(choices: int) -> None:
    """All open backends are compared, so the least loaded one is always picked."""
    lb = PowerOfTwoChoices(dict.fromkeys("abcde", 1.0), rng=Random(2), choices=choices)
    for backend in "de":
        lb.put(backend, 0)
    lb.started("a")
    lb.started("b")
    assert {lb.pick() for _ in range(9000)} == {"c"}
    lb.put("c", 0)
    lb.started("a")
    assert {lb.pick() for _ in range(9000)} == {"b"}
    lb.put("b", 0)
    assert {lb.pick() for _ in range(300)} == {"a"}
    assert {lb.pick(avoid=["b"]) for _ in range(300)} == {"a"}


@pytest.mark.parametrize("choices", [1, 3, 4])
def test_a_change_that_is_undone_resumes_the_block(choices: int) -> None:
    ours, other = (PowerOfTwoChoices(range(9), rng=Random(4), choices=choices) for _ in range(2))
    for turn in range(2000):
        if turn % 3 == 0:
            ours.put(turn % 9, 0)
            ours.put((turn + 1) % 9, 3)
            ours.put(turn % 9, 1)
            ours.put((turn + 1) % 9, 1)
        assert ours.pick() == other.pick()


def test_no_pick_comes_from_a_block_of_earlier_weights() -> None:
    lb = PowerOfTwoChoices(range(6), rng=Random(5), choices=3)
    for turn in range(3000):
        closed = turn // 50 % 6
        if turn % 50 == 0:
            lb.put((closed - 1) % 6, 1)
            lb.put(closed, 0)
        assert lb.pick() != closed


def raising(at: int) -> Callable[[object, float], float]:
    calls = iter(range(10**6))

    def value(backend: object, now: float) -> float:
        del backend, now
        if next(calls) % 7 == at:
            raise LookupError
        return 1.0

    return value


@pytest.mark.parametrize("choices", [2, 3, 4])
@pytest.mark.parametrize("at", [0, 3])
def test_a_load_that_raises_costs_one_whole_group(choices: int, at: int) -> None:
    """So later groups still consist of different backends."""

    class Raising(InFlight[int]):
        value = staticmethod(raising(at))  # type: ignore[assignment]  # the same signature

    lb = PowerOfTwoChoices(range(5), rng=Random(6), choices=choices, load=Raising())
    for _ in range(500):
        try:
            lb.pick()
        except LookupError:
            continue
    for sample in lb.samples_ahead(3000).tolist():
        assert len(set(sample)) == choices
