"""Implements round robin: picks each backend in turn, in order of insertion."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING

from balancers._internal.checks import NO_BACKENDS, at_least, checked_avoid
from balancers._internal.plans import first_different
from balancers._internal.types import B
from balancers.algorithms._ahead import new_row, repeat_lap
from balancers.algorithms._list_cursor import cursor_at, position_of
from balancers.balancer import Key
from balancers.membership import Membership

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["RoundRobin"]

_MIN_PICKS = 256
"""Cycles without changes are prepared in advance, so that a new list of picks is needed only once
in this number of picks."""


class RoundRobin(Membership[B]):
    """Picks each backend once in n picks, in order of insertion.

    The picks form cycles.  In each cycle, every open backend is picked once, and no backend is
    picked twice, even if it closes and opens again.  A backend of weight 0 keeps its position in
    the order.  If it is closed when it is its turn, it is skipped and must wait for the next cycle.
    The same holds for a backend that is avoided when it is its turn.  A new backend joins the next
    cycle.  All positive weights have the same effect.  There are no ties.

    Let n be the largest number of members during a wait.  After a backend was picked, it waits for
    at most n - 1 picks of others while it stays open and is not avoided.  The same holds after it
    opened, and after a pick that avoided it.  A new backend waits for at most 2·n - 2 picks of
    others before its first pick: the rest of a cycle, and nearly all of the next cycle.  Other
    backends may close, open, join, leave and be avoided at any time.

    The first cycle starts at the position ``offset``.  If several processes use the same backends,
    pass a different ``offset`` in each process.  Otherwise all of them pick the same backend first.

    >>> lb = RoundRobin(["a", "b", "c"])
    >>> "".join(lb.pick() for _ in range(7))
    'abcabca'
    >>> RoundRobin(["a", "b", "c"], offset=2).pick()
    'c'

    Cost: ``pick`` is O(1) amortised.  Joining is O(1).  To close, to open or to remove a backend
    costs O(log n) and one shift of list entries in memory.
    Raises InvalidSetting unless ``offset`` is an int of 0 or more.
    """

    keyed = False
    fractional = False

    def __init__(
        self, backends: Iterable[B] | Mapping[B, float] | None = None, *, offset: int = 0
    ) -> None:
        at_least(0, offset=offset)
        self._offset = offset
        self._next_serial = 0
        self._serials: dict[B, int] = {}  # of every member, in order of insertion
        self._order: list[B] = []  # the open members of this cycle
        self._order_serials: list[int] = []
        self._passed_serial = -1  # in this cycle, turns up to this serial are over
        self._joining: dict[B, None] = {}  # the open members that join the next cycle
        self._joining_serial = 0  # the lowest serial that joins in the next cycle
        self._picks: list[B] = self._order  # the order, once or several times
        self._cycle: Iterator[B] = iter(self._picks)
        super().__init__(backends)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return the next backend of the cycle; O(1) amortised, with ``avoid`` O(avoided).

        Raises NoBackendAvailable.  The error does not change the state.
        """
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
            if avoid:
                return self._search(avoid)
        for backend in self._cycle:
            return backend
        if not self._order or self._joining:
            return self._search(NO_BACKENDS)
        self._joining_serial, self._passed_serial = self._next_serial, -1
        self._picks = self._order * max(1, _MIN_PICKS // len(self._order))
        self._cycle = iter(self._picks)
        return next(self._cycle)

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()
    ) -> list[B]:
        """Return the next ``n`` different backends of the cycle; O(n), with ``avoid`` O(members).

        This takes one turn, that of the first backend.  At the end of a cycle, the list continues
        with the next one.  If fewer backends can be picked, all of them are returned.
        Raises InvalidSetting unless ``n`` is an int of 1 or more, NoBackendAvailable.

        >>> lb = RoundRobin(["a", "b", "c"])
        >>> lb.plan(2), lb.plan(2), lb.pick()
        (['a', 'b'], ['b', 'c'], 'c')
        """
        if type(n) is not int or n < 1:
            at_least(1, n=n)
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
        order, turn = self._order, position_of(self._picks, self._cycle)
        if turn > len(order):
            turn = (turn - 1) % len(order) + 1
        ranked: list[B] = [] if avoid else order[turn : turn + n]
        if len(ranked) < n:
            cycle: list[B] = [*order, *self._joiners()]
            first = self._first_turn(cycle)
            ranked = first_different((*order[turn:], *cycle[first:], *cycle[:first]), n, avoid)
        self.pick(key, now, avoid)
        return ranked

    def picks_ahead(self, count: int) -> "NDArray[np.intp]":
        """Return the positions of the next ``count`` picks; O(n + count), vectorised.

        The result is an array ``intp[count]`` of positions in the order of ``weights``: those of
        the next ``count`` calls of :meth:`pick`.  The state afterwards is as after these calls.
        Raises NoBackendAvailable if ``count`` is positive.  Raises InvalidSetting unless ``count``
        is an int from 0 to 2³².

        >>> RoundRobin({"a": 1, "b": 0, "c": 1}).picks_ahead(5).tolist()
        [0, 2, 0, 2, 0]
        """
        row = new_row(count)
        places = {backend: place for place, backend in enumerate(self._weights)}
        listed = list(islice(self._cycle, count))
        if len(listed) < count and (self._joining or not self._order):
            listed.append(self._search(NO_BACKENDS))
            listed += islice(self._cycle, count - len(listed))
        row[: len(listed)] = [places[backend] for backend in listed]
        if len(listed) < count:
            self.pick()
            lap = [places[backend] for backend in self._picks]
            self._cycle = cursor_at(self._picks, repeat_lap(row[len(listed) :], lap, start=0))
        return row

    def _search(self, avoid: Collection[B]) -> B:
        for position in range(self._turn(), len(self._order)):
            if self._order[position] not in avoid:
                self._cycle = cursor_at(self._order, position + 1)
                return self._order[position]
        joining = self._joiners()
        cycle: list[B] = [*self._order, *joining]
        first = self._first_turn(cycle)
        for position in (*range(first, len(cycle)), *range(first)):
            if cycle[position] not in avoid:
                self._begin_cycle(joining)
                self._cycle = cursor_at(self._order, position + 1)
                backend: B = cycle[position]
                return backend
        raise self.refusal()

    def _joiners(self) -> list[B]:
        """Return the open members that join the next cycle, in order of insertion."""
        return sorted(self._joining, key=self._serials.__getitem__) if self._joining else []

    def _first_turn(self, cycle: list[B]) -> int:
        """Return the position of the first pick of the next cycle."""
        return self._offset % len(cycle) if cycle and not self._joining_serial else 0

    def _begin_cycle(self, joining: list[B]) -> None:
        self._order.extend(joining)
        self._order_serials.extend(self._serials[backend] for backend in joining)
        self._joining.clear()
        self._joining_serial = self._next_serial
        self._passed_serial = -1

    def _turn(self) -> int:
        """Return the position of the next pick in the order; O(1).

        Cycles that were prepared in advance are discarded.
        """
        position = position_of(self._picks, self._cycle)
        if position > len(self._order):
            position = (position - 1) % len(self._order) + 1
            self._joining_serial, self._passed_serial = self._next_serial, -1
        if position:
            self._passed_serial = max(self._passed_serial, self._order_serials[position - 1])
        self._picks = self._order
        self._cycle = cursor_at(self._picks, position)
        return position

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        if bool(old) != bool(new):
            self._turn()
        if old is None:
            self._serials[backend] = self._next_serial
            self._next_serial += 1
        if bool(old) != bool(new):
            self._flip(backend, self._serials[backend])
        if new is None:
            del self._serials[backend]

    def _flip(self, backend: B, serial: int) -> None:
        """Open or close a backend.

        The order is changed in place, and the position of the cycle is corrected.
        """
        if serial >= self._joining_serial:
            if backend in self._joining:
                del self._joining[backend]
            else:
                self._joining[backend] = None
            return
        position = bisect_left(self._order_serials, serial)
        if position < len(self._order) and self._order_serials[position] == serial:
            del self._order[position], self._order_serials[position]
        else:
            self._order.insert(position, backend)
            self._order_serials.insert(position, serial)
        turn = bisect_right(self._order_serials, self._passed_serial)
        self._cycle = cursor_at(self._order, turn)
