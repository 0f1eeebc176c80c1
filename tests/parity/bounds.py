"""The bound for counts of random answers: four standard deviations.

A recorded count of ``n`` independent answers with the exact probability ``p`` passes if it lies
within four standard deviations of ``n·p``, of which each is ``√(n·p·(1 - p))``.  The normal
distribution does not fit where ``n·p`` or ``n·(1 - p)`` is small, so a count beyond also passes if
the exact binomial probability of being at least as far on that side is more than that of four
standard deviations of a normal distribution, 3.17e-5.  An answer of probability 0 must not occur.
"""

import math
from collections.abc import Mapping
from fractions import Fraction
from itertools import product

__all__ = ["SIGMAS", "Answer", "beyond", "joined"]

SIGMAS = 4

Answer = frozenset[str]
"""The set of addresses in one answer."""


def beyond(
    counts: Mapping[Answer, int],
    odds: Mapping[Answer, Fraction],
    total: int | None = None,
    *,
    sigmas: int = SIGMAS,
) -> str:
    """Return which count breaks the bound, or an empty text."""
    rare = 0.5 * math.erfc(sigmas / math.sqrt(2))
    number = sum(counts.values())
    if total is not None and number != total:
        return f"{number} answers are counted of {total}"
    if sum(odds.values()) != 1:
        return f"the probabilities add up to {float(sum(odds.values()))}, not 1"
    for answer in [*odds, *(answer for answer in counts if answer not in odds)]:
        count, odd = counts.get(answer, 0), float(odds.get(answer, 0))
        expected, deviation = number * odd, math.sqrt(number * odd * (1 - odd))
        far = abs(count - expected)
        if far > sigmas * deviation and (odd in (0.0, 1.0) or _tail(count, number, odd) < rare):
            bound = f"{expected:.1f} ± {sigmas * deviation:.1f}"
            return f"{' '.join(sorted(answer))}: {count} of {number}, beyond {bound}"
    return ""


def _tail(count: int, number: int, odd: float) -> float:
    """Return the probability of a count at least as far from the mean on its side."""
    upper = count > number * odd
    rest = range(count, number + 1) if upper else range(count + 1)
    return math.fsum(
        math.exp(
            math.lgamma(number + 1)
            - math.lgamma(k + 1)
            - math.lgamma(number - k + 1)
            + k * math.log(odd)
            + (number - k) * math.log1p(-odd)
        )
        for k in rest
    )


def joined(parts: list[Mapping[Answer, Fraction]]) -> dict[Answer, Fraction]:
    """Return the probabilities of the unions of independent answers."""
    together: dict[Answer, Fraction] = {}
    for chosen in product(*(part.items() for part in parts)):
        answer = Answer().union(*(part for part, _ in chosen))
        odd = math.prod((odd for _, odd in chosen), start=Fraction(1))
        together[answer] = together.get(answer, Fraction(0)) + odd
    return together
