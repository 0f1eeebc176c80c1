"""Orders members by a number, and finds those whose number is in a range."""

from collections.abc import Iterator
from math import inf
from typing import Generic

from balancers._internal.types import B

__all__ = ["Ranking"]


class Ranking(Generic[B]):
    """Stores an int per member, and finds the members whose int is in a range.

    Changes are only noted, in O(1).  They are sorted when a range is asked for that can contain a
    member: O(log n) for each member that changed since the last time.

    >>> ranking = Ranking()
    >>> ranking.put("a", 7)
    >>> ranking.put("b", 3)
    >>> list(ranking.between(1, 3)), list(ranking.between(3, 8)), list(ranking.between(4, 8))
    ([], ['b', 'a'], ['a'])
    """

    def __init__(self) -> None:
        from sortedcontainers import SortedList  # noqa: PLC0415 - loaded only where it is used

        self._order: SortedList[tuple[int, int]] = SortedList()
        self._values: dict[B, int] = {}
        self._changed: dict[B, None] = {}
        """The members whose int has changed since they were sorted."""
        self._entries: dict[B, tuple[int, int]] = {}
        """The entry of each member in the order: its int and a serial number from 1 on."""
        self._members: dict[int, B] = {}
        """The members by these serial numbers."""
        self._serial = 0
        self.floor: float = inf
        """No member has an int below this.  So a range that ends here or before is empty."""

    def put(self, backend: B, value: int) -> None:
        """Set the int of a member; O(1)."""
        self._values[backend] = value
        self._changed[backend] = None
        if value < self.floor:  # noqa: PLR1730 - a call of min() is slower
            self.floor = value

    def discard(self, backend: B) -> None:
        """Remove a member.  The call is ignored for any other backend; O(log n)."""
        self._values.pop(backend, None)
        self._changed.pop(backend, None)
        entry = self._entries.pop(backend, None)
        if entry is not None:
            self._order.remove(entry)
            del self._members[entry[1]]

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[B]:
        return iter(self._values)

    def between(self, low: int, high: int) -> Iterator[B]:
        """Yield the members whose int is ``low`` or more and less than ``high``, in this order.

        The cost is O(1) if no int was below ``high`` since the last call with members to find.
        """
        if high <= self.floor:
            return
        for backend in self._changed:
            entry = self._entries.get(backend)
            if entry is None:
                self._serial = serial = self._serial + 1
                self._members[serial] = backend
            else:
                serial = entry[1]
                self._order.remove(entry)
            self._entries[backend] = entry = self._values[backend], serial
            self._order.add(entry)
        self._changed.clear()
        self.floor = self._order[0][0] if self._order else inf
        for _, serial in self._order.irange((low, 0), (high, 0)):
            yield self._members[serial]
