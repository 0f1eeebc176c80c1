"""A hash ring: consistent hashing with points on a circle (Karger et al., STOC 1997)."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from typing import TypeVar

import numpy as np
from mmh3 import mmh3_x64_128_utupledigest
from numpy.typing import NDArray

from balancers.balancer import Key
from balancers.errors import RingTooLarge
from balancers.hashing.circle import PER_CELL, Circle
from balancers.hashing.hashed import BITS, GOLDEN, Chooser, HashedBalancer, mix_many
from balancers.hashing.keys import Hasher, Identity, Murmur3, name_of
from balancers.membership import at_least, checked_avoid

__all__ = ["HashRing"]

B = TypeVar("B")

_SPARSE = 8
"""Closed points are taken out when fewer than one in so many is open."""
_FINER = 16
"""Entries of a batch's table a point (measured)."""


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

    Cost: ``pick`` O(1) expected; the circle is cut into cells of some eight points.  A flip O(1),
    joining and leaving O(points · weight), all amortised; the first pick builds, O(V log V) for V
    points in all.  When fewer than one point in eight is open, the closed are taken out, so a walk
    to an open one stays short.
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
        self._stale = False  # somebody is late, or too few points are open
        self._ready = False  # nobody is, and there are points
        self._seed: int | None = None  # of the default hash function
        super().__init__(backends, identity=identity, hasher=hasher)
        if isinstance(self._hasher, Murmur3):
            self._seed = self._hasher.seed

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Give the key's backend; O(1) expected.

        Raises MissingKey, InvalidKey, NoBackendAvailable.
        """
        if type(key) is bytes and self._seed is not None:
            digest = mmh3_x64_128_utupledigest(key, self._seed)[0]
        else:
            digest = self._digest(key)
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
        self._checked(digest, avoid)
        if self._stale:
            self._refresh()
        closed = self._closed
        for owner in self._circle.walk(digest):
            if owner not in closed and owner not in avoid:
                return owner
        raise self._refusal()

    def replicas(self, key: Key, k: int) -> list[B]:
        """Give the key's first ``k`` different backends, in the order in which they take over.

        All there are when fewer.  Expected cost O(k log k) while k is well below n.
        Raises MissingKey, InvalidKey, InvalidSetting for k below 1.
        """
        at_least(1, k=k)
        digest = self._digest(key)
        found: dict[B, None] = {}
        if self._open:
            if self._stale:
                self._refresh()
            k = min(k, self._open)
            for owner in self._circle.walk(digest):
                if owner not in self._closed:
                    found[owner] = None
                    if len(found) == k:
                        break
        return list(found)

    def _chooser(self, count: int) -> Chooser:
        if self._stale and self._late:
            self._flat = None
        points, places = self._flattened()
        bits = min(26, (_FINER * len(points)).bit_length())
        if count < len(points):
            def search(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
                picked[:] = places[np.searchsorted(points, hashes)]

            return search

    def _reweigh(self, backend: B, name: bytes, old: float | None, new: float | None) -> None:
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
        self._stale = bool(self._late) or not (
            len(self._cells) <= self._on_ring + _PER_CELL
            and self._on_ring <= self._open_on_ring * _SPARSE
        )
        self._ready = self._on_ring > 0 and not self._stale

    def _want(self, backend: B, weight: float) -> None:
        try:
            wanted = int(self._points_per_weight * weight + 0.5)
        except OverflowError:
            wanted = int(self._points_per_weight * Fraction(weight))
        wanted = max(1, wanted)
        needed = self._needed + wanted - self._wanted.get(backend, 0)
        if needed > self._max_points:
            raise RingTooLarge(
                f"with weight {weight!r} for {backend!r} the ring needs {needed} points, "
                f"more than max_points={self._max_points}"
            )
        self._needed = needed
        self._wanted[backend] = wanted

    def _refresh(self) -> None:
        """Bring the ring up to date: one backend's points at a time, or all at once."""
        late = sum(self._wanted[backend] for backend in self._late) if self._late else 0
        after = self._on_ring + late
        cells = len(self._cells)
        if (
            4 * late > self._on_ring
            or self._open_on_ring * _SPARSE < self._on_ring
            or not cells <= after + _PER_CELL <= 4 * _PER_CELL * (cells + 1)
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
        base = self._hasher(name) & _BITS
        points: list[int] = _points(
            np.uint64(base), np.arange(changed.start, changed.stop, dtype=np.uint64)
        ).tolist()
        for point in points:
            cell = point >> self._shift
            known, owners = self._cells[cell], self._owners[cell]
            place = bisect_left(known, point)
            if wanted > placed:
                while place < len(known) and known[place] == point:
                    if self._names[owners[place]] > name:
                        break
                    place += 1
                self._cells[cell] = (*known[:place], point, *known[place:])
                self._owners[cell] = (*owners[:place], backend, *owners[place:])
            else:
                while owners[place] != backend:
                    place += 1
                self._cells[cell] = known[:place] + known[place + 1 :]
                self._owners[cell] = owners[:place] + owners[place + 1 :]
            if not place:
                self._mend(cell)
        if wanted:
            self._placed[backend] = wanted
        self._on_ring += wanted - placed
        if not self._on_ring:
            self._shift, self._cells, self._owners = 64, [()], [()]
        if backend not in self._closed:
            self._open_on_ring += wanted - placed

    def _mend(self, cell: int) -> None:
        """Tell the cells before who owns the first point from this one on."""
        first = self._owners[cell][0]
        for before in range(cell - 1, cell - 1 - len(self._owners), -1):
            self._owners[before] = (*self._owners[before][:-1], first)
            if self._cells[before]:
                return

    def _build(self) -> None:
        """Place the points of the open members, and only these; O(V log V)."""
        opened = [backend for backend, weight in self._weights.items() if weight]
        opened.sort(key=self._names.__getitem__)
        counts = [self._wanted[backend] for backend in opened]
        bases = [self._hasher(self._names[backend]) & _BITS for backend in opened]
        points = _points(
            np.repeat(np.array(bases, dtype=np.uint64), counts),
            np.concatenate([np.arange(count, dtype=np.uint64) for count in counts]),
        )
        order = np.argsort(points, kind="stable")
        points = points[order]
        owners = np.fromiter(opened, dtype=object, count=len(opened))
        owned: list[B] = owners[np.repeat(np.arange(len(opened)), counts)[order]].tolist()
        bits = (len(owned) // _PER_CELL).bit_length()
        self._shift = 64 - bits
        borders = np.arange(1, 1 << bits, dtype=np.uint64) << np.uint64(self._shift)
        edges: list[int] = [0, *np.searchsorted(points, borders).tolist(), len(owned)]
        known: list[int] = points.tolist()
        self._cells = [tuple(known[a:b]) for a, b in pairwise(edges)]
        owned.append(owned[0])
        self._owners = [tuple(owned[a : b + 1]) for a, b in pairwise(edges)]
        self._placed = dict(zip(opened, counts, strict=True))
        self._on_ring = self._open_on_ring = len(known)
        self._closed.clear()


def _points(base: NDArray[np.uint64] | np.uint64, index: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Give the points of these numbers in the sequences of these bases (SplitMix64)."""
    with np.errstate(over="ignore"):
        z = base + (index + np.uint64(1)) * np.uint64(_GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
