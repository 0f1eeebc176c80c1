"""A hash ring: consistent hashing with points on a circle (Karger et al., STOC 1997)."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import TypeVar

import numpy as np
from mmh3 import mmh3_x64_128_utupledigest
from numpy.typing import NDArray

from balancers.balancer import Key
from balancers.errors import RingTooLarge
from balancers.hashing.keys import Hasher, Identity, Murmur3, name_of
from balancers.hashing.named import NamedMembership
from balancers.membership import at_least, checked_avoid

__all__ = ["HashRing"]

B = TypeVar("B")

_BITS = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_PER_CELL = 6
"""Points a cell, on average (measured)."""
_SPARSE = 8
"""Closed points are taken out when fewer than one in so many is open."""


class HashRing(NamedMembership[B]):
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

    Cost: ``pick`` O(1) expected; the circle is cut into cells of some six points.  A flip O(1),
    joining and leaving O(points · weight), all amortised; the first pick builds, O(V log V) for V
    points in all.  When fewer than one point in eight is open, the closed are taken out, so a walk
    to an open one stays short.
    Raises InvalidSetting for ``points`` or ``max_points`` below 1, RingTooLarge when all members
    together need more than ``max_points``.
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
        self._shift = 64
        self._cells: list[tuple[int, ...]] = [()]  # points, ascending
        self._owners: list[tuple[B, ...]] = [()]  # and whose they are
        self._plain = False  # every point is on the ring and open, and there are some
        self._murmur_seed = -1
        super().__init__(backends, identity=identity, hasher=hasher)
        if isinstance(self._hasher, Murmur3):
            self._murmur_seed = self._hasher.seed

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Give the key's backend; O(1) expected.

        Raises MissingKey, InvalidKey, NoBackendAvailable.
        """
        if type(key) is bytes and self._murmur_seed >= 0:
            digest = mmh3_x64_128_utupledigest(key, self._murmur_seed)[0]
        else:
            digest = self._digest(key)
        if self._plain and not avoid:
            cell = digest >> self._shift
            points = self._cells[cell]
            place = bisect_left(points, digest)
            if place < len(points):
                return self._owners[cell][place]
            while True:
                cell = (cell + 1) % len(self._cells)
                if self._owners[cell]:
                    return self._owners[cell][0]
        return self._search(digest, checked_avoid(avoid))

    def replicas(self, key: Key, k: int) -> list[B]:
        """Give the key's first ``k`` different backends, in the order in which they take over.

        All there are when fewer.  Expected cost O(k log k) while k is well below n.
        Raises MissingKey, InvalidKey, InvalidSetting for k below 1.
        """
        at_least(1, k=k)
        digest = self._digest(key)
        found: dict[B, None] = {}
        if self._open:
            self._refresh()
            k = min(k, self._open)
            for owner in self._walk(digest):
                if owner not in self._closed:
                    found[owner] = None
                    if len(found) == k:
                        break
        return list(found)

    def _search(self, digest: int, avoid: Collection[B]) -> B:
        if not self._open or (avoid and self._all_avoided(avoid)):
            raise self._refusal()
        self._refresh()
        closed = self._closed
        for owner in self._walk(digest):
            if owner not in closed and (not avoid or owner not in avoid):
                return owner
        raise self._refusal()

    def _all_avoided(self, avoid: Collection[B]) -> bool:
        return len(avoid) >= self._open and all(
            backend in avoid for backend, weight in self._weights.items() if weight
        )

    def _walk(self, digest: int) -> Iterator[B]:
        """Give the owner of every point, clockwise from a hash."""
        first = digest >> self._shift
        place = bisect_left(self._cells[first], digest)
        yield from self._owners[first][place:]
        for cell in (*range(first + 1, len(self._owners)), *range(first)):
            yield from self._owners[cell]
        yield from self._owners[first][:place]

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
        self._plain = False

    def _want(self, backend: B, weight: float) -> None:
        wanted = max(1, int(self._points_per_weight * weight + 0.5))
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
        self._plain = not self._closed

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
        if wanted:
            self._placed[backend] = wanted
        self._on_ring += wanted - placed
        if backend not in self._closed:
            self._open_on_ring += wanted - placed

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
        self._owners = [tuple(owned[a:b]) for a, b in pairwise(edges)]
        self._placed = dict(zip(opened, counts, strict=True))
        self._on_ring = self._open_on_ring = len(owned)
        self._closed.clear()


def _points(base: NDArray[np.uint64] | np.uint64, index: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Give the points of these numbers in the sequences of these bases (SplitMix64)."""
    with np.errstate(over="ignore"):
        z = base + (index + np.uint64(1)) * np.uint64(_GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
