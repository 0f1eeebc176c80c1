"""Computes quantiles of Student's t distribution, without scipy."""

from math import cos, fsum, isinf, pi, sin, sqrt, tan
from statistics import NormalDist

__all__ = ["student_quantile"]

_SERIES = 500
"""Up to this number of degrees of freedom, the distribution is summed term by term."""
_STEPS = 100


def student_quantile(confidence: float, degrees: float) -> float:
    """Return the t for which ``|T| <= t`` has the probability ``confidence``; O(degrees).

    ``confidence`` is between 0 and 1, and ``degrees`` an integer of 1 or more, or infinite.

    >>> round(student_quantile(0.95, 7), 4), round(student_quantile(0.95, float("inf")), 4)
    (2.3646, 1.96)

    The finite series are equations 26.7.3 and 26.7.4 of Abramowitz and Stegun, "Handbook of
    Mathematical Functions" (1964), and the expansion for many degrees of freedom is 26.7.5.
    """
    if degrees > _SERIES:
        return _expansion(NormalDist().inv_cdf((1 + confidence) / 2), degrees)
    low, high = 0.0, pi / 2  # of the angle whose tangent is t / sqrt(degrees)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _probability(middle, int(degrees)) < confidence:
            low = middle
        else:
            high = middle
    return tan(low) * sqrt(degrees)


def _probability(angle: float, degrees: int) -> float:
    """Return the probability of ``|T| <= sqrt(degrees) * tan(angle)``."""
    square = cos(angle) ** 2
    odd = degrees % 2
    term = cos(angle) if odd else 1.0
    terms: list[float] = []
    for factor in range(1 + odd, degrees, 2):
        terms.append(term)
        term *= square * factor / (factor + 1)
    total = sin(angle) * fsum(terms)
    return (angle + total) * 2 / pi if odd else total


def _expansion(normal: float, degrees: float) -> float:
    """Return the quantile from that of the normal distribution."""
    if isinf(degrees):
        return normal
    z = normal
    return fsum(
        (
            z,
            (z**3 + z) / (4 * degrees),
            (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2),
            (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3),
        )
    )
