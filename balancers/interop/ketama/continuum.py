"""Defines the base class of the rings of memcached clients.

The ring is rebuilt whenever the set of live servers changes.
"""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B
from balancers.hashing.circle import Circle
from balancers.hashing.hashed_balancer import BITS, Chooser, HashedBalancer
from balancers.interop.ring_points import check_ring_size, points_and_owners
from balancers.interop.whole_weights import LastWeights, whole_weight
from balancers.keys import Hasher, Identity

__all__ = ["MAX_POINTS", "WORD", "Continuum", "Live"]

WORD = 0xFFFFFFFF
MAX_POINTS = 1 << 23
"""The greatest number of points of a ring, and of slots of a list."""
Live = Sequence[tuple[bytes, int]]
"""The name and the weight of each live server, in order of insertion."""


class Continuum(HashedBalancer[B]):
    """Picks servers by a ring of points that depends on the live servers.

    A point is a position on the ring, and it belongs to a server.  A key belongs to the first point
    at or after its hash.  Clients that eject dead servers use such rings.  A server with weight 0
    is ejected, and all other servers are live.

    The hash function is that of the client.  Its hashes have ``_bits`` bits.  A subclass defines
    the points.  A change is O(1).  The first pick after a change builds the ring, which is
    O(V log V) for V points.
    """

    _bits = 32
    """The number of bits of a hash and of a point.  Higher bits of a hash are ignored."""
    _strictly_after = False
    """True if a hash that is equal to a point belongs to the next point."""

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None,
        *,
        identity: Identity[B],
        hasher: Hasher,
    ) -> None:
        self._circle: Circle[B] = Circle()
        self._with_points: set[B] = set()  # a server of very low weight has no points
        self._last_weights: LastWeights[B] = LastWeights()
        self._stale = False
        super().__init__(backends, identity=identity, hasher=hasher)

    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Return the server for a hash; O(1) expected.

        A server in ``avoid`` is skipped, and the server of the next point is tried.  The clients
        themselves never try a second server.
        Raises InvalidKey, NoBackendAvailable.
        """
        avoid = self.check_pick(digest, avoid)
        self._refresh()
        for owner in self._circle.walk(self._position(digest)):
            if owner not in avoid:
                return owner
        raise self.refusal()

    @abstractmethod
    def _points(self, live: Live) -> Iterable[Iterable[int]]:
        """Return the points of each live server, in the order of ``live``.

        If two points are equal, the first one is used.
        """

    def _position(self, digest: int) -> int:
        return (digest << 64 - self._bits) + self._strictly_after & BITS

    def _refresh(self) -> None:
        if not self._stale:
            return
        live = [(backend, int(weight)) for backend, weight in self._weights.items() if weight]
        names_and_weights = [(self._names[backend], weight) for backend, weight in live]
        points, owners = points_and_owners(self._points(names_and_weights))
        backends = [backend for backend, _ in live]
        self._circle.build(points << np.uint64(64 - self._bits), owners, backends)
        self._with_points = {backends[owner] for owner in set(owners.tolist())}
        self._stale = False

    def eligible(self) -> int:
        self._refresh()
        return len(self._with_points)

    def chooser(self, count: int) -> Chooser:
        points, indices = self._circle.flat(self._weights)
        shift = np.uint64(64 - self._bits)
        side: Literal["left", "right"] = "right" if self._strictly_after else "left"

        def choose(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
            picked[:] = indices[np.searchsorted(points, hashes << shift, side)]

        return choose

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        weight = None if new is None else whole_weight(backend, new, WORD)
        if weight:
            last = self._last_weights
            servers = len(last.by_backend) + (backend not in last.by_backend)
            needed = self._points_needed(servers, last.total_with(backend, weight))
            check_ring_size(backend, weight, needed, MAX_POINTS)
        self._last_weights.set(backend, weight)
        self._stale = True

    @abstractmethod
    def _points_needed(self, servers: int, total_weight: int) -> int:
        """Return an upper bound of the number of points on the ring.

        ``servers`` is the number of servers, and ``total_weight`` is the sum of their weights.  An
        ejected server counts with its last positive weight.
        """
