"""A hash ring: consistent hashing with points on a circle (Karger et al., STOC 1997)."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from fractions import Fraction

import numpy as np
from mmh3 import mmh3_x64_128_utupledigest
from numpy.typing import NDArray

from balancers._internal.checks import as_weights, at_least
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import RingTooLarge
from balancers.hashing.circle import PER_CELL, Circle, PointTable, sorted_order
from balancers.hashing.hashed_balancer import BITS, GOLDEN, Chooser, HashedBalancer, mix_many
from balancers.keys import Hasher, Identity, Murmur3, name_of

__all__ = ["HashRing"]

_SortedPoints = tuple[NDArray[np.uint64], NDArray[np.int32]]
"""Points, ascending, and the index of each owner in the order of ``weights``."""
_MAX_CLOSED_RATIO = 8
"""The ring is rebuilt without closed members when fewer than one point in so many is open."""
_MAX_TABLE_BITS = 24
_MIN_HASHES_PER_POINT = 4
"""For a batch of fewer hashes per point a table does not pay: a binary search is faster."""


class HashRing(HashedBalancer[B]):
    """A key belongs to the first point at or after its hash, clockwise.

    Each backend has ``points`` points per unit of weight, and at least one for any positive weight:
    the first ones of a sequence that only its name determines.  So the map is a function of the set
    of members, in any order.  Adding or removing a backend, or changing its weight, affects the
    points of that backend only, and raising a weight moves keys only towards it.  The keys of a
    quiesced backend go to the next open one, as after its removal.  Shares vary: with n backends of
    v points each the standard deviation is √((n - 1) / (v·n + 1)) of the mean, which is 7.5 % for
    10 backends of 160 points.

    >>> ring = HashRing(["cache-1", "cache-2", "cache-3"])
    >>> ring.pick("user:42") == ring.pick(b"user:42")
    True
    >>> len(ring.replicas("user:42", 2))
    2
    >>> ring.pick_many(ring.hash_many(["user:42", "user:43"])).dtype
    dtype('int64')

    Cost: ``pick`` O(1) expected; the circle is divided into cells of about eight points.  A flip
    O(1), joining and leaving O(points · weight), all amortised.  The first pick builds the ring,
    O(V log V) for V points in all; so does the first batch, for its own arrays.  When fewer than
    one point in eight is open, the closed points are removed, so that a walk to an open one stays
    short.
    The first ring of a process costs about 60 ms on CPython 3.11, after ``import balancers``: the
    import of numpy takes 55 ms, of mmh3 and ``balancers.hashing`` 5 ms, the first build of 10
    backends 1 ms.  A later build of 10 backends takes 0.4 ms.
    Raises InvalidSetting for ``points`` or ``max_points`` below 1, RingTooLarge when all members
    together need more than ``max_points``.  A quiesced member needs as many as it last had.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        points: int = 160,
        max_points: int = 1 << 23,
        identity: Identity[B] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        at_least(1, points=points, max_points=max_points)
        self._points_per_weight = points
        self._max_points = max_points
        self._wanted: dict[B, int] = {}  # points that each member's last positive weight needs
        self._wanted_total = 0
        self._placed: dict[B, int] = {}  # points that each member has on the ring
        self._placed_total = self._placed_open = 0
        self._outdated: dict[B, None] = {}  # open members that have more or fewer than they need
        self._closed: set[B] = set()  # members on the ring that are quiesced
        self._circle = Circle[B]()
        self._sorted_points: _SortedPoints | None = None  # for batches, closed members included
        self._stale = False  # a member is outdated, or too few points are open
        self._ready = False  # the ring is not stale, and has points
        self._seed: int | None = None  # of the default hash function
        given = as_weights(backends)
        needed = sum(self._point_count(weight) for weight in given.values() if weight)
        if needed > max_points:
            raise RingTooLarge(f"the ring needs {needed} points, more than max_points={max_points}")
        super().__init__(given, identity=identity, hasher=hasher)
        if isinstance(self._hasher, Murmur3):
            self._seed = self._hasher.seed

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return the key's backend; O(1) expected.

        Raises MissingKey, InvalidKey, NoBackendAvailable.
        """
        if type(key) is bytes and self._seed is not None:
            digest = mmh3_x64_128_utupledigest(key, self._seed)[0]
        else:
            digest = self.hash_key(key)
        if self._ready and not avoid:
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
        self.check_pick(digest, avoid)
        if self._stale:
            self._refresh()
        closed = self._closed
        for owner in self._circle.walk(digest):
            if owner not in closed and owner not in avoid:
                return owner
        raise self.refusal()

    def succession(self, digest: int) -> Iterator[B]:
        """Yield the backends of a 64-bit hash, lazily, in the order in which they take over.

        Expected cost O(k log k) for the first k, while k is well below n.  Raises InvalidKey.
        """
        if not self._open:
            return
        self.check_pick(digest, ())
        if self._stale:
            self._refresh()
        found: set[B] = set()
        for owner in self._circle.walk(digest):
            if owner not in self._closed and owner not in found:
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
        owners[table.occupied] = -1  # such a cell may have more than one owner

        def choose(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
            cells = table.cells(hashes)
            found = owners.take(cells)
            picked[:] = found
            left = np.flatnonzero(found < 0)
            picked[left] = indices[table.search(hashes[left], cells[left])]

        return choose

    def _open_points(self) -> _SortedPoints:
        """Return the sorted points of the open members.

        A point beyond all hashes ends them.  Its owner is the owner of the first point.
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
                f"with weight {weight!r} for {backend!r} the ring needs {needed} points, "
                f"more than max_points={self._max_points}"
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
        """Bring the ring up to date: one backend's points at a time, or all at once."""
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
        """Add or remove points of one backend until it has as many as wanted; O(points)."""
        placed = self._placed.pop(backend, 0)
        changed = range(placed, wanted) or range(wanted, placed)
        base = self._hasher(name) & BITS
        points: list[int] = _sequence(
            np.uint64(base), np.arange(changed.start, changed.stop, dtype=np.uint64)
        ).tolist()
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
        """Place the points of the open members, and only these; O(V log V)."""
        points, whose, opened = self._points_of(b for b, weight in self._weights.items() if weight)
        self._circle.build(points, whose, opened)
        self._placed = {backend: self._wanted[backend] for backend in opened}
        self._placed_total = self._placed_open = len(points)
        self._closed.clear()

    def _points_of(
        self, members: Iterable[B]
    ) -> tuple[NDArray[np.uint64], NDArray[np.intp], list[B]]:
        """Return every point of these members, the index of its owner, and the sorted owners."""
        owners = sorted(members, key=self._names.__getitem__)
        counts = [self._wanted[backend] for backend in owners]
        bases = [self._hasher(self._names[backend]) & BITS for backend in owners]
        points = _sequence(
            np.repeat(np.array(bases, dtype=np.uint64), counts),
            np.concatenate([np.arange(count, dtype=np.uint64) for count in counts]),
        )
        return points, np.repeat(np.arange(len(owners)), counts), owners


def _sequence(
    base: NDArray[np.uint64] | np.uint64, index: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Return the points at these positions of the sequences of these bases (SplitMix64)."""
    with np.errstate(over="ignore"):
        return mix_many(base + (index + np.uint64(1)) * np.uint64(GOLDEN))
