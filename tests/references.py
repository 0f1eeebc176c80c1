"""Slow and obviously correct implementations, to compare the fast balancers with."""

from collections.abc import Collection
from decimal import Decimal
from fractions import Fraction

from balancers.keys import Murmur3

__all__ = ["NaiveRing", "NaiveWeightedLeastConnections", "NaiveWeightedRoundRobin", "exact"]

_MASK = (1 << 64) - 1


def exact(weight: float) -> Fraction:
    """Return a weight as the decimal that it is written as."""
    return Fraction(Decimal(repr(weight)))


class NaiveWeightedRoundRobin:
    """The algorithm of nginx, in rational numbers, over a list in order of insertion."""

    def __init__(self) -> None:
        self.weights: dict[str, Fraction] = {}
        self.current_weights: dict[str, Fraction] = {}
        self.may_have_debts = self.debts_outdated = False

    def put(self, backend: str, weight: float) -> None:
        self.debts_outdated |= self.may_have_debts and self.weights.get(backend) != exact(weight)
        self.weights[backend] = exact(weight)
        self.current_weights.setdefault(backend, Fraction(0))

    def discard(self, backend: str) -> None:
        self.debts_outdated |= self.may_have_debts and backend in self.weights
        self.weights.pop(backend, None)
        self.current_weights.pop(backend, None)

    def started(self, backend: str, bound: bool = False) -> None:
        weight, total = self.weights.get(backend), sum(self.weights.values())
        if bound and weight:
            self.debts_outdated |= not self.may_have_debts
            self.may_have_debts = True
            self.limit_debts()
            others = [each for each in self.candidates([]) if each != backend]
            is_low = all(
                self.current_weights[each] <= 15 * self.weights[each] + total for each in others
            )
            if is_low and self.current_weights[backend] > 16 * (weight - total):
                for each, its_weight in self.weights.items():
                    self.current_weights[each] += its_weight
                self.current_weights[backend] -= total

    def limit_debts(self) -> None:
        if self.debts_outdated:
            total = sum(self.weights.values(), Fraction(0))
            for each in self.candidates([]):
                weight = self.weights[each]
                lower, upper = 16 * (weight - total), 16 * weight + total
                self.current_weights[each] = min(max(self.current_weights[each], lower), upper)
        self.debts_outdated = False

    def finished(self, backend: str) -> None:
        pass

    def candidates(self, avoid: Collection[str]) -> list[str]:
        return [b for b, weight in self.weights.items() if weight and b not in avoid]

    def pick(self, avoid: Collection[str] = ()) -> str:
        return self.step(self.candidates(avoid))

    def step(self, candidates: list[str]) -> str:
        self.limit_debts()
        for backend in candidates:
            self.current_weights[backend] += self.weights[backend]
        best = max(candidates, key=self.current_weights.__getitem__)  # the first among equals
        self.current_weights[best] -= sum(self.weights[backend] for backend in candidates)
        return best


class NaiveWeightedLeastConnections(NaiveWeightedRoundRobin):
    """The algorithm of nginx's ``least_conn``: compare all, then one step among the tied backends.

    ``extra`` is added to the requests in flight: 1 for shortest expected delay.
    """

    def __init__(self, extra: int = 0) -> None:
        super().__init__()
        self.extra = extra
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
        ranks = {b: (self.counts[b] + self.extra) / self.weights[b] for b in candidates}
        tied = [backend for backend in candidates if ranks[backend] == min(ranks.values())]
        return tied[0] if len(tied) == 1 else self.step(tied)


class NaiveRing:
    """Every point in one sorted list, which is built again for each lookup."""

    def __init__(self, points: int = 160) -> None:
        self.points = points
        self.weights: dict[str, float] = {}

    def row(self) -> list[tuple[int, bytes, str]]:
        points: list[tuple[int, bytes, str]] = []
        for backend, weight in self.weights.items():
            start = Murmur3()(backend.encode())
            count = max(1, int(self.points * weight + 0.5)) if weight else 0
            seeds = (start + number * 0x9E3779B97F4A7C15 for number in range(1, count + 1))
            points += [(self.mix(seed), b"", backend) for seed in seeds]
        return sorted(points)

    @staticmethod
    def mix(z: int) -> int:
        z &= _MASK
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _MASK
        return z ^ (z >> 31)

    def owners(self, key: bytes) -> list[str]:
        """Return the different backends in the order in which the key reaches their points."""
        digest, row = Murmur3()(key), self.row()
        after = [owner for point, _, owner in row if point >= digest]
        return list(dict.fromkeys([*after, *(owner for _, _, owner in row)]))
