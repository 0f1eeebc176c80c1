"""AnchorHash: anyone may leave, at a cost that does not grow, within a capacity set once."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import at_least
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.hashing._rehashing_balancer import RehashingBalancer
from balancers.hashing.hashed_balancer import BITS
from balancers.keys import Hasher, Identity, name_of

__all__ = ["Anchor", "resettle", "resettle_many"]

_STEP = 0xD1342543DE82EF95
_LARGEST = 1 << 24


class Anchor(RehashingBalancer[B]):
    """As many buckets as the capacity; a key whose bucket nobody has is hashed again.

    When a member leaves, its bucket notes how many were left, and its keys are hashed again among
    these; nobody else's move.  A newcomer gets the bucket given up last, and with it exactly the
    keys that would be its own had that one stayed: to let the last leaver back in restores the map.
    So the map depends on the history, and on names not at all: let every process that must agree
    make the same changes in the same order.  Even, and any positive weight is the same.

    >>> caches = Anchor(["cache-0", "cache-1", "cache-2"], capacity=8)
    >>> before = [caches.pick(key) for key in range(100)]
    >>> caches.discard("cache-1")
    >>> caches.put("cache-1")
    >>> [caches.pick(key) for key in range(100)] == before
    True

    Cost: ``pick`` 1 + ln(capacity / members) hashes or fewer, expected, so keep the capacity within
    a small multiple; joining, leaving and a flip O(1); memory O(capacity).
    Raises InvalidSetting for a capacity below 1 or beyond 2²⁴, and for a member more than that.
    Source: G. Mendelson, S. Vargaftik, K. Barabash, D. Lorenz, I. Keslassy, A. Orda, "AnchorHash: a
    scalable consistent hash", IEEE/ACM Transactions on Networking 29(2), 2021.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        capacity: int,
        identity: Identity[B] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        at_least(1, capacity=capacity)
        if capacity > _LARGEST:
            raise InvalidSetting(f"capacity must be {_LARGEST} or less, not {capacity!r}")
        self._capacity = capacity
        every = [*range(capacity)]
        self._left = every  # A: how many were left when a bucket was given up; 0 when in use
        self._instead = every.copy()  # K: who took a bucket's place among those left
        self._at = every.copy()  # W: the buckets in use, and then what was there
        self._place = every.copy()  # L: where in W a bucket is
        self._free = every[::-1]  # R: buckets given up, the last one on top
        self._bucket: dict[B, int] = {}
        self._member: dict[int, B] = {}
        self._serving: list[B | None] = [None] * capacity  # the open members, by bucket
        super().__init__(backends, identity=identity, hasher=hasher)

    @property
    def capacity(self) -> int:
        """How many members there may be at most."""
        return self._capacity

    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Give the backend of a 64-bit hash; O(1) expected while a fair share is open.

        Raises InvalidKey, NoBackendAvailable.
        """
        if type(digest) is int and not digest >> 64 and not avoid:
            bucket = digest % self._capacity
            left = self._left
            if left[bucket]:
                bucket = resettle(digest, bucket, left, self._instead)
            backend = self._serving[bucket]
            if backend is not None:
                return backend
        return super().pick_hashed(digest, avoid)

    def _owner(self, digest: int) -> B:
        bucket = digest % self._capacity
        return self._member[resettle(digest, bucket, self._left, self._instead)]

    def _owners(self, count: int) -> Callable[[NDArray[np.uint64]], NDArray[np.intp]]:
        capacity = np.uint64(self._capacity)
        left, instead = np.array(self._left), np.array(self._instead)
        places = np.zeros(self._capacity, dtype=np.intp)
        places[[self._bucket[backend] for backend in self._weights]] = np.arange(len(self._weights))

        def owners(hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
            buckets = hashes // capacity
            buckets *= capacity
            np.subtract(hashes, buckets, out=buckets)
            found = buckets.view(np.intp)
            resettle_many(hashes, found, left, instead)
            return places[found]

        return owners

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        used = len(self._bucket)
        if old is None:
            if used == self._capacity:
                raise InvalidSetting(
                    f"{backend!r} is one too many for Anchor: its capacity is {used}"
                )
            bucket = self._free.pop()
            self._left[bucket] = 0
            self._place[self._at[used]] = used
            self._at[self._place[bucket]] = bucket
            self._bucket[backend] = bucket
            self._member[bucket] = backend
        elif new is None:
            bucket = self._bucket.pop(backend)
            del self._member[bucket]
            last, place = self._at[used - 1], self._place[bucket]
            self._free.append(bucket)
            self._left[bucket] = used - 1
            self._at[place] = self._instead[bucket] = last
            self._place[last] = place
        else:
            bucket = self._bucket[backend]
        self._serving[bucket] = backend if new else None


def resettle(digest: int, bucket: int, left: Sequence[int], instead: Sequence[int]) -> int:
    """Give the bucket in use that a hash belongs to, from where it would be were all in use.

    ``left[b]``: how many were left when b was given up, 0 when it is in use; ``instead[b]``: who
    took its place among them.
    """
    while size := left[bucket]:
        digest = digest * _STEP & BITS
        bucket = (digest >> 32) * size >> 32
        while left[bucket] >= size:
            bucket = instead[bucket]
    return bucket


def resettle_many(
    digests: NDArray[np.uint64],
    buckets: NDArray[np.intp],
    left: NDArray[np.intp],
    instead: NDArray[np.intp],
) -> None:
    """Do what :func:`resettle` does, to each of the buckets, in place."""
    sizes = left[buckets]
    homeless = np.flatnonzero(sizes)
    sizes, digests = sizes[homeless], digests[homeless]
    while len(homeless):
        digests *= np.uint64(_STEP)
        there = ((digests >> np.uint64(32)) * sizes.astype(np.uint64) >> np.uint64(32)).astype(
            np.intp
        )
        earlier = np.flatnonzero(left[there] >= sizes)
        while len(earlier):
            there[earlier] = instead[there[earlier]]
            earlier = earlier[left[there[earlier]] >= sizes[earlier]]
        buckets[homeless] = there
        sizes = left[there]
        still = np.flatnonzero(sizes)
        homeless, sizes, digests = homeless[still], sizes[still], digests[still]
