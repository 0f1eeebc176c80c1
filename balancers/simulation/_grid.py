"""Rounds times to a binary grid, on which sums and differences of times are exact.

A float64 stores every multiple of 2⁻³⁰ s up to 2²³ s exactly.  So the order in which times are
added does not matter, and two ways to compute the same time give the same float.
"""

from math import isfinite

import numpy as np
from numpy.typing import NDArray

__all__ = ["LATEST", "TICK", "TICKS", "on_grid", "served", "tick"]

TICKS = 2.0**30
"""The number of ticks in one second."""
TICK = 2.0**-30
"""The distance of two neighbouring times of the grid, in seconds: about one nanosecond."""
LATEST = 2.0**22
"""The latest time of a simulation in seconds, about 48 days.  Sums of two such times are exact."""


def on_grid(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return times rounded to the nearest tick, as a new array; O(n).

    >>> on_grid(np.array([0.5, 0.1, 1e-10])).tolist() == [0.5, tick(0.1), 0.0]
    True
    """
    rounded = seconds * TICKS
    np.rint(rounded, out=rounded)
    rounded *= TICK
    return rounded


def served(
    works: NDArray[np.float64], speeds: NDArray[np.float64] | np.float64
) -> NDArray[np.float64]:
    """Return how long works take at some speeds, on the grid; O(n).

    >>> served(np.array([1.0, 1e300]), np.array([4.0, 1e-300])).tolist()
    [0.25, inf]
    """
    with np.errstate(over="ignore"):
        return on_grid(works / speeds)


def tick(seconds: float) -> float:
    """Return a time rounded to the nearest tick.  Infinity and NaN are returned unchanged.

    >>> tick(0.1) == 0.1, abs(tick(0.1) - 0.1) < TICK / 2, tick(0.75)
    (False, True, 0.75)
    """
    ticks = seconds * TICKS
    return round(ticks) * TICK if isfinite(ticks) else seconds
