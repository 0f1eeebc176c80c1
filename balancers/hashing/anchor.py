"""Implements AnchorHash, a consistent hash with a fixed capacity.

Any member may leave, and this takes constant time.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import NO_BACKENDS, at_least, shown
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.hashing._rehashing_balancer import RehashingBalancer
from balancers.hashing.hashed_balancer import BITS
from balancers.keys import Hasher, Identity, name_of

__all__ = ["Anchor", "resettle", "resettle_many"]

_MULTIPLIER = 0xD1342543DE82EF95
"""The multiplier of the linear congruential generator that computes further hashes of a key."""
_LARGEST = 1 << 24
"""The largest capacity."""


class Anchor(RehashingBalancer[B]):
    """Chooses a bucket by the key's hash; if no member has the bucket, the key is hashed again.

    The number of buckets is the capacity.  Each member has one bucket.  When a member leaves, its
    bucket is released.  The keys of this bucket are hashed again, to the buckets that are still in
    use, and no other key moves.

    A new member gets the bucket that was released last.  It then owns exactly the keys that the
    previous owner of this bucket would own now if it had not left.  So removing a backend and
    adding it again right away restores the map.

    The map depends on the order of the changes and not on the names.  Processes that must pick the
    same backends have to make the same changes in the same order.  Every member gets an equal share
    of the keys: all positive weights are equivalent.  A backend of weight 0 keeps its bucket but is
    not picked (it is closed).

    >>> caches = Anchor(["cache-0", "cache-1", "cache-2"], capacity=8)
    >>> before = [caches.pick(key) for key in range(100)]
    >>> caches.discard("cache-1")
    >>> caches.put("cache-1")
    >>> [caches.pick(key) for key in range(100)] == before
    True

    Cost: the expected number of hashes per ``pick`` is at most 1 + ln(capacity / members).  So
    choose a capacity that is a small multiple of the number of members.  Joining, leaving, opening
    and closing are O(1).  Memory is O(capacity).
    Raises InvalidSetting for a capacity below 1 or above 2²⁴, and when a member is added while
    there are as many members as the capacity.
    Source: G. Mendelson, S. Vargaftik, K. Barabash, D. Lorenz, I. Keslassy, A. Orda, "AnchorHash: a
    scalable consistent hash", IEEE/ACM Transactions on Networking 29(2), 2021.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        capacity: int,
        identity: Identity[B] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        at_least(1, capacity=capacity)
        if capacity > _LARGEST:
            raise InvalidSetting(f"capacity must be at most {_LARGEST}, not {shown(capacity)}")
        self._capacity = capacity
        every = [*range(capacity)]
        # The paper's arrays A, K, W, L and R:
        # The number of buckets left in use when this bucket was released; 0 while it is in use:
        self._remaining = every
        self._replacement = every.copy()  # the bucket that was put in this bucket's position
        self._buckets = every.copy()  # the buckets in use; after them, former contents
        self._position = every.copy()  # the position of each bucket in _buckets
        self._released = every[::-1]  # a stack; the bucket that was released last is on top
        self._bucket_of: dict[B, int] = {}
        self._owner_of: dict[int, B] = {}
        self._open_owners: list[B | None] = [None] * capacity  # by bucket
        super().__init__(backends, identity=identity, hasher=hasher)

    @property
    def capacity(self) -> int:
        """The largest number of members."""
        return self._capacity

    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Return the backend of a 64-bit hash; O(1) expected if many of the members are open.

        Raises InvalidKey, NoBackendAvailable.
        """
        if type(digest) is int and not digest >> 64 and avoid is NO_BACKENDS:
            bucket = digest % self._capacity
            remaining = self._remaining
            if remaining[bucket]:
                bucket = resettle(digest, bucket, remaining, self._replacement)
            backend = self._open_owners[bucket]
            if backend is not None:
                return backend
        return super().pick_hashed(digest, avoid)

    def _flat_lists(self) -> Iterable[list[Any]]:
        return (
            self._remaining,
            self._replacement,
            self._buckets,
            self._position,
            self._released,
            self._open_owners,
        )

    def _owner(self, digest: int) -> B:
        bucket = digest % self._capacity
        return self._owner_of[resettle(digest, bucket, self._remaining, self._replacement)]

    def _owner_search(self, count: int) -> Callable[[NDArray[np.uint64]], NDArray[np.intp]]:
        capacity = np.uint64(self._capacity)
        remaining, replacement = np.array(self._remaining), np.array(self._replacement)
        places = np.zeros(self._capacity, dtype=np.intp)
        in_use = [self._bucket_of[backend] for backend in self._weights]
        places[in_use] = np.arange(len(in_use))

        def owners(hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
            buckets = hashes // capacity
            buckets *= capacity
            np.subtract(hashes, buckets, out=buckets)
            found = buckets.view(np.intp)
            resettle_many(hashes, found, remaining, replacement)
            return places[found]

        return owners

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        used = len(self._bucket_of)
        if old is None:
            if used == self._capacity:
                raise InvalidSetting(
                    f"capacity must be above {used} to add {shown(backend)} to Anchor, not {used}"
                )
            bucket = self._released.pop()
            self._remaining[bucket] = 0
            self._position[self._buckets[used]] = used
            self._buckets[self._position[bucket]] = bucket
            self._bucket_of[backend] = bucket
            self._owner_of[bucket] = backend
        elif new is None:
            bucket = self._bucket_of.pop(backend)
            del self._owner_of[bucket]
            last, position = self._buckets[used - 1], self._position[bucket]
            self._released.append(bucket)
            self._remaining[bucket] = used - 1
            self._buckets[position] = self._replacement[bucket] = last
            self._position[last] = position
        else:
            bucket = self._bucket_of[backend]
        self._open_owners[bucket] = backend if new else None


def resettle(digest: int, bucket: int, remaining: Sequence[int], replacement: Sequence[int]) -> int:
    """Return the bucket in use that owns a hash.

    ``bucket`` is the bucket that would own the hash if all buckets were in use.  ``remaining[b]``
    is the number of buckets that were left in use when bucket b was released.  It is 0 while b is
    in use.  ``replacement[b]`` is the bucket that was then put in the position of b.  While the
    hash belongs to a released bucket, it is hashed again.
    """
    while size := remaining[bucket]:
        digest = digest * _MULTIPLIER & BITS
        bucket = (digest >> 32) * size >> 32
        while remaining[bucket] >= size:
            bucket = replacement[bucket]
    return bucket


def resettle_many(
    digests: NDArray[np.uint64],
    buckets: NDArray[np.intp],
    remaining: NDArray[np.intp],
    replacement: NDArray[np.intp],
) -> None:
    """Replace each bucket by the result of :func:`resettle`; ``buckets`` is changed in place."""
    sizes = remaining[buckets]
    unsettled = np.flatnonzero(sizes)
    sizes, digests = sizes[unsettled], digests[unsettled]
    while len(unsettled):
        digests *= np.uint64(_MULTIPLIER)
        chosen = ((digests >> np.uint64(32)) * sizes.astype(np.uint64) >> np.uint64(32)).astype(
            np.intp
        )
        earlier = np.flatnonzero(remaining[chosen] >= sizes)
        while len(earlier):
            chosen[earlier] = replacement[chosen[earlier]]
            earlier = earlier[remaining[chosen[earlier]] >= sizes[earlier]]
        buckets[unsettled] = chosen
        sizes = remaining[chosen]
        still = np.flatnonzero(sizes)
        unsettled, sizes, digests = unsettled[still], sizes[still], digests[still]
