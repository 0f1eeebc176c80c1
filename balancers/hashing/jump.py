"""Jump consistent hash: it needs no table, but only the last bucket can be added or removed."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.hashing._rehashing_balancer import RehashingBalancer
from balancers.hashing.hashed_balancer import BITS
from balancers.keys import Hasher, Identity, name_of

__all__ = ["Jump", "jump", "jump_many"]

_MULTIPLIER = 2862933555777941757
"""Of the linear congruential generator in the paper."""
_RANGE = float(1 << 31)


class Jump(RehashingBalancer[B]):
    """Members are buckets in order of insertion; the key's hash alone determines the bucket.

    Shares are exactly even, and no memory is needed.  In return only the last member may leave.
    The map depends on the order of the members, and not on their names.  A new member takes an
    equal share from every other, and no other key moves, if it joins open.  Any member may be
    quiesced: its keys, and no others, are hashed again.  All positive weights are equivalent.

    >>> shards = Jump(["db-0", "db-1", "db-2"])
    >>> shards.pick_hashed(0xDEADBEEF)
    'db-2'
    >>> shards.discard("db-0")
    Traceback (most recent call last):
    balancers.errors.InvalidSetting: only the last of 3 members, 'db-2', can leave Jump, not 'db-0'

    Cost: ``pick`` O(log n), 7.5 steps for 1000 members; everything else O(1).
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

    def _owner_search(self, count: int) -> Callable[[NDArray[np.uint64]], NDArray[np.intp]]:
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
                    f"only the last of {len(self._buckets)} members, {last!r}, can leave Jump, "
                    f"not {backend!r}"
                )
            self._buckets.pop()


def jump(digest: int, buckets: int) -> int:
    """Return the bucket of a 64-bit hash, of one or more buckets; O(log buckets) expected.

    >>> [jump(digest, 100) for digest in range(6)]
    [0, 55, 62, 8, 45, 59]
    """
    bucket, ahead = 0, 0.0
    while ahead < buckets:
        bucket = int(ahead)
        digest = (digest * _MULTIPLIER + 1) & BITS
        ahead = (bucket + 1) * (_RANGE / ((digest >> 33) + 1))
    return bucket


def jump_many(digests: NDArray[np.uint64], buckets: int) -> NDArray[np.intp]:
    """Return :func:`jump` of each hash: a new array.

    All hashes jump at once.  Those whose next jump would go beyond the last bucket are done.
    """
    left = len(digests)
    found, jumping, states = np.zeros(left), np.arange(left), digests.copy()
    draws, ahead, nexts = np.empty_like(states), np.empty(left), np.ones(left)
    other_jumping, other_states = np.empty_like(jumping), np.empty_like(states)
    while left:
        state, draw, target = states[:left], draws[:left], ahead[:left]
        state *= np.uint64(_MULTIPLIER)
        state += np.uint64(1)
        np.right_shift(state, np.uint64(33), out=draw)
        np.copyto(target, draw.view(np.int64))  # floats of uint64 are slow
        target += 1
        np.divide(_RANGE, target, out=target)
        target *= nexts[:left]
        going = np.flatnonzero(target < buckets)
        active = jumping[:left]
        left = len(going)
        landed = nexts[:left]
        np.take(target, going, out=landed, mode="clip")
        np.floor(landed, out=landed)
        jumping, other_jumping = (
            np.take(active, going, out=other_jumping[:left], mode="clip"),
            jumping,
        )
        states, other_states = np.take(state, going, out=other_states[:left], mode="clip"), states
        found[jumping] = landed
        landed += 1
    return found.astype(np.intp)
