"""Keeps members that an update no longer contains, until they are idle and their time is over."""

from math import inf
from typing import Generic

from balancers._internal.timers import Timers
from balancers._internal.types import B
from balancers.pool._member import Member

__all__ = ["Departures"]


class Departures(Generic[B]):
    """Stores the leaving members of a pool, and the times until which they are kept.

    A member whose time is over but which has requests in flight is *overdue*.  It leaves when the
    last of these requests is released.
    """

    def __init__(self) -> None:
        self._timers: Timers[Member[B]] = Timers()
        self._overdue: dict[Member[B], None] = {}
        self.due = inf
        """The time in seconds at which a member may leave; ``-inf`` if one can leave now."""

    def keep(self, member: Member[B], until: float) -> None:
        """Keep a member until this time; O(log n)."""
        self._overdue.pop(member, None)
        self._timers.set(member, until)
        self.due = min(self.due, self._timers.first)

    def cancel(self, member: Member[B]) -> None:
        """Stop keeping a member, because it has left or has returned; O(log n)."""
        self._overdue.pop(member, None)
        self._timers.cancel(member)
        if self.due != -inf:
            self.due = self._timers.first

    def is_over(self, member: Member[B], now: float) -> bool:
        """Return whether a kept member leaves at the first request at ``now`` or later."""
        until = self._timers.get(member)
        overdue = member in self._overdue and self.due <= now
        return not member.in_flight and (until <= now or overdue)

    def released(self, member: Member[B]) -> None:
        """Called when a leaving member has no request in flight any more."""
        if member in self._overdue:
            self.due = -inf

    def member_left(self) -> None:
        """Called when a member has left.  A balancer may allow others to leave only now."""
        if self._overdue:
            self.due = -inf

    def expired(self, now: float) -> list[Member[B]]:
        """Return the members that can leave now, last joined first; O(overdue + log n)."""
        self._overdue.update(dict.fromkeys(self._timers.take(now)))
        idle = [member for member in self._overdue if not member.in_flight]
        return sorted(idle, key=lambda member: -member.generation)

    def update_due(self) -> None:
        """Set ``due`` again after the members that can leave have left."""
        self.due = self._timers.first
