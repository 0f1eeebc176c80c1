"""The flows of one state, in a heap that a lookup of a flow does not touch."""

from heapq import heapify, heappop, heappush, heapreplace
from math import inf
from typing import Generic

from balancers._internal.types import B

__all__ = ["Entry", "IdleQueue"]

_MIN_STALE = 64
"""Up to this number of stale heap entries, the heap is not rebuilt."""


class Entry(Generic[B]):
    """A flow's backend, the time in seconds when it was last seen, and its place in a queue."""

    __slots__ = ("backend", "queue", "seen", "serial")

    def __init__(self, backend: B, seen: float) -> None:
        self.backend = backend
        self.seen = seen
        self.queue: IdleQueue[B] | None = None
        self.serial = 0


class IdleQueue(Generic[B]):
    """Entries ordered by when they were last seen; equally idle ones by when they joined.

    To record that an entry is not idle, set its ``seen``.  Its position in the heap is then too
    early; this is corrected when the entry reaches the front.  The idlest entry is therefore always
    exact.  Every method is O(log n), amortised over the lookups.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._heap: list[tuple[float, int, bytes, Entry[B]]] = []
        self._size = 0
        self._serial = 0

    def add(self, flow: bytes, entry: Entry[B]) -> None:
        """Add an entry that is in no queue."""
        self._serial += 1
        entry.queue, entry.serial = self, self._serial
        heappush(self._heap, (entry.seen, entry.serial, flow, entry))
        self._size += 1

    def remove(self, entry: Entry[B]) -> None:
        """Remove an entry of this queue; its heap place is stale until the heap is rebuilt."""
        entry.queue = None
        self._size -= 1
        if len(self._heap) > 2 * self._size + _MIN_STALE:
            self._heap = [place for place in self._heap if self._is_current(place)]
            heapify(self._heap)

    def idlest(self, now: float = inf) -> tuple[bytes, Entry[B]] | None:
        """Return the idlest entry if it has been idle for the timeout by ``now``."""
        heap = self._heap
        while heap and heap[0][0] + self.timeout <= now:
            seen, serial, flow, entry = place = heap[0]
            if not self._is_current(place):
                heappop(heap)
            elif entry.seen > seen:
                heapreplace(heap, (entry.seen, serial, flow, entry))
            else:
                return flow, entry
        return None

    def earliest_timeout(self) -> float:
        """Return an instant before which no entry reaches the timeout; O(1)."""
        return self._heap[0][0] + self.timeout if self._heap else inf

    def __len__(self) -> int:
        return self._size

    def _is_current(self, place: tuple[float, int, bytes, Entry[B]]) -> bool:
        return place[3].queue is self and place[3].serial == place[1]
