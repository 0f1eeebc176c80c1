"""Implements multi-probe consistent hashing: one point per backend, and many probes per key.

Source: B. Appleton, M. O'Reilly, "Multi-probe consistent hashing", arXiv:1505.00062, 2015.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import at_least
from balancers._internal.types import B
from balancers.hashing.circle import PER_CELL, Circle, PointTable
from balancers.hashing.hashed_balancer import BITS, GOLDEN, Chooser, HashedBalancer, mix
from balancers.keys import Hasher, Identity, name_of

__all__ = ["MultiProbe"]

_MAX_TABLE_BITS = 22
"""The largest table for a batch has 2 to the power of this number of cells."""


class MultiProbe(HashedBalancer[B]):
    """Compares several positions per key on a hash ring, and picks the backend that is nearest.

    Each backend has one point on a circle of 2⁶⁴ positions: the hash of its name.  Each key has
    several positions on the circle, which are its probes.  For each probe, the distance to the next
    point is computed.  The key belongs to the backend whose point has the smallest distance.

    With k probes the largest share of the keys is k / (k - 1) times the mean share: 1.05 times by
    default.  Memory is O(n) for n backends.  According to the paper, a hash ring with the same
    largest share needs 700 ln n points per backend.  Small shares are not limited: a backend has
    nearly no keys if its point is close after another point.  With 1000 backends the smallest share
    is on average 2 % of the mean, and the standard deviation is 15.6 % of the mean.

    A backend of weight 0 stays a member but is not picked (it is closed).  It has no point.  Its
    keys move to the same backends as if it had been removed, and no other key moves.  The map
    depends on the names of the open members, and not on the order in which they were added.  All
    positive weights are equivalent.  If two backends have the same point, the name that is first in
    byte order is picked.  If two probes have the same distance, the earlier probe is used.

    >>> lb = MultiProbe(["cache-1", "cache-2", "cache-3"])
    >>> lb.pick("user:42") == lb.pick(b"user:42")
    True

    Cost: ``pick`` is O(probes) expected.  Joining, leaving, opening and closing are O(1) amortised.
    Raises InvalidSetting for ``probes`` below 1.
    Source: B. Appleton, M. O'Reilly, "Multi-probe consistent hashing", arXiv:1505.00062, 2015.
    Probe i is the key's hash times the i-th number of a pseudo-random sequence of odd numbers.
    Other libraries use h + i·h' as probe i, where h and h' are two hashes of the key.  Such probes
    depend on each other, so that the largest share is larger.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        probes: int = 21,
        identity: Identity[B] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        at_least(1, probes=probes)
        self._probe_factors = [mix(number * GOLDEN) | 1 for number in range(1, probes + 1)]
        self._points: dict[B, tuple[int, bytes]] = {}  # the point and the name of every member
        self._circle = Circle[B]()  # the points of the open members
        super().__init__(backends, identity=identity, hasher=hasher)

    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Return the backend of a 64-bit hash; O(probes) expected.

        Raises InvalidKey, NoBackendAvailable.
        """
        avoid = self.check_pick(digest, avoid)
        return self._nearest_owner(
            [digest * factor & BITS for factor in self._probe_factors], avoid
        )

    def _nearest_owner(self, probes: Iterable[int], avoid: Collection[B]) -> B:
        """Return the owner of the point that has the smallest distance after any of the probes."""
        circle = self._circle
        cells, shift = circle.cells, circle.shift
        least, nearest = BITS + 1, 0
        for probe in probes:
            if avoid:
                point = self._points[self._owner_after(probe, avoid)][0]
            else:
                cell = cells[probe >> shift]
                place = bisect_left(cell, probe)
                point = cell[place] if place < len(cell) else circle.at(probe)[0]
            distance = (point - probe) & BITS
            if distance < least:
                least, nearest = distance, probe
        return self._owner_after(nearest, avoid)

    def _owner_after(self, probe: int, avoid: Collection[B]) -> B:
        return next(backend for backend in self._circle.walk(probe) if backend not in avoid)

    def chooser(self, count: int) -> Chooser:
        points, owners = self._circle.flat(self._weights)
        after = np.append(points, points[0])
        search = _first_point_search(points, count)

        def choose(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
            least = np.full(len(hashes), BITS, dtype=np.uint64)
            picked[:] = 0
            for factor in self._probe_factors:
                probes = hashes * np.uint64(factor)
                found = search(probes)
                distances = after[found] - probes
                nearer = distances < least
                np.copyto(least, distances, where=nearer)
                np.copyto(picked, found, where=nearer)
            picked[:] = owners[picked]

        return choose

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        if old is None:
            self._points[backend] = self._hasher(name) & BITS, name
        if new and not old:
            self._circle.add(self._points[backend][0], backend, self._points)
        elif old and not new:
            self._circle.take(self._points[backend][0], backend)
        if new is None:
            del self._points[backend]
        cells, size = len(self._circle.cells), self._circle.size
        if not cells <= size + PER_CELL <= 4 * PER_CELL * (cells + 1):
            self._rebuild()

    def _rebuild(self) -> None:
        """Build the circle again with a number of cells that is right for its points; O(n log n).

        Called when the circle has become much larger or much smaller.
        """
        owners = list(self._circle.walk(0))
        points = np.array([self._points[owner][0] for owner in owners], dtype=np.uint64)
        self._circle.build(points, np.arange(len(owners)), owners)


def _first_point_search(
    points: NDArray[np.uint64], count: int
) -> Callable[[NDArray[np.uint64]], NDArray[np.signedinteger[Any]]]:
    """Return a function that returns the index of the first point at or after each hash.

    If there are at least as many hashes as points, the function uses a table.  Otherwise it uses a
    binary search, because building the table would take longer.  ``count`` is the number of hashes.
    """
    if count < len(points):
        return lambda probes: np.searchsorted(points, probes)
    table = PointTable(np.append(points, np.uint64(BITS)), _MAX_TABLE_BITS)
    return lambda probes: table.search(probes, table.cells(probes))
