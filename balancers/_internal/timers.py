"""Stores times at which backends are due, in order."""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from math import inf
from typing import Generic

from balancers._internal.types import B

__all__ = ["Timers"]

_SPARE = 16
"""The heap is never rebuilt when it has this many stale entries or fewer."""


class Timers(Generic[B]):
    """Stores at most one time per backend, and returns the backends that are due.

    Other objects can be used instead of backends.  The times are stored in a heap.  A changed or
    cancelled time stays in the heap as a stale entry.  The entry is removed when it reaches the
    top.  If more than half of the heap is stale, the heap is rebuilt.  Every change is O(log n)
    amortised.

    >>> timers = Timers()
    >>> timers.set("a", 5.0)
    >>> timers.set("b", 3.0)
    >>> timers.first, timers.take(4.0), timers.first
    (3.0, ['b'], 5.0)
    """

    def __init__(self) -> None:
        self._current: dict[B, tuple[float, int, B]] = {}
        self._heap: list[tuple[float, int, B]] = []
        self._serial = 0

    @property
    def first(self) -> float:
        """The earliest time.  It is ``inf`` if no time is set; O(1) amortised."""
        heap, current = self._heap, self._current
        while heap:
            entry = heap[0]
            if current.get(entry[2]) is entry:
                return entry[0]
            heappop(heap)
        return inf

    def set(self, backend: B, when: float) -> None:
        """Set the time of a backend.  It replaces the previous time of the backend."""
        if backend in self._current:
            self.cancel(backend)
        self._serial = serial = self._serial + 1
        self._current[backend] = entry = (when, serial, backend)
        heappush(self._heap, entry)

    def cancel(self, backend: B) -> None:
        """Remove the time of a backend.  The call is ignored if no time is set."""
        self._current.pop(backend, None)
        if len(self._heap) > 2 * len(self._current) + _SPARE:
            self._heap[:] = self._current.values()
            heapify(self._heap)

    def get(self, backend: B) -> float:
        """Return the time of a backend.  Return ``inf`` if no time is set; O(1)."""
        entry = self._current.get(backend)
        return inf if entry is None else entry[0]

    def take(self, now: float) -> list[B]:
        """Remove the backends that are due at ``now``, and return them in order of time."""
        return [backend for backend, _ in self.pop(now)]

    def pop(self, now: float) -> Iterator[tuple[B, float]]:
        """Remove each backend that is due at ``now``, and yield the backend and its time.

        The order is by time.  A time that is set during the iteration is included if it is due.
        """
        heap, current = self._heap, self._current
        while heap and heap[0][0] <= now:
            entry = heappop(heap)
            when, _, backend = entry
            if current.get(backend) is entry:
                del current[backend]
                yield backend, when

    def __repr__(self) -> str:
        return f"<Timers: {len(self._current)} set, the first at {self.first}>"
