"""How many members are closed by which reasons, and what follows: panic and refusals."""

from typing import Any

from balancers._internal.checks import number
from balancers._internal.refusals import shared_reason
from balancers.errors import InvalidSetting, NoBackendAvailable
from balancers.pool._gate_set import GateSet

__all__ = ["Census"]


class _Group:
    """The members that one combination of reasons closes: how many, and the reasons' names."""

    __slots__ = ("hard_reasons", "members", "reasons")

    def __init__(self, reasons: tuple[str, ...], hard_reasons: tuple[str, ...]) -> None:
        self.members = 0
        self.reasons = reasons
        self.hard_reasons = hard_reasons


class Census:
    """Members counted by the combination of reasons that closes them.

    It is updated as members change, so a refusal under overload costs no scan of the members.

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
        """By combination; 0, the open members, is counted below."""
        self.members = 0
        self.open = 0
        """Members that no gate closes."""
        self.open_hard = 0
        """Members that no hard gate closes."""
        self.eligible = 0
        """Members that the balancer may pick, as of the last :meth:`update_panic`."""

    def enter(self, combination: int) -> None:
        """Count a new member; O(1)."""
        self.members += 1
        self._add(combination)

    def leave(self, combination: int) -> None:
        """Count a member out; O(1)."""
        self.members -= 1
        self._remove(combination)

    def move(self, before: int, after: int) -> None:
        """Count a member under another combination; O(1)."""
        self._remove(before)
        self._add(after)

    def update_panic(self) -> bool:
        """Begin or end the panic if the share says so, and return whether it changed; O(1).

        While the hard gates close every member there is no share, and it stays as it is.
        """
        before = self.panicking
        if self.open_hard:
            self.panicking = self.open / self.open_hard < (self._calm if before else self._panic)
        self.eligible = self.open_hard if self.panicking else self.open
        return self.panicking is not before

    def refusal(self, due: float, shared: str | None = None) -> NoBackendAvailable:
        """Return why no backend can be picked, given that every open member was avoided.

        ``shared`` is a reason that closes all members at once.  O(combinations · gates).
        """
        counts: dict[str, int] = {}
        for group in self._groups.values():
            for reason in group.hard_reasons if self.panicking else group.reasons:
                counts[reason] = counts.get(reason, 0) + group.members
        if shared is not None:
            counts[shared] = self.members
        elif self.eligible:
            counts["avoided"] = self.eligible
        return NoBackendAvailable(shared_reason(counts, self.members), counts, due)

    def _add(self, combination: int) -> None:
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
        if not combination & self._hard:
            self.open_hard -= 1
            if not combination:
                self.open -= 1
                return
        group = self._groups[combination]
        group.members -= 1
        if not group.members:
            del self._groups[combination]
