"""Estimates a mean from independent runs, with and without control variates."""

from collections.abc import Sequence
from math import fsum, isfinite, sqrt
from typing import NamedTuple

__all__ = ["Estimate", "controlled", "plain"]

_LEAST_DEGREES = 4
"""Control variates leave at least this number of degrees of freedom."""
_VARIES = 1e-9
"""Controls are shares.  One whose values differ by less than this does not vary."""
_COLLINEAR = 1e-9


class Estimate(NamedTuple):
    """The estimated mean, its standard error, and the degrees of freedom of the error."""

    mean: float
    error: float
    degrees: int


def plain(values: Sequence[float]) -> Estimate:
    """Return the mean of at least two values."""
    count = len(values)
    mean = fsum(values) / count
    variance = fsum((value - mean) ** 2 for value in values) / (count - 1)
    return Estimate(mean, sqrt(variance / count), count - 1)


def controlled(values: Sequence[float], controls: Sequence[Sequence[float]]) -> Estimate:
    """Return the mean of the values where every control is 0, by linear regression.

    There are at most two controls.  The first ones that vary are used, as long as there are enough
    values.
    """
    count = len(values)
    used = [
        control
        for control in controls
        if all(map(isfinite, control)) and max(control) - min(control) > _VARIES
    ][: max(0, count - 1 - _LEAST_DEGREES)]
    if not used:
        return plain(values)
    mean = fsum(values) / count
    middles = [fsum(control) / count for control in used]
    rows = [[x - middle for x in one] for one, middle in zip(used, middles, strict=True)]
    rest = [value - mean for value in values]
    if len(rows) > 1:  # make the second control orthogonal to the first
        slope = _product(rows[0], rows[1]) / _product(rows[0], rows[0])
        left = [b - slope * a for a, b in zip(*rows, strict=True)]
        if _product(left, left) > _COLLINEAR * _product(rows[1], rows[1]):
            rows[1], middles[1] = left, middles[1] - slope * middles[0]
        else:
            del rows[1], middles[1]
    spread = 1 / count
    for row, middle in zip(rows, middles, strict=True):
        square = _product(row, row)
        slope = _product(row, rest) / square
        rest = [value - slope * x for value, x in zip(rest, row, strict=True)]
        mean -= slope * middle
        spread += middle**2 / square
    degrees = count - 1 - len(rows)
    return Estimate(mean, sqrt(_product(rest, rest) / degrees * spread), degrees)


def _product(one: Sequence[float], other: Sequence[float]) -> float:
    return fsum(a * b for a, b in zip(one, other, strict=True))
