"""Implements weighted least connections for many members, with heaps."""

from heapq import heapify, heappop, heappush, heapreplace
from math import inf
from typing import Generic

from balancers._internal.types import B
from balancers.algorithms._least_members import Index, Member
from balancers.algorithms._rank_buckets import RankBuckets

__all__ = ["LeastHeaps"]

_Entry = tuple[int, int, Member[B]]
"""An entry is (effective weight · steps - current weight, serial, member).  The first number does
not change while the bucket does steps that pick other members."""


class _WeightGroup(Generic[B]):
    """Stores the members of one bucket that have the same effective weight, as a heap.

    The member with the greatest current weight comes first; among equals, the one that joined
    first.  If a member gets a new entry, its old entry is stale: it is ignored, and ``size`` does
    not count it.
    """

    __slots__ = ("heap", "size")

    def __init__(self) -> None:
        self.heap: list[_Entry[B]] = []
        self.size = 0


class _Bucket(Generic[B]):
    """Stores the members of one rank.

    They share one smooth round robin.  ``steps`` is the number of its steps so far.  ``total`` is
    the sum of the effective weights of the members.
    """

    __slots__ = ("groups", "size", "steps", "total")

    def __init__(self) -> None:
        self.groups: dict[int, _WeightGroup[B]] = {}
        self.size = 0
        self.steps = 0
        self.total = 0

    def __len__(self) -> int:
        return self.size


def _first_valid(heap: list[_Entry[B]]) -> _Entry[B]:
    """Remove stale entries from the top of a heap, and return the first valid entry."""
    entry = heap[0]
    while entry[2].place is not entry:
        heappop(heap)
        entry = heap[0]
    return heap[0]


class LeastHeaps(Index[B]):
    """Stores the open members in buckets by rank.

    ``pick`` moves only the members whose count really differs.  So a request that starts and ends
    between two picks costs nothing.
    """

    def __init__(self, shift: int, picks_left: float) -> None:
        self._shift = shift
        self.picks_left = picks_left
        self._open = 0
        self._buckets: RankBuckets[_Bucket[B]] = RankBuckets(_Bucket)

    def pick(self, moved: list[Member[B]]) -> Member[B] | None:
        """Return the next member; O(d + log n) for d different weights of tied members."""
        self.settle(moved)
        if self._shift and self._is_review_due():
            return None
        bucket = self._buckets.lowest
        if not bucket.size:
            if not self._open:
                return None
            bucket = self._buckets.lowest_filled()
        steps, greatest = bucket.steps + 1, -inf
        best: _Entry[B] | None = None
        best_heap: list[_Entry[B]] = []
        for weight, group in bucket.groups.items():
            heap = group.heap
            if heap:
                entry = heap[0]
                if entry[2].place is not entry:
                    entry = _first_valid(heap)
                current = weight * steps - entry[0]
                if current > greatest or (current == greatest and best and entry[1] < best[1]):
                    greatest, best, best_heap = current, entry, heap
        if best is None:
            return None
        member = best[2]
        if bucket.size > 1:
            bucket.steps = steps
            member.place = entry = (best[0] + bucket.total, best[1], member)
            heapreplace(best_heap, entry)
        return member

    def _is_review_due(self) -> bool:
        self.picks_left -= 1
        return self.picks_left < 0

    def settle(self, moved: list[Member[B]]) -> None:
        """Move members to the buckets of their new ranks; O(moved · log n) amortised."""
        for member in moved:
            member.moved = False
            rank = self._rank(member)
            if rank != member.rank:
                self._leave_bucket(member)
                self._join_bucket(member, rank)
        moved.clear()

    def _rank(self, member: Member[B]) -> float:
        if self._shift:
            return (member.count << self._shift) // member.weight
        return member.count / member.weight

    def add(self, member: Member[B]) -> None:
        """Add a member; O(log n) amortised."""
        self._open += 1
        member.moved = False
        self._join_bucket(member, self._rank(member))

    def remove(self, member: Member[B]) -> None:
        """Remove a member; O(1)."""
        if member.place is not None:
            self._open -= 1
            self._leave_bucket(member)
            member.moved = True

    def current_weight(self, member: Member[B]) -> int:
        """Return the current weight of a member; O(1)."""
        if member.place is None:
            return member.current_weight
        current: int = member.effective_weight * member.bucket.steps - member.place[0]
        return current

    def _leave_bucket(self, member: Member[B]) -> None:
        """Remove a member from its bucket, and compute its current weight."""
        bucket, group, weight = member.bucket, member.group, member.effective_weight
        member.current_weight = weight * bucket.steps - member.place[0]
        member.place = None
        bucket.size -= 1
        bucket.total -= weight
        group.size -= 1
        if not group.size:
            group.heap.clear()

    def _join_bucket(self, member: Member[B], rank: float) -> None:
        """Add a member to the bucket of its rank."""
        bucket = self._buckets.by_rank.get(rank)
        if bucket is None:
            bucket = self._buckets.bucket(rank, self._open)
        weight = member.effective_weight
        bucket.size += 1
        bucket.total += weight
        group = bucket.groups.get(weight)
        if group is None:
            group = self._new_group(bucket, weight)
        group.size += 1
        member.bucket, member.group, member.rank = bucket, group, rank
        order = weight * bucket.steps - member.current_weight
        member.place = entry = (order, member.serial, member)
        heappush(group.heap, entry)
        if len(group.heap) > 2 * group.size + 8:
            group.heap = [old for old in group.heap if old[2].place is old]
            heapify(group.heap)

    def _new_group(self, bucket: _Bucket[B], weight: int) -> _WeightGroup[B]:
        if len(bucket.groups) > 2 * bucket.size + 8:
            bucket.groups = {w: group for w, group in bucket.groups.items() if group.size}
        group = bucket.groups[weight] = _WeightGroup()
        return group

    def __repr__(self) -> str:
        return f"<LeastHeaps: {self._open} open>"
