"""Implements jump consistent hash, which computes the bucket of a key without a table.

Only the last bucket can be removed, and a new bucket is always the last.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import shown
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.hashing._rehashing_balancer import RehashingBalancer
from balancers.hashing.hashed_balancer import BITS
from balancers.keys import Hasher, Identity, name_of

__all__ = ["Jump", "jump", "jump_many"]

_MULTIPLIER = 2862933555777941757
"""The multiplier of the linear congruential generator in the paper."""
_RANGE = float(1 << 31)
"""The number of different values of the 31 random bits that are used for a jump."""


class Jump(RehashingBalancer[B]):
    """Computes the index of a backend from the key's hash and from the number of backends.

    The members are numbered in the order in which they were added.  Which member a key belongs to
    depends on this order and not on the names.  Every member gets an equal share of the keys: all
    positive weights are equivalent.  No memory is needed except for the list of members.

    A new member that joins with a positive weight takes an equal share of keys from each other
    member, and no other key moves.  Only the last member can leave.  Any member can be closed: with
    weight 0 it stays a member but is not picked.  Then only its keys move: they are hashed again.

    >>> shards = Jump(["db-0", "db-1", "db-2"])
    >>> shards.pick_hashed(0xDEADBEEF)
    'db-2'
    >>> shards.discard("db-0")
    Traceback (most recent call last):
    balancers.errors.InvalidSetting: only the last of 3 members, 'db-2', can leave Jump, not 'db-0'

    Cost: ``pick`` is O(log n) expected: 7.5 steps on average for 1000 members.  Joining, leaving,
    opening and closing are O(1).
    Raises InvalidSetting when a member that is not the last is discarded.  Close it instead.
    Source: J. Lamping, E. Veach, "A fast, minimal memory, consistent hash algorithm", 2014.
    """

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
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
                    f"only the last of {len(self._buckets)} members, {shown(last)}, can leave "
                    f"Jump, not {shown(backend)}"
                )
            self._buckets.pop()


def jump(digest: int, buckets: int) -> int:
    """Return the bucket of a 64-bit hash: an index below ``buckets``, which is at least 1.

    The expected cost is O(log buckets).

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
    """Return :func:`jump` of each hash, as a new array.

    Each step of the loop computes the next jump of all hashes that are not finished.  A hash is
    finished when its next jump would go beyond the last bucket.
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
