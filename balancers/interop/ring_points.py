"""The points of a ring: their number, and their owners as arrays."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from balancers.errors import RingTooLarge

__all__ = ["check_ring_size", "points_and_owners"]


def points_and_owners(
    points: Iterable[Iterable[int]],
) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """Concatenate the points of several owners, in order; O(points).

    Return all points, and for each point the index of its owner.

    >>> points_and_owners([[30, 10], [], [20]])
    (array([30, 10, 20], dtype=uint64), array([0, 0, 2]))
    """
    joined: list[int] = []
    owners: list[int] = []
    for owner, owned in enumerate(points):
        joined += owned
        owners += [owner] * (len(joined) - len(owners))
    return np.array(joined, dtype=np.uint64), np.array(owners, dtype=np.intp)


def check_ring_size(
    backend: object, weight: float | None, needed: int, most: int, unit: str = "points"
) -> None:
    """Raise RingTooLarge if a ring needs too many points with the new weight of a backend.

    >>> check_ring_size("a", 9, needed=1440, most=1000)
    Traceback (most recent call last):
    balancers.errors.RingTooLarge: with weight 9 for 'a' the ring needs 1440 points, more than 1000
    """
    if needed > most:
        raise RingTooLarge(
            f"with weight {weight!r} for {backend!r} the ring needs {needed} {unit}, "
            f"more than {most}"
        )
