"""Slow implementations of Anchor and Memento: each removal stores the list of buckets left."""

from collections.abc import Callable

from balancers.hashing.hashed_balancer import mix
from balancers.hashing.jump import jump
from balancers.keys import Murmur3

__all__ = ["Snapshots", "first_anchor_bucket", "first_jump_bucket"]

BITS = (1 << 64) - 1


class Snapshots:
    """The maps of the papers, at a cost of O(n) per change, with a list for each released bucket.

    ``used`` lists the buckets in use.  When a bucket is released, the last one takes its place in
    the list.  When it is used again, the list is as it was before.
    """

    def __init__(self, start: Callable[[int, "Snapshots"], int], capacity: int = 0) -> None:
        self.start = start
        self.capacity = capacity
        self.used = list(range(capacity))
        self.released: list[tuple[int, list[int]]] = []  # the bucket, and the list before
        self.left: dict[int, list[int]] = {}  # by released bucket: the list after
        self.members: dict[int, str] = {}
        self.weights: dict[str, float] = {}
        for bucket in reversed(range(capacity)):
            self._release(bucket)

    def _release(self, bucket: int) -> None:
        self.released.append((bucket, self.used.copy()))
        place = self.used.index(bucket)
        self.used[place] = self.used[-1]
        self.used.pop()
        self.left[bucket] = self.used.copy()

    @property
    def full(self) -> bool:
        return bool(self.capacity) and len(self.used) == self.capacity

    def put(self, backend: str, weight: float) -> None:
        if backend not in self.weights:
            if self.released:
                bucket, self.used = self.released.pop()
                del self.left[bucket]
            else:
                bucket = len(self.used)
                self.used.append(bucket)
            self.members[bucket] = backend
        self.weights[backend] = weight

    def discard(self, backend: str) -> None:
        if backend not in self.weights:
            return
        del self.weights[backend]
        bucket = next(b for b, member in self.members.items() if member == backend)
        del self.members[bucket]
        if not self.capacity and not self.released and bucket == len(self.used) - 1:
            self.used.pop()
        else:
            self._release(bucket)

    def owner(self, digest: int) -> str:
        bucket = self.start(digest, self)
        while bucket in self.left:
            digest = digest * 0xD1342543DE82EF95 & BITS
            left = self.left[bucket]
            bucket = left[(digest >> 32) * len(left) >> 32]
        return self.members[bucket]

    def succession(self, digest: int) -> list[str]:
        """Return the backends of a hash, in the order in which they take over."""
        found: list[str] = []
        opened = [backend for backend, weight in self.weights.items() if weight]
        for _ in range(20 if opened else 0):
            found.append(self.owner(digest))
            digest = mix(digest)
        opened.sort(key=lambda b: (mix(digest ^ Murmur3()(b.encode())), b.encode()), reverse=True)
        return [backend for backend in dict.fromkeys([*found, *opened]) if backend in opened]


def first_anchor_bucket(digest: int, model: Snapshots) -> int:
    """Return the first bucket of a hash: one of the capacity."""
    return digest % model.capacity


def first_jump_bucket(digest: int, model: Snapshots) -> int:
    """Return the first bucket of a hash: one of those in use or released."""
    return jump(digest, len(model.used) + len(model.released))
