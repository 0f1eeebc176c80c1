"""Implements MementoHash, an extension of jump consistent hash.

Any member may leave.  The buckets of the members that left are remembered.
"""

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
    """Chooses a bucket by jump consistent hash, but allows any member to leave.

    Each member has one bucket.  As long as only the last member leaves, the picks are the same as
    those of :class:`Jump`.  When another member leaves, its bucket is released.  The keys of this
    bucket are hashed again, to the buckets that are still in use, and no other key moves.

    A new member gets the bucket that was released last.  It then owns exactly the keys that the
    previous owner of this bucket would own now if it had not left.  If there is no released bucket,
    the new member gets a new bucket.  The number of members is not limited.

    The map depends on the order of the changes and not on the names.  Processes that must pick the
    same backends have to make the same changes in the same order.  Every member gets an equal share
    of the keys: all positive weights are equivalent.  A backend of weight 0 keeps its bucket but is
    not picked (it is closed).

    >>> caches = Memento(["cache-0", "cache-1", "cache-2"])
    >>> before = [caches.pick(key) for key in range(100)]
    >>> caches.discard("cache-0")
    >>> caches.put("cache-0")
    >>> [caches.pick(key) for key in range(100)] == before
    True

    Cost: ``pick`` is O(log n) as in :class:`Jump`.  For the released buckets, it computes about
    ln(buckets / members) more hashes on average.  Joining, leaving, opening and closing are O(1).
    Memory is O(buckets), and there are at most as many buckets as there have been members at the
    same time.
    Source: M. Coluzzi, A. Brocco, A. Antonucci, T. Leidi, "MementoHash: a stateful, minimal memory,
    best performing consistent hash algorithm", arXiv 2306.09783, 2023.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        identity: Identity[B] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        # For each bucket, how many were left in use when it was released; 0 while it is in use.
        self._remaining: list[int] = []
        self._released: list[int] = []  # a stack; the bucket that was released last is on top
        self._bucket_of: dict[B, int] = {}
        self._owner_of: dict[int, B] = {}
        super().__init__(backends, identity=identity, hasher=hasher)

    def _owner(self, digest: int) -> B:
        remaining = self._remaining
        bucket = jump(digest, len(remaining))
        return self._owner_of[resettle(digest, bucket, remaining, remaining)]

    def _owner_search(self, count: int) -> Callable[[NDArray[np.uint64]], NDArray[np.intp]]:
        remaining = np.array(self._remaining)
        buckets = len(remaining)
        places = np.zeros(buckets, dtype=np.intp)
        in_use = [self._bucket_of[backend] for backend in self._weights]
        places[in_use] = np.arange(len(in_use))

        def owners(hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
            found = jump_many(hashes, buckets)
            resettle_many(hashes, found, remaining, remaining)
            return places[found]

        return owners

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        if old is None:
            if self._released:
                bucket = self._released.pop()
                self._remaining[bucket] = 0
            else:
                bucket = len(self._remaining)
                self._remaining.append(0)
            self._bucket_of[backend] = bucket
            self._owner_of[bucket] = backend
        elif new is None:
            bucket = self._bucket_of.pop(backend)
            del self._owner_of[bucket]
            if not self._released and bucket == len(self._remaining) - 1:
                self._remaining.pop()
            else:
                self._released.append(bucket)
                self._remaining[bucket] = len(self._bucket_of)
