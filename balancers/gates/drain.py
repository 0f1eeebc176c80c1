"""Drains backends: a draining backend gets no new requests.

Its requests in flight may finish until a deadline, which ends the drain.
"""

from math import inf
from typing import Any, NamedTuple

from balancers._internal.checks import check_flags, duration, not_negative
from balancers._internal.types import B
from balancers.gates.member_gate import MemberGate
from balancers.outcome import Outcome

__all__ = ["Drain", "Drained"]


class Drained(NamedTuple):
    """Describes how the drain of ``backend`` ended.

    ``in_flight`` is the number of its requests that had not finished.  ``forced`` is True if the
    deadline ended the drain before the backend was idle.
    """

    backend: Any
    forced: bool
    in_flight: int
    at: float
    """The time in seconds at which :meth:`Drain.drained` returned this object."""


class _DrainState:
    """Stores the drain of one backend.

    ``deadline`` is in seconds.  ``idle_since`` is the time in seconds at which the drain began, or
    at which the last request ended.  It has no meaning while requests are in flight, and is not
    updated without ``quiet``.  ``reported``
    is True if :meth:`Drain.drained` has returned the end of the drain.
    """

    __slots__ = ("deadline", "idle_since", "reported")

    def __init__(self, deadline: float, idle_since: float) -> None:
        self.deadline: float = deadline
        self.idle_since: float = idle_since
        self.reported: bool = False


class Drain(MemberGate[B, None]):
    """Closes a backend to new requests between :meth:`begin` and :meth:`cancel`.

    A draining backend still gets bound requests (requests of sticky sessions).  A drain ends when
    the backend is idle, or after ``timeout`` seconds.  A backend is idle when it has had no
    requests in flight for ``quiet`` seconds.  With 0, the first pause between two requests of a
    session ends the drain.  So pass the pause that you expect between such requests.

    :meth:`drained` returns each ended drain once.  Remove the backend then.  Until you remove it,
    the backend stays closed to new requests, but still gets bound requests.  Its requests in
    flight continue.  The weight of the backend does not change.

    The gate is hard: the pool respects it even during a panic (when too few members are open).
    With ``last_resort``, the pool ignores this gate while no member is open otherwise, because a
    draining backend is better than no backend.

    Every method is O(1), except :meth:`drained`, :attr:`drained_due` and the methods of the pool.

    >>> from balancers import Pool, RoundRobin
    >>> drain = Drain(timeout=30.0)
    >>> pool = Pool(RoundRobin(["a", "b"]), gates=[drain])
    >>> lease = pool.acquire(now=0.0)
    >>> drain.begin(lease.backend, now=1.0)
    >>> pool.acquire(now=1.0).backend, drain.drained(now=1.0), drain.drained_due
    ('b', [], 31.0)
    >>> pool.release(lease, now=2.0)
    >>> for ended in drain.drained(now=2.0):
    ...     print(ended)
    ...     pool.remove(ended.backend, now=2.0)
    Drained(backend='a', forced=False, in_flight=0, at=2.0)

    A ``timeout`` of ``inf`` means that there is no deadline.
    Raises InvalidSetting for a ``timeout`` that is not positive, and for a ``quiet`` that is
    negative or not finite.
    """

    reason = "draining"
    spares_bound = True

    def __init__(
        self, timeout: float = 30.0, last_resort: bool = False, quiet: float = 0.0
    ) -> None:
        super().__init__()
        self._timeout = duration("timeout", timeout, endless=True)
        check_flags(last_resort=last_resort)
        not_negative("quiet", quiet)
        self.last_resort: bool = last_resort
        """Whether the pool ignores this gate while no member is open otherwise."""
        self._quiet = quiet
        if quiet:  # without it, a pool need not call this method at each request
            self.__dict__["finished"] = self._request_ended
        self._draining: dict[B, _DrainState] = {}

    def new_state(self, now: float) -> None:
        del now

    def factor(self, backend: B, now: float) -> float:
        """Return 0 while the backend drains, else 1.  Raises UnknownBackend, InvalidTime."""
        self.clamp(now)
        return 0 if self.draining(backend) else 1

    def begin(self, backend: B, now: float) -> None:
        """Start a drain.

        If the backend drains already, the deadline does not change.

        Raises UnknownBackend, InvalidTime.
        """
        draining = self.draining(backend)
        now = self.advance(now)
        if not draining:
            deadline = now + self._timeout
            self._draining[backend] = _DrainState(deadline, now)
            self.notify_change(backend)
            self.record_event(backend, True, now, f"until {deadline}")

    def cancel(self, backend: B, now: float) -> None:
        """Cancel the drain and open the backend again.

        If the backend does not drain, do nothing.

        Raises UnknownBackend, InvalidTime.
        """
        self.state_of(backend)
        now = self.advance(now)
        state = self._draining.pop(backend, None)
        if state is not None:
            self.notify_change(backend)
            if state.reported:
                self.record_event(backend, False, now, "cancelled", reason="drained")
            self.record_event(backend, False, now, "cancelled")

    def draining(self, backend: B) -> bool:
        """Return whether a drain was started and not cancelled since.  Raises UnknownBackend."""
        self.state_of(backend)
        return backend in self._draining

    def drained(self, now: float) -> list[Drained]:
        """Return the drains that ended since the last call; O(draining).

        A drain that is cancelled and started again is returned again.  The events of the pool
        contain each result as the reason "drained", until the drain is cancelled.

        Raises InvalidTime.
        """
        now = self.advance(now)
        ended: list[Drained] = []
        for backend, state in self._draining.items():
            in_flight = self.in_flight_on(backend)
            if state.reported or self._end(state, in_flight) > now:
                continue
            state.reported = True
            forced = in_flight > 0 or state.idle_since + self._quiet > now
            ended.append(Drained(backend, forced, in_flight, now))
            detail = f"forced, {in_flight} in flight" if forced else "idle"
            self.record_event(backend, True, now, detail, reason="drained")
        return ended

    @property
    def drained_due(self) -> float:
        """The earliest time in seconds at which :meth:`drained` has a drain to return; O(draining).

        It is ``inf`` if no drain is in progress.  It is in the past if a drain has ended and was
        not returned yet.  It changes when a request of a draining backend starts or ends.
        """
        return min(
            (
                self._end(state, self.in_flight_on(backend))
                for backend, state in self._draining.items()
                if not state.reported
            ),
            default=inf,
        )

    def _request_ended(
        self, backend: B, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        """Called when a request ends.  The draining backend may be idle from now on."""
        if self._draining:
            now = self.advance(now)
            state = self._draining.get(backend)
            if state is not None:
                state.idle_since = now

    def removed(self, backend: B, now: float) -> None:
        """Called when a backend leaves; O(log n)."""
        super().removed(backend, now)
        self._draining.pop(backend, None)

    def __repr__(self) -> str:
        quiet = f", quiet {self._quiet} s" if self._quiet else ""
        last_resort = ", last_resort" if self.last_resort else ""
        return (
            f"<Drain: timeout {self._timeout} s{quiet}{last_resort}, "
            f"{len(self._draining)} of {len(self._members)} draining>"
        )

    def _end(self, state: _DrainState, in_flight: int) -> float:
        """Return the time at which the drain ends if no request starts or ends before."""
        return state.deadline if in_flight else min(state.deadline, state.idle_since + self._quiet)
