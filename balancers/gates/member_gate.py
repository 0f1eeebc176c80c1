"""A base class for gates: it keeps a state per member, and collects the changes.

The extension points of a subclass are:

* :meth:`~MemberGate.new_state` and ``factor``, which it must define;
* :meth:`~MemberGate.notify_change`, to call when an event changes a backend's factor;
* ``self.timers`` and :meth:`~MemberGate.timer_expired`, where time changes factors too;
* :meth:`~MemberGate.state_of`, :meth:`~MemberGate.advance`, :meth:`~MemberGate.in_flight_on` and
  :meth:`~MemberGate.record_event`, to use as needed.
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from typing import Generic, TypeVar

from balancers._internal.checks import valid_now
from balancers._internal.copying import SharesBackends
from balancers._internal.timers import Timers
from balancers._internal.types import B
from balancers.errors import UnknownBackend
from balancers.event import Event
from balancers.gate import Gate

__all__ = ["MemberGate"]

S = TypeVar("S")


class MemberGate(SharesBackends, Gate[B], Generic[B, S]):
    """A gate that keeps a state ``S`` per member, and collects the backends that changed.

    Copies share the backends; everything else is copied.

    >>> from balancers import Pool, RoundRobin
    >>> class Maintenance(MemberGate[str, list[bool]]):
    ...     reason = "maintenance"
    ...     def new_state(self, now):
    ...         return [False]
    ...     def factor(self, backend, now):
    ...         return 0 if self.state_of(backend)[0] else 1
    ...     def begin(self, backend):
    ...         self.state_of(backend)[0] = True
    ...         self.notify_change(backend)
    >>> gate = Maintenance()
    >>> pool = Pool(RoundRobin(["a", "b"]), gates=[gate])
    >>> gate.begin("a")
    >>> pool.acquire(now=0.0).backend
    'b'
    """

    def __init__(self) -> None:
        self.timers: Timers[B] = Timers()
        """At most one instant per backend; :meth:`timer_expired` is called when it comes.

        A method that sets one also calls :meth:`notify_change`, or lowers ``due`` to the instant.
        """
        self._members: dict[B, S] = {}
        self._changed: dict[B, None] = {}
        self._now = -inf
        self._in_flight: Callable[[B], int] | None = None
        self._events: deque[Event] | None = None

    @abstractmethod
    def new_state(self, now: float) -> S:
        """Return the state of a new member."""

    def timer_expired(self, backend: B, when: float) -> None:
        """Called when the instant ``when`` of a backend has come: it is among the changes."""

    def attach(self, in_flight: Callable[[B], int], events: deque[Event] | None) -> None:
        """Called once, when a pool takes the gate."""
        self._in_flight, self._events = in_flight, events

    def changes(self, now: float) -> Iterable[B]:
        """Return the backends whose factor changed since the last call; O(1) per backend."""
        now = self.advance(now)
        changed, timers = self._changed, self.timers
        for backend, when in timers.pop(now):
            changed[backend] = None
            self.timer_expired(backend, when)
        self._changed = {}
        self.due = self._next_instant()
        return list(changed)

    def added(self, backend: B, now: float) -> None:
        """Called when a backend joins; O(1) or O(log n)."""
        self._members[backend] = self.new_state(self.advance(now))

    def removed(self, backend: B, now: float) -> None:
        """Called when a backend leaves; O(log n)."""
        self._members.pop(backend, None)
        self._changed.pop(backend, None)
        self.timers.cancel(backend)
        self.due = -inf if self._changed else self._next_instant()

    def state_of(self, backend: B) -> S:
        """Return the member's state.  Raises UnknownBackend."""
        try:
            return self._members[backend]
        except KeyError:
            raise UnknownBackend(backend) from None

    def notify_change(self, backend: B) -> None:
        """Note that the backend's factor changed, or may have: the pool asks for it again."""
        self._changed[backend] = None
        self.due = -inf

    def advance(self, now: float) -> float:
        """Return the time, and note it; a time earlier than the latest seen counts as that one.

        Raises InvalidTime.
        """
        self._now = valid_now(now, self._now)
        return self._now

    def in_flight_on(self, backend: B) -> int:
        """Return the number of requests in flight on a backend, 0 before a pool took the gate."""
        return 0 if self._in_flight is None else self._in_flight(backend)

    def record_event(
        self, backend: B, began: bool, at: float, detail: str = "", reason: str = ""
    ) -> None:
        """Append an event, if the pool was given a place for them; ``reason`` is the gate's own."""
        if self._events is not None:
            self._events.append(Event(at, reason or self.reason, began, backend, detail))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._members)} members>"

    def _next_instant(self) -> float:
        """Return when time next changes a factor."""
        return self.timers.first

    def _known_backends(self) -> Iterable[object]:
        return self._members
