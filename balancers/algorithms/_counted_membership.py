"""Stores the members of least connections by their number of requests in flight."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from heapq import heapify, heappop, heappush
from typing import Any

from balancers._internal.types import B
from balancers.membership import Membership

__all__ = ["CountedMembership"]


class Tie(OrderedDict[B, None]):
    """The members with the same number of requests in flight, in the order of the next picks.

    ``higher`` and ``lower`` are the ties of the next counts.  Either attribute is missing until a
    member moves to that tie or from it.
    """

    __slots__ = ("count", "higher", "lower")
    count: int
    higher: "Tie[B]"
    lower: "Tie[B]"

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def link(self, other: "Tie[B]") -> None:
        """Link this tie with that of the next higher or the next lower count."""
        lower, higher = (self, other) if self.count < other.count else (other, self)
        lower.higher, higher.lower = higher, lower

    def unlink(self) -> None:
        """Remove the links from this tie and to it."""
        with suppress(AttributeError):
            del self.higher.lower, self.higher
        with suppress(AttributeError):
            del self.lower.higher, self.lower

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the parts of a copy without links, because chains of links can be long."""
        return Tie, (self.count,), None, None, iter(self.items())


class CountedMembership(Membership[B]):
    """Counts the requests in flight on each member, and finds those with the fewest."""

    def __init__(self, backends: Iterable[B] | Mapping[B, float] | None = None) -> None:
        self._places: dict[B, Tie[B]] = {}
        """The tie whose count each member has.  A numbered member is in no tie."""
        # The members by count, in the order of the next picks.  A closed member stays in its place
        # until it would be the next pick.  Then it gets a number that keeps its place: the numbered
        # members of a count come before the other members, in the order of their numbers.
        self._ties: dict[int, Tie[B]] = {}
        self._levels: list[int] = []  # a heap of the keys of _ties
        self._closed_in_ties: set[B] = set()
        self._next_number = 0
        self._closed: dict[B, int] = {}  # the numbers of closed members
        self._reopened: dict[B, int] = {}  # the numbers of the members in the heap
        self._first: list[tuple[int, int, B]] = []  # a heap of (count, number, member)
        # The tie of the next picks.  It is empty if the next pick must search.
        self._lowest: Tie[B] = Tie(-1)
        super().__init__(backends)

    def _move(self, backend: B, change: int) -> None:
        """Change the count, if a link is missing, or if the backend is numbered or no member."""
        tie = self._places.get(backend)
        if tie is None or tie.count + change < 0:
            return
        self._leave(backend)
        after = self._enter(backend, tie.count + change)
        if self._ties.get(tie.count) is tie:
            tie.link(after)
        if not self._weights[backend]:
            self._closed_in_ties.add(backend)
        self._lowest = Tie(-1)

    def _least(self, avoided: Collection[B]) -> int:
        """Return the fewest requests in flight on an open backend that is not avoided.

        No backend loses its place.  All avoided backends are open members.
        """
        if len(avoided) == self._open:
            raise self.refusal()
        if not avoided:
            if not (self._lowest or self._first):
                self._lowest = self._ties[self._lowest_level()]
            for backend in self._lowest:
                if backend not in self._closed_in_ties:
                    return self._lowest.count
                break
        passed = [self._take_first()]
        while passed[-1][2] in avoided:
            passed.append(self._take_first())
        for entry in passed:
            self._reopened[entry[2]] = entry[1]
            heappush(self._first, entry)
        self._lowest = Tie(-1)
        return passed[-1][0]

    def _in_order(self) -> Iterator[B]:
        """Yield the open members in the order of picks.  Nothing changes."""
        numbered: dict[int, list[tuple[int, B]]] = {}
        for backend, number in self._reopened.items():
            if self._weights[backend]:
                numbered.setdefault(self._places[backend].count, []).append((number, backend))
        for count in sorted({*numbered, *(level for level, tie in self._ties.items() if tie)}):
            for _, backend in sorted(numbered.get(count, ())):
                yield backend
            for backend in self._ties.get(count, ()):
                if backend not in self._closed_in_ties:
                    yield backend

    def _take_first(self) -> tuple[int, int, B]:
        """Remove and return the open member that is the next pick, with its count and a number."""
        first = self._first
        while True:
            level = self._lowest_level()
            if first and (level < 0 or first[0][0] <= level):
                entry = count, number, backend = heappop(first)
                if self._reopened.get(backend) != number:
                    continue  # the entry is stale, because the count of the backend changed
                del self._reopened[backend]
            else:
                count, number = level, self._next_number
                backend, _ = self._ties[level].popitem(last=False)
                self._next_number += 1
                entry = count, number, backend
            if self._weights[backend]:
                return entry
            self._closed_in_ties.discard(backend)
            self._closed[backend] = number

    def _lowest_level(self) -> int:
        """Return the lowest count whose tie is not empty, or -1; O(log n) amortised.

        Empty ties of lower counts are removed.  The tie of the next lower count is kept, because it
        is probably needed again soon.
        """
        ties, levels = self._ties, self._levels
        while levels:
            level = levels[0]
            if ties[level]:
                return level
            if ties.get(level + 1):
                return level + 1
            ties.pop(heappop(levels)).unlink()
        return -1

    def _enter(self, backend: B, count: int) -> Tie[B]:
        """Append a member to the tie of a count, and return the tie.

        If it does not exist, it is created.
        """
        tie = self._ties.get(count)
        if tie is None:
            if len(self._levels) > 2 * len(self._places) + 8:
                for empty in [each for each in self._ties.values() if not each]:
                    self._ties.pop(empty.count).unlink()
                self._levels = list(self._ties)
                heapify(self._levels)
            tie = self._ties[count] = Tie(count)
            heappush(self._levels, count)
        tie[backend] = None
        self._places[backend] = tie
        return tie

    def _leave(self, backend: B) -> None:
        """Remove a member from its place."""
        if backend in self._reopened:
            del self._reopened[backend]
            if len(self._first) > 2 * len(self._reopened) + 8:
                reopened = self._reopened
                self._first = [entry for entry in self._first if reopened.get(entry[2]) == entry[1]]
                heapify(self._first)
        elif self._closed.pop(backend, None) is None:
            del self._places[backend][backend]

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        if old is None:
            self._enter(backend, 0)
            self._lowest = Tie(-1)
        if new is None:
            self._leave(backend)
            del self._places[backend]
            self._closed_in_ties.discard(backend)
        elif not new:
            self._closed_in_ties.add(backend)
        elif backend not in self._closed:
            self._closed_in_ties.discard(backend)
        else:
            number = self._reopened[backend] = self._closed.pop(backend)
            heappush(self._first, (self._places[backend].count, number, backend))
            self._lowest = Tie(-1)
