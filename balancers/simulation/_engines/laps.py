"""Finds repetitions in the places of requests.  Round robin repeats one lap over all its backends.

Sums and maxima over laps need no sorting: the requests are rows, and each place is a column.
"""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["lap_of", "sums"]


def lap_of(places: NDArray[np.intp], size: int) -> int:
    """Return after how many requests the places repeat, or 0; O(requests) if they do.

    Within these requests, no place appears twice.  All places are below ``size``.

    >>> lap_of(np.array([2, 0, 1, 2, 0, 1, 2]), size=3), lap_of(np.array([0, 0, 1]), size=3)
    (3, 0)
    """
    again = np.flatnonzero(places[1 : size + 1] == places[:1])
    lap = int(again[0]) + 1 if len(again) else 0
    if not lap or np.bincount(places[:lap]).max() > 1:
        return 0
    return lap if np.array_equal(places[lap:], places[:-lap]) else 0


def sums(places: NDArray[np.intp], seconds: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the sum of the seconds at each place, an array of length ``size``; O(requests).

    >>> sums(np.array([2, 0, 2, 0, 2]), np.array([1.0, 2.0, 3.0, 4.0, 5.0]), size=4).tolist()
    [6.0, 0.0, 9.0, 0.0]
    """
    lap = lap_of(places, size)
    if not lap:
        found: Any = np.bincount(places, seconds, size)
        return cast("NDArray[np.float64]", found)
    whole = len(places) // lap * lap
    total = np.zeros(size)
    total[places[:lap]] = seconds[:whole].reshape(-1, lap).sum(axis=0)
    total[places[whole:]] += seconds[whole:]
    return total
