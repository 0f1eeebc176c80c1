"""Stores the points of the servers of HAProxy on a hash ring."""

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from balancers.hashing.circle import Circle
from balancers.hashing.hashed_balancer import BITS
from balancers.interop.haproxy.hashes import avalanche_each
from balancers.interop.haproxy.server import Server

__all__ = ["POINTS_PER_WEIGHT", "Ring", "point_numbers"]

POINTS_PER_WEIGHT = 16
_POINTS_PER_ID = 4096
_SPARSE = 8
"""The ring is rebuilt if it has more than this number of points for each open point.

The new ring contains only the open points."""


class Ring:
    """Stores the points of the active servers, or those of the backups, on a ring.

    The points of servers that are up are open.  The other points are closed and are skipped.
    """

    def __init__(self) -> None:
        self.stale: bool = True
        self._circle = Circle[str]()
        self._closed: set[str] = set()
        self._placed: dict[str, int] = {}  # the number of points of each server in the ring
        self._open = 0
        self._last: tuple[int, str] | None = None
        """The point that the last request without a key used, and the server of that point."""

    def build(self, servers: dict[str, Server], weights: dict[str, float]) -> None:
        """Build the ring from the given servers and their weights; O(V log V)."""
        counts = {name: POINTS_PER_WEIGHT * server.weight for name, server in servers.items()}
        self._open = sum(count for name, count in counts.items() if weights[name])
        if self._open * _SPARSE < sum(counts.values()):
            counts = {name: count for name, count in counts.items() if weights[name]}
        self._placed = counts
        self._closed = {name for name in counts if not weights[name]}
        points = [
            _positions(point_numbers(servers[name], 0, servers[name].weight)) for name in counts
        ]
        owners = np.repeat(np.arange(len(counts)), list(counts.values()))
        self._circle.build(np.concatenate(points), owners, list(counts))
        self.stale = False

    def open(self, name: str) -> None:
        """Open the points of a server, so that they are used again."""
        if name in self._closed:
            self._closed.discard(name)
            self._open += self._placed[name]
        else:
            self.stale = True

    def close(self, name: str) -> None:
        """Close the points of a server, so that they are skipped."""
        if not self.stale:
            self._closed.add(name)
            self._open -= self._placed[name]
            self.stale = self._open * _SPARSE < self._circle.size

    def nearest(self, place: int) -> int:
        """Return the open point that is nearest to ``place``.

        If two points are equally near, the point before ``place`` is returned.
        """
        after = next(self.open_points(place))[0]
        before, name = self._circle.before(place)
        while name in self._closed:
            before, name = self._circle.before(before)
        return before if (place - before) & BITS <= (after - place) & BITS else after

    def next(self, closed: Collection[str]) -> str | None:
        """Return the server for a request without a key.

        It is the server of the next open point whose server is not in ``closed``.  That point is
        stored as the last used point.  If there is no such point, None is returned.
        """
        for point, name in self.open_points(self._after_last()):
            if name not in closed:
                self._last = point, name
                return name
        return None

    def turns(self) -> Iterator[str]:
        """Yield the servers of the next open points; no point is used."""
        return (name for _, name in self.open_points(self._after_last()))

    def _after_last(self) -> int:
        return 0 if self._last is None else (self._last[0] + 1) & BITS

    def last_is_one_of(self, name: str, numbers: range) -> bool:
        """Return whether the last used point is one of the points ``numbers`` of a server."""
        last = self._last
        return last is not None and last[1] == name and last[0] in _positions(numbers)

    def skip_last(self, numbers: range) -> None:
        """Replace the last used point, before the points ``numbers`` are removed.

        The replacement is the next open point that is not removed.  If there is none before the end
        of the ring, the next request without a key starts at position 0.
        """
        gone, last = set(_positions(numbers).tolist()), self._last
        self._last = None
        for point, name in self.open_points(last[0] if last else 0):
            if last and point < last[0]:
                return
            if point not in gone:
                self._last = point, name
                return

    def open_points(self, place: int) -> Iterator[tuple[int, str]]:
        """Return all open points with their servers, in order.

        The first point is the first open point at or after ``place``.
        """
        for _ in range(self._circle.size):
            point, name = self._circle.at(place)
            if name not in self._closed:
                yield point, name
            place = (point + 1) & BITS


def point_numbers(server: Server, low: int, high: int) -> range:
    """Return the numbers of the points that weight ``high`` adds to those of weight ``low``."""
    first = (server.id or 0) * _POINTS_PER_ID
    return range(first + POINTS_PER_WEIGHT * low, first + POINTS_PER_WEIGHT * high)


def _positions(numbers: range) -> NDArray[np.uint64]:
    """Return the positions of the points with these numbers.

    A position is a 32-bit hash in the upper half of 64 bits.
    """
    hashed: NDArray[np.uint64] = avalanche_each(
        np.arange(numbers.start, numbers.stop, dtype=np.uint64)
    )
    return hashed << np.uint64(32)
