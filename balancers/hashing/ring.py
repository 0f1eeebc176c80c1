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
from balancers.hashing.circle import PER_CELL, Circle, sorted_order
from balancers.hashing.hashed_balancer import BITS, GOLDEN, Chooser, HashedBalancer, mix_many
from balancers.keys import Hasher, Identity, Murmur3, name_of

__all__ = ["HashRing"]

_Flat = tuple[NDArray[np.uint64], NDArray[np.int32]]
"""Points in order, and the places of their owners."""
_SPARSE = 8
"""Closed points are taken out when fewer than one in so many is open."""
_FINER, _MOST_BITS = 16, 24
"""Cells of a batch a point (measured), and the most of them: nearly all have a single owner."""
_FEW = 4
"""A batch of fewer hashes a point is not worth cutting the circle into cells."""


class HashRing(HashedBalancer[B]):
    """A key belongs to the first point at or after its hash, clockwise.

    Each backend has ``points`` points a unit of weight, at least one for any positive weight: the
    first ones of a sequence that its name alone determines.  So the map is a function of the set,
    in any order; adding, removing or re-weighing touches one backend's points only, and raising a
    weight moves keys only towards it.  A quiesced backend's keys go to the next open one, as after
    its removal.  Shares vary: with n backends of v points each the standard deviation is
    √((n - 1) / (v·n + 1)) of the mean, 7.5 % for 10 at 160.

    >>> ring = HashRing(["cache-1", "cache-2", "cache-3"])
    >>> ring.pick("user:42") == ring.pick(b"user:42")
    True
    >>> len(ring.replicas("user:42", 2))
    2
    >>> ring.pick_many(ring.hash_many(["user:42", "user:43"])).dtype
    dtype('int64')

    Cost: ``pick`` O(1) expected; the circle is cut into cells of some eight points.  A flip O(1),
    joining and leaving O(points · weight), all amortised; the first pick builds, O(V log V) for V
    points in all, and so does the first batch, for itself.  When fewer than one point in eight
    is open, the closed are taken out, so a walk to an open one stays short.
    Raises InvalidSetting for ``points`` or ``max_points`` below 1, RingTooLarge when all members
    together, quiesced ones as they last were, need more than ``max_points``.
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
        self._wanted: dict[B, int] = {}  # how many points each member's last positive weight needs
        self._needed = 0
        self._placed: dict[B, int] = {}  # how many of them are on the ring
        self._on_ring = self._open_on_ring = 0
        self._late: dict[B, None] = {}  # open members whose points on the ring are not as wanted
        self._closed: set[B] = set()  # members on the ring that are quiesced
        self._circle = Circle[B]()
        self._flat: _Flat | None = None  # the same for batches, closed members included
        self._stale = False  # somebody is late, or too few points are open
        self._ready = False  # nobody is, and there are points
        self._seed: int | None = None  # of the default hash function
        given = as_weights(backends)
        needed = sum(self._points_of(weight) for weight in given.values() if weight)
        if needed > max_points:
            raise RingTooLarge(f"the ring needs {needed} points, more than max_points={max_points}")
        super().__init__(given, identity=identity, hasher=hasher)
        if isinstance(self._hasher, Murmur3):
            self._seed = self._hasher.seed

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Give the key's backend; O(1) expected.

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
        """Give the backend of a 64-bit hash; O(1) expected.

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
        """Give the backends of a 64-bit hash, lazily, in the order in which they take over.

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
        points, places = self._opened()
        if count < _FEW * len(points):

            def search(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
                picked[:] = places[np.searchsorted(points, hashes)]

            return search
        bits = min(_MOST_BITS, (_FINER * len(points)).bit_length())
        shift = np.uint64(64 - bits)
        edges = (points[:-1] >> shift).astype(np.intp)
        cells_each = np.diff(edges, prepend=-1, append=(1 << bits) - 1)
        firsts = np.repeat(np.arange(len(points), dtype=np.int32), cells_each)
        owners = np.repeat(places.astype(np.min_scalar_type(-len(self._weights))), cells_each)
        owners[edges] = -1

        def choose(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
            cells = (hashes >> shift).view(np.intp)
            found = owners.take(cells)
            picked[:] = found
            left = np.flatnonzero(found < 0)
            asked, at = hashes[left], firsts[cells[left]]
            late = np.flatnonzero(points[at] < asked)
            while len(late):
                at[late] += 1
                late = late[points[at[late]] < asked[late]]
            picked[left] = places[at]

        return choose

    def _opened(self) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
        """Give the points of the open members in order, and the places of their owners.

        Last comes a point beyond all hashes, which is the first one's owner's.
        """
        if self._flat is None:
            numbers = {backend: place for place, backend in enumerate(self._weights)}
            points, whose, members = self._points(self._wanted)
            order = sorted_order(points)
            places = np.array([numbers[backend] for backend in members], dtype=np.int32)
            self._flat = points[order], places[whose[order]]
        points, places = self._flat
        if self._open < len(self._wanted):
            opened = np.array([weight > 0 for weight in self._weights.values()])[places]
            points, places = points[opened], places[opened]
        return np.append(points, np.uint64(BITS)), np.append(places, places[:1])

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        placed = self._placed.get(backend, 0)
        if new:
            self._want(backend, new)
            if backend in self._closed:
                self._closed.discard(backend)
                self._open_on_ring += placed
            if placed != self._wanted[backend]:
                self._late[backend] = None
        else:
            self._late.pop(backend, None)
            if old and placed:
                self._closed.add(backend)
                self._open_on_ring -= placed
            if new is None:
                self._place(backend, name, 0)
                self._closed.discard(backend)
                self._needed -= self._wanted.pop(backend, 0)
                self._flat = None
        self._stale = bool(self._late) or not (
            len(self._circle.cells) <= self._on_ring + PER_CELL
            and self._on_ring <= self._open_on_ring * _SPARSE
        )
        self._ready = self._on_ring > 0 and not self._stale

    def _want(self, backend: B, weight: float) -> None:
        wanted = self._points_of(weight)
        needed = self._needed + wanted - self._wanted.get(backend, 0)
        if needed > self._max_points:
            raise RingTooLarge(
                f"with weight {weight!r} for {backend!r} the ring needs {needed} points, "
                f"more than max_points={self._max_points}"
            )
        if wanted != self._wanted.get(backend):
            self._flat = None
        self._needed = needed
        self._wanted[backend] = wanted

    def _points_of(self, weight: float) -> int:
        try:
            wanted = int(self._points_per_weight * weight + 0.5)
        except OverflowError:
            wanted = int(self._points_per_weight * Fraction(weight))
        return max(1, wanted)

    def _refresh(self) -> None:
        """Bring the ring up to date: one backend's points at a time, or all at once."""
        late = sum(self._wanted[backend] for backend in self._late) if self._late else 0
        after = self._on_ring + late
        cells = len(self._circle.cells)
        if (
            4 * late > self._on_ring
            or self._open_on_ring * _SPARSE < self._on_ring
            or not cells <= after + PER_CELL <= 4 * PER_CELL * (cells + 1)
        ):
            self._build()
        else:
            for backend in self._late:
                self._place(backend, self._names[backend], self._wanted[backend])
        self._late.clear()
        self._stale = False
        self._ready = True

    def _place(self, backend: B, name: bytes, wanted: int) -> None:
        """Add or take out one backend's points; O(points)."""
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
        self._on_ring += wanted - placed
        if backend not in self._closed:
            self._open_on_ring += wanted - placed

    def _build(self) -> None:
        """Place the points of the open members, and only these; O(V log V)."""
        points, whose, opened = self._points(b for b, weight in self._weights.items() if weight)
        self._circle.build(points, whose, opened)
        self._placed = {backend: self._wanted[backend] for backend in opened}
        self._on_ring = self._open_on_ring = len(points)
        self._closed.clear()

    def _points(self, members: Iterable[B]) -> tuple[NDArray[np.uint64], NDArray[np.intp], list[B]]:
        """Give every point of these members, whose each is, and the members by name."""
        named = sorted(members, key=self._names.__getitem__)
        counts = [self._wanted[backend] for backend in named]
        bases = [self._hasher(self._names[backend]) & BITS for backend in named]
        points = _sequence(
            np.repeat(np.array(bases, dtype=np.uint64), counts),
            np.concatenate([np.arange(count, dtype=np.uint64) for count in counts]),
        )
        return points, np.repeat(np.arange(len(named)), counts), named


def _sequence(
    base: NDArray[np.uint64] | np.uint64, index: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Give the points of these numbers in the sequences of these bases (SplitMix64)."""
    with np.errstate(over="ignore"):
        return mix_many(base + (index + np.uint64(1)) * np.uint64(GOLDEN))
