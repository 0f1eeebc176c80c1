"""Implements a hash ring: consistent hashing with points on a circle (Karger et al., STOC 1997)."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from fractions import Fraction

import numpy as np
from mmh3 import mmh3_x64_128_utupledigest
from numpy.typing import NDArray

from balancers._internal.checks import NO_BACKENDS, as_weights, at_least, shown
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import RingTooLarge
from balancers.hashing.circle import PER_CELL, Circle, PointTable, arc_lengths, sorted_order
from balancers.hashing.hashed_balancer import BITS, Chooser, HashedBalancer, sequence_many
from balancers.keys import Hasher, Identity, Murmur3, name_of

__all__ = ["HashRing"]

_SortedPoints = tuple[NDArray[np.uint64], NDArray[np.int32]]
"""The points in ascending order, and the index of each owner in the order of ``weights``."""
_MAX_CLOSED_RATIO = 8
"""If fewer than 1 in 8 points is open, the ring is rebuilt without the closed members."""
_MAX_TABLE_BITS = 24
_MIN_HASHES_PER_POINT = 4
"""For a batch with fewer hashes per point, a binary search is faster than building a table."""


class HashRing(HashedBalancer[B]):
    """Picks the backend that owns the first point at or after the key's hash on a circle.

    A point is a position on the circle of all hashes.  Each backend has ``points`` points per unit
    of weight, and at least one point if its weight is positive.  Its name alone determines where
    they are.  So the map depends on the names and weights of the members, and not on the order in
    which they were added.  A change of one backend affects only the points of this backend.
    Raising a weight moves keys only to this backend.  A backend of weight 0 stays a member but is
    not picked (it is closed).  Its keys move to the same backends as if it had been removed.
    Shares vary: with n backends of v points each, the standard deviation of a share is
    √((n - 1) / (v·n + 1)) of the mean share.  This is 7.5 % for 10 backends of 160 points.

    >>> ring = HashRing(["cache-1", "cache-2", "cache-3"])
    >>> ring.pick("user:42") == ring.pick(b"user:42")
    True
    >>> len(ring.replicas("user:42", 2))
    2
    >>> ring.pick_many(ring.hash_many(["user:42", "user:43"])).dtype
    dtype('int64')

    Cost: ``pick`` is O(1) expected, as the circle is divided into cells of about eight points.
    Opening and closing are O(1), joining and leaving are O(points · weight), all amortised.  The
    first pick builds the ring, which is O(V log V) for V points in total.  The first batch builds
    arrays of its own at the same cost.  When fewer than 1 in 8 points is open, the points of closed
    members are removed.  So the search for an open point remains short.
    The first use of this class imports numpy and mmh3, which takes many times as long as the build
    of a ring of 10 backends.
    Raises InvalidSetting for ``points`` or ``max_points`` below 1, RingTooLarge when all members
    together need more than ``max_points`` points.  A closed member needs as many points as for
    its last positive weight.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        points: int = 160,
        max_points: int = 1 << 23,
        identity: Identity[B] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        at_least(1, points=points, max_points=max_points)
        self._points_per_weight = points
        self._max_points = max_points
        self._wanted: dict[B, int] = {}  # the number of points for the last positive weight
        self._wanted_total = 0
        self._placed: dict[B, int] = {}  # the number of points on the ring now
        self._placed_total = self._placed_open = 0
        self._outdated: dict[B, None] = {}  # open members for which the two numbers differ
        self._closed: set[B] = set()  # closed members that have points on the ring
        self._circle = Circle[B]()
        self._sorted_points: _SortedPoints | None = None  # for batches; includes closed members
        self._stale = False  # a member is outdated, or too few points are open
        self._ready = False  # the ring is not stale and has points
        given = as_weights(() if backends is None else backends)
        needed = sum(self._point_count(weight) for weight in given.values() if weight)
        if needed > max_points:
            raise RingTooLarge(
                f"the ring needs {shown(needed)} points, more than max_points={shown(max_points)}"
            )
        super().__init__(given, identity=identity, hasher=hasher)
        self._seed = self._hasher.seed if isinstance(self._hasher, Murmur3) else None

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return the key's backend; O(1) expected.

        Raises MissingKey, InvalidKey, NoBackendAvailable.
        """
        if type(key) is bytes and self._seed is not None:
            digest = mmh3_x64_128_utupledigest(key, self._seed)[0]
        else:
            digest = self.hash_key(key)
        if self._ready and avoid is NO_BACKENDS:
            circle = self._circle
            cell = digest >> circle.shift
            place = bisect_left(circle.cells[cell], digest)
            owners, closed = circle.owners[cell], self._closed
            if not closed or owners[place] not in closed:
                return owners[place]
            for owner in owners[place + 1 :]:
                if owner not in closed:
                    return owner
        return self.pick_hashed(digest, avoid)

    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Return the backend of a 64-bit hash; O(1) expected.

        Raises InvalidKey, NoBackendAvailable.
        """
        avoid = self.check_pick(digest, avoid)
        if self._stale:
            self._refresh()
        closed = self._closed
        for owner in self._circle.walk(digest):
            if owner not in closed and owner not in avoid:
                return owner
        raise self.refusal()

    def succession(self, digest: int) -> Iterator[B]:
        """Yield the open backends, lazily, in the order of preference of a 64-bit hash.

        The first k of n cost O(k log k) expected, if k is much less than n.  Raises InvalidKey.
        """
        if not self._open:
            return
        if type(digest) is not int or not 0 <= digest <= BITS:
            self.check_pick(digest, ())
        if self._stale:
            self._refresh()
        found: set[B] = set()
        for owner in self._circle.walk(digest):
            if owner not in found and owner not in self._closed:
                yield owner
                found.add(owner)
                if len(found) == self._open:
                    return

    def chooser(self, count: int) -> Chooser:
        points, indices = self._open_points()
        if count < _MIN_HASHES_PER_POINT * len(points):

            def search(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
                picked[:] = indices[np.searchsorted(points, hashes)]

            return search
        table = PointTable(points, _MAX_TABLE_BITS, np.int32)
        small = indices.astype(np.min_scalar_type(-len(self._weights)))
        owners = np.repeat(small, table.repeats)
        owners[table.occupied] = -1  # a cell that contains points may have more than one owner

        def choose(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
            cells = table.cells(hashes)
            found = owners.take(cells)
            picked[:] = found
            left = np.flatnonzero(found < 0)
            picked[left] = indices[table.search(hashes[left], cells[left])]

        return choose

    def shares(self) -> Mapping[B, float]:
        """Return the exact share of all hashes that each backend owns, in the order of ``weights``.

        The share is 0 for a backend of weight 0.  The sum is 1, unless no backend is open.  The
        cost is O(V) for V points, and O(V log V) after a backend joined or left.

        >>> HashRing({"a": 1, "b": 0, "c": 1}, points=2).shares()
        {'a': 0.4164418473402053, 'b': 0.0, 'c': 0.5835581526597947}
        """
        if not self._open:
            return dict.fromkeys(self._weights, 0.0)
        lengths = arc_lengths(*self._open_points(), len(self._weights))
        return {b: length / 2**64 for b, length in zip(self._weights, lengths, strict=True)}

    def _open_points(self) -> _SortedPoints:
        """Return the sorted points of the open members, and one more point at the largest hash.

        The additional point has the owner of the first point.
        """
        if self._sorted_points is None:
            index = {backend: place for place, backend in enumerate(self._weights)}
            points, whose, members = self._points_of(self._wanted)
            order = sorted_order(points)
            indices = np.array([index[backend] for backend in members], dtype=np.int32)
            self._sorted_points = points[order], indices[whose[order]]
        points, indices = self._sorted_points
        if self._open < len(self._wanted):
            opened = np.array([weight > 0 for weight in self._weights.values()])[indices]
            points, indices = points[opened], indices[opened]
        return np.append(points, np.uint64(BITS)), np.append(indices, indices[:1])

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        placed = self._placed.get(backend, 0)
        if new:
            self._set_wanted(backend, new)
            if backend in self._closed:
                self._closed.discard(backend)
                self._placed_open += placed
            if placed != self._wanted[backend]:
                self._outdated[backend] = None
        else:
            self._outdated.pop(backend, None)
            if old and placed:
                self._closed.add(backend)
                self._placed_open -= placed
            if new is None:
                self._set_placed(backend, name, 0)
                self._closed.discard(backend)
                self._wanted_total -= self._wanted.pop(backend, 0)
                self._sorted_points = None
        self._stale = bool(self._outdated) or not (
            len(self._circle.cells) <= self._placed_total + PER_CELL
            and self._placed_total <= self._placed_open * _MAX_CLOSED_RATIO
        )
        self._ready = self._placed_total > 0 and not self._stale

    def _set_wanted(self, backend: B, weight: float) -> None:
        wanted = self._point_count(weight)
        needed = self._wanted_total + wanted - self._wanted.get(backend, 0)
        if needed > self._max_points:
            raise RingTooLarge(
                f"with weight {shown(weight)} for {shown(backend)} the ring needs "
                f"{shown(needed)} points, more than max_points={shown(self._max_points)}"
            )
        if wanted != self._wanted.get(backend):
            self._sorted_points = None
        self._wanted_total = needed
        self._wanted[backend] = wanted

    def _point_count(self, weight: float) -> int:
        try:
            wanted = int(self._points_per_weight * weight + 0.5)
        except OverflowError:
            wanted = int(self._points_per_weight * Fraction(weight))
        return max(1, wanted)

    def _refresh(self) -> None:
        """Change the points of the outdated members, or rebuild the ring if this is faster."""
        changed = sum(self._wanted[backend] for backend in self._outdated) if self._outdated else 0
        after = self._placed_total + changed
        cells = len(self._circle.cells)
        if (
            4 * changed > self._placed_total
            or self._placed_open * _MAX_CLOSED_RATIO < self._placed_total
            or not cells <= after + PER_CELL <= 4 * PER_CELL * (cells + 1)
        ):
            self._build()
        else:
            for backend in self._outdated:
                self._set_placed(backend, self._names[backend], self._wanted[backend])
        self._outdated.clear()
        self._stale = False
        self._ready = True

    def _set_placed(self, backend: B, name: bytes, wanted: int) -> None:
        """Add or remove points of one backend so that it has ``wanted`` points; O(points)."""
        placed = self._placed.pop(backend, 0)
        changed = range(placed, wanted) or range(wanted, placed)
        base = np.uint64(self._hasher(name) & BITS)
        index = np.arange(changed.start, changed.stop, dtype=np.uint64)
        points: list[int] = sequence_many(base, index).tolist()
        for point in points:
            if wanted > placed:
                self._circle.add(point, backend, self._names)
            else:
                self._circle.take(point, backend)
        if wanted:
            self._placed[backend] = wanted
        self._placed_total += wanted - placed
        if backend not in self._closed:
            self._placed_open += wanted - placed

    def _build(self) -> None:
        """Rebuild the ring from the points of the open members only; O(V log V) for V points."""
        points, whose, opened = self._points_of(b for b, weight in self._weights.items() if weight)
        self._circle.build(points, whose, opened)
        self._placed = {backend: self._wanted[backend] for backend in opened}
        self._placed_total = self._placed_open = len(points)
        self._closed.clear()

    def _points_of(
        self, members: Iterable[B]
    ) -> tuple[NDArray[np.uint64], NDArray[np.intp], list[B]]:
        """Return the points of these members, the index of each owner, and the owners by name."""
        owners = sorted(members, key=self._names.__getitem__)
        counts = [self._wanted[backend] for backend in owners]
        bases = [self._hasher(self._names[backend]) & BITS for backend in owners]
        index = np.concatenate([np.arange(count, dtype=np.uint64) for count in counts])
        points = sequence_many(np.repeat(np.array(bases, dtype=np.uint64), counts), index)
        return points, np.repeat(np.arange(len(owners)), counts), owners
