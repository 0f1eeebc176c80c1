"""Finds the first point at or after a hash on a circle of 64-bit points, each with an owner.

All hash rings of this library use this module.  :class:`Circle` looks up one hash at a time and can
change one point at a time.  :class:`PointTable` looks up a batch of hashes in an array of sorted
points.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B

__all__ = ["PER_CELL", "Circle", "PointTable", "arc_lengths", "sorted_order"]

PER_CELL = 8
"""The average number of points per cell of a circle that was just built (measured)."""
_TABLE_CELLS_PER_POINT = 16
"""The minimum number of cells per point in a :class:`PointTable` (measured).

With so many cells, nearly all cells contain no point.
"""


class Circle(Generic[B]):
    """Stores points on a circle, and finds the points that are next to a hash.

    A point is an integer from 0 to 2⁶⁴ - 1, and has an owner.  After 2⁶⁴ - 1 the circle continues
    at 0.  The circle is divided into cells of equal width, with about eight points each, so that a
    search looks at few points.  If several points are equal, a search finds the first of them.

    >>> circle = Circle([(10, "a"), (20, "b"), (30, "a")])
    >>> circle.at(11), circle.at(31), circle.before(10)
    ((20, 'b'), (10, 'a'), (30, 'a'))
    >>> list(circle.walk(20))
    ['b', 'a', 'a']

    Cost: ``at``, ``before``, ``add`` and ``take`` are O(1) expected.  Building the circle is
    O(V log V) for V points.
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
        """Remove every point."""
        self.size: int = 0
        self.shift: int = 64
        self.cells: list[tuple[int, ...]] = [()]
        """The points of each cell in ascending order; the cell of a hash is ``hash >> shift``."""
        self.owners: list[tuple[B, ...]] = [()]
        """The owners of the points of each cell, in the same order.  Each list of owners has one
        more element at its end: the owner of the first point after the cell.  Only in an empty
        circle is this element missing."""

    def build(
        self, points: NDArray[np.uint64], whose: NDArray[np.intp], owners: Sequence[B]
    ) -> None:
        """Replace all points; O(V log V) for V points.

        The owner of ``points[i]`` is ``owners[whose[i]]``.
        """
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
        ascending: list[int] = points.tolist()
        self.cells = [tuple(ascending[a:b]) for a, b in pairwise(edges)]
        owned.append(owned[0])
        self.owners = [tuple(owned[a : b + 1]) for a, b in pairwise(edges)]

    def at(self, digest: int) -> tuple[int, B]:
        """Return the first point at or after the hash, and its owner.

        Raises KeyError when there are no points.
        """
        first = digest >> self.shift
        for cell in range(first - len(self.cells), first + 1):
            place = bisect_left(self.cells[cell], digest)
            if place < len(self.cells[cell]):
                return self.cells[cell][place], self.owners[cell][place]
            digest = 0
        raise KeyError("no points")

    def before(self, digest: int) -> tuple[int, B]:
        """Return the last point before the hash, and its owner.

        Raises KeyError when there are no points.
        """
        last = digest >> self.shift
        for cell in range(last, last - len(self.cells) - 1, -1):
            place = bisect_left(self.cells[cell], digest)
            if place:
                return self.cells[cell][place - 1], self.owners[cell][place - 1]
            digest = 1 << 64
        raise KeyError("no points")

    def walk(self, digest: int) -> Iterator[B]:
        """Yield the owner of each point, in ascending order, once around the circle.

        The first point is the first one at or after the hash.  An owner is yielded once for each of
        its points.
        """
        start = digest >> self.shift
        place = bisect_left(self.cells[start], digest)
        yield from self.owners[start][place:-1]
        for cell in range(start + 1, start + len(self.cells)):
            yield from self.owners[cell % len(self.cells)][:-1]
        yield from self.owners[start][:place]

    def flat(self, members: Iterable[B]) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
        """Return all points in ascending order, and the index of each owner in ``members``; O(V).

        The points are an array ``uint64[size]``.  The indices are an array ``intp[size + 1]``.  The
        last index is the same as the first: it is for hashes that are larger than all points.  So
        the owners of an array of hashes are ``indices[np.searchsorted(points, hashes)]``.
        The circle must not be empty.
        """
        index = {member: place for place, member in enumerate(members)}
        points = np.fromiter(chain.from_iterable(self.cells), dtype=np.uint64, count=self.size)
        indices = np.empty(self.size + 1, dtype=np.intp)
        indices[:-1] = np.fromiter(
            (index[owner] for owners in self.owners for owner in owners[:-1]),
            dtype=np.intp,
            count=self.size,
        )
        indices[-1] = indices[0]
        return points, indices

    def add(self, point: int, owner: B, rank: Mapping[B, Any]) -> None:
        """Add a point.  Equal points are ordered by the ranks of their owners, lowest first."""
        cell = point >> self.shift
        points, owners = self.cells[cell], self.owners[cell]
        place = bisect_left(points, point)
        while place < len(points) and points[place] == point and rank[owners[place]] <= rank[owner]:
            place += 1
        self.cells[cell] = (*points[:place], point, *points[place:])
        self.owners[cell] = (*owners[:place], owner, *(owners[place:] or (owner,)))
        self.size += 1
        if not place:
            self._first_point_changed(cell)

    def take(self, point: int, owner: B) -> None:
        """Remove a point of this owner.  The point must be on the circle."""
        if self.size == 1:
            self.clear()
            return
        cell = point >> self.shift
        points, owners = self.cells[cell], self.owners[cell]
        place = bisect_left(points, point)
        while owners[place] != owner:
            place += 1
        self.cells[cell] = points[:place] + points[place + 1 :]
        self.owners[cell] = owners[:place] + owners[place + 1 :]
        self.size -= 1
        if not place:
            self._first_point_changed(cell)

    def _first_point_changed(self, cell: int) -> None:
        """Update the last owner of the cells before a cell whose first point has changed.

        Going backwards from the cell, these are all empty cells and the first cell with points.
        """
        first = self.owners[cell][0]
        for before in range(cell - 1, cell - 1 - len(self.owners), -1):
            self.owners[before] = (*self.owners[before][:-1], first)
            if self.cells[before]:
                return

    def __deepcopy__(self, memo: dict[int, Any]) -> "Circle[B]":
        """Return a copy that shares the owners.  A cell is never changed, but replaced."""
        clone: Circle[B] = Circle()
        clone.size, clone.shift = self.size, self.shift
        clone.cells, clone.owners = self.cells.copy(), self.owners.copy()
        return clone

    def __repr__(self) -> str:
        return f"<Circle: {self.size} points>"


class PointTable:
    """Finds the first point at or after each of many hashes, by a table over sorted points.

    ``points`` must be in ascending order and must end with 2⁶⁴ - 1.  Then every hash has a point at
    or after it.  The table divides the range from 0 to 2⁶⁴ - 1 into cells of equal width.  It has
    16 to 32 cells per point, but at most ``2**max_bits`` cells.

    ``firsts[cell]`` is the index of the first point in the cell or after it.  ``occupied`` lists
    the cell of each point, except for the last point.  ``repeats[i]`` is the number of times that
    the index i is in ``firsts``.  ``dtype`` is the type of the indices: intp is faster, and int32
    needs half the memory.

    >>> table = PointTable(np.array([10, 1 << 63, (1 << 64) - 1], dtype=np.uint64), max_bits=20)
    >>> hashes = np.array([0, 10, 11, 1 << 62, (1 << 63) + 1], dtype=np.uint64)
    >>> table.search(hashes, table.cells(hashes)).tolist()
    [0, 0, 1, 1, 2]

    Cost for V points: a search is O(1) expected per hash, and a binary search would be O(log V).
    Building the table is O(V + number of cells).  So the table is faster than binary searches if
    there are about V hashes or more.
    """

    __slots__ = ("_shift", "firsts", "occupied", "points", "repeats")

    def __init__(
        self,
        points: NDArray[np.uint64],
        max_bits: int,
        dtype: type[np.signedinteger[Any]] = np.intp,
    ) -> None:
        bits = min(max_bits, (_TABLE_CELLS_PER_POINT * len(points)).bit_length())
        self.points: NDArray[np.uint64] = points
        self._shift = np.uint64(64 - bits)
        self.occupied: NDArray[np.intp] = (points[:-1] >> self._shift).astype(np.intp)
        self.repeats: NDArray[np.intp] = np.diff(self.occupied, prepend=-1, append=(1 << bits) - 1)
        indices = np.arange(len(points), dtype=dtype)
        self.firsts: NDArray[np.signedinteger[Any]] = np.repeat(indices, self.repeats)

    def cells(self, hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Return the cell of each hash, as a new array."""
        return (hashes >> self._shift).view(np.intp)

    def search(
        self, hashes: NDArray[np.uint64], cells: NDArray[np.intp]
    ) -> NDArray[np.signedinteger[Any]]:
        """Return the index of the first point at or after each hash.

        ``cells`` must be the cells of these hashes, as :meth:`cells` returns them.
        """
        points, found = self.points, self.firsts[cells]
        behind = np.flatnonzero(points[found] < hashes)
        while len(behind):
            found[behind] += 1
            behind = behind[points[found[behind]] < hashes[behind]]
        return found

    def __repr__(self) -> str:
        return f"<PointTable: {len(self.points)} points, {len(self.firsts)} cells>"


def arc_lengths(
    points: NDArray[np.uint64], indices: NDArray[np.signedinteger[Any]], count: int
) -> list[int]:
    """Return how many of the 2⁶⁴ hashes belong to each of ``count`` owners; O(V) for V points.

    A hash belongs to the owner of the first point at or after it.  The points must be in ascending
    order and must end with 2⁶⁴ - 1.  The owner of ``points[i]`` is ``indices[i]``.

    >>> arc_lengths(np.array([9, 10, (1 << 64) - 1], dtype=np.uint64), np.array([0, 2, 0]), 3)
    [18446744073709551615, 0, 1]
    """
    sums = np.zeros(count, dtype=np.uint64)
    np.add.at(sums, indices, np.diff(points, prepend=np.uint64(0)))  # 2⁶⁴ - 1 in total
    lengths: list[int] = sums.tolist()
    lengths[indices[0]] += 1  # the hash 0
    return lengths


def sorted_order(points: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return the indices that sort the points; O(V log V) for V points.

    Equal points keep their order.  A stable sort takes longer than an unstable sort.  So it is
    used only if there are equal points, which is rare.
    """
    order = np.argsort(points)
    ascending = points[order]
    if (ascending[1:] == ascending[:-1]).any():
        return np.argsort(points, kind="stable")
    return order
