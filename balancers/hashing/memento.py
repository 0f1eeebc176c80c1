"""MementoHash: jump consistent hash from which anyone may leave, remembering who did."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B
from balancers.hashing._rehashing_balancer import RehashingBalancer
from balancers.hashing.anchor import resettle, resettle_many
from balancers.hashing.jump import jump, jump_many
from balancers.keys import Hasher, Identity, name_of

__all__ = ["Memento"]


class Memento(RehashingBalancer[B]):
    """:class:`Jump` while only the last leave; a bucket given up notes how many were left then.

    The keys of a bucket given up are hashed again among those left, and nobody else's move.  A
    newcomer gets the bucket given up last, and with it exactly the keys that would be its own had
    that one stayed; a new bucket when there is none.  There is no capacity.  The map depends on the
    history, and on names not at all: let every process that must agree make the same changes in
    the same order.  Even, and any positive weight is the same.

    >>> caches = Memento(["cache-0", "cache-1", "cache-2"])
    >>> before = [caches.pick(key) for key in range(100)]
    >>> caches.discard("cache-0")
    >>> caches.put("cache-0")
    >>> [caches.pick(key) for key in range(100)] == before
    True

    Cost: ``pick`` O(log n) as :class:`Jump`'s, and ln(buckets / members) hashes more, expected, for
    the buckets that were given up; joining, leaving and a flip O(1); memory O(buckets), the most
    members there ever were.
    Source: M. Coluzzi, A. Brocco, A. Antonucci, T. Leidi, "MementoHash: a stateful, minimal memory,
    best performing consistent hash algorithm", arXiv 2306.09783, 2023.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        identity: Identity[B] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        self._left: list[int] = []  # how many were left when a bucket was given up; 0 when in use
        self._free: list[int] = []  # buckets given up, the last one on top
        self._bucket: dict[B, int] = {}
        self._member: dict[int, B] = {}
        super().__init__(backends, identity=identity, hasher=hasher)

    def _owner(self, digest: int) -> B:
        left = self._left
        return self._member[resettle(digest, jump(digest, len(left)), left, left)]

    def _owners(self, count: int) -> Callable[[NDArray[np.uint64]], NDArray[np.intp]]:
        left = np.array(self._left)
        buckets = len(left)
        places = np.zeros(buckets, dtype=np.intp)
        places[[self._bucket[backend] for backend in self._weights]] = np.arange(len(self._weights))

        def owners(hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
            found = jump_many(hashes, buckets)
            resettle_many(hashes, found, left, left)
            return places[found]

        return owners

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        if old is None:
            if self._free:
                bucket = self._free.pop()
                self._left[bucket] = 0
            else:
                bucket = len(self._left)
                self._left.append(0)
            self._bucket[backend] = bucket
            self._member[bucket] = backend
        elif new is None:
            bucket = self._bucket.pop(backend)
            del self._member[bucket]
            if not self._free and bucket == len(self._left) - 1:
                self._left.pop()
            else:
                self._free.append(bucket)
                self._left[bucket] = len(self._bucket)
