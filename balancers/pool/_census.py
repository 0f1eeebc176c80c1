"""Counts the members by the reasons that close them.

The counts determine which gates are ignored.  They also determine the error that is raised when no
backend can be picked.
"""

from collections.abc import Mapping
from typing import Any

from balancers._internal.checks import number, shown
from balancers._internal.refusals import shared_reason
from balancers.errors import InvalidSetting, NoBackendAvailable
from balancers.pool._gate_set import GateSet

__all__ = ["NO_COUNTS", "Census"]

NO_COUNTS: Mapping[str, int] = {}


class Census:
    """Counts the members for each combination of reasons that closes them.

    The counts are updated whenever a member changes.  So a refusal needs no loop over the members,
    even under overload.

    Raises InvalidSetting unless 0 <= panic <= calm <= 1, and for ``calm`` without a ``panic``.
    """

    def __init__(self, gates: GateSet[Any], panic: float | None, calm: float | None) -> None:
        if panic is not None and not 0 <= number("panic", panic) <= 1:
            raise InvalidSetting(f"panic must be 0 to 1, or None, not {shown(panic)}")
        if calm is not None and not (panic and panic <= number("calm", calm) <= 1):
            raise InvalidSetting(
                f"calm must be a positive panic, {shown(panic)}, to 1, not {shown(calm)}"
            )
        self._panic = panic
        self._calm = panic if calm is None else calm
        self._gates = gates
        self._hard = ~gates.soft
        self._groups: dict[int, int] = {}
        """The number of members for each combination but 0.  ``open`` counts the members of 0."""
        self._counts: dict[str, int] | None = None
        """The result of :meth:`_count_reasons` until the next change."""
        self.ignored: int = 0
        """The combination of the reasons that are ignored now."""
        self.panicking: bool = False
        """Whether soft gates are ignored."""
        self.last_resort: bool = False
        """Whether gates with ``last_resort`` are ignored."""
        self.members: int = 0
        self.open: int = 0
        """The number of members that no gate closes and whose weight is not 0."""
        self._open_hard = 0
        """The number of members that only soft gates close, and of open members."""
        self.eligible: int = 0
        """The number of members that the balancer may pick, as of the last :meth:`update`."""
        self._reason = ""
        self._full = 0
        """The shared reason, and the number of members that only limits close.  Both are valid
        together with ``_counts``."""
        self.refusals: dict[str, int] = {}
        """The number of refusals for each reason."""

    def is_full(self, combination: int) -> bool:
        """Return whether a member could serve if limits of requests in flight did not close it.

        It could also serve if its other reasons would be ignored then.
        """
        gates = self._gates
        if gates.only_limits(combination & ~self.ignored):
            return True
        if self.open:
            return gates.only_limits(combination, gates.soft) and self._panics(
                self.open, self._open_hard + 1
            )
        ignorable = gates.last_resort
        if not self.eligible and self._panic is not None:
            ignorable |= gates.soft
        return gates.only_limits(combination, ignorable)

    def emptied(self) -> "Census":
        """Return a census with the same settings and the same ignored reasons, but no members."""
        copied = Census(self._gates, self._panic, None)
        copied._calm, copied.ignored = self._calm, self.ignored
        copied.panicking, copied.last_resort = self.panicking, self.last_resort
        return copied

    def enter(self, combination: int) -> None:
        """Count a new member; O(1)."""
        self.members += 1
        self._add(combination)

    def leave(self, combination: int) -> None:
        """Stop counting a member that leaves; O(1)."""
        self.members -= 1
        self._remove(combination)

    def move(self, before: int, after: int) -> None:
        """Count a member under another combination; O(1)."""
        self._remove(before)
        self._add(after)

    def update(self) -> bool:
        """Decide which gates are ignored.  Return whether the decision changed.

        Cost: O(1), or O(combinations) while gates with ``last_resort`` are ignored or closing.
        """
        before = self.ignored
        if self.open and not self._panic:
            self.ignored = 0
            self.eligible = self.open
        else:
            self.ignored = self._choose_ignored()
            self.eligible = self._open_without(self.ignored) if self.ignored else self.open
        if self.ignored == before:
            return False
        self.panicking = bool(self.ignored & self._gates.soft)
        self.last_resort = bool(self.ignored & self._gates.last_resort)
        self._counts = None
        return True

    def describe(self) -> str:
        """Return the number of open members, for an event."""
        return f"{self.open} of {self._open_hard} open"

    def refusal(
        self,
        due: float,
        more_full: int = 0,
        limit: str | None = None,
        more: Mapping[str, int] = NO_COUNTS,
        more_closed: int = 0,
    ) -> NoBackendAvailable:
        """Return the error to raise when no backend can be picked.

        It counts every open member as avoided, except ``more_closed`` of them.  ``more`` has the
        numbers of members to add for further reasons, and ``more_full`` is added to the number of
        members that only limits close.  ``limit`` is a limit that closes all members at once.
        Cost: O(reasons); O(combinations · gates) after a change.
        """
        if self._counts is None:
            self._counts = self._count_reasons()
            self._reason = shared_reason(self._counts, self.members)
        counts, reason, full = self._counts.copy(), self._reason, self._full + more_full
        if more:
            counts = {**more, **counts}
            for name, count in more.items():
                counts[name] = count + self._counts.get(name, 0)
            reason = shared_reason(counts, self.members)
        if limit is not None:
            counts[limit] = self.members
            full += self.eligible
            reason = shared_reason(counts, self.members)
        elif self.eligible > more_closed:
            counts["avoided"] = self.eligible - more_closed
            reason = shared_reason(counts, self.members)
        self.refusals[reason] = self.refusals.get(reason, 0) + 1
        return NoBackendAvailable(reason, counts, due, full)

    def refusal_for(
        self,
        own: NoBackendAvailable,
        due: float,
        more_full: int,
        more: Mapping[str, int],
        avoided: int,
    ) -> NoBackendAvailable:
        """Return the error for a reason that the balancer has, although members are open.

        ``own`` is the error of the balancer.  ``avoided`` is the number of open members that the
        caller avoids, and the other parameters are those of :meth:`refusal`.
        """
        if self._counts is None:
            self._counts = self._count_reasons()
            self._reason = shared_reason(self._counts, self.members)
        counts = {**more, **self._counts}
        for name, count in more.items():
            counts[name] = count + self._counts.get(name, 0)
        if avoided:
            counts["avoided"] = avoided
        self.count_refusal(own.reason)
        full = max(self._full + more_full, own.full)
        return NoBackendAvailable(own.reason, counts or dict(own.counts), due, full)

    def count_refusal(self, reason: str) -> None:
        """Count a refusal; O(1)."""
        self.refusals[reason] = self.refusals.get(reason, 0) + 1

    def _choose_ignored(self) -> int:
        """Return the reasons to ignore.  They are as few as possible.

        If no member is open, gates with ``last_resort`` are ignored first, then soft gates, then
        both.
        """
        soft, last_resort = self._gates.soft, self._gates.last_resort
        if self.open or not last_resort:
            return soft if self._panics(self.open, self._open_hard) else 0
        both = soft | last_resort
        opened = self._open_without(last_resort)
        if opened:
            return both if self._panics(opened, self._open_without(both)) else last_resort
        if self._open_hard or self._panic is None or not self._open_without(both):
            return soft if self._panics(0, self._open_hard) else 0
        return both

    def _panics(self, open_members: int, open_hard: int) -> bool:
        """Return whether soft gates are ignored.

        The number of open members is divided by the number of members that no hard gate closes.  If
        hard gates close all members, nothing changes.
        """
        if self._panic is None or self._calm is None:
            return False
        before = self.panicking
        if not open_hard:
            return before
        share = self._calm if before else self._panic
        return not open_members or open_members / open_hard < share

    def _open_without(self, ignored: int) -> int:
        """Return the number of members that are open if these reasons are ignored."""
        closed = self._groups.items()
        return self.open + sum(count for reasons, count in closed if not reasons & ~ignored)

    def _count_reasons(self) -> dict[str, int]:
        """Return the number of members that each reason closes.  Also set ``_full``."""
        heeded = ~self.ignored
        counts: dict[str, int] = {}
        self._full = 0
        for combination, count in self._groups.items():
            if self.is_full(combination):
                self._full += count
            for reason in self._gates.reasons(combination & heeded):
                counts[reason] = counts.get(reason, 0) + count
        return counts

    def _add(self, combination: int) -> None:
        self._counts = None
        if not combination & self._hard:
            self._open_hard += 1
            if not combination:
                self.open += 1
                return
        self._groups[combination] = self._groups.get(combination, 0) + 1

    def _remove(self, combination: int) -> None:
        self._counts = None
        if not combination & self._hard:
            self._open_hard -= 1
            if not combination:
                self.open -= 1
                return
        count = self._groups[combination] - 1
        if count:
            self._groups[combination] = count
        else:
            del self._groups[combination]
