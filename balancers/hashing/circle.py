"""A circle of 64-bit points, each somebody's: what every ring of this package is made of."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B

__all__ = ["PER_CELL", "Circle", "sorted_order"]

PER_CELL = 8
"""Points a cell, on average, when built (measured)."""


class Circle(Generic[B]):
    """Points on a circle of 64 bits and their owners, cut into cells of some eight points.

    Of equal points the first in order counts.  A layout decides where points are, and a lookup
    rule which of them a hash belongs to: both are the caller's.

    >>> circle = Circle([(10, "a"), (20, "b"), (30, "a")])
    >>> circle.at(11), circle.at(31), circle.before(10)
    ((20, 'b'), (10, 'a'), (30, 'a'))
    >>> list(circle.walk(20))
    ['b', 'a', 'a']

    Cost: ``at`` and ``before`` O(1) expected, ``add`` and ``take`` likewise, building O(V log V).
    """

    __slots__ = ("cells", "owners", "shift", "size")

    def __init__(self, points: Sequence[tuple[int, B]] = ()) -> None:
        self.clear()
        if points:
            self.build(
                np.array([point for point, _ in points], dtype=np.uint64),
                np.arange(len(points)),
                [owner for _, owner in points],
            )

    def clear(self) -> None:
        """Take every point out."""
        self.size = 0
        self.shift = 64
        self.cells: list[tuple[int, ...]] = [()]
        """Points, ascending, of each 1/2ᵏ of the circle; a hash's is ``hash >> shift``."""
        self.owners: list[tuple[B, ...]] = [()]
        """Whose these are, and last, unless the circle is empty, whose the first beyond is."""

    def build(
        self, points: NDArray[np.uint64], whose: NDArray[np.intp], owners: Sequence[B]
    ) -> None:
        """Begin anew with these points; point i is ``owners[whose[i]]``'s; O(V log V)."""
        self.clear()
        self.size = len(points)
        if not self.size:
            return
        order = sorted_order(points)
        points = points[order]
        named = np.fromiter(owners, dtype=object, count=len(owners))
        owned: list[B] = named[whose[order]].tolist()
        bits = (len(owned) // PER_CELL).bit_length()
        self.shift = 64 - bits
        borders = np.arange(1, 1 << bits, dtype=np.uint64) << np.uint64(self.shift)
        edges: list[int] = [0, *np.searchsorted(points, borders).tolist(), len(owned)]
        known: list[int] = points.tolist()
        self.cells = [tuple(known[a:b]) for a, b in pairwise(edges)]
        owned.append(owned[0])
        self.owners = [tuple(owned[a : b + 1]) for a, b in pairwise(edges)]

    def at(self, digest: int) -> tuple[int, B]:
        """Give the first point at or after the hash and its owner; KeyError when there is none."""
        first = digest >> self.shift
        for cell in range(first - len(self.cells), first + 1):
            place = bisect_left(self.cells[cell], digest)
            if place < len(self.cells[cell]):
                return self.cells[cell][place], self.owners[cell][place]
            digest = 0
        raise KeyError("no points")

    def before(self, digest: int) -> tuple[int, B]:
        """Give the last point before the hash and its owner; KeyError when there is none."""
        last = digest >> self.shift
        for cell in range(last, last - len(self.cells) - 1, -1):
            place = bisect_left(self.cells[cell], digest)
            if place:
                return self.cells[cell][place - 1], self.owners[cell][place - 1]
            digest = 1 << 64
        raise KeyError("no points")

    def walk(self, digest: int) -> Iterator[B]:
        """Give the owner of every point, once round, from the first at or after the hash."""
        start = digest >> self.shift
        place = bisect_left(self.cells[start], digest)
        yield from self.owners[start][place:-1]
        for cell in range(start + 1, start + len(self.cells)):
            yield from self.owners[cell % len(self.cells)][:-1]
        yield from self.owners[start][:place]

    def add(self, point: int, owner: B, rank: Mapping[B, Any]) -> None:
        """Place a point; among equal ones the owner of the lowest rank is first."""
        cell = point >> self.shift
        known, owners = self.cells[cell], self.owners[cell]
        place = bisect_left(known, point)
        while place < len(known) and known[place] == point and rank[owners[place]] <= rank[owner]:
            place += 1
        self.cells[cell] = (*known[:place], point, *known[place:])
        self.owners[cell] = (*owners[:place], owner, *(owners[place:] or (owner,)))
        self.size += 1
        if not place:
            self._mend(cell)

    def take(self, point: int, owner: B) -> None:
        """Take a point of this owner out, which must be there."""
        if self.size == 1:
            self.clear()
            return
        cell = point >> self.shift
        known, owners = self.cells[cell], self.owners[cell]
        place = bisect_left(known, point)
        while owners[place] != owner:
            place += 1
        self.cells[cell] = known[:place] + known[place + 1 :]
        self.owners[cell] = owners[:place] + owners[place + 1 :]
        self.size -= 1
        if not place:
            self._mend(cell)

    def _mend(self, cell: int) -> None:
        """Tell the cells before who owns the first point from this one on."""
        first = self.owners[cell][0]
        for before in range(cell - 1, cell - 1 - len(self.owners), -1):
            self.owners[before] = (*self.owners[before][:-1], first)
            if self.cells[before]:
                return


def sorted_order(points: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Give the places of the points in ascending order, equal ones in the order given; O(V log V).

    The sort that keeps equals in order takes several times as long, and hardly ever are there any.
    """
    order = np.argsort(points)
    ascending = points[order]
    if (ascending[1:] == ascending[:-1]).any():
        return np.argsort(points, kind="stable")
    return order
