"""Computes with numbers as the decimals that they are printed as."""

from fractions import Fraction
from numbers import Rational

__all__ = ["decimal_of", "exact"]


def decimal_of(value: float) -> tuple[int, int]:
    """Return the digits and the number of decimal places of a float as it is printed; O(digits).

    >>> decimal_of(0.25), decimal_of(1e23), decimal_of(1e-7)
    ((25, 2), (1, -23), (1, 7))

    Raises ValueError for NaN and infinity.
    """
    mantissa, _, exponent = repr(float(value)).partition("e")
    integral, _, fraction = mantissa.partition(".")
    fraction = fraction.rstrip("0")
    return int(integral + fraction), len(fraction) - int(exponent or 0)


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
    digits, places = decimal_of(value)
    return Fraction(digits, 10**places) if places > 0 else Fraction(digits * 10**-places)
