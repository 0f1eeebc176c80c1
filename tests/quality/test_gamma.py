"""The tail of chi-square agrees with exact sums, far into the tail and for many degrees."""

from decimal import Decimal, localcontext
from itertools import pairwise
from math import erfc, inf, sqrt
from random import Random

import pytest

from balancers.quality._gamma import chi_squared_tail, upper_gamma
from tests.depth import runs

CRITICAL = [
    (9, 27.877, 1e-3), (9, 44.811, 1e-6), (99, 148.23, 1e-3), (99, 180.79, 1e-6),
    (999, 1142.85, 1e-3), (999, 1226.05, 1e-6),
]  # fmt: skip
ROOT_OF_PI = Decimal("1.772453850905516027298167483341145182797549")


@pytest.mark.parametrize(("freedom", "chi_squared", "p"), CRITICAL)
def test_critical_values(freedom: int, chi_squared: float, p: float) -> None:
    assert chi_squared_tail(chi_squared, freedom) == pytest.approx(p, rel=1e-3, abs=0)


def exact_tail(chi_squared: float, freedom: int) -> float:
    """The tail as its finite sum of positive terms, in 40 digits.

    The terms are those of a Poisson distribution: for even degrees at whole numbers, for odd ones
    at halves, and then the sum begins with erfc.
    """
    with localcontext() as context:
        context.prec = 40
        x = Decimal(chi_squared) / 2
        if freedom % 2:
            total, divisor = Decimal(erfc(sqrt(chi_squared / 2))), Decimal("1.5")
            term = x.sqrt() * (-x).exp() * 2 / ROOT_OF_PI
        else:
            total, divisor = Decimal(0), Decimal(1)
            term = (-x).exp()
        for _ in range(freedom // 2):
            total += term
            term = term * x / divisor
            divisor += 1
        return float(total)


def test_the_tail_agrees_with_exact_sums() -> None:
    rng = Random(13)
    for _ in range(runs(400)):
        freedom = int(10 ** rng.uniform(0, 3.5))
        sigmas = rng.uniform(-6, 40)
        chi_squared = max(10 ** rng.uniform(-9, 3), freedom + sigmas * sqrt(2 * freedom))
        exact = exact_tail(chi_squared, freedom)
        if exact > 1e-300:
            assert chi_squared_tail(chi_squared, freedom) == pytest.approx(exact, rel=2e-12, abs=0)


@pytest.mark.parametrize("sigmas", [-4.0, 0.0, 3.0, 36.0])
def test_the_tail_with_very_many_degrees(sigmas: float) -> None:
    freedom = 100_000
    chi_squared = freedom + sigmas * sqrt(2 * freedom)
    exact = exact_tail(chi_squared, freedom)
    assert chi_squared_tail(chi_squared, freedom) == pytest.approx(exact, rel=1e-11, abs=0)


def test_a_million_degrees() -> None:
    exact = exact_tail(1_004_000.0, 1_000_000)
    assert chi_squared_tail(1_004_000.0, 1_000_000) == pytest.approx(exact, rel=1e-11, abs=0)


def test_the_ends() -> None:
    assert chi_squared_tail(0.0, 5) == chi_squared_tail(0.0, 0) == upper_gamma(3.0, 0.0) == 1.0
    assert chi_squared_tail(inf, 5) == chi_squared_tail(1e300, 5) == chi_squared_tail(9e9, 10**6)
    assert chi_squared_tail(inf, 5) == chi_squared_tail(3.0, 0) == 0.0
    assert chi_squared_tail(1e-300, 2) == chi_squared_tail(1.0, 10**6) == 1.0


def test_the_tail_never_rises_and_stays_a_probability() -> None:
    for freedom in (1, 2, 3, 31, 32, 33, 999):
        tails = [chi_squared_tail(freedom * step / 50, freedom) for step in range(200)]
        assert all(0 <= late <= early <= 1 for early, late in pairwise(tails))
