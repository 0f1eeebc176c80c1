"""What the rings of this package share: points laid out anew whenever the live servers change."""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B
from balancers.errors import InvalidWeight, RingTooLarge
from balancers.hashing.circle import Circle
from balancers.hashing.hashed_balancer import BITS, Chooser, HashedBalancer
from balancers.keys import Hasher, Identity

__all__ = ["MOST", "WORD", "Continuum", "Live", "checked_weight"]

WORD = 0xFFFFFFFF
MOST = 1 << 23
"""Points or slots."""
Live = Sequence[tuple[bytes, int]]
"""The names and weights of the servers that are live, in order of insertion."""


class Continuum(HashedBalancer[B]):
    """A ring of points that depend on who is live, as in clients that eject dead servers.

    Weight 0 ejects.  The hash is the program's own, of ``bits``; a subclass lays out the points.
    A change costs nothing; the first pick after it builds, O(V log V) for V points.
    """

    _bits = 32
    """Of a hash and a point; what is above is cut off."""
    _beyond = False
    """Whether a hash on a point belongs to the next one."""

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float],
        *,
        identity: Identity[B],
        hasher: Hasher,
    ) -> None:
        self._circle: Circle[B] = Circle()
        self._owning: set[B] = set()  # who has points: not everybody of little weight
        self._total = 0  # of the weights
        self._stale = False
        super().__init__(backends, identity=identity, hasher=hasher)

    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Give the server of a hash; O(1) expected.

        None of these clients turns to a second server; ``avoid`` walks on along the ring.
        Raises InvalidKey, NoBackendAvailable.
        """
        self.check_pick(digest, avoid)
        self._refresh()
        for owner in self._circle.walk(self._position(digest)):
            if owner not in avoid:
                return owner
        raise self.refusal()

    @abstractmethod
    def _points(self, live: Live) -> Iterable[Iterable[int]]:
        """Give the points of each live server, in order; the first of equal points counts."""

    def _position(self, digest: int) -> int:
        return (digest << 64 - self._bits) + self._beyond & BITS

    def _refresh(self) -> None:
        if not self._stale:
            return
        live = [(backend, int(weight)) for backend, weight in self._weights.items() if weight]
        points: list[int] = []
        whose: list[int] = []
        named = [(self._names[backend], weight) for backend, weight in live]
        for place, laid in enumerate(self._points(named)):
            points += laid
            whose += [place] * (len(points) - len(whose))
        placed = np.array(points, dtype=np.uint64) << np.uint64(64 - self._bits)
        self._circle.build(placed, np.array(whose, dtype=np.intp), [each for each, _ in live])
        self._owning = {live[place][0] for place in set(whose)}
        self._stale = False

    def eligible(self) -> int:
        self._refresh()
        return len(self._owning)

    def chooser(self, count: int) -> Chooser:
        place = {backend: at for at, backend in enumerate(self._weights)}
        points = np.array([point for cell in self._circle.cells for point in cell], dtype=np.uint64)
        places = np.array(
            [place[owner] for cell in self._circle.owners for owner in cell[:-1]], dtype=np.intp
        )
        shift = np.uint64(64 - self._bits)
        side: Literal["left", "right"] = "right" if self._beyond else "left"

        def choose(hashes: NDArray[np.uint64], picked: NDArray[np.intp]) -> None:
            found = np.searchsorted(points, hashes << shift, side)
            picked[:] = places[np.where(found < len(points), found, 0)]

        return choose

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        total = self._total + checked_weight(backend, new or 0) - int(old or 0)
        needed = self._needed(self._open + bool(new) - bool(old), total)
        if needed > MOST:
            raise RingTooLarge(
                f"with weight {new!r} for {backend!r} the ring needs {needed} points, "
                f"more than {MOST}"
            )
        self._total = total
        self._stale = True

    @abstractmethod
    def _needed(self, servers: int, total: int) -> int:
        """Say how many points so many servers of this total weight need, or a little more."""


def checked_weight(backend: object, weight: float) -> int:
    """Give a weight back; raise InvalidWeight for one that is no integer of 32 bits."""
    if not isinstance(weight, int) or weight > WORD:
        raise InvalidWeight(f"weight of {backend!r} must be an integer of 32 bits, not {weight!r}")
    return weight
