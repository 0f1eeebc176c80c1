"""Slow and obviously correct implementations of Maglev, rendezvous and multi-probe."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from math import log

from balancers.hashing.hashed_balancer import BITS, GOLDEN, mix
from balancers.keys import Murmur3

__all__ = ["PlainMaglev", "PlainMap", "PlainMultiProbe", "PlainRendezvous", "fill_slot_by_slot"]

HASHER = Murmur3()


class PlainMap:
    """Members, their weights, and the order in which they serve a hash."""

    def __init__(self) -> None:
        self.weights: dict[str, float] = {}

    def put(self, backend: str, weight: float) -> None:
        self.weights[backend] = weight

    def discard(self, backend: str) -> None:
        self.weights.pop(backend, None)

    @property
    def opened(self) -> list[str]:
        return sorted((b for b, weight in self.weights.items() if weight), key=str.encode)

    @abstractmethod
    def succession(self, digest: int) -> list[str]:
        """Return the backends of a hash, in the order in which they take over."""


class PlainRendezvous(PlainMap):
    """Sorts every backend by its score."""

    def succession(self, digest: int) -> list[str]:
        return sorted(self.opened, key=lambda backend: self.cost(digest, backend))

    def cost(self, digest: int, backend: str) -> float:
        score = (digest | 1) * (mix(HASHER(backend.encode())) | 1) & BITS
        return -log(((score >> 12) + 0.5) / 2**52) / self.weights[backend]


class PlainMultiProbe(PlainMap):
    """Measures the distance from every probe to every point."""

    def __init__(self, probes: int) -> None:
        super().__init__()
        self.probes = probes

    def succession(self, digest: int) -> list[str]:
        probes = [digest * (mix(i * GOLDEN) | 1) & BITS for i in range(1, self.probes + 1)]
        points = {backend: HASHER(backend.encode()) for backend in self.opened}
        return sorted(points, key=lambda b: min((points[b] - probe) & BITS for probe in probes))


class PlainMaglev(PlainMap):
    """The paper's table of the backends that were ever open; hashes of closed ones are rehashed."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.shares: dict[str, float] = {}

    def put(self, backend: str, weight: float) -> None:
        super().put(backend, weight)
        if weight:
            self.shares[backend] = weight

    def discard(self, backend: str) -> None:
        super().discard(backend)
        self.shares.pop(backend, None)

    def succession(self, digest: int) -> list[str]:
        if not self.opened:
            return []
        members = sorted(self.shares, key=str.encode)
        bases = [HASHER(backend.encode()) for backend in members]
        table = fill_slot_by_slot(
            [base % self.size for base in bases],
            [mix(base) % (self.size - 1) + 1 for base in bases],
            [self.shares[backend] for backend in members],
            self.size,
        )
        found: list[str] = []
        for _ in range(20):
            found.append(members[table[digest % self.size]])
            digest = mix(digest)
        rest = sorted(self.opened, key=lambda b: mix(digest ^ HASHER(b.encode())), reverse=True)
        return [b for b in dict.fromkeys([*found, *rest]) if self.weights[b]]


def fill_slot_by_slot(
    offsets: Sequence[int], skips: Sequence[int], weights: Sequence[float], size: int
) -> list[int]:
    """Fill a table slot by slot, as in the paper."""
    table: dict[int, int] = {}
    at = list(offsets)
    for backend in turns([float(weight) for weight in weights]):
        while at[backend] in table:
            at[backend] = (at[backend] + skips[backend]) % size
        table[at[backend]] = backend
        if len(table) == size:
            break
    return [table[slot] for slot in range(size)]


def turns(weights: list[float]) -> Iterator[int]:
    """Yield the backend that takes the next slot, without end."""
    targets, heaviest = [0.0] * len(weights), max(weights)
    iteration = 0
    while True:
        iteration += 1
        for backend, weight in enumerate(weights):
            if iteration * weight >= targets[backend]:
                targets[backend] += heaviest
                yield backend
