"""The flows of one state, in a heap that a hit does not touch."""

from heapq import heapify, heappop, heappush, heapreplace
from math import inf
from typing import Generic

from balancers._internal.types import B

__all__ = ["Entry", "IdleQueue"]

_FEW = 64
"""So many dead places are no reason to tidy up."""


class Entry(Generic[B]):
    """A flow's backend, when it was last seen in seconds, and its place in a queue."""

    __slots__ = ("backend", "number", "queue", "seen")

    def __init__(self, backend: B, seen: float) -> None:
        self.backend = backend
        self.seen = seen
        self.queue: IdleQueue[B] | None = None
        self.number = 0


class IdleQueue(Generic[B]):
    """Entries by when they were last seen, and among the equally idle by when they joined.

    To note that an entry is not idle, set its ``seen``: its place in the heap is then too early,
    which is put right when it comes to the front.  So the idlest is always the exact one, and
    every method is O(log n) amortised over the hits.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._heap: list[tuple[float, int, bytes, Entry[B]]] = []
        self._size = 0
        self._number = 0

    def add(self, flow: bytes, entry: Entry[B]) -> None:
        """Take in an entry that is in no queue."""
        self._number += 1
        entry.queue, entry.number = self, self._number
        heappush(self._heap, (entry.seen, entry.number, flow, entry))
        self._size += 1

    def remove(self, entry: Entry[B]) -> None:
        """Let an entry of this queue go; its place is dead until it is tidied up."""
        entry.queue = None
        self._size -= 1
        if len(self._heap) > 2 * self._size + _FEW:
            self._heap = [place for place in self._heap if self._lives(place)]
            heapify(self._heap)

    def idlest(self, now: float = inf) -> tuple[bytes, Entry[B]] | None:
        """Give the idlest, if by ``now`` it was idle for the timeout."""
        heap = self._heap
        while heap and heap[0][0] + self.timeout <= now:
            seen, number, flow, entry = place = heap[0]
            if not self._lives(place):
                heappop(heap)
            elif entry.seen > seen:
                heapreplace(heap, (entry.seen, number, flow, entry))
            else:
                return flow, entry
        return None

    def quiet_until(self) -> float:
        """Give an instant before which nobody was idle for the timeout; O(1)."""
        return self._heap[0][0] + self.timeout if self._heap else inf

    def __len__(self) -> int:
        return self._size

    def _lives(self, place: tuple[float, int, bytes, Entry[B]]) -> bool:
        return place[3].queue is self and place[3].number == place[1]
