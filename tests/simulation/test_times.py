"""Summaries of times: exact counts, sums and extremes, and percentiles within their bound."""

import operator
import pickle
from copy import deepcopy
from fractions import Fraction
from math import ceil, inf, isnan, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.errors import InvalidSetting, InvalidTime
from balancers.simulation import Times
from balancers.simulation._grid import LATEST, TICK, on_grid, tick
from balancers.simulation._streams import stream
from balancers.simulation.times import TimesCounter, exact_ticks

LONGEST = 2 * LATEST
SECONDS = st.one_of(
    st.floats(0, LONGEST), st.floats(0, 10), st.sampled_from([0.0, TICK, 1.0, LONGEST])
)
MANY = st.lists(SECONDS, max_size=40)
PERCENTS = st.one_of(st.floats(0, 100), st.integers(0, 100))


@given(MANY, st.lists(PERCENTS, max_size=4))
def test_the_summary_of_a_list(seconds: list[float], percents: list[float]) -> None:
    times = Times.of(seconds)
    exact = sorted(tick(one) for one in seconds)
    assert times.count == len(exact)
    assert times.total_ticks == sum(int(one / TICK) for one in exact)
    if not exact:
        assert all(isnan(value) for value in (times.mean, times.minimum, times.percentile(50)))
        return
    assert times.mean == times.total_ticks / len(exact) * TICK
    assert (times.minimum, times.maximum) == (exact[0], exact[-1])
    assert (times.percentile(0), times.percentile(100)) == (exact[0], exact[-1])
    for percent, value in zip(percents, times.percentile(percents), strict=True):
        rank = max(1, ceil(Fraction(str(float(percent))) * len(exact) / 100))
        assert abs(value - exact[rank - 1]) <= exact[rank - 1] / 512


@given(st.lists(MANY, max_size=5), st.randoms(use_true_random=False))
def test_summaries_are_merged_in_any_order(parts: list[list[float]], rng: Any) -> None:
    whole = Times.of([one for part in parts for one in part])
    summaries = [Times.of(part) for part in parts]
    rng.shuffle(summaries)
    assert sum(summaries, Times()) == whole
    counter = TimesCounter()
    for part in parts:
        counter.add(on_grid(np.array(part, np.float64)))
    assert counter.times() == whole
    assert hash(counter.times()) == hash(whole)
    assert counter.times().digest() == whole.digest()


@given(MANY, MANY)
def test_equal_summaries_have_equal_content(ours: list[float], theirs: list[float]) -> None:
    one, other = Times.of(ours), Times.of(theirs)
    assert (one == other) == (one.digest() == other.digest())
    if sorted(map(tick, ours)) == sorted(map(tick, theirs)):
        assert one == other
    for same in (deepcopy(one), pickle.loads(pickle.dumps(one))):  # noqa: S301 - made here
        assert (same, same.digest(), hash(same)) == (one, one.digest(), hash(one))
        assert same + other == one + other


@given(MANY)
def test_the_histogram_counts_between_its_edges(seconds: list[float]) -> None:
    edges, counts = Times.of(seconds).histogram()
    rounded = on_grid(np.array(seconds, np.float64))
    if not seconds:
        assert edges.size == counts.size == 0
        return
    assert (np.diff(edges) > 0).all()
    assert counts[0] > 0
    assert counts[-1] > 0
    expected = [
        ((rounded >= low) & (rounded < high)).sum()
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
        if count
    ]
    assert expected == counts[counts > 0].tolist()
    assert counts.sum() == len(seconds)


def test_every_bin_is_within_the_bound() -> None:
    """The middle of a bin is at most 1/512 from each time in it, at both ends of each doubling."""
    edges = [
        2.0**power * (1 + place / 256) for power in range(-22, 22) for place in (0, 1, 128, 255)
    ]
    for low in edges:
        for time in (low, np.nextafter(low, 0), low * (1 + 1 / 300)):
            rounded = tick(float(time))
            between = Times.of(
                [rounded / 2, rounded, rounded, rounded * 2 if low < 2**20 else rounded]
            )
            assert abs(between.percentile(50) - rounded) <= rounded / 512


def test_percentiles_of_many_times_agree_with_sorting() -> None:
    seconds = on_grid((1 - stream(1, "service").random(200_001)) ** (-1 / 1.5))
    times = Times.of(seconds)
    ordered = np.sort(seconds)
    for percent in (0.01, 1, 50, 90, 99, 99.9, 99.99):
        rank = ceil(Fraction(str(percent)) * seconds.size / 100)
        assert times.percentile(percent) == pytest.approx(ordered[rank - 1], rel=1 / 512)


def test_a_percentile_is_of_the_number_as_it_is_written() -> None:
    """65.4 % of 500 times are 327 times, and with floats 327.00000000000006."""
    times = Times.of([1.0] * 327 + [100.0] * 173)
    assert 65.4 * 500 / 100 > 327
    assert times.percentile(65.4) == pytest.approx(1.0, rel=1 / 512)
    assert times.percentile(65.41) == pytest.approx(100.0, rel=1 / 512)


def test_sums_beyond_the_exact_floats() -> None:
    seconds = on_grid(stream(2, "service").random(100_000) * LONGEST)
    assert exact_ticks(seconds) == sum(int(one / TICK) for one in seconds.tolist())
    assert Times.of(seconds).total_ticks > 2**63
    assert exact_ticks(np.full(3, LONGEST)) == 3 * 2**53


@pytest.mark.parametrize("q", [-0.1, 100.1, nan, inf, "50", None, True, 10**400])
def test_bad_percentiles(q: Any) -> None:
    for times in (Times(), Times.of([1.0])):
        with pytest.raises(InvalidSetting, match="q must be"):
            times.percentile(q)
        with pytest.raises(InvalidSetting, match="q must be"):
            times.percentile([50, q])


@pytest.mark.parametrize(
    "seconds",
    [[-1.0], [0.0, nan], [inf], [LONGEST * 1.001], ["1"], [None], [True], [10**400], [[1], 2]],
)
def test_bad_times(seconds: Any) -> None:
    with pytest.raises(InvalidTime):
        Times.of(seconds)


@pytest.mark.parametrize("seconds", [None, 5.0, "12", b"12", bytearray(b"12")])
def test_times_are_iterable(seconds: Any) -> None:
    with pytest.raises(TypeError, match="times must be an iterable of seconds, not"):
        Times.of(seconds)


def test_nothing_but_a_summary_can_be_added() -> None:
    with pytest.raises(TypeError):
        operator.add(Times(), 1.0)
    assert Times() != []


def test_arrays_and_iterables_are_alike() -> None:
    array = np.array([3, 1, 2], np.int32)
    assert Times.of(array) == Times.of(iter([1, 2, 3])) == Times.of(array[::-1].astype(np.float32))
    assert Times.of(np.array([[1.0, 2.0], [3.0, 4.0]])).count == 4
    given_times = np.array([0.1])
    Times.of(given_times)
    assert given_times[0] == 0.1


def test_negative_zero_is_zero() -> None:
    zero, negative = Times.of([0.0]), Times.of([-0.0])
    assert zero == negative
    assert (hash(zero), zero.digest(), repr(zero)) == (
        hash(negative),
        negative.digest(),
        repr(negative),
    )


def test_a_summary_is_small() -> None:
    seconds = -np.log1p(-stream(3, "service").random(500_000))
    assert len(pickle.dumps(Times.of(seconds))) < 30_000
