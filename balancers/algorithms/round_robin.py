"""Round robin: everyone once, in order, again and again."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping

from balancers._internal.checks import at_least, checked_avoid
from balancers._internal.types import B
from balancers.algorithms._list_cursor import lap_from, lap_place
from balancers.balancer import Key
from balancers.membership import Membership

__all__ = ["RoundRobin"]


class RoundRobin(Membership[B]):
    """Each backend once in n picks, in order of insertion.

    Picks go in laps.  A leaver is skipped; a newcomer joins the next lap; a quiesced backend keeps
    its place in the order; ``avoid`` uses up the avoided one's turn.  A backend that stays open
    waits at most 2·n picks, n the most members meanwhile.  Any positive weight is the same; there
    are no ties.  ``offset`` shifts the first lap: give each instance of a fleet its own, or all of
    them begin with the same backend.

    >>> lb = RoundRobin(["a", "b", "c"])
    >>> "".join(lb.pick() for _ in range(7))
    'abcabca'
    >>> RoundRobin(["a", "b", "c"], offset=2).pick()
    'c'

    Cost: ``pick`` O(1) amortised; joining O(1); a flip or leaving O(log n) and one move of memory.
    Raises InvalidSetting for an offset that is no int, 0 or more.
    """

    keyed = False
    fractional = False

    def __init__(self, backends: Iterable[B] | Mapping[B, float] = (), *, offset: int = 0) -> None:
        at_least(0, offset=offset)
        self._offset = offset
        self._serial = 0
        self._serials: dict[B, int] = {}  # of every member, in the order of insertion
        self._order: list[B] = []  # the open members of this lap
        self._order_serials: list[int] = []
        self._late: dict[B, None] = {}  # the open members that join the next lap
        self._late_serial = 0  # theirs are this or higher
        self._lap: Iterator[B] = iter(self._order)
        super().__init__(backends)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Give the next backend of the lap; O(1) amortised, with ``avoid`` O(avoided).

        Raises NoBackendAvailable; a refusal uses up no turn.
        """
        if not avoid:
            for backend in self._lap:
                return backend
            if self._order and not self._late:
                self._late_serial = self._serial
                self._lap = iter(self._order)
                return next(self._lap)
        return self._search(checked_avoid(avoid))

    def _search(self, avoid: Collection[B]) -> B:
        for place in range(lap_place(self._order, self._lap), len(self._order)):
            if self._order[place] not in avoid:
                self._lap = lap_from(self._order, place + 1)
                return self._order[place]
        late: list[B] = sorted(self._late, key=self._serials.__getitem__)
        lap: list[B] = [*self._order, *late]
        first = self._offset % len(lap) if lap and not self._late_serial else 0
        for place in (*range(first, len(lap)), *range(first)):
            if lap[place] not in avoid:
                self._begin_lap(late)
                self._lap = lap_from(self._order, place + 1)
                backend: B = lap[place]
                return backend
        raise self.refusal()

    def _begin_lap(self, late: list[B]) -> None:
        self._order.extend(late)
        self._order_serials.extend(self._serials[backend] for backend in late)
        self._late.clear()
        self._late_serial = self._serial

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        if old is None:
            self._serials[backend] = self._serial
            self._serial += 1
        if bool(old) != bool(new):
            self._flip(backend, self._serials[backend])
        if new is None:
            del self._serials[backend]

    def _flip(self, backend: B, serial: int) -> None:
        """Open or close: an edit in place, with the lap's place corrected."""
        if serial >= self._late_serial:
            if backend in self._late:
                del self._late[backend]
            else:
                self._late[backend] = None
            return
        turn = lap_place(self._order, self._lap)
        place = bisect_left(self._order_serials, serial)
        if place < len(self._order) and self._order_serials[place] == serial:
            del self._order[place], self._order_serials[place]
            turn -= place < turn
        else:
            self._order.insert(place, backend)
            self._order_serials.insert(place, serial)
            turn += place < turn
        self._lap = lap_from(self._order, turn)
