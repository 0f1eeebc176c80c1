"""Keeps the state of one backend.  A health rule decides when the state changes."""

from typing import Any, Literal

from balancers._internal.checks import checked_choice, checked_ok
from balancers._internal.copying import copy_of_slots
from balancers.errors import InvalidSetting
from balancers.gates.health_rules import Consecutive, HealthRule, State, checked_rule

__all__ = ["HealthStateMachine", "Initial"]

Initial = Literal["unknown", "up", "down"]


class HealthStateMachine:
    """Keeps the state of one backend: healthy or unhealthy.

    The default rule is :class:`Consecutive`.  With it, ``unhealthy_threshold`` failures in a row
    make the backend unhealthy, and ``healthy_threshold`` successes in a row make it healthy.  If
    you pass a ``rule``, it is used instead, and the two thresholds have no effect.  Every change of
    the state resets the counts.

    ``initial`` is the first state: ``up``, ``down`` or ``unknown``.  In the state ``unknown``, the
    backend counts as healthy.  The first result then decides.

    >>> machine = HealthStateMachine(unhealthy_threshold=2, healthy_threshold=1)
    >>> [machine.observe(ok) for ok in (False, True, False, False)], machine.healthy
    ([False, False, False, True], False)

    Raises InvalidSetting for a threshold below 1 or any other ``initial`` state.
    Raises TypeError if ``rule`` is not a health rule.
    """

    __slots__ = ("_initial_states", "_rule", "_state", "_unknown", "healthy", "unproven")

    def __init__(
        self,
        unhealthy_threshold: int = 3,
        healthy_threshold: int = 2,
        *,
        rule: HealthRule | None = None,
        initial: Initial = "up",
    ) -> None:
        checked_choice("initial", initial, ("unknown", "up", "down"))
        default = Consecutive(unhealthy_threshold, healthy_threshold)
        self._rule = default if rule is None else checked_rule(rule)
        self._initial_states = (  # index: is it healthy?
            self._rule.initial_state(healthy=False),
            self._rule.initial_state(healthy=True),
        )
        self.healthy: bool = initial != "down"
        self._state: State = self._initial_states[self.healthy]
        self._unknown = initial == "unknown"
        self.unproven: bool = initial == "down"
        """Whether the first state was ``down`` and no result has been counted since."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "HealthStateMachine":
        return self.copy()  # a rule is a pair of pure functions, and its states are values

    def observe(self, ok: bool, immediate: bool = False) -> bool:
        """Count a result, and return whether it changed the state; O(1).

        With ``immediate``, this single failure makes the backend unhealthy.
        Raises InvalidSetting for a success with ``immediate``.  Raises TypeError unless ``ok`` is
        True or False.
        """
        ok = checked_ok(ok)
        if immediate and ok:
            raise InvalidSetting("immediate must be False for a success, not True")
        before = self.healthy
        self.unproven = False
        if self._unknown or immediate:
            self.reset(ok)
        else:
            self._state = state = self._rule.next_state(self._state, ok)
            self.healthy = bool(state[0])
        return before != self.healthy

    def copy(self) -> "HealthStateMachine":
        """Return a machine with the same rule and the same state."""
        return copy_of_slots(self)

    @property
    def settled(self) -> bool:
        """Whether the state is known and the rule counts no result that contradicts it.

        For example, it is False after one failure of a healthy backend that stays healthy.
        """
        if self._unknown:
            return False
        settled = getattr(self._rule, "settled", None)
        if settled is None:
            return self._state == self._initial_states[self.healthy]
        return bool(settled(self._state))

    def would_be_healthy(self, ok: bool) -> bool:
        """Return whether the backend would be healthy after this result.

        The call changes no state.  Raises TypeError unless ``ok`` is True or False.
        """
        ok = checked_ok(ok)
        return bool(ok if self._unknown else self._rule.next_state(self._state, ok)[0])

    def reset(self, healthy: bool) -> None:
        """Set the state regardless of the results, and reset the counts."""
        self._state = self._initial_states[healthy]
        self._unknown = self.unproven = False
        self.healthy = healthy

    def __repr__(self) -> str:
        state = "unknown" if self._unknown else "healthy" if self.healthy else "unhealthy"
        settled = "" if self._unknown or self.settled else ", not settled"
        return f"<HealthStateMachine: {state}{settled}, {self._rule!r}>"
