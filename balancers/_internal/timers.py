"""Pending instants, in order of time."""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from math import inf
from typing import Generic

from balancers._internal.types import B

__all__ = ["Timers"]

_SPARE = 16
"""The heap is not rebuilt for fewer stale entries than this, however few entries are current."""


class Timers(Generic[B]):
    """At most one instant per backend (or per other item), in order of time.

    Every change is O(log n) amortised.  The instants are in a heap.  An entry that was changed or
    cancelled stays in the heap as a stale entry, until it comes to the top or until more than half
    of the heap is stale.
    """

    def __init__(self) -> None:
        self._current: dict[B, tuple[float, int, B]] = {}
        self._heap: list[tuple[float, int, B]] = []
        self._serial = 0

    @property
    def first(self) -> float:
        """The earliest instant, ``inf`` when there is none; O(1) amortised."""
        heap, current = self._heap, self._current
        while heap:
            entry = heap[0]
            if current.get(entry[2]) is entry:
                return entry[0]
            heappop(heap)
        return inf

    def set(self, backend: B, when: float) -> None:
        """Set the backend's instant, which replaces any earlier one."""
        if backend in self._current:
            self.cancel(backend)
        self._serial = serial = self._serial + 1
        self._current[backend] = entry = (when, serial, backend)
        heappush(self._heap, entry)

    def cancel(self, backend: B) -> None:
        """Remove the backend's instant, if any."""
        self._current.pop(backend, None)
        if len(self._heap) > 2 * len(self._current) + _SPARE:
            self._heap[:] = self._current.values()
            heapify(self._heap)

    def get(self, backend: B) -> float:
        """Return the backend's instant, ``inf`` when it has none; O(1)."""
        entry = self._current.get(backend)
        return inf if entry is None else entry[0]

    def take(self, now: float) -> list[B]:
        """Remove and return, in order of time, the backends that are due at ``now``."""
        return [backend for backend, _ in self.pop(now)]

    def pop(self, now: float) -> Iterator[tuple[B, float]]:
        """Remove and yield, in order of time, each backend that is due at ``now``, and its instant.

        This includes instants that are set during the iteration and are due.
        """
        heap, current = self._heap, self._current
        while heap and heap[0][0] <= now:
            entry = heappop(heap)
            when, _, backend = entry
            if current.get(backend) is entry:
                del current[backend]
                yield backend, when
