"""Converts arguments to numbers, and names the argument that is no valid number."""

import re
from argparse import ArgumentTypeError
from collections.abc import Callable

from balancers._internal.checks import shown

__all__ = ["positive", "real", "share", "whole", "whole_number"]

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_MOST_DIGITS = 300
_LARGEST = 1e9


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a function that converts a text to an int from ``least`` to ``most``."""

    def convert(text: str) -> int:
        value = whole_number(text)
        if value is None or not least <= value <= most:
            raise ArgumentTypeError(
                f"must be a whole number from {least} to {most}, not {shown(text)}"
            )
        return value

    return convert


def whole_number(text: str) -> int | None:
    """Return the int of a text of up to 300 decimal digits, or None for any other text.

    >>> whole_number("007"), whole_number("-1"), whole_number("1_000")
    (7, None, None)
    """
    return int(text) if _DIGITS.fullmatch(text) and len(text) <= _MOST_DIGITS else None


def real(text: str) -> float | None:
    """Return the number of a text, or None if the text is not a decimal number.

    >>> real("2"), real("0.5"), real("nan"), real("1_000")
    (2, 0.5, None, None)
    """
    if not _NUMBER.fullmatch(text):
        return None
    value = whole_number(text)
    return float(text) if value is None else value


def positive(text: str) -> float:
    """Return a text as a positive number up to 10⁹."""
    value = real(text)
    if value is None or not 0 < value <= _LARGEST:
        raise ArgumentTypeError(f"must be a positive number up to 1e9, not {shown(text)}")
    return value


def share(text: str) -> float:
    """Return a text as a number above 0 and below 1."""
    value = real(text)
    if value is None or not 0 < value < 1:
        raise ArgumentTypeError(f"must be above 0 and below 1, not {shown(text)}")
    return value
