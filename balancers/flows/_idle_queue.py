"""Keeps the flows of one state in the order in which they were last seen.

A look-up of a flow does not change the heap.
"""

from heapq import heapify, heappop, heappush, heapreplace
from math import inf
from typing import Generic

from balancers._internal.types import B

__all__ = ["Entry", "IdleQueue"]

_MIN_STALE = 64
"""The heap is not rebuilt while it has at most this number of stale items."""


class Entry(Generic[B]):
    """Holds the backend of a flow and the time in seconds when the flow was last seen.

    ``queue`` is the queue that contains the entry.  ``serial`` is the number of the entry in it.
    """

    __slots__ = ("backend", "queue", "seen", "serial")

    def __init__(self, backend: B, seen: float) -> None:
        self.backend = backend
        self.seen = seen
        self.queue: IdleQueue[B] | None = None
        self.serial = 0


class IdleQueue(Generic[B]):
    """Finds the entry that was not seen for the longest time.

    This entry is called the idlest.  If several entries were last seen at the same time, the entry
    that was added first is the idlest.

    When a flow is seen, set the ``seen`` of its entry.  The heap item of the entry then has an
    older time.  The item is corrected when it reaches the front of the heap, so the result of
    :meth:`idlest` is always exact.  Every method is O(log n), amortised over the look-ups.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._heap: list[tuple[float, int, bytes, Entry[B]]] = []
        self._size = 0
        self._serial = 0

    def add(self, flow: bytes, entry: Entry[B]) -> None:
        """Add an entry, which must not be in a queue."""
        self._serial += 1
        entry.queue, entry.serial = self, self._serial
        heappush(self._heap, (entry.seen, entry.serial, flow, entry))
        self._size += 1

    def remove(self, entry: Entry[B]) -> None:
        """Remove an entry of this queue.

        Its heap item stays and is stale.  It is removed when it reaches the front of the heap, or
        when the heap is rebuilt.
        """
        entry.queue = None
        self._size -= 1
        if len(self._heap) > 2 * self._size + _MIN_STALE:
            self._heap = [place for place in self._heap if self._is_current(place)]
            heapify(self._heap)

    def idlest(self, now: float = inf) -> tuple[bytes, Entry[B]] | None:
        """Return the idlest entry and its flow, if the entry has timed out at ``now``.

        Return None if it has not timed out, or if the queue is empty.  By default ``now`` is
        infinite, so the idlest entry is returned whether or not it has timed out.
        """
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
        """Return a time before which no entry times out; O(1).

        The next timeout may be later.  If the heap is empty, the result is ``inf``.
        """
        return self._heap[0][0] + self.timeout if self._heap else inf

    def __len__(self) -> int:
        return self._size

    def _is_current(self, place: tuple[float, int, bytes, Entry[B]]) -> bool:
        return place[3].queue is self and place[3].serial == place[1]
