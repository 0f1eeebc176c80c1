"""Groups backends of equal rank, and finds the group of the lowest rank."""

from collections.abc import Callable, Iterator, Sized
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

__all__ = ["RankBuckets"]

T = TypeVar("T", bound=Sized)


class RankBuckets(Generic[T]):
    """Stores one bucket for each rank.  ``make`` creates a bucket when it is first needed.

    A bucket that becomes empty is not removed at once, but later.

    >>> buckets = RankBuckets(dict)
    >>> buckets.bucket(2.0, members=2)["a"] = buckets.bucket(1.0, members=2)["b"] = None
    >>> buckets.lowest_filled()
    {'b': None}
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self.by_rank: dict[float, T] = {0: make()}
        """All buckets by rank, including empty buckets."""
        self._ranks: list[float] = [0]  # a heap of the keys of by_rank
        self.lowest = self.by_rank[0]
        """The bucket of the lowest rank in ``by_rank``.  It can be empty."""

    def bucket(self, rank: float, members: int) -> T:
        """Return the bucket of this rank.  If it does not exist, it is created.

        ``members`` is the number of backends.  It limits how many empty buckets are kept.  Cost:
        O(1), or O(log n) if the bucket is created.
        """
        bucket = self.by_rank.get(rank)
        if bucket is None:
            if len(self._ranks) > 2 * members + 8:
                self._remove_empty()
            bucket = self.by_rank[rank] = self._make()
            heappush(self._ranks, rank)
            self.lowest = self.by_rank[self._ranks[0]]
        return bucket

    def lowest_filled(self) -> T:
        """Return the bucket of the lowest rank that is not empty; O(log n) amortised.

        At least one bucket must not be empty.  Empty buckets of lower ranks are removed.
        """
        while not self.lowest:
            del self.by_rank[heappop(self._ranks)]
            self.lowest = self.by_rank[self._ranks[0]]
        return self.lowest

    def ascending(self) -> Iterator[T]:
        """Return the buckets in ascending order of rank; O(g log g) for g buckets."""
        return (self.by_rank[rank] for rank in sorted(self._ranks))

    def _remove_empty(self) -> None:
        self.by_rank = {rank: bucket for rank, bucket in self.by_rank.items() if bucket}
        self._ranks = list(self.by_rank)
        heapify(self._ranks)

    def __repr__(self) -> str:
        return f"<RankBuckets: {len(self.by_rank)} ranks>"
