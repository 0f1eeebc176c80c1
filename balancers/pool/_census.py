"""Counts the members by the reasons that close them.

The counts determine when a panic begins and ends.  They also determine the error that is raised
when no backend can be picked.
"""

from typing import Any

from balancers._internal.checks import number
from balancers._internal.refusals import shared_reason
from balancers.errors import InvalidSetting, NoBackendAvailable
from balancers.pool._gate_set import GateSet

__all__ = ["Census"]


class _Group:
    """Counts the members that one combination of reasons closes.

    ``reasons`` are the names of all these reasons.  ``hard_reasons`` are those that a panic does
    not ignore.
    """

    __slots__ = ("hard_reasons", "members", "reasons")

    def __init__(self, reasons: tuple[str, ...], hard_reasons: tuple[str, ...]) -> None:
        self.members = 0
        self.reasons = reasons
        self.hard_reasons = hard_reasons


class Census:
    """Counts the members for each combination of reasons that closes them.

    The counts are updated whenever a member changes.  So a refusal needs no loop over the members,
    even under overload.

    Raises InvalidSetting unless 0 <= panic <= calm <= 1.
    """

    def __init__(self, gates: GateSet[Any], panic: float, calm: float) -> None:
        if not 0 <= number("panic", panic) <= number("calm", calm) <= 1:
            raise InvalidSetting(f"0 <= panic <= calm <= 1 fails for {panic!r} and {calm!r}")
        self.panicking = False
        self._gates = gates
        self._hard = gates.hard
        self._panic, self._calm = panic, calm
        self._groups: dict[int, _Group] = {}
        """The groups by combination.  The combination 0 (open members) has no group; ``open``
        counts it."""
        self._counts: dict[str, int] | None = None
        """The result of :meth:`_count_reasons` until the next change."""
        self.members = 0
        self.open = 0
        """The number of members that no gate closes and whose weight is not 0."""
        self.open_hard = 0
        """The number of members that no hard gate closes and whose weight is not 0."""
        self.eligible = 0
        """The number of members that the balancer may pick, as of the last :meth:`update_panic`."""

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

    def update_panic(self) -> bool:
        """Begin or end a panic if necessary.  Return whether one began or ended; O(1).

        A panic begins when ``open / open_hard`` is below ``panic``.  It ends when this quotient is
        ``calm`` or more.  If ``open_hard`` is 0, nothing changes.
        """
        before = self.panicking
        if self.open_hard:
            self.panicking = self.open / self.open_hard < (self._calm if before else self._panic)
        self.eligible = self.open_hard if self.panicking else self.open
        if self.panicking is before:
            return False
        self._counts = None
        return True

    def refusal(self, due: float, shared: str | None = None) -> NoBackendAvailable:
        """Return the error to raise when no backend can be picked.

        It counts every open member as avoided.  ``shared`` is a reason that closes all members at
        once.  Cost: O(reasons); O(combinations · gates) after a change.
        """
        if self._counts is None:
            self._counts = self._count_reasons()
        counts = self._counts.copy()
        if shared is not None:
            counts[shared] = self.members
        elif self.eligible:
            counts["avoided"] = self.eligible
        return NoBackendAvailable(shared_reason(counts, self.members), counts, due)

    def _count_reasons(self) -> dict[str, int]:
        """Return the number of members that each reason closes; O(combinations · gates)."""
        counts: dict[str, int] = {}
        for group in self._groups.values():
            for reason in group.hard_reasons if self.panicking else group.reasons:
                counts[reason] = counts.get(reason, 0) + group.members
        return counts

    def _add(self, combination: int) -> None:
        self._counts = None
        if not combination & self._hard:
            self.open_hard += 1
            if not combination:
                self.open += 1
                return
        group = self._groups.get(combination)
        if group is None:
            names = self._gates.reasons
            group = _Group(names(combination), names(combination & self._hard))
            self._groups[combination] = group
        group.members += 1

    def _remove(self, combination: int) -> None:
        self._counts = None
        if not combination & self._hard:
            self.open_hard -= 1
            if not combination:
                self.open -= 1
                return
        group = self._groups[combination]
        group.members -= 1
        if not group.members:
            del self._groups[combination]
