"""Multi-probe consistent hashing: one point per backend, many probes per key (Appleton, O'Reilly).

The reference is arXiv:1505.00062.
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


class MultiProbe(HashedBalancer[B]):
    """A key probes a circle in several places; the point nearest after a probe owns the key.

    Each backend has one point, the hash of its name, so memory is O(n).  A ring whose largest share
    is as good needs 700 ln n points per backend.  With k probes the largest share is k / (k - 1) of
    the mean: 1.05 by default.  Only the largest share is bounded: a backend whose point is close
    after another one has nearly no keys (of 1000 backends the smallest share is 2 % of the mean;
    the standard deviation is 15.6 %).

    A closed backend has no point: its keys go where its removal would send them, and no other key
    moves.  The map is a function of the set of open members, in any order.  All positive weights
    are equivalent.  Of two points in one place the lesser name counts; of two probes that are
    equally near, the earlier one.

    >>> lb = MultiProbe(["cache-1", "cache-2", "cache-3"])
    >>> lb.pick("user:42") == lb.pick(b"user:42")
    True

    Cost: ``pick`` O(probes) expected; joining, leaving and a flip O(1) amortised.
    Raises InvalidSetting for ``probes`` below 1.
    Source: B. Appleton, M. O'Reilly, "Multi-probe consistent hashing", arXiv:1505.00062, 2015.
    Probe i is the hash times the i-th odd number of a pseudo-random sequence.  Other libraries use
    sums h + i·h' of two hashes.  These depend on each other: with 10 backends the largest share was
    1.12 of the mean.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
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
        self.check_pick(digest, avoid)
        return self._nearest_owner(
            [digest * factor & BITS for factor in self._probe_factors], avoid
        )

    def _nearest_owner(self, probes: Iterable[int], avoid: Collection[B]) -> B:
        """Return the owner of the point that is nearest after one of the probes."""
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
        """Choose the number of cells anew, when the circle has grown or shrunk; O(n log n)."""
        owners = list(self._circle.walk(0))
        points = np.array([self._points[owner][0] for owner in owners], dtype=np.uint64)
        self._circle.build(points, np.arange(len(owners)), owners)


def _first_point_search(
    points: NDArray[np.uint64], count: int
) -> Callable[[NDArray[np.uint64]], NDArray[np.signedinteger[Any]]]:
    """Return a function that returns the index of the first point at or after each hash.

    It uses a table if ``count`` hashes are enough to pay for one.
    """
    if count < len(points):
        return lambda probes: np.searchsorted(points, probes)
    table = PointTable(np.append(points, np.uint64(BITS)), _MAX_TABLE_BITS)
    return lambda probes: table.search(probes, table.cells(probes))
