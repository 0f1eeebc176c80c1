"""Draining: no new requests, those in flight may finish, and an end to it."""

from math import inf
from typing import NamedTuple

from balancers._internal.checks import duration
from balancers._internal.types import B
from balancers.gates.member_gate import MemberGate

__all__ = ["Drain", "Drained"]


class Drained(NamedTuple):
    """The end of a drain: idle, or ``forced`` by the deadline with ``in_flight`` left."""

    backend: object
    forced: bool
    in_flight: int
    at: float
    """Seconds: when it was reported."""


class _Draining:
    __slots__ = ("deadline", "reported")

    def __init__(self) -> None:
        self.deadline: float | None = None
        self.reported = False


class Drain(MemberGate[B, _Draining]):
    """Closed to new requests from :meth:`begin` to :meth:`cancel`.  Hard: panic never opens it.

    Requests bound to the backend still get in.  After ``timeout`` seconds, or as soon as nothing is
    in flight, :meth:`drained` reports it, once; the weight is left alone.  With ``last_resort`` all
    open again while every member drains.

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

    Raises InvalidSetting for a timeout that is not positive; ``inf`` is no deadline.
    """

    reason = "draining"
    spares_bound = True

    def __init__(self, timeout: float = 30.0, last_resort: bool = False) -> None:
        super().__init__()
        self._timeout = duration("timeout", timeout, endless=True)
        self._last_resort = last_resort
        self._draining: dict[B, _Draining] = {}

    def new_state(self, now: float) -> _Draining:
        del now
        return _Draining()

    def factor(self, backend: B, now: float) -> float:
        """Give 0 while draining, else 1.  Raises UnknownBackend."""
        del now
        return 0 if self.state_of(backend).deadline is not None and not self._all_spared() else 1

    def begin(self, backend: B, now: float) -> None:
        """Start to drain; a drain under way keeps its deadline.  O(1).

        Raises UnknownBackend, InvalidTime.
        """
        draining = self.state_of(backend)
        now = self.advance(now)
        if draining.deadline is None:
            spared = self._all_spared()
            draining.deadline = now + self._timeout
            self._draining[backend] = draining
            self._crossed(backend, spared)
            self.record_event(backend, True, now, f"until {draining.deadline}")

    def cancel(self, backend: B, now: float) -> None:
        """Open again; no drain is fine.  O(1).  Raises UnknownBackend, InvalidTime."""
        draining = self.state_of(backend)
        now = self.advance(now)
        if draining.deadline is not None:
            spared = self._all_spared()
            del self._draining[backend]
            draining.deadline = None
            draining.reported = False
            self._crossed(backend, spared)
            self.record_event(backend, False, now, "cancelled")

    def draining(self, backend: B) -> bool:
        """Whether a drain was begun and not cancelled.  Raises UnknownBackend."""
        return self.state_of(backend).deadline is not None

    def drained(self, now: float) -> list[Drained]:
        """Report the drains that ended since last asked; O(draining).  Raises InvalidTime."""
        now = self.advance(now)
        ended: list[Drained] = []
        for backend, draining in self._draining.items():
            in_flight = self.in_flight_on(backend)
            deadline = inf if draining.deadline is None else draining.deadline
            if not draining.reported and (not in_flight or deadline <= now):
                draining.reported = True
                ended.append(Drained(backend, in_flight > 0, in_flight, now))
                forced = f"forced, {in_flight} in flight" if in_flight else "idle"
                self.record_event(backend, True, now, forced, reason="drained")
        return ended

    def added(self, backend: B, now: float) -> None:
        """Hear of a new member: open."""
        spared = self._all_spared()
        super().added(backend, now)
        self._crossed(None, spared)

    def removed(self, backend: B, now: float) -> None:
        """Forget the member and its drain."""
        spared = self._all_spared()
        super().removed(backend, now)
        self._draining.pop(backend, None)
        self._crossed(None, spared)

    def _all_spared(self) -> bool:
        return self._last_resort and 0 < len(self._members) == len(self._draining)

    def _crossed(self, backend: B | None, spared: bool) -> None:
        """Tell who moved: the backend, or everyone where the last resort came or went."""
        if spared != self._all_spared():
            for member in self._members:
                self.notify_change(member)
        elif backend is not None:
            self.notify_change(backend)
