"""Anchor and Memento restated: each removal keeps a picture of the buckets left."""

from collections.abc import Callable

from balancers.hashing.hashed_balancer import mix
from balancers.hashing.jump import jump
from balancers.keys import Murmur3

__all__ = ["Snapshots", "anchored", "jumping"]

BITS = (1 << 64) - 1


class Snapshots:
    """What the papers promise, with O(n) for everything and a list for each bucket given up.

    ``used`` lists the buckets in use; the last in the list takes the place of one given up.  Who
    comes back gets the list back as it was.
    """

    def __init__(self, start: Callable[[int, "Snapshots"], int], capacity: int = 0) -> None:
        self.start = start
        self.capacity = capacity
        self.used = list(range(capacity))
        self.given_up: list[tuple[int, list[int]]] = []  # bucket, the list before
        self.left: dict[int, list[int]] = {}  # the list after
        self.members: dict[int, str] = {}
        self.weights: dict[str, float] = {}
        for bucket in reversed(range(capacity)):
            self._give_up(bucket)

    def _give_up(self, bucket: int) -> None:
        self.given_up.append((bucket, self.used.copy()))
        place = self.used.index(bucket)
        self.used[place] = self.used[-1]
        self.used.pop()
        self.left[bucket] = self.used.copy()

    @property
    def full(self) -> bool:
        return bool(self.capacity) and len(self.used) == self.capacity

    def put(self, backend: str, weight: float) -> None:
        if backend not in self.weights:
            if self.given_up:
                bucket, self.used = self.given_up.pop()
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
        if not self.capacity and not self.given_up and bucket == len(self.used) - 1:
            self.used.pop()
        else:
            self._give_up(bucket)

    def owner(self, digest: int) -> str:
        bucket = self.start(digest, self)
        while bucket in self.left:
            digest = digest * 0xD1342543DE82EF95 & BITS
            left = self.left[bucket]
            bucket = left[(digest >> 32) * len(left) >> 32]
        return self.members[bucket]

    def succession(self, digest: int) -> list[str]:
        """Give who serves, and who when that one is avoided, and so on."""
        found: list[str] = []
        opened = [backend for backend, weight in self.weights.items() if weight]
        for _ in range(20 if opened else 0):
            found.append(self.owner(digest))
            digest = mix(digest)
        opened.sort(key=lambda b: (mix(digest ^ Murmur3()(b.encode())), b.encode()), reverse=True)
        return [backend for backend in dict.fromkeys([*found, *opened]) if backend in opened]


def anchored(digest: int, model: Snapshots) -> int:
    """Begin with any bucket of the capacity."""
    return digest % model.capacity


def jumping(digest: int, model: Snapshots) -> int:
    """Begin with any bucket there ever was."""
    return jump(digest, len(model.used) + len(model.given_up))
