"""Instants to come, in order of time."""

from collections.abc import Iterable
from math import inf
from typing import Generic, TypeVar

from sortedcontainers import SortedList

__all__ = ["Deadlines"]

B = TypeVar("B")


class Deadlines(Generic[B]):
    """At most one instant a backend, in order of time.  Every change is O(log n)."""

    def __init__(self) -> None:
        self._entries: dict[B, tuple[float, int, B]] = {}
        self._order: SortedList[tuple[float, int, B]] = SortedList()
        self._serial = 0

    @property
    def first(self) -> float:
        """The earliest instant, ``inf`` when there is none; O(1)."""
        return self._order[0][0] if self._entries else inf

    def set(self, backend: B, when: float) -> None:
        """Set the backend's instant, instead of any it had."""
        if backend in self._entries:
            self.cancel(backend)
        self._serial += 1
        entry = self._entries[backend] = (when, self._serial, backend)
        self._order.add(entry)

    def cancel(self, backend: B) -> None:
        """Forget the backend's instant, if any."""
        entry = self._entries.pop(backend, None)
        if entry is not None:
            self._order.remove(entry)

    def get(self, backend: B) -> float:
        """Give the backend's instant, ``inf`` when it has none; O(1)."""
        entry = self._entries.get(backend)
        return inf if entry is None else entry[0]

    def take(self, now: float) -> list[B]:
        """Take out, in order, all that is due at ``now``."""
        due: list[B] = []
        for when, _, backend in self._order:
            if when > now:
                break
            due.append(backend)
        for backend in due:
            self._order.pop(0)
            del self._entries[backend]
        return due

    def pop(self, now: float) -> Iterable[tuple[B, float]]:
        """Take out, in order, what is due at ``now``, each with its instant."""
        while self._entries and self._order[0][0] <= now:
            when, _, backend = self._order.pop(0)
            del self._entries[backend]
            yield backend, when
