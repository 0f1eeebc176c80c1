"""Ties in order of busyness: which backends share a rank, and which rank is least."""

from collections.abc import Callable, Iterator, Sized
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

__all__ = ["Ties"]

T = TypeVar("T", bound=Sized)


class Ties(Generic[T]):
    """A tie a rank, made when first needed.  A tie that fell empty is swept away later.

    >>> ties = Ties(dict)
    >>> ties.at(2.0, members=2)["a"] = ties.at(1.0, members=2)["b"] = None
    >>> ties.first()
    {'b': None}
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self.by_rank: dict[float, T] = {0: make()}
        """Every tie there is, empty ones too."""
        self._ranks: list[float] = [0]  # a heap of exactly the keys of the ties
        self.least = self.by_rank[0]
        """The tie of the least rank ever used since the last sweep; it may be empty."""

    def at(self, rank: float, members: int) -> T:
        """Give the tie of this rank, made if needed; O(1), or O(log n) when made."""
        tie = self.by_rank.get(rank)
        if tie is None:
            if len(self._ranks) > 2 * members + 8:
                self._sweep()
            tie = self.by_rank[rank] = self._make()
            heappush(self._ranks, rank)
            self.least = self.by_rank[self._ranks[0]]
        return tie

    def first(self) -> T:
        """Give the least tie that is not empty; there is one.  O(log n) amortised."""
        while not self.least:
            del self.by_rank[heappop(self._ranks)]
            self.least = self.by_rank[self._ranks[0]]
        return self.least

    def ascending(self) -> Iterator[T]:
        """Give the ties from the least on; O(g log g), g how many there are."""
        return (self.by_rank[rank] for rank in sorted(self._ranks))

    def _sweep(self) -> None:
        self.by_rank = {rank: tie for rank, tie in self.by_rank.items() if tie}
        self._ranks = list(self.by_rank)
        heapify(self._ranks)
