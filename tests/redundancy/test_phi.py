"""phi against the exact tail, and the sums of intervals against exact arithmetic."""

from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise
from math import inf, isfinite, sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.redundancy import PhiDetector
from balancers.redundancy._intervals import Intervals
from balancers.redundancy._normal import phi_of, quantile_of
from tests.depth import runs

DIGITS = 80


def exact_phi(deviations: float) -> Decimal:
    """-log10 of the tail: by the series near the mean, by the continued fraction far from it."""
    with localcontext(prec=DIGITS):
        pi = Decimal(
            "3.14159265358979323846264338327950288419716939937510582097494459230781640628620"
        )
        y = Decimal(abs(deviations))
        density = (-y * y / 2).exp() / (2 * pi).sqrt()
        if y < 6:
            term = total = y
            for k in range(1, 400):
                term *= y * y / (2 * k + 1)
                total += term
            tail = Decimal("0.5") - density * total
        else:
            below = y
            for k in range(3000, 0, -1):
                below = y + k / below
            tail = density / below
        return -(tail if deviations >= 0 else 1 - tail).log10()


@pytest.mark.parametrize("start", range(-12, 60, 4))
def test_phi_is_the_exact_tail(start: int) -> None:
    rng = Random(start)
    for deviations in [float(start), *(start + 4 * rng.random() for _ in range(runs(40)))]:
        expected = exact_phi(deviations)
        assert abs(Decimal(phi_of(deviations)) - expected) <= Decimal("1e-13") * expected


@pytest.mark.parametrize("deviations", [24.9999999, 25.0, 37.5, 38.6, 100.0, 1234.5])
def test_phi_is_exact_where_the_tail_underflows(deviations: float) -> None:
    expected = exact_phi(deviations)
    assert abs(Decimal(phi_of(deviations)) - expected) <= Decimal("1e-14") * expected


@given(st.lists(st.floats(-1e308, 1e308), min_size=2))
def test_phi_is_finite_and_never_falls(deviations: list[float]) -> None:
    found = [phi_of(each) for each in sorted(deviations)]
    assert all(isfinite(phi) and phi >= 0 for phi in found)
    assert all(
        before <= after or before - after < 1e-12 * after for before, after in pairwise(found)
    )


@given(st.floats(1e-12, 1e6))
def test_the_quantile_is_the_least_deviation_that_reaches_phi(phi: float) -> None:
    quantile = quantile_of(phi)
    assert phi_of(quantile) >= phi
    assert phi_of(quantile - 1e-9 * max(1.0, abs(quantile))) < phi


def exact_estimate(intervals: list[float]) -> tuple[Fraction, Fraction]:
    """The mean and the variance of floats."""
    values = [Fraction(each) for each in intervals]
    mean = sum(values, Fraction(0)) / len(values)
    return mean, sum(((value - mean) ** 2 for value in values), Fraction(0)) / len(values)


def assert_exact(intervals: Intervals) -> None:
    """The sums are those of whole numbers of ticks, in the arithmetic of Python's ints."""
    tick = Fraction(intervals.tick)
    ticks = [Fraction(each) / tick for each in intervals.last]
    assert all(each.denominator == 1 for each in ticks)
    whole = [each.numerator for each in ticks]
    assert Fraction(intervals.total) == sum(whole) * tick
    assert Fraction(intervals.squares) == sum(each * each for each in whole) * tick * tick
    assert sum(each * each for each in whole) < 2**53


@pytest.mark.parametrize("window", [1, 2, 10, 1000])
def test_a_million_heartbeats_do_not_drift(window: int) -> None:
    """Long and short intervals alternate in phases, as sums of floats would not survive."""
    rng = Random(window)
    intervals = Intervals(window, first=1.0, least=1e-9, deviations=8.0, pause=0.0)
    recent: list[float] = []
    for _ in range(runs(100)):
        added: list[float] = []
        for _ in range(10):
            scale = 10 ** rng.uniform(-2, 2)
            added += [scale * rng.uniform(0.5, 2) for _ in range(1000)]
        for seconds in added:
            intervals.add(seconds)
        recent = added[-window:]
        assert_exact(intervals)
    mean, variance = exact_estimate(recent)
    found_mean, found_deviation = intervals.estimate()
    assert abs(Fraction(found_mean) - mean) <= intervals.tick
    assert abs(found_deviation - sqrt(variance)) <= intervals.tick + 1e-6 * found_mean


def test_a_million_regular_heartbeats_have_exact_sums() -> None:
    """All intervals are whole ticks here, so the estimate is the exact one."""
    rng = Random(1)
    intervals = Intervals(1000, first=1.0, least=1e-9, deviations=8.0, pause=0.0)
    ticks = [rng.randrange(30_000, 40_000) for _ in range(1_000_000)]
    for each in ticks:
        intervals.add(each * intervals.tick)
    assert list(intervals.last) == [each * intervals.tick for each in ticks[-1000:]]
    assert_exact(intervals)


@given(
    st.integers(1, 5),
    st.floats(1e-9, 1e9),
    st.lists(st.floats(1e-9, 1e12), min_size=1, max_size=20, unique=True),
)
def test_any_interval_can_be_added(window: int, first: float, seconds: list[float]) -> None:
    intervals = Intervals(window, first, least=0.1, deviations=5.0, pause=1.0)
    for i, each in enumerate(seconds):
        patience = intervals.add(each)
        mean, deviation = intervals.estimate()
        assert 1.0 <= patience < inf
        recent = [0.75 * first, 1.25 * first, *seconds[: i + 1]][-window:]
        exact_mean, variance = exact_estimate(recent)
        assert abs(Fraction(mean) - exact_mean) <= intervals.tick + 1e-9 * float(exact_mean)
        exact_deviation = max(0.1, sqrt(variance))
        assert abs(deviation - exact_deviation) <= intervals.tick + 1e-6 * (mean + exact_deviation)


@pytest.mark.parametrize("window", [1, 2, 3, 1000])
@pytest.mark.parametrize("first", [1e-9, 1.0, 1e9])
def test_intervals_of_any_length_follow_each_other(window: int, first: float) -> None:
    intervals = Intervals(window, first, least=0.1, deviations=5.0, pause=0.0)
    for seconds in (1e-9, 1e300, 1e-300, 1e290, 1.0, 5e-324):
        assert isfinite(intervals.add(seconds))
        assert_exact(intervals)


def test_a_sender_that_slows_down_without_end() -> None:
    """Each interval is just short enough, and the next one may be a thousand times longer."""
    detector: PhiDetector[str] = PhiDetector(1e6, window=2, pause=0.0, own_pause=inf)
    detector.add("a", now=0.0)
    now = 0.0
    while detector.due < 1e90:
        now += (detector.due - now) * (1 - 1e-9)
        assert detector.heartbeat("a", now) == ()
    assert detector.tick(detector.due * (1 - 1e-9)) == ()
    assert isfinite(detector.phi("a", 1e300))


@given(
    st.integers(1, 30),
    st.lists(st.floats(0.01, 2.0), min_size=1, max_size=60),
    st.floats(0.5, 20.0),
    st.sampled_from([0.0, 0.5, 3.0]),
)
def test_due_is_where_phi_reaches_the_threshold(
    window: int, steps: list[float], threshold: float, pause: float
) -> None:
    detector: PhiDetector[str] = PhiDetector(threshold, window=window, pause=pause, own_pause=inf)
    detector.add("a", now=0.0)
    now = 0.0
    for step in steps:
        now += step
        if now >= detector.due:
            detector.tick(now)
        detector.heartbeat("a", now)
        due = detector.due
        assert abs(detector.phi("a", due) - threshold) < 1e-3 * threshold
        assert detector.phi("a", now) <= detector.phi("a", now + 0.1) <= detector.phi("a", due + 1)


def test_phi_of_a_huge_silence_is_finite() -> None:
    detector: PhiDetector[str] = PhiDetector(least_deviation=1e-9)
    detector.add("a", now=-1e300)
    for now in (-1e300, 0.0, 1e300):
        assert 0 <= detector.phi("a", now) < 1e300
    assert detector.phi("a", 1e300) > 1e200
