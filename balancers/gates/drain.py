"""Drains backends: a draining backend gets no new requests.

Its requests in flight may finish until a deadline, which ends the drain.
"""

from math import inf
from typing import NamedTuple

from balancers._internal.checks import check_flags, duration
from balancers._internal.types import B
from balancers.gates.member_gate import MemberGate

__all__ = ["Drain", "Drained"]


class Drained(NamedTuple):
    """Describes how the drain of ``backend`` ended.

    ``in_flight`` is the number of its requests that had not finished.  ``forced`` is True if the
    deadline ended the drain before all requests had finished.
    """

    backend: object
    forced: bool
    in_flight: int
    at: float
    """The time in seconds at which :meth:`Drain.drained` returned this object."""


class _DrainState:
    """Stores the drain of one backend.

    ``deadline`` is in seconds, or None if the backend does not drain.
    ``reported`` is True if :meth:`Drain.drained` has returned the end of the drain.
    """

    __slots__ = ("deadline", "reported")

    def __init__(self) -> None:
        self.deadline: float | None = None
        self.reported: bool = False


class Drain(MemberGate[B, _DrainState]):
    """Closes a backend to new requests between :meth:`begin` and :meth:`cancel`.

    A draining backend still gets bound requests (requests of sticky sessions).  A drain ends when
    the backend has no requests in flight, or after ``timeout`` seconds.  :meth:`drained` returns
    each ended drain once.  The backend stays closed after that.  The weight of the backend does not
    change.

    The gate is hard: the pool respects it even during a panic (when too few members are open).
    With ``last_resort``, all members are open as long as all of them drain.  A call that makes this
    condition true or false costs O(n).

    >>> from balancers import Pool, RoundRobin
    >>> drain = Drain(timeout=30.0)
    >>> pool = Pool(RoundRobin(["a", "b"]), gates=[drain])
    >>> lease = pool.acquire(now=0.0)
    >>> drain.begin(lease.backend, now=1.0)
    >>> pool.acquire(now=1.0).backend, drain.drained(now=1.0)
    ('b', [])
    >>> pool.release(lease, now=2.0)
    >>> drain.drained(now=2.0)
    [Drained(backend='a', forced=False, in_flight=0, at=2.0)]

    A ``timeout`` of ``inf`` means that there is no deadline.
    Raises InvalidSetting for a ``timeout`` that is not positive.
    """

    reason = "draining"
    spares_bound = True

    def __init__(self, timeout: float = 30.0, last_resort: bool = False) -> None:
        super().__init__()
        self._timeout = duration("timeout", timeout, endless=True)
        check_flags(last_resort=last_resort)
        self._last_resort = last_resort
        self._draining: dict[B, _DrainState] = {}

    def new_state(self, now: float) -> _DrainState:
        del now
        return _DrainState()

    def factor(self, backend: B, now: float) -> float:
        """Return 0 while the backend drains, else 1.

        With ``last_resort``, return 1 if all members drain.
        Raises UnknownBackend.
        """
        del now
        return 0 if self.state_of(backend).deadline is not None and not self._all_open() else 1

    def begin(self, backend: B, now: float) -> None:
        """Start a drain; O(1).

        If the backend drains already, the deadline does not change.

        Raises UnknownBackend, InvalidTime.
        """
        state = self.state_of(backend)
        now = self.advance(now)
        if state.deadline is None:
            all_open = self._all_open()
            state.deadline = now + self._timeout
            self._draining[backend] = state
            self._notify(backend, all_open)
            self.record_event(backend, True, now, f"until {state.deadline}")

    def cancel(self, backend: B, now: float) -> None:
        """Cancel the drain and open the backend again; O(1).

        If the backend does not drain, do nothing.

        Raises UnknownBackend, InvalidTime.
        """
        state = self.state_of(backend)
        now = self.advance(now)
        if state.deadline is not None:
            all_open = self._all_open()
            del self._draining[backend]
            state.deadline = None
            state.reported = False
            self._notify(backend, all_open)
            self.record_event(backend, False, now, "cancelled")

    def draining(self, backend: B) -> bool:
        """Return whether a drain was started and not cancelled since.  Raises UnknownBackend."""
        return self.state_of(backend).deadline is not None

    def drained(self, now: float) -> list[Drained]:
        """Return the drains that ended since the last call; O(draining).  Raises InvalidTime."""
        now = self.advance(now)
        ended: list[Drained] = []
        for backend, state in self._draining.items():
            in_flight = self.in_flight_on(backend)
            deadline = inf if state.deadline is None else state.deadline
            if not state.reported and (not in_flight or deadline <= now):
                state.reported = True
                ended.append(Drained(backend, in_flight > 0, in_flight, now))
                forced = f"forced, {in_flight} in flight" if in_flight else "idle"
                self.record_event(backend, True, now, forced, reason="drained")
        return ended

    def added(self, backend: B, now: float) -> None:
        """Called when a backend joins.  The new member is open; O(1)."""
        all_open = self._all_open()
        super().added(backend, now)
        self._notify(None, all_open)

    def removed(self, backend: B, now: float) -> None:
        """Called when a backend leaves; O(log n)."""
        all_open = self._all_open()
        super().removed(backend, now)
        self._draining.pop(backend, None)
        self._notify(None, all_open)

    def __repr__(self) -> str:
        last_resort = ", last_resort" if self._last_resort else ""
        return (
            f"<Drain: timeout {self._timeout} s{last_resort}, "
            f"{len(self._draining)} of {len(self._members)} draining>"
        )

    def _all_open(self) -> bool:
        """Return whether all members are open because all of them drain (``last_resort``)."""
        return self._last_resort and 0 < len(self._members) == len(self._draining)

    def _notify(self, backend: B | None, were_all_open: bool) -> None:
        """Record the backend as changed.

        If all members opened or closed because of ``last_resort``, record all of them.
        """
        if were_all_open != self._all_open():
            for member in self._members:
                self.notify_change(member)
        elif backend is not None:
            self.notify_change(backend)
