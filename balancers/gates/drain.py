"""Draining: no new requests; those in flight may finish, and a deadline ends the drain."""

from math import inf
from typing import NamedTuple

from balancers._internal.checks import duration
from balancers._internal.types import B
from balancers.gates.member_gate import MemberGate

__all__ = ["Drain", "Drained"]


class Drained(NamedTuple):
    """The end of a drain: idle, or ``forced`` by the deadline with ``in_flight`` requests left."""

    backend: object
    forced: bool
    in_flight: int
    at: float
    """Seconds: when it was reported."""


class _DrainState:
    """One backend: the deadline of its drain in seconds (None: no drain); whether it ended."""

    __slots__ = ("deadline", "reported")

    def __init__(self) -> None:
        self.deadline: float | None = None
        self.reported = False


class Drain(MemberGate[B, _DrainState]):
    """Closed to new requests from :meth:`begin` to :meth:`cancel`.

    Bound requests pass.  A drain ends after ``timeout`` seconds, or as soon as the backend has no
    request in flight; :meth:`drained` reports this once.  The weight stays unchanged.  Hard: a
    panic does not ignore it.  With ``last_resort``, all members are open while every one of them
    drains; a call that begins or ends this costs O(n).

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

    Raises InvalidSetting for a timeout that is not positive; ``inf`` means no deadline.
    """

    reason = "draining"
    spares_bound = True

    def __init__(self, timeout: float = 30.0, last_resort: bool = False) -> None:
        super().__init__()
        self._timeout = duration("timeout", timeout, endless=True)
        self._last_resort = last_resort
        self._draining: dict[B, _DrainState] = {}

    def new_state(self, now: float) -> _DrainState:
        del now
        return _DrainState()

    def factor(self, backend: B, now: float) -> float:
        """Return 0 while the backend drains, else 1.  Raises UnknownBackend."""
        del now
        return 0 if self.state_of(backend).deadline is not None and not self._all_open() else 1

    def begin(self, backend: B, now: float) -> None:
        """Start a drain; if one is in progress, it keeps its deadline.  O(1).

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
        """Open the backend again; ignored if there is no drain.  O(1).

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
        """Return whether a drain was started and not cancelled.  Raises UnknownBackend."""
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
        """Called when a backend joins: it is open; O(1)."""
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
        """Return whether the last resort holds: every member drains, so all are open."""
        return self._last_resort and 0 < len(self._members) == len(self._draining)

    def _notify(self, backend: B | None, were_all_open: bool) -> None:
        """Notify of the backend, or of every member if the last resort began or ended."""
        if were_all_open != self._all_open():
            for member in self._members:
                self.notify_change(member)
        elif backend is not None:
            self.notify_change(backend)
