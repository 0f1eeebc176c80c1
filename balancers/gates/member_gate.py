"""What the gates of this package share: members, and their news."""

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from typing import Generic, TypeVar

from balancers._internal.checks import valid_now
from balancers._internal.copying import SharesBackends
from balancers._internal.timers import Deadlines
from balancers.errors import AlreadyInUse, UnknownBackend
from balancers.event import Event
from balancers.gate import Gate

__all__ = ["MemberGate"]

B = TypeVar("B")
S = TypeVar("S")


class MemberGate(SharesBackends, Gate[B], Generic[B, S]):
    """A gate that keeps a state ``S`` for each member and collects who moved.

    A subclass defines :meth:`_fresh` and ``factor``, calls :meth:`_tell` on an event that moves a
    factor, and, if time moves factors too, keeps instants in ``self._timers`` and hears them in
    :meth:`_expired`.  What its users want to know of it goes to :meth:`_record`.  Copies share the
    backends.

    >>> from balancers import Pool, RoundRobin
    >>> class Maintenance(MemberGate[str, list[bool]]):
    ...     reason = "maintenance"
    ...     def _fresh(self, now):
    ...         return [True]
    ...     def factor(self, backend, now):
    ...         return 1 if self._state(backend)[0] else 0
    ...     def begin(self, backend):
    ...         self._state(backend)[0] = False
    ...         self._tell(backend)
    >>> gate = Maintenance()
    >>> pool = Pool(RoundRobin(["a", "b"]), gates=[gate])
    >>> gate.begin("a")
    >>> pool.acquire(now=0.0).backend
    'b'
    """

    def __init__(self) -> None:
        self._members: dict[B, S] = {}
        self._told: dict[B, None] = {}
        self._timers: Deadlines[B] = Deadlines()
        self._now = -inf
        self._in_flight: Callable[[B], int] | None = None
        self._events: deque[Event] | None = None

    @abstractmethod
    def _fresh(self, now: float) -> S:
        """Make the state of a new member."""

    def _expired(self, backend: B, when: float) -> None:
        """Hear that a member's instant came."""

    def watch(self, in_flight: Callable[[B], int]) -> None:
        """Be taken by a pool.  Raises AlreadyInUse for a second one."""
        if self._in_flight is not None:
            raise AlreadyInUse(f"this {type(self).__name__} belongs to another pool")
        self._in_flight = in_flight

    def unwatch(self) -> None:
        """Be free again."""
        self._in_flight = self._events = None

    def report(self, events: deque[Event]) -> None:
        """Be given where every transition goes."""
        self._events = events

    def moved(self, now: float) -> Iterable[B]:
        """Give the backends whose factor moved since last asked."""
        now = self._at(now)
        told, timers = self._told, self._timers
        for backend, when in timers.pop(now):
            told[backend] = None
            self._expired(backend, when)
        self._told = {}
        self.due = self._next_instant()
        return list(told)

    def added(self, backend: B, now: float) -> None:
        """Hear of a new member; O(1) or O(log n)."""
        self._members[backend] = self._fresh(self._at(now))

    def removed(self, backend: B, now: float) -> None:
        """Forget the member; O(log n)."""
        self._members.pop(backend, None)
        self._told.pop(backend, None)
        self._timers.cancel(backend)
        self.due = -inf if self._told else self._next_instant()

    def _next_instant(self) -> float:
        """Give when time next moves a factor."""
        return self._timers.first

    def _state(self, backend: B) -> S:
        try:
            return self._members[backend]
        except KeyError:
            raise UnknownBackend(backend) from None

    def _at(self, now: float) -> float:
        """Take note of the time: earlier than seen is the latest seen.  Raises InvalidTime."""
        self._now = valid_now(now, self._now)
        return self._now

    def _tell(self, backend: B) -> None:
        self._told[backend] = None
        self.due = -inf

    def _record(
        self, backend: B, began: bool, at: float, detail: str = "", reason: str = ""
    ) -> None:
        if self._events is not None:
            self._events.append(Event(at, reason or self.reason, began, backend, detail))

    def _flying(self, backend: B) -> int:
        return 0 if self._in_flight is None else self._in_flight(backend)

    def _known_backends(self) -> Iterable[object]:
        return self._members
