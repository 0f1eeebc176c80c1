"""How many members are closed by which reasons, and what follows: panic and refusals."""

from typing import Any

from balancers._internal.checks import number
from balancers._internal.refusals import shared_reason
from balancers.errors import InvalidSetting, NoBackendAvailable
from balancers.pool._gate_set import GateSet

__all__ = ["Census"]


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
        self._counts: dict[int, int] = {0: 0}
        """Members per combination; a combination without members may stay."""
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
        self._counts[combination] = self._counts.get(combination, 0) + 1
        self.open += not combination
        self.open_hard += not combination & self._hard

    def leave(self, combination: int) -> None:
        """Count a member out; O(1)."""
        self.members -= 1
        self._remove(combination)
        self.open -= not combination
        self.open_hard -= not combination & self._hard

    def move(self, before: int, after: int) -> None:
        """Count a member under another combination; O(1)."""
        self._remove(before)
        self._counts[after] = self._counts.get(after, 0) + 1
        self.open += (not after) - (not before)
        self.open_hard += (not after & self._hard) - (not before & self._hard)

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
        ignored = self._hard if self.panicking else -1
        counts: dict[str, int] = {}
        for combination, members in self._counts.items():
            if combination:
                for reason in self._gates.reasons(combination & ignored):
                    counts[reason] = counts.get(reason, 0) + members
        if shared is not None:
            counts[shared] = self.members
        elif self.eligible:
            counts["avoided"] = self.eligible
        return NoBackendAvailable(shared_reason(counts, self.members), counts, due)

    def _remove(self, combination: int) -> None:
        left = self._counts[combination] - 1
        if left or not combination:
            self._counts[combination] = left
        else:
            del self._counts[combination]
