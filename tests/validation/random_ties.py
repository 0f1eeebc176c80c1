"""The least busy of all backends with random ties, as papers model it.

``LeastConnections`` picks tied backends in turn.  The published figures of stale load information
are for ties that are broken at random, so they need this balancer.
"""

from collections.abc import Collection, Iterable
from random import Random

from balancers.balancer import Key
from balancers.membership import Membership
from balancers.outcome import SUCCESS, Outcome

__all__ = ["RandomTies"]


class RandomTies(Membership[int]):
    """Picks at random among the backends with the fewest requests in flight.

    All weights count as equal, and ``avoid`` is not used.  O(n) after a change of a count.
    """

    def __init__(self, backends: Iterable[int], *, rng: Random) -> None:
        super().__init__(backends)
        self._random = rng.random
        self._counts = dict.fromkeys(self.weights, 0)
        self._least: list[int] = []

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[int] = ()) -> int:
        if not self._least:
            fewest = min(self._counts.values())
            self._least = [each for each, count in self._counts.items() if count == fewest]
        return self._least[int(self._random() * len(self._least))]

    def started(self, backend: int, now: float = 0.0, bound: bool = False) -> None:
        self._counts[backend] += 1
        self._least = []

    def finished(self, backend: int, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        self._counts[backend] -= 1
        self._least = []
