"""A float weight has the value of its decimal text, whatever its number of decimal places."""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pickle import dumps, loads
from random import Random
from typing import Any, cast

import numpy as np
import pytest

from balancers import (
    NoBackendAvailable,
    PowerOfTwoChoices,
    RoundRobin,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from balancers.algorithms import weighted_least_connections
from balancers.algorithms._smooth_scan import current_weights_after
from tests.depth import runs
from tests.references import NaiveWeightedLeastConnections, NaiveWeightedRoundRobin, exact
from tests.work import work_of

DECIMALS = [1, 2, 0.7, 0.1, 0.3, 1.1, 0.55, 2.5, 0.001, 3.999, 7.25, 10, 0.04]
MANY_DECIMALS = [1 / 3, 0.1 + 0.2, 0.7 - 0.1, 1e-9, 123456789.000001, 1e-30, 5e-324, 1e300]


def tied_counts(weights: list[float], rng: Random) -> list[int]:
    """Return counts of which many are exactly proportional to their weights, and some are not."""
    base = rng.choice([10, 20, 30, 100, 1000])
    counts: list[int] = []
    for weight in weights:
        busy = exact(weight) * base
        counts.append(int(busy) if busy.denominator == 1 and busy < 400 else rng.randrange(40))
        if rng.random() < 0.2:
            counts[-1] = max(0, counts[-1] + rng.choice([-1, 1]))
    return counts


def pickled(lb: Any) -> Any:
    return loads(dumps(lb))  # noqa: S301 - what was just pickled


def started(lb: Any, counts: dict[str, int]) -> Any:
    for backend, count in counts.items():
        for _ in range(count):
            lb.started(backend)
    return lb


def random_case(rng: Random) -> tuple[dict[str, float], dict[str, int], set[str]]:
    """Return weights, counts, and the backends with the least requests per weight."""
    row = [rng.choice(DECIMALS) for _ in range(rng.choice([2, 2, 3, 5, 30]))]
    names = [f"b{index}" for index in range(len(row))]
    weights = dict(zip(names, row, strict=True))
    counts = dict(zip(names, tied_counts(row, rng), strict=True))
    ranks = {b: counts[b] / exact(weights[b]) for b in names}
    return weights, counts, {b for b in names if ranks[b] == min(ranks.values())}


@pytest.mark.parametrize("size", [0, 20])
def test_thirty_requests_for_weight_1_are_as_many_as_21_for_weight_0_7(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(weighted_least_connections, "_MAX_SCANNED_MEMBERS", size)
    lb = started(WeightedLeastConnections({"a": 1, "b": 0.7}), {"a": 30, "b": 21})
    assert "".join(lb.pick() for _ in range(17)) == "ababaabababaababa"
    two = started(PowerOfTwoChoices({"a": 1, "b": 0.7}, rng=Random(1)), {"a": 30, "b": 21})
    assert {two.pick() for _ in range(20)} == {"a", "b"}


def test_least_connections_per_weight_are_compared_exactly() -> None:
    rng = Random(1)
    for _ in range(runs(2500)):
        weights, counts, least = random_case(rng)
        lb, plain = WeightedLeastConnections(weights), NaiveWeightedLeastConnections()
        for backend, weight in weights.items():
            plain.put(backend, weight)
        started(lb, counts)
        started(plain, counts)
        picks = [lb.pick() for _ in range(12)]
        assert picks == [plain.pick() for _ in range(12)], (weights, counts)
        assert set(picks) <= least


def test_two_choices_per_weight_are_compared_exactly() -> None:
    rng = Random(2)
    for _ in range(runs(2500)):
        weights, counts, least = random_case(rng)
        lb = started(PowerOfTwoChoices(weights, rng=rng, choices=len(weights)), counts)
        assert {lb.pick() for _ in range(5)} <= least, (weights, counts)
        two = dict(list(weights.items())[:2])
        ranks = [counts[b] / exact(w) for b, w in two.items()]
        lb = started(PowerOfTwoChoices(two, rng=rng), {b: counts[b] for b in two})
        picks = {lb.pick() for _ in range(5)}
        if ranks[0] != ranks[1]:
            assert picks == {"b0" if ranks[0] < ranks[1] else "b1"}, (two, counts)


def test_both_of_two_tied_choices_are_picked() -> None:
    rng = Random(3)
    for first in DECIMALS:
        for second in DECIMALS:
            counts = {"a": int(exact(first) * 1000), "b": int(exact(second) * 1000)}
            lb = PowerOfTwoChoices({"a": first, "b": second}, rng=rng)
            weights = {b: max(1, w) for b, w in lb.weights.items()}  # for the sampling
            if weights == lb.weights:
                started(lb, counts)
                assert {lb.pick() for _ in range(200)} == {"a", "b"}, (first, second)


def test_the_number_of_requests_survives_a_change_of_weight() -> None:
    lb = PowerOfTwoChoices({"a": 1, "b": 1}, rng=Random(1))
    started(lb, {"a": 2, "b": 3})
    for weight in (0.1, 1 / 3, 0, 5, 0.125):
        lb.put("a", weight)
    assert {lb.pick() for _ in range(20)} == {"b"}, "2 / 0.125 is more than 3"
    lb.put("a", 1)
    assert {lb.pick() for _ in range(20)} == {"a"}
    for _ in range(5):
        lb.finished("a")
    started(lb, {"a": 1})
    lb.finished("b")
    lb.finished("b")
    assert {lb.pick() for _ in range(20)} == {"a", "b"}


class Reported:
    """A load whose values are set by the test."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def value(self, backend: str, now: float = 0.0) -> float:
        return float(self.values[backend])

    def started(self, backend: str, now: float = 0.0) -> None: ...

    def finished(self, backend: str, outcome: Any = None, now: float = 0.0) -> None: ...

    def removed(self, backend: str) -> None: ...


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"a": 0.3, "b": 0.1 + 0.2}, {"a", "b"}),
        ({"a": 0.3, "b": 0.300001}, {"a"}),
        ({"a": float("inf"), "b": 1e308}, {"b"}),
        ({"a": float("inf"), "b": float("inf")}, {"a", "b"}),
        ({"a": 0.0, "b": 5e-324}, {"a"}),
        ({"a": 1e-300, "b": 2e-300}, {"a"}),
    ],
)
def test_rounding_errors_of_float_loads_do_not_break_ties(
    values: dict[str, float], expected: set[str]
) -> None:
    lb = PowerOfTwoChoices(["a", "b"], rng=Random(1), load=Reported(values))
    assert {lb.pick() for _ in range(50)} == expected


def test_weights_of_float_loads_count_too() -> None:
    load = Reported({"a": 2.1, "b": 0.7})
    lb = PowerOfTwoChoices({"a": 0.3, "b": 0.1}, rng=Random(1), load=load)
    assert {lb.pick() for _ in range(100)} == {"a", "b"}, "2.1 / 0.3 is 0.7 / 0.1"


class Raw(Reported):
    """A load that returns its values as they are, of any type."""

    def value(self, backend: str, now: float = 0.0) -> Any:
        return self.values[backend]

    def __repr__(self) -> str:
        return "the raw load"


def sevenths(number: int) -> Fraction:
    return Fraction(number, 7)


EXACT_KINDS: list[Any] = [int, np.int64, np.uint8, Fraction, sevenths]


@pytest.mark.parametrize("kind", EXACT_KINDS)
@pytest.mark.parametrize("choices", [2, 3])
def test_loads_of_every_exact_type_are_compared_exactly(kind: Any, choices: int) -> None:
    weights = {"a": 1, "b": 0.7}
    for busy, expected in ((21, {"a", "b"}), (22, {"a"}), (20, {"b"})):
        load: Any = Raw({"a": kind(30), "b": kind(busy)})
        lb = PowerOfTwoChoices(weights, rng=Random(1), choices=choices, load=load)
        assert {lb.pick() for _ in range(200)} == expected


def test_exact_loads_that_differ_by_little_are_no_tie() -> None:
    little = Fraction(1, 10**15)
    for values in (
        {"a": 1, "b": 1 + little},
        {"a": 10**15, "b": np.int64(10**15 + 1)},
        {"a": False, "b": True},
    ):
        lb = PowerOfTwoChoices(["a", "b"], rng=Random(1), load=Raw(values))
        assert {lb.pick() for _ in range(50)} == {"a"}


@pytest.mark.parametrize("value", [Decimal(1), None, "1", 1j, [1]])
def test_a_load_of_another_type_is_refused(value: Any) -> None:
    load: Any = Raw({"a": 1, "b": value})
    lb = PowerOfTwoChoices(["a", "b"], rng=Random(1), load=load)
    with pytest.raises(TypeError, match="the value of the raw load must be an int, a float or a F"):
        lb.pick()
    load.values["b"] = np.float32(0.5)
    assert {lb.pick() for _ in range(20)} == {"b"}


# A float weight that is integral has the value of its decimal text too.


@pytest.mark.parametrize("large", [1e22, 1e23, 1e25, 3e27, 1e300, 9.5e22, 2.0**70, 2.0**53 + 2])
@pytest.mark.parametrize("kind", [float, np.float64])
def test_a_large_float_weight_counts_as_the_int_that_it_is_printed_as(
    large: float, kind: Any
) -> None:
    assert RoundRobin({"a": kind(large)}).weights["a"] == large
    for make in (WeightedRoundRobin, WeightedLeastConnections):
        same: Any = make({"a": kind(large), "b": int(Decimal(repr(large)))})
        assert [same.pick() for _ in range(60)] == [*"ab"] * 30


def test_the_ratio_of_large_float_weights_is_exact() -> None:
    large, small = WeightedRoundRobin({"a": 1e23, "b": 3e23}), WeightedRoundRobin({"a": 1, "b": 3})
    assert [large.pick() for _ in range(40)] == [small.pick() for _ in range(40)]
    busy = started(WeightedLeastConnections({"a": 1e23, "b": 3e23}), {"a": 1, "b": 3})
    assert {busy.pick() for _ in range(8)} == {"a", "b"}, "1 / 1e23 is 3 / 3e23"


# The scan for few members and the heaps for many members give the same picks.

SIZES = [0, 1, 3, 8, 20, 10**9]


Operation = tuple[str, str, float, list[str]]


def random_operations(rng: Random, count: int, weights: list[float]) -> list[Operation]:
    """Return operations that join, leave, close, re-weigh, pick, start and finish."""
    names = [f"b{index}" for index in range(rng.choice([3, 6, 12]))]
    kinds = ["put", "discard", *["pick"] * 6, "avoid", *["started"] * 3, *["finished"] * 2]
    return [
        (
            rng.choice(kinds),
            rng.choice(names),
            rng.choice([*weights, 0]),
            rng.sample(names, rng.randrange(3)),
        )
        for _ in range(count)
    ]


def done(lb: Any, operation: Operation) -> str | None:
    """Do an operation, and return the pick if there is one."""
    kind, backend, weight, avoid = operation
    if kind == "put":
        lb.put(backend, weight)
    elif kind in {"discard", "started", "finished"}:
        getattr(lb, kind)(backend)
    else:
        avoided = avoid if kind == "avoid" else []
        if {*lb.weights} - {*avoided, *closed(lb)}:
            picked: str = lb.pick(avoid=avoided)
            return picked
    return None


def closed(lb: Any) -> list[str]:
    return [backend for backend, weight in lb.weights.items() if not weight]


@pytest.mark.parametrize("weights", [[1, 2, 3], DECIMALS, MANY_DECIMALS, [1, 0.5, *MANY_DECIMALS]])
@pytest.mark.parametrize("extra", [0, 1])
def test_scan_and_heaps_give_the_same_picks(
    monkeypatch: pytest.MonkeyPatch, weights: list[float], extra: int
) -> None:
    rng = Random(len(weights) + extra)
    for _ in range(runs(120)):
        operations = random_operations(rng, 150, weights)
        plain = NaiveWeightedLeastConnections(extra)
        expected = [done(plain, operation) for operation in operations]
        for size in SIZES:
            monkeypatch.setattr(weighted_least_connections, "_MAX_SCANNED_MEMBERS", size)
            lb: Any = WeightedLeastConnections(rule="sed" if extra else "wlc")
            for operation, result in zip(operations, expected, strict=True):
                assert done(lb, operation) == result
                if rng.random() < 0.02:
                    lb = pickled(lb) if rng.random() < 0.5 else deepcopy(lb)


def test_the_state_is_carried_over_the_border_in_both_directions() -> None:
    border = weighted_least_connections._MAX_SCANNED_MEMBERS
    lb, plain = WeightedLeastConnections[str](), NaiveWeightedLeastConnections()
    rng = Random(4)
    sizes = [border - 1, border, border + 1, border, border + 3, border - 2, border + 1, 1]
    for before, after in pairwise([0, *sizes]):
        for each in (lb, plain):
            for index in range(before, after):
                each.put(f"b{index}", 1 + index % 4)
            for index in range(after, before):
                each.discard(f"b{index}")
        for _ in range(40):
            backend = lb.pick()
            assert backend == plain.pick()
            lb.started(backend)
            plain.started(backend)
            if rng.random() < 0.8:
                other = rng.choice(list(lb.weights))
                lb.finished(other)
                plain.finished(other)


# A weight with many decimal places costs little while it is used, and nothing afterwards.


def with_fine_weight(lb: Any, weight: float) -> Any:
    """Use a weight for some picks."""
    lb.put("fine", weight)
    for _ in range(60):
        lb.started(lb.pick())
    return lb


def re_weighed(lb: Any) -> None:
    lb.put("fine", 1)


def left(lb: Any) -> None:
    lb.discard("fine")


def cost_of_changes(lb: Any) -> float:
    """Return the lines executed per change of weight, each followed by a pick and a request."""

    def change() -> None:
        for number in range(30):
            lb.put("b1", 1 + number % 7)
            backend = lb.pick()
            lb.started(backend)
            lb.finished(backend)

    return work_of(change).lines / 30


@pytest.mark.parametrize("make", [WeightedRoundRobin, WeightedLeastConnections])
@pytest.mark.parametrize("fine", [1 / 3, 0.1 + 0.2, 1e-300, 123456.789])
@pytest.mark.parametrize("end", [re_weighed, left])
def test_one_weight_with_many_decimals_does_not_slow_down_for_ever(
    make: Any, fine: float, end: Callable[[Any], None]
) -> None:
    def backends(n: int) -> dict[str, float]:
        return {f"b{index}": 1 + index % 6 for index in range(n)}

    for n in (100, 1000):
        lb = make(backends(n))
        for _ in range(60):
            lb.started(lb.pick())
        before = cost_of_changes(lb)
        with_fine_weight(lb, fine)
        during = cost_of_changes(lb)
        end(lb)
        for _ in range(n + 10):
            lb.started(lb.pick())
        for copy in (lb, deepcopy(lb), pickled(lb)):
            copy.pick()
            cost_of_changes(copy)
            after = cost_of_changes(copy)
            assert after <= 1.25 * before + 3, (n, before, after)
        assert during <= 6 * before, (n, before, during)


def integers_of(lb: object) -> list[int]:
    """Return the number of bits of all numbers that a balancer stores."""
    found: list[int] = []
    seen: set[int] = set()
    waiting: list[Any] = [lb]
    while waiting:
        value = waiting.pop()
        if isinstance(value, int):
            found.append(value.bit_length())
        elif id(value) not in seen and not isinstance(value, str):
            seen.add(id(value))
            waiting += contents(value)
    return found


def contents(value: Any) -> list[Any]:
    if type(value) in {list, tuple, set}:
        return list(value)
    values = getattr(value, "values", None)
    if callable(values):
        stored: Any = values()
        return list(stored)
    kind = cast("type[object]", type(value))
    slots: Any = getattr(kind, "__slots__", ())
    return [getattr(value, name, None) for name in (*slots, "__dict__")]


@pytest.mark.parametrize("make", [WeightedRoundRobin, WeightedLeastConnections])
def test_numbers_do_not_grow_without_bound(make: Any) -> None:
    lb = make({f"b{index}": 1 + index % 6 for index in range(30)})
    rng = Random(5)
    sizes: list[int] = []
    for _ in range(40):
        with_fine_weight(lb, rng.random() * 10.0 ** -rng.randrange(20))
        for backend in list(lb.weights):
            lb.put(backend, 1 + rng.randrange(1, 1000) / 1000)  # as slow start does
            lb.pick()
        left(lb)
        for _ in range(100):
            lb.started(lb.pick())
        sizes.append(max(integers_of(lb)))
    assert max(sizes) < 400
    unused = make({f"b{index}": 1 + index % 6 for index in range(30)})
    unused.put("fine", 1e-300)
    unused.discard("fine")
    unused.put("new", 3)
    for _ in range(60):
        unused.started(unused.pick())
    assert max(integers_of(unused)) < 64, "no pick used the weight"


@pytest.mark.parametrize("n", [3, 24, 25, 40])
@pytest.mark.parametrize(
    "weights", [[1 / 3, 0.1 + 0.2, 1, 2], [*MANY_DECIMALS, 1, 0.25, 3], [1e300, 1e-300, 1]]
)
def test_round_robin_is_exact_for_weights_of_any_size(n: int, weights: list[float]) -> None:
    """With many members, several limbs of 62 bits are used."""
    rng = Random(n)
    names = [f"b{index}" for index in range(n)]
    for _ in range(runs(20) // 5):
        lb: Any = WeightedRoundRobin()
        plain = NaiveWeightedRoundRobin()
        for index, name in enumerate(names):
            lb.put(name, weights[index % len(weights)])
            plain.put(name, weights[index % len(weights)])
        for _ in range(150):
            change_one(rng, (lb, plain), rng.choice(names), rng.choice([*weights, 0, 1, 2]))
            avoid = rng.sample(names, rng.choice([0, 0, 0, 1, 2]))
            if plain.candidates(avoid):
                assert lb.pick(avoid=avoid) == plain.pick(avoid)
            if rng.random() < 0.03:
                lb = pickled(lb) if rng.random() < 0.5 else deepcopy(lb)


def change_one(rng: Random, balancers: tuple[Any, Any], backend: str, weight: float) -> None:
    """Sometimes re-weigh a backend, remove it, or start a bound request."""
    kind = rng.random()
    for lb in balancers:
        if kind < 0.2:
            lb.put(backend, weight)
        elif kind < 0.24:
            lb.discard(backend)
        elif kind < 0.34:
            lb.started(backend, bound=True)


def test_a_learned_period_ends_correctly_after_a_fine_weight_left() -> None:
    lb, plain = WeightedRoundRobin[str](), NaiveWeightedRoundRobin()
    for step in range(5):
        for each in (lb, plain):
            each.put("fine", 1 / (3 + step))
            for index in range(30):
                each.put(f"b{index}", 1 + index % 3)
        assert [lb.pick() for _ in range(50)] == [plain.pick() for _ in range(50)]
        for each in (lb, plain):
            each.discard("fine")
        assert [lb.pick() for _ in range(200)] == [plain.pick() for _ in range(200)]
        for each in (lb, plain):
            each.put("b3", 7)
        assert [lb.pick() for _ in range(20)] == [plain.pick() for _ in range(20)]


def test_only_the_ratios_of_the_weights_count() -> None:
    for factor in (1, 10, 1000, 10**12, 10**40):
        lb = WeightedRoundRobin({f"b{i}": (1 + i % 4) * factor for i in range(30)})
        one = WeightedRoundRobin({f"b{i}": (1 + i % 4) for i in range(30)})
        assert [lb.pick() for _ in range(100)] == [one.pick() for _ in range(100)]


@pytest.mark.parametrize("n", [3, 30])
def test_ties_are_exact_after_a_fine_weight_left(n: int) -> None:
    """The remainders that the fine weight left behind still decide between equal numbers."""
    for fine in MANY_DECIMALS:
        lb, plain = WeightedLeastConnections[str](), NaiveWeightedLeastConnections()
        for each in (lb, plain):
            each.put("fine", fine)
            for index in range(n):
                each.put(f"b{index}", 1 + index % 3)
        assert [lb.pick() for _ in range(n)] == [plain.pick() for _ in range(n)]
        for each in (lb, plain):
            each.discard("fine")
        assert [lb.pick() for _ in range(5 * n)] == [plain.pick() for _ in range(5 * n)]
        for each in (lb, plain):
            each.put("b0", 2.5)
        assert [lb.pick() for _ in range(2 * n)] == [plain.pick() for _ in range(2 * n)]


def test_a_pick_after_all_left_or_closed_is_refused() -> None:
    lb = WeightedLeastConnections({"a": 1, "b": 2, "c": 1 / 3})
    lb.pick()
    lb.put("a", 0)
    for backend in "bc":
        lb.pick()
        lb.discard(backend)
    with pytest.raises(NoBackendAvailable, match="quiesced"):
        lb.pick()
    lb.discard("a")
    with pytest.raises(NoBackendAvailable):
        lb.pick()


# An offset costs a bounded number of steps.


def uneven(n: int) -> dict[str, float]:
    return {f"b{index}": 1_000_003 + 7919 * index for index in range(n)}


@pytest.mark.parametrize("n", [3, 20, 40])
def test_the_work_of_an_offset_is_bounded(n: int) -> None:
    def first_pick(offset: int) -> int:
        return work_of(WeightedRoundRobin(uneven(n), offset=offset).pick).lines

    small = first_pick(2000)
    for offset in (4_000_000, 0xDEADBEEF, 10**30 + 7):
        assert first_pick(offset) <= 1.25 * small


def test_an_offset_skips_nearly_always_exactly_so_many_picks() -> None:
    rng = Random(6)
    for _ in range(runs(300)):
        weights = {f"b{i}": rng.randint(1, 400) / 10 for i in range(rng.choice([3, 5, 12, 30]))}
        offset = rng.choice([0, 1, 5, 1024, 1025, rng.randrange(6000)])
        lb, plain = WeightedRoundRobin(weights, offset=offset), WeightedRoundRobin(weights)
        for _ in range(offset):
            plain.pick()
        assert [lb.pick() for _ in range(300)] == [plain.pick() for _ in range(300)]
    alone = WeightedRoundRobin({"a": 5, "closed": 0}, offset=10**9)
    assert alone.pick() == "a"


def test_after_an_offset_some_picks_can_differ_until_the_end_of_the_period() -> None:
    """A known exception: 1024 real steps do not lead to the same state here."""
    rng = Random(1029)
    assert rng.choice([2, 3, 5, 10, 40]) == 40
    weights = {f"b{i}": rng.randint(1, rng.choice([50, 1000, 5000])) for i in range(40)}
    period, offset = sum(weights.values()), rng.randint(1025, 20_000)
    assert (period, offset) == (48_713, 18_713)
    lb, plain = WeightedRoundRobin(weights, offset=offset), WeightedRoundRobin(weights)
    for _ in range(offset):
        plain.pick()
    picks = [(lb.pick(), plain.pick()) for _ in range(period - offset)]
    assert sum(ours != theirs for ours, theirs in picks[:200]) == 94
    counts = Counter(ours for ours, _ in picks), Counter(theirs for _, theirs in picks)
    assert all(abs(counts[0][backend] - counts[1][backend]) <= 1 for backend in weights)
    assert [lb.pick() for _ in range(300)] == [plain.pick() for _ in range(300)]


def test_the_computed_state_is_that_of_the_nearest_counts() -> None:
    rng = Random(8)
    for _ in range(runs(2000)):
        weights = [rng.choice([0, rng.randint(1, 60)]) for _ in range(rng.randint(1, 9))]
        weights.append(rng.randint(1, 9))
        n, total, steps = len(weights), sum(weights), rng.randrange(10_000)
        state = current_weights_after(steps, weights)
        assert sum(state) == 0
        for current, weight in zip(state, weights, strict=True):
            assert (steps * weight - current) % total == 0
            assert -(n - 1) * total <= n * current < n * total
            assert weight or not current


def test_different_offsets_start_apart() -> None:
    rng = Random(7)
    starts = {
        tuple(lb.pick() for _ in range(30))
        for lb in (WeightedRoundRobin(uneven(20), offset=rng.getrandbits(32)) for _ in range(60))
    }
    assert len(starts) == 60
    counts = [next(iter(start)) for start in starts]
    assert len(set(counts)) > 10, "also the first picks differ"
