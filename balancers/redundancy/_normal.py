"""Computes how unlikely a value of a normal distribution is, also where its tail underflows."""

from math import erfc, log, log1p, pi, sqrt

__all__ = ["phi_of", "quantile_of"]

_ROOT = sqrt(2.0)
_PER_DECADE = 1 / log(10.0)
_FAR = 25.0
"""From here on, the asymptotic series of the tail has an error below the precision of a float."""
_FARTHEST = 1e150
"""Its square is a finite float.  Everything beyond counts as this many standard deviations."""
_LOWEST, _HIGHEST = -40.0, 1e4


def phi_of(deviations: float) -> float:
    """Return -log10 of the chance that a normal value is more than ``deviations`` above the mean.

    ``deviations`` is in standard deviations.  The result is finite, 0 or more, and except for
    rounding it never falls when ``deviations`` rises; O(1).

    >>> phi_of(0.0) == -log(0.5) / log(10.0), round(phi_of(5.612), 3), phi_of(1e300) < 1e300
    (True, 8.0, True)
    """
    if deviations < 0:
        return -log1p(-0.5 * erfc(-deviations / _ROOT)) * _PER_DECADE
    if deviations < _FAR:
        return -log(0.5 * erfc(deviations / _ROOT)) * _PER_DECADE
    deviations = min(deviations, _FARTHEST)
    inverse = 1 / (deviations * deviations)
    series = -inverse * (1 - inverse * (3 - inverse * (15 - inverse * (105 - inverse * 945))))
    density = 0.5 * deviations * deviations + log(deviations * sqrt(2 * pi))
    return (density - log1p(series)) * _PER_DECADE


def quantile_of(phi: float) -> float:
    """Return the least deviation whose :func:`phi_of` is ``phi`` or more; ``phi`` is up to 1e6.

    >>> round(quantile_of(8.0), 3)
    5.612
    """
    low, high = _LOWEST, _HIGHEST
    while True:
        middle = (low + high) / 2
        if not low < middle < high:
            return high
        if phi_of(middle) < phi:
            low = middle
        else:
            high = middle
