"""Computes the incomplete gamma function, for the p-value of the chi-square test."""

from itertools import count
from math import exp, inf, lgamma, log, log1p, pi, sqrt

__all__ = ["chi_squared_tail", "upper_gamma"]

_EPSILON = 1e-16
"""The relative size of a term that no longer changes a sum."""
_TINY = 1e-300
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
"""The coefficients of the series of lgamma(a + 1) - (a + ½)·ln a + a - ½·ln 2π in 1/a."""
_SERIES_FROM = 16.0
_NEAR, _FAR = 0.1, 0.5
"""How far x / a is from 1 where other formulas become exact."""


def chi_squared_tail(chi_squared: float, freedom: int) -> float:
    """Return the probability that chi-square is this large or larger; O(√freedom).

    ``freedom`` is the number of degrees of freedom.  Without any, chi-square is 0.

    >>> round(chi_squared_tail(27.877, 9), 6), chi_squared_tail(0.0, 9)
    (0.001, 1.0)
    """
    if not freedom:
        return float(chi_squared <= 0)
    return upper_gamma(freedom / 2, chi_squared / 2)


def upper_gamma(a: float, x: float) -> float:
    """Return Q(a, x) = Γ(a, x) / Γ(a) for a > 0 and x ≥ 0, to about 12 digits.

    Below a + 1, a power series gives the lower part.  Above, a continued fraction gives the upper
    part, so that a very small result is exact to the same number of digits.
    Source: Press et al., "Numerical Recipes", 3rd edition, 2007, section 6.2.

    >>> round(upper_gamma(1.0, 2.0), 12) == round(exp(-2.0), 12)
    True
    """
    if x <= 0:
        return 1.0
    if x == inf:
        return 0.0
    scale = _poisson(a, x)
    if x < a + 1:
        return 1.0 - min(1.0, scale * _power_series(a, x))
    return scale * a * _continued_fraction(a, x) if scale else 0.0


def _poisson(a: float, x: float) -> float:
    """Return xᵃ·e⁻ˣ / Γ(a + 1) without the difference of large logarithms.

    Source: C. Loader, "Fast and accurate computation of binomial probabilities", 2000.
    """
    if a < _SERIES_FROM:
        error = lgamma(a + 1) - (a + 0.5) * log(a) + a - 0.5 * log(2 * pi)
    else:
        error = sum(c / a ** (2 * place + 1) for place, c in enumerate(_STIRLING))
    return exp(-_deviance(a, x) - error) / sqrt(2 * pi * a)


def _deviance(a: float, x: float) -> float:
    """Return x - a - a·ln(x / a), exact also where x is near a."""
    off = (x - a) / a
    if abs(off) > _NEAR:
        return x - a - a * (log(x) - log(a)) if abs(off) > _FAR else a * (off - log1p(off))
    ratio = off / (2 + off)  # ln(1 + off) = 2·(ratio + ratio³/3 + ratio⁵/5 + …)
    total, power, square = 0.0, ratio, ratio * ratio
    for odd in count(3, 2):
        power *= square
        if abs(power) <= _EPSILON * abs(total):
            break
        total += power / odd
    return a * (off * ratio - 2 * total)


def _power_series(a: float, x: float) -> float:
    """Return the sum 1 + x / (a + 1) + x² / ((a + 1)·(a + 2)) + … of all terms."""
    term = total = 1.0
    for step in count(1):
        term *= x / (a + step)
        total += term
        if term < _EPSILON * total:
            break
    return total


def _continued_fraction(a: float, x: float) -> float:
    """Return 1 / (x + 1 - a - 1·(1 - a) / (x + 3 - a - 2·(2 - a) / …)), by Lentz's method."""
    b = x + 1 - a
    c, d = inf, 1 / b
    value = d
    for step in count(1):
        numerator = -step * (step - a)
        b += 2
        d = 1 / (numerator * d + b or _TINY)
        c = b + numerator / c or _TINY
        value *= c * d
        if abs(c * d - 1) <= 4 * _EPSILON:
            break
    return value
