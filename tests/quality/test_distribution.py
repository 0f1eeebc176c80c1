"""Metrics of evenness: published values, what they must not depend on, and invalid input."""

from array import array
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from math import inf, isfinite, log, nan
from random import Random
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import HashRing, RoundRobin
from balancers.errors import BalancersError, InvalidSetting, InvalidWeight, UnknownBackend
from balancers.quality import Distribution, distribution

COUNTS = st.lists(st.integers(0, 1000), min_size=1, max_size=12)


def test_the_published_values() -> None:
    first = distribution([5, 1, 1])
    assert first.jain == pytest.approx(0.604938, abs=1e-6)
    assert first.peak_to_mean == pytest.approx(2.142857, abs=1e-6)
    assert first.variation == pytest.approx(0.808122, abs=1e-6)
    assert first.gini == pytest.approx(0.380952, abs=1e-6)
    second = distribution([10, 20, 30, 40])
    assert second.jain == pytest.approx(0.833333, abs=1e-6)
    assert second.variation == pytest.approx(0.447214, abs=1e-6)
    assert second.chi_squared == pytest.approx(20)
    assert second.gini == pytest.approx(0.25)
    third = distribution([1, 0, 0, 0])
    assert (third.jain, third.chi_squared, third.gini) == pytest.approx((0.25, 3, 0.75))
    assert distribution([100, 100, 100, 90]).jain == pytest.approx(0.998031, abs=1e-6)


@pytest.mark.parametrize("value", [0.1, 0.3, 1 / 3, 7, 1e300, 3e-310])
def test_rounding_errors_do_not_lead_out_of_the_range(value: float) -> None:
    for n in range(1, 60):
        even, uneven = distribution([value] * n), distribution([value] + [0] * (n - 1))
        assert even.peak_to_mean == pytest.approx(1)
        assert even.entropy == pytest.approx(1)
        assert uneven.peak_to_mean == pytest.approx(n)
        for found in (even, uneven):
            assert 1 <= found.peak_to_mean <= n
            assert 0 <= found.entropy <= 1


def plain(counts: list[int]) -> tuple[float, float, float, float, float]:
    """The definitions, written out with exact fractions where they are rational."""
    n, total = len(counts), sum(counts)
    squares = sum(x * x for x in counts)
    jain = Fraction(total**2, n * squares)
    gini = Fraction(sum((2 * i - n - 1) * x for i, x in enumerate(sorted(counts), 1)), n * total)
    peak = Fraction(max(counts) * n, total)
    mean = Fraction(total, n)
    chi = sum((x - mean) ** 2 for x in counts) / mean
    parts = [x / total for x in counts if x]
    entropy = -sum(p * log(p) for p in parts) / log(n) if n > 1 else 1.0
    return float(jain), float(gini), float(peak), float(chi), entropy


@given(COUNTS.filter(any))
def test_the_metrics_are_as_defined(counts: list[int]) -> None:
    found = distribution(counts)
    jain, gini, peak, chi, entropy = plain(counts)
    assert found.jain == pytest.approx(jain)
    assert found.gini == pytest.approx(gini, abs=1e-12)
    assert found.peak_to_mean == pytest.approx(peak)
    assert found.chi_squared == pytest.approx(chi, abs=1e-9)
    assert found.entropy == pytest.approx(entropy, abs=1e-12)
    assert found.jain == pytest.approx(1 / (1 + found.variation**2))


@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(1, 9)), min_size=1, max_size=9).filter(
        lambda pairs: any(count for count, _ in pairs)
    )
)
def test_with_weights_the_count_per_weight_is_measured(pairs: list[tuple[int, int]]) -> None:
    counts, weights = [x for x, _ in pairs], [w for _, w in pairs]
    found = distribution(counts, weights)
    scaled = [x * 2520 // w for x, w in pairs]  # 2520 is a multiple of 1 to 9
    jain, gini, peak, _, entropy = plain(scaled)
    assert found.jain == pytest.approx(jain)
    assert found.gini == pytest.approx(gini, abs=1e-12)
    assert found.peak_to_mean == pytest.approx(peak)
    assert found.entropy == pytest.approx(entropy, abs=1e-12)
    expected = [Fraction(sum(counts) * w, sum(weights)) for w in weights]
    chi = sum((x - e) ** 2 / e for x, e in zip(counts, expected, strict=True))
    assert found.chi_squared == pytest.approx(float(chi), abs=1e-9)
    assert list(found.ratios.values()) == pytest.approx(
        [float(x / e) for x, e in zip(counts, expected, strict=True)]
    )


@given(COUNTS, st.randoms(use_true_random=False), st.integers(1, 10**6))
def test_neither_order_nor_unit_matters(counts: list[int], rng: Random, unit: int) -> None:
    shuffled = counts.copy()
    rng.shuffle(shuffled)
    found, other = distribution(counts), distribution([x * unit for x in shuffled])
    for name in ("jain", "gini", "peak_to_mean", "variation", "entropy"):
        assert getattr(found, name) == pytest.approx(getattr(other, name), abs=1e-9)
    assert other.chi_squared == pytest.approx(found.chi_squared * unit, abs=1e-6)


@given(COUNTS)
def test_the_metrics_are_within_their_ranges(counts: list[int]) -> None:
    n, found = len(counts), distribution(counts)
    assert 1 / n - 1e-12 <= found.jain <= 1
    assert 0 <= found.gini <= 1 - 1 / n + 1e-12
    assert 1 - 1e-12 <= found.peak_to_mean <= n + 1e-12
    assert 0 <= found.entropy <= 1 + 1e-12
    assert 0 <= found.p_value <= 1


def test_mappings_sequences_and_arrays_are_the_same() -> None:
    by_name = distribution(Counter(a=4, b=6), MappingProxyType({"b": 2, "a": 1}))
    assert list(by_name.ratios) == ["b", "a"]
    assert by_name.ratios == pytest.approx({"b": 0.9, "a": 1.2})
    numbered = distribution([6, 4], (2, 1))
    assert list(numbered.ratios) == [0, 1]
    for same in (np.array([6, 4]), np.array([6.0, 4.0]), (6, 4), array("d", [6, 4])):
        assert distribution(same, np.array([2, 1])).jain == numbered.jain
    assert distribution(np.array([6, 4]), [2, 1]) == numbered
    assert distribution({"a": 3}, {"a": 1, "b": 1}).counts == {"a": 3, "b": 0}


def test_edges() -> None:
    one = distribution({"a": 7})
    assert (one.jain, one.peak_to_mean, one.entropy, one.p_value, one.gini) == (1, 1, 1, 1, 0)
    assert "nothing to compare" in one.warning
    nothing = distribution({"a": 0, "b": 0}, {"a": 1, "b": 2})
    assert nothing.shares == nothing.ratios == {"a": 0.0, "b": 0.0}
    assert (nothing.jain, nothing.peak_to_mean) == (nothing.p_value, nothing.entropy) == (1, 1)
    assert (nothing.chi_squared, nothing.gini, nothing.variation) == (0, 0, 0)
    assert nothing.warning == "all counts are 0, so nothing is measured"
    closed = distribution({"old": 3, "new": 3}, {"old": 0, "new": 1})
    assert (closed.ratios, closed.chi_squared, closed.p_value) == ({"old": inf, "new": 0.5}, inf, 0)
    assert "'old' has weight 0" in closed.warning
    only_closed = distribution({"old": 3}, {"old": 0, "new": 1})
    assert (only_closed.ratios["new"], only_closed.jain, only_closed.chi_squared) == (0, 1, inf)
    quiet = distribution({"old": 0, "a": 400, "b": 430}, {"old": 0, "a": 1, "b": 1})
    assert quiet.ratios["old"] == 0
    assert quiet.p_value == pytest.approx(distribution([400, 430]).p_value)
    assert quiet.warning == ""


@pytest.mark.parametrize("size", [1e300, 5e-324, 1e-300, 10**300, Fraction(1, 3)])
def test_very_large_and_very_small_numbers(size: Any) -> None:
    found = distribution([size * 1, size * 1, size * 0], [1, 1, 1])
    assert found.jain == pytest.approx(2 / 3)
    assert found.peak_to_mean == pytest.approx(1.5)
    weighted = distribution([1, 2], [size, size])
    assert weighted.jain == pytest.approx(0.9)
    assert weighted.ratios == pytest.approx({0: 2 / 3, 1: 4 / 3})
    mixed = distribution([1e300, 1], [5e-324, 1e300])
    assert mixed.jain == pytest.approx(0.5)
    assert isfinite(mixed.gini)


def test_independent_picks_have_ordinary_p_values() -> None:
    rng, low = Random(3), 0
    for _ in range(200):
        counts = Counter(rng.choices("abcde", (1, 2, 3, 4, 5), k=500))
        found = distribution(counts, dict(zip("abcde", (1, 2, 3, 4, 5), strict=True)))
        low += found.p_value < 0.1
        if 0.001 < found.p_value < 0.999:
            assert found.warning == ""
    assert 8 <= low <= 34


def test_the_warnings() -> None:
    lb = RoundRobin(["a", "b", "c"])
    assert "rotation" in distribution(Counter(lb.pick() for _ in range(300))).warning
    ring = HashRing([str(number) for number in range(10)])
    picked = np.bincount(ring.pick_many(ring.hash_many(range(100_000))), minlength=10)
    rung = distribution(picked)
    assert rung.p_value < 1e-50
    assert rung.variation < 0.2
    assert "ring" in rung.warning
    assert "expected count is 2.5, below 5" in distribution([2, 3, 3, 2]).warning
    assert "not whole" in distribution([20.5, 19.5]).warning
    assert distribution([480, 520]).warning == ""


WRONG: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "unknown": (lambda: distribution({"z": 1}, {"a": 1}), UnknownBackend, "'z'"),
    "empty": (lambda: distribution({}), InvalidSetting, r"\{\}"),
    "empty list": (lambda: distribution([]), InvalidSetting, r"\[\]"),
    "empty weights": (lambda: distribution({}, {}), InvalidWeight, r"\{\}"),
    "no weight": (lambda: distribution([1, 2], [0, 0]), InvalidWeight, r"\[0, 0\]"),
    "lengths": (lambda: distribution([1, 2], [1]), InvalidSetting, "2 counts and 1 weights"),
    "more weights": (lambda: distribution([1], [1, 2]), InvalidSetting, "1 counts and 2 weights"),
    "both kinds": (lambda: distribution({"a": 1}, [1]), TypeError, "both"),  # type: ignore[call-overload]  # invalid
    "str": (lambda: distribution("123"), TypeError, "'123'"),  # type: ignore[arg-type]  # invalid
    "set": (lambda: distribution({1, 2}), TypeError, r"\{1, 2\}"),  # type: ignore[call-overload]  # invalid
    "None": (lambda: distribution(None), TypeError, "None"),  # type: ignore[call-overload]  # invalid
    "number": (lambda: distribution(3), TypeError, "3"),  # type: ignore[call-overload]  # invalid
    "matrix": (lambda: distribution(np.ones((2, 2))), InvalidSetting, r"\(2, 2\)"),
    "dimensionless": (lambda: distribution(np.array(3)), InvalidSetting, r"\(\)"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_invalid_arguments(wrong: str) -> None:
    call, error, message = WRONG[wrong]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("value", [-1, nan, inf, -inf, 1.1e300, 10**400, True, "1", None, 1j])
def test_invalid_counts_and_weights_are_named(value: Any) -> None:
    for counts in ({"a": 1, "b": value}, [1, value]):
        with pytest.raises(InvalidSetting, match=r"the count of ('b'|1) must be"):
            distribution(counts)
    with pytest.raises(InvalidWeight, match="weight of 'b'"):
        distribution({"a": 1}, {"a": 1, "b": value})
    with pytest.raises(BalancersError):
        distribution(np.array([1, value], dtype=object))


def test_it_prints_a_short_table() -> None:
    found: Distribution[int] = distribution(range(1, 101))
    assert len(str(found).splitlines()) == 22
    assert str(found).splitlines()[-1] == "… and 80 more"
    assert str(distribution({"web": 12, ("h", 80): 4})).splitlines() == [
        "backend    count  share  fair  ratio",
        "web           12   0.75   0.5    1.5",
        "('h', 80)      4   0.25   0.5    0.5",
    ]


EXTREME = st.sampled_from([0, 5e-324, 1e-300, 0.1, 1, 7, 1e18, 1e300]) | st.floats(0, 1e300)


@given(st.lists(st.tuples(EXTREME, EXTREME), min_size=1, max_size=6))
def test_no_valid_numbers_raise_or_leave_the_ranges(pairs: list[tuple[float, float]]) -> None:
    counts, weights = [x for x, _ in pairs], [w for _, w in pairs]
    if not any(weights):
        with pytest.raises(InvalidWeight):
            distribution(counts, weights)
        return
    found, n = distribution(counts, weights), sum(weight > 0 for weight in weights)
    assert 1 / n - 1e-9 <= found.jain <= 1
    assert 0 <= found.gini <= 1 - 1 / n + 1e-9
    assert 1 - 1e-9 <= found.peak_to_mean <= n + 1e-9
    assert 0 <= found.entropy <= 1 + 1e-9
    assert found.chi_squared >= 0
    assert 0 <= found.p_value <= 1
    assert sum(found.fair.values()) == pytest.approx(1)
    assert sum(found.shares.values()) == pytest.approx(1 if any(counts) else 0)
    assert all(ratio >= 0 for ratio in found.ratios.values())
    assert str(found)
    exact = [Fraction(x) / Fraction(w) for x, w in pairs if w]
    if any(exact):
        total, squares = sum(exact), sum(y * y for y in exact)
        assert found.jain == pytest.approx(float(total**2 / (n * squares)))
        assert found.peak_to_mean == pytest.approx(float(max(exact) * n / total))
