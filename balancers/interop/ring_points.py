"""Checks how many points a ring needs, and collects the points and their owners in arrays.

A point is a position on a hash ring.  Its owner is the server that gets the hashes near the point.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import shown
from balancers.errors import RingTooLarge

__all__ = ["check_ring_size", "points_and_owners"]


def points_and_owners(
    points: Iterable[Iterable[int]],
) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """Return the points of several owners in one array, and the owner of each point; O(points).

    ``points`` has one iterable per owner.  The first array contains all points in that order.  The
    second array contains, for each point, the index of its owner in ``points``.

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
    """Check the size of a ring before a backend gets a new weight.

    ``needed`` is the number of points that the ring needs with that weight, and ``most`` is the
    limit.  ``unit`` is the word for points in the message.  Raises RingTooLarge if ``needed`` is
    greater than ``most``.

    >>> check_ring_size("a", 9, needed=1440, most=1000)
    Traceback (most recent call last):
    balancers.errors.RingTooLarge: with weight 9 for 'a' the ring needs 1440 points, more than 1000
    """
    if needed > most:
        raise RingTooLarge(
            f"with weight {shown(weight)} for {shown(backend)} the ring needs "
            f"{shown(needed)} {unit}, more than {shown(most)}"
        )
