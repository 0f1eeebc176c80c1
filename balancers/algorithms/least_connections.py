"""Implements least connections: picks the backend with the fewest requests in flight."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from heapq import heapify, heappop, heappush

from balancers._internal.checks import NO_BACKENDS, checked_avoid
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import UnknownBackend
from balancers.membership import Membership
from balancers.outcome import SUCCESS, Outcome

__all__ = ["LeastConnections"]


class LeastConnections(Membership[B]):
    """Picks the backend with the fewest requests in flight.

    The balancer counts the requests that are reported with ``started`` and ``finished``.  Backends
    with the same count are picked in turn: a backend moves to the end of the list of its count when
    it is picked, and when it starts or finishes a request.  So the backends of an idle pool are
    picked in turn, even if ``started`` is never called.  A backend that closes and opens again
    keeps its place in the list, and so does a backend that is avoided.  A new backend gets the last
    place.  All positive weights have the same effect.

    >>> lb = LeastConnections(["a", "b", "c"])
    >>> "".join(lb.pick() for _ in range(4))
    'abca'
    >>> lb.started("b")
    >>> "".join(lb.pick() for _ in range(4))
    'caca'

    Cost: ``pick``, ``started``, ``finished`` and a change of weight are O(1) amortised.  They are
    O(log n) if no other backend has the new count, and for a backend that opens again after it was
    closed when it was first in its list.  With ``avoid``, ``pick`` is O(avoided · log n).
    """

    keyed = False
    fractional = False

    def __init__(self, backends: Iterable[B] | Mapping[B, float] | None = None) -> None:
        self._counts: dict[B, int] = {}
        # The members by count, in the order of the next picks.  A closed member stays in its place
        # until it would be the next pick.  Then it gets a number that keeps its place: the numbered
        # members of a count come before the other members, in the order of their numbers.
        self._ties: dict[int, OrderedDict[B, None]] = {}
        self._levels: list[int] = []  # a heap of the keys of _ties
        self._closed_in_ties: set[B] = set()
        self._next_number = 0
        self._closed: dict[B, int] = {}  # the numbers of closed members
        self._reopened: dict[B, int] = {}  # the numbers of the members in the heap
        self._first: list[tuple[int, int, B]] = []  # a heap of (count, number, member)
        # The tie of the next picks.  It is empty if the next pick must search.
        self._lowest: OrderedDict[B, None] = OrderedDict()
        super().__init__(backends)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return a backend with the fewest requests in flight; O(1) amortised.

        Raises NoBackendAvailable.
        """
        if avoid is not NO_BACKENDS:
            return self._pick_avoiding(checked_avoid(avoid))
        lowest = self._lowest
        for backend in lowest:
            if backend not in self._closed_in_ties:
                lowest.move_to_end(backend)
                return backend
            break
        return self._search(frozenset())

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Add one to the count of the backend; O(1) amortised.

        The call is ignored if the backend is not a member.
        """
        counts, ties = self._counts, self._ties
        try:
            count = counts[backend]
            higher = ties[count + 1]
            del ties[count][backend]
        except KeyError:
            self._move(backend, 1)
        else:
            higher[backend] = None
            counts[backend] = count + 1

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Subtract one from the count of the backend; O(1) amortised.

        The call is ignored if the backend is not a member or has no request in flight.
        """
        counts, ties = self._counts, self._ties
        try:
            count = counts[backend]
            lower = ties[count - 1]
            tie = ties[count]
            del tie[backend]
        except KeyError:
            self._move(backend, -1)
        else:
            lower[backend] = None
            counts[backend] = count - 1
            if tie is self._lowest:
                self._lowest = lower

    def load_of(self, backend: B, now: float = 0.0) -> float:
        """Return the number of requests in flight on a member; O(1).  Raises UnknownBackend."""
        if backend not in self._counts:
            raise UnknownBackend(backend)
        return self._counts[backend]

    def _move(self, backend: B, change: int) -> None:
        """Change the count, if a tie is missing, or if the backend is numbered or no member."""
        count = self._counts.get(backend)
        if count is None or count + change < 0:
            return
        self._leave(backend, count)
        self._counts[backend] = count + change
        self._tie(count + change)[backend] = None
        if not self._weights[backend]:
            self._closed_in_ties.add(backend)
        self._lowest = OrderedDict()

    def _pick_avoiding(self, avoid: Collection[B]) -> B:
        weights = self._weights
        avoided = {backend for backend in avoid if weights.get(backend)}
        return self._search(avoided) if avoided else self.pick()

    def _search(self, avoided: Collection[B]) -> B:
        """Return the next backend that is not avoided.  All avoided backends are open members."""
        if len(avoided) == self._open:
            raise self.refusal()
        if not avoided and not self._first:
            tie = self._lowest = self._ties[self._lowest_level()]
            for backend in tie:
                if backend not in self._closed_in_ties:
                    tie.move_to_end(backend)
                    return backend
                break
        skipped: list[tuple[int, int, B]] = []
        while (entry := self._take_first())[2] in avoided:
            skipped.append(entry)
        count, _, backend = entry
        tie = self._tie(count)
        tie[backend] = None
        for entry in skipped:
            self._reopened[entry[2]] = entry[1]
            heappush(self._first, entry)
        is_first = not self._first or self._first[0][0] > count
        self._lowest = tie if is_first else OrderedDict()
        return backend

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
            del ties[heappop(levels)]
        return -1

    def _tie(self, count: int) -> OrderedDict[B, None]:
        """Return the tie of a count.  If it does not exist, it is created."""
        tie = self._ties.get(count)
        if tie is None:
            if len(self._levels) > 2 * len(self._counts) + 8:
                self._ties = {level: tie for level, tie in self._ties.items() if tie}
                self._levels = list(self._ties)
                heapify(self._levels)
            tie = self._ties[count] = OrderedDict()
            heappush(self._levels, count)
        return tie

    def _leave(self, backend: B, count: int) -> None:
        """Remove a member from its place."""
        if backend in self._reopened:
            del self._reopened[backend]
            if len(self._first) > 2 * len(self._reopened) + 8:
                reopened = self._reopened
                self._first = [entry for entry in self._first if reopened.get(entry[2]) == entry[1]]
                heapify(self._first)
        elif self._closed.pop(backend, None) is None:
            del self._ties[count][backend]

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        count = self._counts.setdefault(backend, 0)
        if old is None:
            self._tie(count)[backend] = None
            self._lowest = OrderedDict()
        if new is None:
            self._leave(backend, count)
            del self._counts[backend]
            self._closed_in_ties.discard(backend)
        elif not new:
            self._closed_in_ties.add(backend)
        elif backend not in self._closed:
            self._closed_in_ties.discard(backend)
        else:
            number = self._reopened[backend] = self._closed.pop(backend)
            heappush(self._first, (count, number, backend))
            self._lowest = OrderedDict()
