"""AnchorHash: any member may leave, at a constant cost; the capacity is fixed."""

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

_MULTIPLIER = 0xD1342543DE82EF95
"""Of the linear congruential generator that computes each further hash."""
_LARGEST = 1 << 24


class Anchor(RehashingBalancer[B]):
    """A key is hashed to a bucket; if the bucket is not in use, the key is hashed again.

    There are as many buckets as the capacity.  When a member leaves, its bucket stores how many
    buckets remain in use, and its keys are hashed again among these; no other key moves.  A new
    member gets the bucket that was released last, and exactly the keys that the last owner would
    have if it had stayed: adding a backend again right after its removal restores the map.  So the
    map depends on the history, and not on names: every process that must agree has to make the same
    changes in the same order.  Shares are even, and all positive weights are equivalent.

    >>> caches = Anchor(["cache-0", "cache-1", "cache-2"], capacity=8)
    >>> before = [caches.pick(key) for key in range(100)]
    >>> caches.discard("cache-1")
    >>> caches.put("cache-1")
    >>> [caches.pick(key) for key in range(100)] == before
    True

    Cost: ``pick`` at most 1 + ln(capacity / members) hashes, expected, so choose a capacity that is
    a small multiple of the members; joining, leaving and a flip O(1); memory O(capacity).
    Raises InvalidSetting for a capacity below 1 or above 2²⁴, and for a member beyond the capacity.
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
            raise InvalidSetting(f"capacity must be at most {_LARGEST}, not {capacity!r}")
        self._capacity = capacity
        every = [*range(capacity)]
        # The paper's arrays A, K, W, L and R:
        self._remaining = every  # buckets left in use when this one was released; 0 while in use
        self._replacement = every.copy()  # the bucket that took this one's place among them
        self._buckets = every.copy()  # the buckets in use, then what was there before
        self._position = every.copy()  # where in _buckets each bucket is
        self._released = every[::-1]  # a stack, the bucket released last on top
        self._bucket_of: dict[B, int] = {}
        self._owner_of: dict[int, B] = {}
        self._open_owners: list[B | None] = [None] * capacity  # by bucket
        super().__init__(backends, identity=identity, hasher=hasher)

    @property
    def capacity(self) -> int:
        """The largest number of members."""
        return self._capacity

    def pick_hashed(self, digest: int, avoid: Collection[B] = ()) -> B:
        """Return the backend of a 64-bit hash; O(1) expected while a fair share is open.

        Raises InvalidKey, NoBackendAvailable.
        """
        if type(digest) is int and not digest >> 64 and not avoid:
            bucket = digest % self._capacity
            remaining = self._remaining
            if remaining[bucket]:
                bucket = resettle(digest, bucket, remaining, self._replacement)
            backend = self._open_owners[bucket]
            if backend is not None:
                return backend
        return super().pick_hashed(digest, avoid)

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
                    f"capacity must be above {used} to add {backend!r} to Anchor, not {used}"
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
    """Return the bucket in use that owns a hash, given its bucket if all buckets were in use.

    ``remaining[b]`` is how many buckets were left in use when b was released, 0 while b is in use;
    ``replacement[b]`` is the bucket that took its place among them.  The hash is hashed again for
    each released bucket on the way.
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
    """Replace each of the buckets, in place, as :func:`resettle` does."""
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
