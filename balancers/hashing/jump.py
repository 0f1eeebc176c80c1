"""Jump consistent hash: no table at all, for buckets of which only the last comes and goes."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.hashing._rehashing_balancer import RehashingBalancer
from balancers.hashing.hashed_balancer import BITS
from balancers.keys import Hasher, Identity, name_of

__all__ = ["Jump", "jump", "jump_many"]

_FACTOR = 2862933555777941757
_RANGE = float(1 << 31)


class Jump(RehashingBalancer[B]):
    """Members are buckets in order of insertion, and the key's hash alone tells the bucket.

    Even to the last bit and without memory; in return only the last member may leave.  The map
    depends on the order of the members, never on their names.  A newcomer takes its share from
    everyone and moves no other key, if it joins open.  Any member may be quiesced: its keys, and
    only they, are hashed again.  Any positive weight is the same.

    >>> shards = Jump(["shard-0", "shard-1", "shard-2"])
    >>> shards.pick_hashed(0xDEADBEEF)
    'shard-2'
    >>> shards.discard("shard-0")
    Traceback (most recent call last):
    balancers.errors.InvalidSetting: only the last of 3, 'shard-2', may leave Jump, not 'shard-0'

    Cost: ``pick`` O(log n), 7.5 steps for 1000; everything else O(1).
    Raises InvalidSetting, from ``discard``, for a member that is not the last: quiesce it instead.
    Source: J. Lamping, E. Veach, "A fast, minimal memory, consistent hash algorithm", 2014.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        identity: Identity[B] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        self._buckets: list[B] = []
        super().__init__(backends, identity=identity, hasher=hasher)

    def _owner(self, digest: int) -> B:
        return self._buckets[jump(digest, len(self._buckets))]

    def _owners(self, count: int) -> Callable[[NDArray[np.uint64]], NDArray[np.intp]]:
        buckets = len(self._buckets)
        return lambda hashes: jump_many(hashes, buckets)

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        if old is None:
            self._buckets.append(backend)
        elif new is None:
            last = self._buckets[-1]
            if backend != last:
                raise InvalidSetting(
                    f"only the last of {len(self._buckets)}, {last!r}, may leave Jump, "
                    f"not {backend!r}"
                )
            self._buckets.pop()


def jump(digest: int, buckets: int) -> int:
    """Give the bucket of a 64-bit hash, of one or more; O(log buckets) expected.

    >>> [jump(digest, 100) for digest in range(6)]
    [0, 55, 62, 8, 45, 59]
    """
    bucket, ahead = 0, 0.0
    while ahead < buckets:
        bucket = int(ahead)
        digest = (digest * _FACTOR + 1) & BITS
        ahead = (bucket + 1) * (_RANGE / ((digest >> 33) + 1))
    return bucket


def jump_many(digests: NDArray[np.uint64], buckets: int) -> NDArray[np.intp]:
    """Give what :func:`jump` gives, of each: a new array.

    All jump at once; those that would jump beyond the last bucket are where they belong.
    """
    left = len(digests)
    found, jumping, states = np.zeros(left), np.arange(left), digests.copy()
    draws, ahead, nexts = np.empty_like(states), np.empty(left), np.ones(left)
    other_jumping, other_states = np.empty_like(jumping), np.empty_like(states)
    while left:
        state, draw, there = states[:left], draws[:left], ahead[:left]
        state *= np.uint64(_FACTOR)
        state += np.uint64(1)
        np.right_shift(state, np.uint64(33), out=draw)
        np.copyto(there, draw.view(np.int64))  # floats of uint64 are slow
        there += 1
        np.divide(_RANGE, there, out=there)
        there *= nexts[:left]
        going = np.flatnonzero(there < buckets)
        of = jumping[:left]
        left = len(going)
        landed = nexts[:left]
        np.take(there, going, out=landed, mode="clip")
        np.floor(landed, out=landed)
        jumping, other_jumping = np.take(of, going, out=other_jumping[:left], mode="clip"), jumping
        states, other_states = np.take(state, going, out=other_states[:left], mode="clip"), states
        found[jumping] = landed
        landed += 1
    return found.astype(np.intp)
