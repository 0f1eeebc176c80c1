"""Healthy or not, by a rule."""

from typing import Literal

from balancers.errors import InvalidSetting
from balancers.gates.health_rules import Consecutive, HealthRule, State

__all__ = ["HealthStateMachine", "Initial"]

Initial = Literal["unknown", "up", "down"]


class HealthStateMachine:
    """Healthy or not, by a rule; :class:`Consecutive` unless another is given.

    ``unhealthy_threshold`` failures in a row, ``healthy_threshold`` successes in a row.  Every flip
    starts the counting anew.  ``initial``: ``up``, ``down`` until proven, or ``unknown``, which
    counts as healthy until the first result decides.

    >>> machine = HealthStateMachine(unhealthy_threshold=2, healthy_threshold=1)
    >>> [machine.observe(ok) for ok in (False, True, False, False)], machine.healthy
    ([False, False, False, True], False)

    Raises InvalidSetting for a threshold below 1 or another initial state.
    """

    __slots__ = ("_calm", "_rule", "_state", "_unknown", "healthy")

    def __init__(
        self,
        unhealthy_threshold: int = 3,
        healthy_threshold: int = 2,
        *,
        rule: HealthRule | None = None,
        initial: Initial = "up",
    ) -> None:
        if initial not in {"unknown", "up", "down"}:
            raise InvalidSetting(f"initial must be unknown, up or down, not {initial!r}")
        usual = Consecutive(unhealthy_threshold, healthy_threshold)
        self._rule = usual if rule is None else rule
        if not callable(getattr(self._rule, "next_state", None)):
            raise TypeError(f"rule must be a health rule, not {rule!r}")
        self._calm = (
            self._rule.initial_state(healthy=False),
            self._rule.initial_state(healthy=True),
        )
        self.healthy = initial != "down"
        self._state: State = self._calm[self.healthy]
        self._unknown = initial == "unknown"

    def observe(self, ok: bool, immediate: bool = False) -> bool:
        """Hear a result and say whether it flipped the state; O(1).

        ``immediate``: this failure needs no other.  Raises InvalidSetting for such a success.
        """
        if immediate and ok:
            raise InvalidSetting("only a failure can be immediate")
        before = self.healthy
        if self._unknown or immediate:
            self.reset(bool(ok))
        else:
            self._state = state = self._rule.next_state(self._state, bool(ok))
            self.healthy = bool(state[0])
        return before != self.healthy

    def copy(self) -> "HealthStateMachine":
        """Give another of the same rule, in the state this one is in."""
        twin = HealthStateMachine.__new__(HealthStateMachine)
        for name in self.__slots__:
            setattr(twin, name, getattr(self, name))
        return twin

    @property
    def settled(self) -> bool:
        """Whether nothing that is remembered speaks against the state."""
        return not self._unknown and self._state == self._calm[self.healthy]

    def would_be_healthy(self, ok: bool) -> bool:
        """Say whether it would be healthy after this result; nothing changes."""
        return bool(ok if self._unknown else self._rule.next_state(self._state, ok)[0])

    def reset(self, healthy: bool) -> None:
        """Set the state from outside, and start counting anew."""
        self._state = self._calm[healthy]
        self._unknown = False
        self.healthy = healthy
