"""Computes with numbers as the decimals that they are printed as."""

from fractions import Fraction
from numbers import Rational

__all__ = ["exact"]


def exact(value: float) -> int | Fraction:
    """Return the decimal that a float is printed as; O(digits).  A rational number is unchanged.

    The float 0.1 is slightly more than a tenth, but it is printed as 0.1.  So users mean a tenth.

    >>> exact(0.1), exact(3)
    (Fraction(1, 10), 3)
    """
    given: object = value
    if isinstance(given, int):
        return int(given)
    if isinstance(given, Rational):
        return Fraction(int(given.numerator), int(given.denominator))
    return Fraction(repr(float(value)))
