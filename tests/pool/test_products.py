"""The effective weight is the exact product of the weight and the factors that count."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import permutations, product
from math import inf

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balancers import Pool, WeightedRoundRobin
from balancers.gate import Gate


class Fixed(Gate[str]):
    """Gives every backend but "spare" one factor."""

    def __init__(self, factor: float, *, soft: bool = False) -> None:
        self.reason = f"fixed at {factor}"
        self.soft, self.fractional = soft, True
        self._factor = factor
        self.due = -inf

    def factor(self, backend: str, now: float) -> float:
        del now
        return 1 if backend == "spare" else self._factor

    def changes(self, now: float) -> Iterable[str]:
        del now
        self.due = inf
        return ()


def effective(weight: float, *factors: float) -> float:
    return Pool(WeightedRoundRobin({"a": weight}), [*map(Fixed, factors)]).effective_weight("a")


FACTORS = st.one_of(
    st.sampled_from([0, 1, 0.5, 0.1, 1.0]),
    st.integers(0, 1000).map(lambda x: x / 1000),
    st.floats(0, 1),
)


@given(st.one_of(st.integers(0, 1000), st.floats(0, 1e6)), st.lists(FACTORS, max_size=4))
@example(7, [0.017])
@example(3, [0.1, 0.1, 0.7])
@example(1, [1e-200, 1e-200])
@example(1, [0.001])
@example(5e-324, [0.5])
def test_the_product_is_exact_to_nine_digits(weight: float, factors: list[float]) -> None:
    expected = Fraction(weight)
    for factor in factors:
        expected *= Fraction(factor)
    found = effective(weight, *factors)
    if all(factor == 1 for factor in factors):
        assert found == weight
    elif not expected:
        assert found == 0
    else:
        assert found > 0
        smallest = 2 * Fraction(5e-324) * (2 + Fraction(weight))  # a factor is rounded first
        rounding = Fraction(1, 2 * 10**9) if expected > Fraction(1, 1000) else smallest
        assert abs(Fraction(found) - expected) <= rounding + expected / 10**12


def test_a_product_has_the_digits_of_a_decimal() -> None:
    assert effective(7, 0.017) == 0.119
    assert effective(3, 0.1, 0.1) == 0.03
    assert effective(1, 0.123456789_4) == 0.123456789
    assert effective(1, 0.123456789_6) == 0.12345679
    assert effective(1, 0.000_123_456_789_4) == 0.000_123_456_789_4
    assert effective(1, 0.001) == 0.001
    assert effective(1, 1e-200, 1e-200) == 5e-324


def test_a_weight_without_fractions_is_given_unchanged() -> None:
    for weight in (0.123456789123, 3, 1e300, 5e-324):
        assert effective(weight, 1, 1.0) == weight


@pytest.mark.parametrize("factors", list(permutations([0.3, 0.7, 1, 0.9])))
def test_the_order_of_the_gates_does_not_matter(factors: tuple[float, ...]) -> None:
    assert effective(11, *factors) == effective(11, 0.3, 0.7, 0.9)


@pytest.mark.parametrize(
    ("soft", "hard"), [*product([(0,), (0, 0.5), (0.25, 0)], [(), (1,), (0.5,), (0.5, 0.3)])]
)
def test_the_factors_of_ignored_gates_do_not_count(
    soft: tuple[float, ...], hard: tuple[float, ...]
) -> None:
    """Soft gates close every backend, so they are ignored; the others still count."""
    gates = [*(Fixed(factor, soft=True) for factor in soft), *map(Fixed, hard)]
    pool = Pool(WeightedRoundRobin({"a": 8, "b": 2}), gates)
    assert pool.snapshot().panicking
    assert pool.effective_weight("a") == effective(8, *hard)
    pool.set_weight("b", 4)
    assert pool.effective_weight("b") == effective(4, *hard)
    pool.add("spare", 3)
    assert not pool.snapshot().panicking
    assert [pool.effective_weight(b) for b in ("a", "b", "spare")] == [0, 0, 3]
    pool.remove("spare")
    assert pool.effective_weight("a") == effective(8, *hard)


@pytest.mark.parametrize("factors", [(0.5,), (0.5, 0.3), (1, 0.5)])
def test_every_way_to_a_weight_gives_the_same_product(factors: tuple[float, ...]) -> None:
    expected = effective(7, *factors)
    joined = Pool(WeightedRoundRobin({"x": 1}), [*map(Fixed, factors)])
    joined.add("a", 7)
    changed = Pool(WeightedRoundRobin({"a": 1}), [*map(Fixed, factors)])
    changed.set_weight("a", 7)
    updated = Pool(WeightedRoundRobin({"a": 1}), [*map(Fixed, factors)])
    updated.update({"a": 7, "b": 1})
    returned = Pool(WeightedRoundRobin({"a": 7, "b": 1}), [*map(Fixed, factors)])
    returned.update(["b"], 0.0, keep=10.0)
    assert returned.effective_weight("a") == 0
    returned.update({"a": 7, "b": 1}, 1.0)
    for pool in (joined, changed, updated, returned):
        assert pool.effective_weight("a") == expected
        assert pool.weight("a") == 7
