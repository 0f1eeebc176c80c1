"""Implements weighted least connections for many members, with heaps."""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush, heapreplace
from itertools import islice
from math import inf
from typing import Generic

from balancers._internal.plans import ascending
from balancers._internal.types import B
from balancers.algorithms._least_members import Index, Member

__all__ = ["LeastHeaps"]

_MANY_STALE = 8
"""The number of stale entries that a plan passes before it removes all of them."""
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

    def prune(self) -> None:
        """Remove the stale entries; O(entries)."""
        if len(self.heap) > self.size:
            self.heap = [entry for entry in self.heap if entry[2].place is entry]
            heapify(self.heap)


class _Bucket(Generic[B]):
    """Stores the members of one rank.

    They share one smooth round robin.  ``steps`` is the number of its steps so far.  ``total`` is
    the sum of the effective weights of the members.  ``filled`` is the number of groups that are
    not empty.  At most ``2 * filled + 8`` groups are kept.
    """

    __slots__ = ("filled", "groups", "size", "steps", "total")

    def __init__(self) -> None:
        self.groups: dict[int, _WeightGroup[B]] = {}
        self.filled = 0
        self.size = 0
        self.steps = 0
        self.total = 0


def _first_valid(heap: list[_Entry[B]]) -> _Entry[B]:
    """Remove stale entries from the top of a heap, and return the first valid entry."""
    entry = heap[0]
    while entry[2].place is not entry:
        heappop(heap)
        entry = heap[0]
    return heap[0]


def _members_of(bucket: _Bucket[B], steps: int) -> Iterator[Member[B]]:
    """Yield the members of a bucket as ordered after ``steps``; O((k + d) · log n) for k members.

    ``d`` is the number of groups.  If there are many stale entries before the k-th member, the cost
    is O(entries) once: they are removed.
    """
    yielded = stale = 0
    # The negative current weight after these steps, the serial, and the place of an entry.
    frontier: list[tuple[int, int, int, int, list[_Entry[B]]]] = [
        (heap[0][0] - weight * steps, heap[0][1], weight * steps, 0, heap)
        for weight, group in bucket.groups.items()
        if (heap := group.heap)
    ]
    if len(frontier) > 1:
        heapify(frontier)
    while frontier:
        _, _, gained, place, heap = frontier[0]
        entry = heap[place]
        if entry[2].place is entry:
            yield entry[2]
            yielded += 1
            if yielded == bucket.size:
                return
        else:
            stale += 1
            if stale > _MANY_STALE:
                for group in bucket.groups.values():
                    group.prune()
                yield from islice(_members_of(bucket, steps), yielded, None)
                return
        place += place + 1
        if place < len(heap):
            order, serial, _ = heap[place]
            heapreplace(frontier, (order - gained, serial, gained, place, heap))
            place += 1
            if place < len(heap):
                order, serial, _ = heap[place]
                heappush(frontier, (order - gained, serial, gained, place, heap))
        else:
            heappop(frontier)


class LeastHeaps(Index[B]):
    """Stores the open members in buckets by rank.

    ``pick`` moves only the members whose count really differs.  So a request that starts and ends
    between two picks costs nothing.  A bucket or a group that becomes empty is not removed at once,
    because it is often filled again soon.
    """

    def __init__(self, shift: int, picks_left: float) -> None:
        super().__init__(shift, picks_left)
        self._open = 0
        self._lowest: _Bucket[B] = _Bucket()  # the bucket of the lowest rank; it can be empty
        self._buckets: dict[float, _Bucket[B]] = {0: self._lowest}
        self._ranks: list[float] = [0]  # a heap of the keys of _buckets

    def pick(self, moved: list[Member[B]]) -> Member[B] | None:
        """Return the next member; O(d + log n) for d different weights of tied members."""
        self.settle(moved)
        if self._shift and self._is_review_due():
            return None
        bucket = self._lowest
        while not bucket.size:
            if not self._open:
                return None
            del self._buckets[heappop(self._ranks)]
            bucket = self._lowest = self._buckets[self._ranks[0]]
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

    def in_order(self, picked: Member[B]) -> Iterator[Member[B]]:
        """Yield the members by rank and current weight; O((k + d) · log n) for the first k."""
        lowest, stepped = self._lowest, picked.bucket
        if lowest.size:
            yield from _members_of(lowest, lowest.steps + (lowest is not stepped))
        for rank in ascending(self._ranks):
            bucket = self._buckets[rank]
            if bucket.size and bucket is not lowest:
                yield from _members_of(bucket, bucket.steps + (bucket is not stepped))

    def settle(self, moved: list[Member[B]]) -> None:
        """Move members to the buckets of their new ranks; O(moved · log n) amortised."""
        for member in moved:
            member.moved = False
            rank = self._rank(member)
            if rank != member.rank:
                self._leave_bucket(member)
                self._join_bucket(member, rank)
        moved.clear()

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
            bucket.filled -= 1
            if len(bucket.groups) > 2 * bucket.filled + 8:
                bucket.groups = {w: group for w, group in bucket.groups.items() if group.size}

    def _join_bucket(self, member: Member[B], rank: float) -> None:
        """Add a member to the bucket of its rank."""
        bucket = self._buckets.get(rank)
        if bucket is None:
            bucket = self._new_bucket(rank)
        weight = member.effective_weight
        bucket.size += 1
        bucket.total += weight
        group = bucket.groups.get(weight)
        if group is None:
            group = bucket.groups[weight] = _WeightGroup()
        if not group.size:
            bucket.filled += 1
        group.size += 1
        member.bucket, member.group, member.rank = bucket, group, rank
        order = weight * bucket.steps - member.current_weight
        member.place = entry = (order, member.serial, member)
        heappush(group.heap, entry)
        if len(group.heap) > 2 * group.size + 8:
            group.prune()

    def _new_bucket(self, rank: float) -> _Bucket[B]:
        if len(self._ranks) > 2 * self._open + 8:
            self._buckets = {r: bucket for r, bucket in self._buckets.items() if bucket.size}
            self._ranks = list(self._buckets)
            heapify(self._ranks)
        bucket = self._buckets[rank] = _Bucket()
        heappush(self._ranks, rank)
        self._lowest = self._buckets[self._ranks[0]]
        return bucket

    def __repr__(self) -> str:
        return f"<LeastHeaps: {self._open} open>"
