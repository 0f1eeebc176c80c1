"""A circle of 64-bit points, each with an owner: the base of every ring in this package.

:class:`Circle` looks up one hash at a time and can change one point at a time.  :class:`PointTable`
looks up a batch of hashes in an array of sorted points.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B

__all__ = ["PER_CELL", "Circle", "PointTable", "sorted_order"]

PER_CELL = 8
"""The average number of points per cell of a circle that was just built (measured)."""
_TABLE_CELLS_PER_POINT = 16
"""Cells of a :class:`PointTable` per point (measured): nearly all cells hold no point."""


class Circle(Generic[B]):
    """Points on a circle of 64 bits and their owners, divided into cells of about eight points.

    Of equal points the first one in order counts.  The caller decides where the points are,
    and to which of them a hash belongs.

    >>> circle = Circle([(10, "a"), (20, "b"), (30, "a")])
    >>> circle.at(11), circle.at(31), circle.before(10)
    ((20, 'b'), (10, 'a'), (30, 'a'))
    >>> list(circle.walk(20))
    ['b', 'a', 'a']

    Cost: ``at``, ``before``, ``add`` and ``take`` O(1) expected, building O(V log V) for V points.
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
        self.size = 0
        self.shift = 64
        self.cells: list[tuple[int, ...]] = [()]
        """The points of each 1/2ᵏ of the circle, ascending; a hash is in ``hash >> shift``."""
        self.owners: list[tuple[B, ...]] = [()]
        """The owners of these points.  One more owner follows, unless the circle is empty: that of
        the first point after the cell."""

    def build(
        self, points: NDArray[np.uint64], whose: NDArray[np.intp], owners: Sequence[B]
    ) -> None:
        """Replace every point; ``owners[whose[i]]`` owns point i.  O(V log V) for V points."""
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
        """Yield the owner of every point, once round, from the first at or after the hash."""
        start = digest >> self.shift
        place = bisect_left(self.cells[start], digest)
        yield from self.owners[start][place:-1]
        for cell in range(start + 1, start + len(self.cells)):
            yield from self.owners[cell % len(self.cells)][:-1]
        yield from self.owners[start][:place]

    def flat(self, members: Iterable[B]) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
        """Return every point, ascending, and the index of each owner in ``members``; O(V).

        That is ``uint64[size]`` and ``intp[size + 1]``: the last index repeats the first one, for
        hashes beyond all points.  So for an array of hashes the owners are
        ``indices[np.searchsorted(points, hashes)]``.  The circle must not be empty.
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
        """Add a point; of equal points the owner of the lowest rank is first."""
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
        """Remove a point of this owner, which must be on the circle."""
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
        """Update the last owner of the cells before: they end with the first owner after them."""
        first = self.owners[cell][0]
        for before in range(cell - 1, cell - 1 - len(self.owners), -1):
            self.owners[before] = (*self.owners[before][:-1], first)
            if self.cells[before]:
                return

    def __repr__(self) -> str:
        return f"<Circle: {self.size} points>"


class PointTable:
    """Sorted points, and a table to find the first point at or after each of many hashes.

    The table divides the 64-bit range into cells, 16 to 32 per point and at most ``2**max_bits``.
    ``firsts[cell]`` is the index of the first point in the cell or after it, ``occupied`` lists the
    cell of each point but the last, and ``repeats[i]`` is how often i is in ``firsts``.  ``points``
    must end with 2⁶⁴ - 1, so that there is a point at or after every hash.  Indices are ``dtype``:
    intp is faster, int32 takes half the memory.

    >>> table = PointTable(np.array([10, 1 << 63, (1 << 64) - 1], dtype=np.uint64), max_bits=20)
    >>> hashes = np.array([0, 10, 11, 1 << 62, (1 << 63) + 1], dtype=np.uint64)
    >>> table.search(hashes, table.cells(hashes)).tolist()
    [0, 0, 1, 1, 2]

    Cost: a search O(1) expected per hash, where a binary search takes O(log V) for V points;
    building O(V) and O(2ᵇ) for b bits, so it pays for batches of about V hashes or more.
    """

    __slots__ = ("_shift", "firsts", "occupied", "points", "repeats")

    def __init__(
        self,
        points: NDArray[np.uint64],
        max_bits: int,
        dtype: type[np.signedinteger[Any]] = np.intp,
    ) -> None:
        bits = min(max_bits, (_TABLE_CELLS_PER_POINT * len(points)).bit_length())
        self.points = points
        self._shift = np.uint64(64 - bits)
        self.occupied = (points[:-1] >> self._shift).astype(np.intp)
        self.repeats = np.diff(self.occupied, prepend=-1, append=(1 << bits) - 1)
        self.firsts = np.repeat(np.arange(len(points), dtype=dtype), self.repeats)

    def cells(self, hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Return the cell of each hash: a new array."""
        return (hashes >> self._shift).view(np.intp)

    def search(
        self, hashes: NDArray[np.uint64], cells: NDArray[np.intp]
    ) -> NDArray[np.signedinteger[Any]]:
        """Return the index of the first point at or after each hash, given their cells."""
        points, found = self.points, self.firsts[cells]
        behind = np.flatnonzero(points[found] < hashes)
        while len(behind):
            found[behind] += 1
            behind = behind[points[found[behind]] < hashes[behind]]
        return found

    def __repr__(self) -> str:
        return f"<PointTable: {len(self.points)} points, {len(self.firsts)} cells>"


def sorted_order(points: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return the indices that sort the points, equal ones in the given order; O(V log V).

    A stable sort takes several times as long, so it is used only when there are equal points,
    which is rare.
    """
    order = np.argsort(points)
    ascending = points[order]
    if (ascending[1:] == ascending[:-1]).any():
        return np.argsort(points, kind="stable")
    return order
