"""Slow and obviously correct: what the fast balancers are held against."""

from collections.abc import Collection
from decimal import Decimal
from fractions import Fraction

from balancers.keys import Murmur3

__all__ = ["NaiveRing", "NaiveWeightedLeastConnections", "NaiveWeightedRoundRobin", "exact"]

_MASK = (1 << 64) - 1


def exact(weight: float) -> Fraction:
    """Read a weight as it is written."""
    return Fraction(Decimal(repr(weight)))


class NaiveWeightedRoundRobin:
    """nginx's scan, in rationals, over a list in order of insertion."""

    def __init__(self) -> None:
        self.weights: dict[str, Fraction] = {}
        self.credits: dict[str, Fraction] = {}
        self.charged = self.forgiving = False

    def put(self, backend: str, weight: float) -> None:
        self.forgiving |= self.charged and self.weights.get(backend) != exact(weight)
        self.weights[backend] = exact(weight)
        self.credits.setdefault(backend, Fraction(0))

    def discard(self, backend: str) -> None:
        self.forgiving |= self.charged and backend in self.weights
        self.weights.pop(backend, None)
        self.credits.pop(backend, None)

    def started(self, backend: str, bound: bool = False) -> None:
        weight, total = self.weights.get(backend), sum(self.weights.values())
        if bound and weight:
            self.forgive()
            self.charged = True
            if self.credits[backend] > 16 * (weight - total):
                for each, gain in self.weights.items():
                    self.credits[each] += gain
                self.credits[backend] -= total

    def forgive(self) -> None:
        if self.forgiving:
            total = sum(self.weights.values(), Fraction(0))
            for each in self.candidates([]):
                weight = self.weights[each]
                least, most = 16 * (weight - total), max(16 * weight, total)
                self.credits[each] = min(max(self.credits[each], least), most)
        self.forgiving = False

    def finished(self, backend: str) -> None:
        pass

    def candidates(self, avoid: Collection[str]) -> list[str]:
        return [b for b, weight in self.weights.items() if weight and b not in avoid]

    def pick(self, avoid: Collection[str] = ()) -> str:
        return self.step(self.candidates(avoid))

    def step(self, candidates: list[str]) -> str:
        self.forgive()
        for backend in candidates:
            self.credits[backend] += self.weights[backend]
        best = max(candidates, key=lambda backend: self.credits[backend])  # the first of equals
        self.credits[best] -= sum(self.weights[backend] for backend in candidates)
        return best


class NaiveWeightedLeastConnections(NaiveWeightedRoundRobin):
    """nginx's least_conn: compare all, and one step among the tied."""

    def __init__(self, ahead: int = 0) -> None:
        super().__init__()
        self.ahead = ahead
        self.counts: dict[str, int] = {}

    def put(self, backend: str, weight: float) -> None:
        super().put(backend, weight)
        self.counts.setdefault(backend, 0)

    def discard(self, backend: str) -> None:
        super().discard(backend)
        self.counts.pop(backend, None)

    def started(self, backend: str, bound: bool = False) -> None:
        if backend in self.counts:
            self.counts[backend] += 1

    def finished(self, backend: str) -> None:
        if self.counts.get(backend, 0):
            self.counts[backend] -= 1

    def pick(self, avoid: Collection[str] = ()) -> str:
        candidates = self.candidates(avoid)
        busy = {b: (self.counts[b] + self.ahead) / self.weights[b] for b in candidates}
        tied = [backend for backend in candidates if busy[backend] == min(busy.values())]
        return tied[0] if len(tied) == 1 else self.step(tied)


class NaiveRing:
    """Every point in one sorted list, made anew for each question."""

    def __init__(self, points: int = 160) -> None:
        self.points = points
        self.weights: dict[str, float] = {}

    def row(self) -> list[tuple[int, bytes, str]]:
        points: list[tuple[int, bytes, str]] = []
        for backend, weight in self.weights.items():
            base = Murmur3()(backend.encode())
            count = max(1, int(self.points * weight + 0.5)) if weight else 0
            bases = (base + number * 0x9E3779B97F4A7C15 for number in range(1, count + 1))
            points += [(self.mix(place), b"", backend) for place in bases]
        return sorted(points)

    @staticmethod
    def mix(z: int) -> int:
        z &= _MASK
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _MASK
        return z ^ (z >> 31)

    def owners(self, key: bytes) -> list[str]:
        """Give each different backend in the order in which the key meets it."""
        digest, row = Murmur3()(key), self.row()
        after = [owner for point, _, owner in row if point >= digest]
        return list(dict.fromkeys([*after, *(owner for _, _, owner in row)]))
