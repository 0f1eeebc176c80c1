"""Defines a base class for gates.  It keeps a state per member, and collects the changes.

To write a subclass:

* Define :meth:`~MemberGate.new_state` and ``factor``.
* Call :meth:`~MemberGate.notify_change` when an event changes the factor of a backend.
* If time changes factors too, set ``self.timers`` and define :meth:`~MemberGate.timer_expired`.
* Pass each time that a caller gives you to :meth:`~MemberGate.settle` or, in a method that only
  reads, to :meth:`~MemberGate.clamp`.  Both refuse an invalid time, and both replace a time that is
  earlier than the latest one.
* Call :meth:`~MemberGate.state_of` for a backend that must be a member.  In ``started`` and
  ``finished``, call :meth:`~MemberGate.find_state`: they must ignore every other backend.
* Call :meth:`~MemberGate.in_flight_on` and :meth:`~MemberGate.record_event` as needed.
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from typing import Generic

from balancers._internal.checks import valid_now
from balancers._internal.copying import SharesBackends
from balancers._internal.timers import Timers
from balancers._internal.types import B, S
from balancers.errors import UnknownBackend
from balancers.event import Event
from balancers.gate import Gate

__all__ = ["MemberGate"]


class MemberGate(SharesBackends, Gate[B], Generic[B, S]):
    """A base class for gates that keeps a state of type ``S`` per member.

    It also collects the backends whose factor changed.  A deep copy of a gate refers to the same
    backend objects.  Everything else is copied.

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
        """The timers of the backends: at most one timer per backend.

        When the time of a timer comes, :meth:`timer_expired` is called.  A method that sets a timer
        must also call :meth:`notify_change`, or lower ``due`` to the time of the timer.
        """
        self._members: dict[B, S] = {}
        self._changed: dict[B, None] = {}
        self._now = -inf
        self._in_flight: Callable[[B], int] | None = None
        self._events: deque[Event] | None = None

    @abstractmethod
    def new_state(self, now: float) -> S:
        """Return the state of a member that joins at the time ``now``."""

    def timer_expired(self, backend: B, when: float) -> None:
        """Called when the timer of a backend has expired.  ``when`` is the time of the timer.

        The backend is already recorded as changed.
        """

    def attach(self, in_flight: Callable[[B], int], events: deque[Event] | None) -> None:
        """Called once, when a pool is created with this gate."""
        self._in_flight, self._events = in_flight, events

    def changes(self, now: float) -> Iterable[B]:
        """Return the backends whose factor changed since the last call.

        This costs O(1) per backend, plus O(log n) per expired timer.
        """
        self.expire(self.advance(now))
        changed, self._changed = self._changed, {}
        self.due = self._next_instant()
        return list(changed)

    def added(self, backend: B, now: float) -> None:
        """Called when a backend joins; O(1), or O(log n) in some subclasses."""
        self._members[backend] = self.new_state(self.advance(now))

    def removed(self, backend: B, now: float) -> None:
        """Called when a backend leaves; O(log n)."""
        now = self.advance(now)
        self._members.pop(backend, None)
        self._changed.pop(backend, None)
        self.timers.cancel(backend)
        due = self._next_instant()
        self.due = -inf if self._changed or due <= now else due

    def state_of(self, backend: B) -> S:
        """Return the state of a member.  Raises UnknownBackend."""
        try:
            return self._members[backend]
        except KeyError:
            raise UnknownBackend(backend) from None

    def find_state(self, backend: B) -> S | None:
        """Return the state of a member, or None for a backend that is not a member.

        The methods ``started`` and ``finished`` must ignore a backend that is not a member:

        >>> class Errors(MemberGate[str, list[int]]):
        ...     reason = "errors"
        ...     def new_state(self, now):
        ...         return [0]
        ...     def factor(self, backend, now):
        ...         return 0 if self.state_of(backend)[0] > 2 else 1
        ...     def finished(self, backend, outcome, in_flight, started_at, now):
        ...         state = self.find_state(backend)
        ...         if state is not None and outcome.ok is False:
        ...             state[0] += 1
        ...             if state[0] == 3:
        ...                 self.notify_change(backend)
        """
        return self._members.get(backend)

    def notify_change(self, backend: B) -> None:
        """Record that the factor of the backend has changed.

        The pool then calls ``factor`` for this backend again.  A soft gate that is not fractional
        must not call this for a factor that has not changed: if such a backend is open, the pool
        concludes that it was closed for a moment and has recovered.
        """
        self._changed[backend] = None
        self.due: float = -inf

    def advance(self, now: float) -> float:
        """Store ``now`` as the latest time, and return it.

        If ``now`` is earlier than the latest time, the latest time is kept and returned.  Nothing
        else happens; see :meth:`settle`.  Raises InvalidTime.
        """
        self._now = now = valid_now(now, self._now)
        if self.due <= now:
            self.due = -inf  # the time of the pool may be earlier than the time of this gate
        return now

    def settle(self, now: float) -> float:
        """Store ``now`` as the latest time, and apply what time has changed.

        Return the latest time.  Call this first in every method that changes a state.  It costs
        O(1), plus O(log n) per expired timer.  Raises InvalidTime.
        """
        now = self.advance(now)
        if self.due <= now:
            self.expire(now)
        return now

    def expire(self, now: float) -> None:
        """Apply what time has changed until ``now``: call :meth:`timer_expired` for each timer.

        Override this if the gate has other timers too.
        """
        for backend, when in self.timers.pop(now):
            self.notify_change(backend)
            self.timer_expired(backend, when)

    def clamp(self, now: float) -> float:
        """Return ``now``, or the latest time if ``now`` is earlier; O(1).

        Call this in every method that reads a state at a time.  The call changes no state.
        Raises InvalidTime.
        """
        return valid_now(now, self._now)

    def in_flight_on(self, backend: B) -> int:
        """Return the number of requests in flight on a backend.

        The number is 0 while the gate belongs to no pool.
        """
        return 0 if self._in_flight is None else self._in_flight(backend)

    def record_event(
        self, backend: B, began: bool, at: float, detail: str = "", reason: str = ""
    ) -> None:
        """Append an event to the ``events`` of the pool.  Without ``events``, do nothing.

        An empty ``reason`` means the reason of this gate.
        """
        if self._events is not None:
            self._events.append(Event(at, reason or self.reason, began, backend, detail))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._members)} members>"

    def _next_instant(self) -> float:
        """Return the time in seconds at which a factor changes next, or ``inf``."""
        return self.timers.first

    def _known_backends(self) -> Iterable[object]:
        return self._members
