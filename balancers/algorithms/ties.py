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
        self._ties: dict[float, T] = {0: make()}
        self._ranks: list[float] = [0]  # a heap of exactly the keys of the ties
        self.least = self._ties[0]
        """The tie of the least rank ever used since the last sweep; it may be empty."""

    def get(self, rank: float) -> T | None:
        """Give the tie of this rank, if there is one; O(1)."""
        return self._ties.get(rank)

    def at(self, rank: float, members: int) -> T:
        """Give the tie of this rank, made if needed; O(1), or O(log n) when made."""
        tie = self._ties.get(rank)
        if tie is None:
            if len(self._ranks) > 2 * members + 8:
                self._sweep()
            tie = self._ties[rank] = self._make()
            heappush(self._ranks, rank)
            self.least = self._ties[self._ranks[0]]
        return tie

    def first(self) -> T:
        """Give the least tie that is not empty; there is one.  O(log n) amortised."""
        while not self.least:
            del self._ties[heappop(self._ranks)]
            self.least = self._ties[self._ranks[0]]
        return self.least

    def ascending(self) -> Iterator[T]:
        """Give the ties from the least on; O(g log g), g how many there are."""
        return (self._ties[rank] for rank in sorted(self._ranks))

    def _sweep(self) -> None:
        self._ties = {rank: tie for rank, tie in self._ties.items() if tie}
        self._ranks = list(self._ties)
        heapify(self._ranks)
