"""Limits the cost of the requests in flight on each backend to a fixed number."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from balancers._internal.checks import LATEST, at_least
from balancers._internal.types import B
from balancers.gate import NoRoom
from balancers.gates._ranking import Ranking
from balancers.gates.member_gate import MemberGate

__all__ = ["CostLimit"]

_NOTHING: Mapping[Any, NoRoom] = MappingProxyType({})
_TOO_LARGE = NoRoom("too large")


class _CostState:
    """Stores the cost in flight on one backend, and its limit."""

    __slots__ = ("cost", "limit")

    def __init__(self, limit: int) -> None:
        self.cost: int = 0
        self.limit: int = limit


class CostLimit(MemberGate[B, _CostState]):
    """Keeps the cost of the requests in flight on each backend at ``limit`` or less.

    The costs are those of :meth:`Pool.acquire` and :meth:`Pool.progress`, for example tokens or
    bytes.  A request fits if the cost in flight and its own cost together are ``limit`` or less.
    The pool avoids the backends on which it does not fit.  If it fits on none, the refusal counts
    them under the reason of this gate, and ``full`` counts those on which it will fit when other
    requests have ended.  If the cost of the request alone is above the limit, it never fits: the
    reason is "too large", and ``full`` does not count the backend, so that no request waits for
    ever.

    A backend is closed while its cost in flight is at the limit, or above it because of
    :meth:`Pool.progress`.  Then it gets no request, not even one without a cost.  The gate is hard:
    the pool respects it even during a panic (when too few members are open).  A closed backend gets
    no bound requests (requests of sticky sessions) either.

    >>> from balancers import LeastConnections, Pool
    >>> pool = Pool(LeastConnections(["a", "b"]), gates=[CostLimit(8000)])
    >>> [pool.acquire(now=0.0, cost=cost).backend for cost in (7000, 500, 500, 5000)]
    ['a', 'b', 'a', 'b']
    >>> pool.acquire(now=0.0, cost=3000)
    Traceback (most recent call last):
    balancers.errors.NoBackendAvailable: no backend available: saturated (2 saturated)
    >>> pool.acquire(now=0.0, cost=8001)
    Traceback (most recent call last):
    balancers.errors.NoBackendAvailable: no backend available: too large (2 too large)

    The limit is the same for every backend.  You can set a different limit for one backend by
    :meth:`set`.  Every method is O(1), except ``removed`` and :meth:`without_room`; for a backend
    that closes, ``charged`` and ``set`` are O(log n).  Raises InvalidSetting unless ``limit`` is an
    int of 1 or more.
    """

    reason = "saturated"
    limits_in_flight: bool = True

    def __init__(self, limit: int) -> None:
        super().__init__()
        at_least(1, limit=limit)
        self._limit = limit
        self._no_room = NoRoom(self.reason, full=True)
        self._rooms: Ranking[B] = Ranking()
        """The room that is left on each open member: its limit minus its cost in flight."""
        self._limits: Ranking[B] = Ranking()

    def new_state(self, now: float) -> _CostState:
        del now
        return _CostState(self._limit)

    def set(self, backend: B, limit: int | None, now: float = 0.0) -> None:
        """Limit the cost in flight on this backend to ``limit``.

        ``None`` restores the limit that was passed to the gate.

        Raises UnknownBackend, InvalidSetting, InvalidTime.
        """
        state = self.state_of(backend)
        limit = self._limit if limit is None else limit
        at_least(1, limit=limit)
        now = self.advance(now)
        before, state.limit = state.limit, limit
        self._limits.put(backend, limit)
        self._update(backend, state, state.cost >= before, now)

    def cost_on(self, backend: B) -> int:
        """Return the cost of the requests in flight on a member.  Raises UnknownBackend."""
        return self.state_of(backend).cost

    def factor(self, backend: B, now: float) -> float:
        """Return 1 if the cost in flight is below the limit, else 0.

        Raises UnknownBackend, InvalidTime.
        """
        self.clamp(now)
        state = self.state_of(backend)
        return 1 if state.cost < state.limit else 0

    def without_room(self, cost: int, now: float) -> Mapping[B, NoRoom]:
        """Return the open members on which the cost does not fit, and those it is too large for.

        The cost is O(1) if it usually fits on all members, and O(log n + result) amortised
        otherwise.  Raises InvalidTime.
        """
        if not (now.__class__ is float and -LATEST <= now <= LATEST):
            self.clamp(now)
        if cost <= self._rooms.floor and cost <= self._limits.floor:
            return _NOTHING
        result = dict.fromkeys(self._rooms.between(1, cost), self._no_room)
        for backend in self._limits.between(1, cost):
            result[backend] = _TOO_LARGE
        return result

    def added(self, backend: B, now: float) -> None:
        """Called when a backend joins.  No cost is in flight on it; O(1)."""
        super().added(backend, now)
        self._rooms.put(backend, self._limit)
        self._limits.put(backend, self._limit)

    def removed(self, backend: B, now: float) -> None:
        """Called when a backend leaves; O(log n)."""
        super().removed(backend, now)
        self._rooms.discard(backend)
        self._limits.discard(backend)

    def charged(self, backend: B, change: int, now: float) -> None:
        """Called when the cost in flight on a backend changes by ``change``."""
        state = self._members.get(backend)
        if state is not None:
            if now.__class__ is float and self._now <= now <= LATEST and now < self.due:
                self._now = now
            else:
                now = self.advance(now)
            was_closed = state.cost >= state.limit
            state.cost = max(0, state.cost + change)
            self._update(backend, state, was_closed, now)

    def __repr__(self) -> str:
        """Show the limit of the gate and the number of closed members; O(members)."""
        closed = sum(state.cost >= state.limit for state in self._members.values())
        return f"<CostLimit: limit {self._limit}, {closed} of {len(self._members)} closed>"

    def _update(self, backend: B, state: _CostState, was_closed: bool, now: float) -> None:
        """Store the room of a backend.  If it has opened or closed, record this."""
        room = state.limit - state.cost
        if room > 0:
            self._rooms.put(backend, room)
        elif not was_closed:
            self._rooms.discard(backend)
        if (room <= 0) != was_closed:
            self.notify_change(backend)
            self.record_event(backend, room <= 0, now, f"cost {state.cost} of {state.limit}")
