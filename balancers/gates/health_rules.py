"""When a backend turns unhealthy and when it is trusted again: rules, as pure functions of a state.

A state is a tuple that begins with whether the backend is healthy.  A rule says which state follows
a result; :func:`transitions` lists all there are.
"""

from typing import Any, Protocol

from balancers._internal.checks import at_least
from balancers.errors import InvalidSetting

__all__ = ["Consecutive", "HealthRule", "Leaky", "SlidingWindow", "State", "transitions"]

State = tuple[Any, ...]
"""Healthy or not, and what the rule remembers."""


class HealthRule(Protocol):
    """Which state follows a result.  Both methods are pure."""

    def initial_state(self, healthy: bool) -> State:
        """Give the state just after a flip: nothing is remembered."""
        ...

    def next_state(self, state: State, ok: bool) -> State:
        """Give the state after one more result; O(1)."""
        ...


class Consecutive:
    """So many failures in a row, then so many successes in a row: the usual rule.

    A result that agrees with the state forgives all that spoke against it, so a backend that fails
    half of its checks flips again and again: of 20 000 checks one in ten, at 3 and 2.

    >>> rule = Consecutive(unhealthy_threshold=2, healthy_threshold=1)
    >>> state = rule.initial_state(healthy=True)
    >>> rule.next_state(state, ok=False), rule.next_state(rule.next_state(state, ok=False), ok=False)
    ((True, 1), (False, 0))

    Raises InvalidSetting for a threshold below 1.
    """

    def __init__(self, unhealthy_threshold: int = 3, healthy_threshold: int = 2) -> None:
        at_least(1, unhealthy_threshold=unhealthy_threshold, healthy_threshold=healthy_threshold)
        self._thresholds = (healthy_threshold, unhealthy_threshold)

    def initial_state(self, healthy: bool) -> State:
        """Give (healthy, contrary results in a row)."""
        return (healthy, 0)

    def next_state(self, state: State, ok: bool) -> State:
        """Count a contrary result, forgive all after any other."""
        healthy, contrary = state
        if ok == healthy:
            return (healthy, 0) if contrary else state
        if contrary + 1 == self._thresholds[healthy]:
            return (not healthy, 0)
        return (healthy, contrary + 1)


class Leaky:
    """Failures add up across successes, until enough successes in a row forgive them.

    Unhealthy after ``unhealthy_threshold`` failures since ``ok_threshold`` successes came in a row; healthy after
    ``healthy_threshold`` successes in a row.  A backend that fails half of its checks goes, and stays away.
    The rule and the defaults are gdnsd's.

    >>> rule = Leaky(unhealthy_threshold=2, ok_threshold=3, healthy_threshold=4)
    >>> state = rule.initial_state(healthy=True)
    >>> for ok in (False, True, True, False):
    ...     state = rule.next_state(state, ok)
    >>> state
    (False, 0, 0)

    Raises InvalidSetting for a threshold below 1.
    """

    def __init__(
        self, unhealthy_threshold: int = 10, ok_threshold: int = 10, healthy_threshold: int = 20
    ) -> None:
        at_least(
            1,
            unhealthy_threshold=unhealthy_threshold,
            ok_threshold=ok_threshold,
            healthy_threshold=healthy_threshold,
        )
        self._unhealthy_threshold = unhealthy_threshold
        self._ok_threshold = ok_threshold
        self._healthy_threshold = healthy_threshold

    def initial_state(self, healthy: bool) -> State:
        """Give (healthy, failures not forgiven, successes in a row)."""
        return (healthy, 0, 0)

    def next_state(self, state: State, ok: bool) -> State:
        """Count; flip at a threshold; forget what was forgiven."""
        healthy, failures, streak = state
        if not ok:
            failures += 1
            gone = not healthy or failures == self._unhealthy_threshold
            return self.initial_state(healthy=False) if gone else (True, failures, 0)
        streak += 1
        if not healthy:
            back = streak == self._healthy_threshold
            return self.initial_state(healthy=True) if back else (False, 0, streak)
        forgiven = not failures or streak == self._ok_threshold
        return self.initial_state(healthy=True) if forgiven else (True, failures, streak)


class SlidingWindow:
    """So many of the last ``window`` results, either way.

    Unhealthy once ``unhealthy_threshold`` of the last ``window`` failed, healthy again once ``healthy_threshold`` of them
    succeeded; a flip empties the window.

    >>> rule = SlidingWindow(4, unhealthy_threshold=2, healthy_threshold=3)
    >>> state = rule.initial_state(healthy=True)
    >>> for ok in (False, True, True, False):
    ...     state = rule.next_state(state, ok)
    >>> state
    (False, ())

    Raises InvalidSetting for a threshold below 1 or above ``window``.
    """

    def __init__(
        self, window: int = 10, unhealthy_threshold: int = 5, healthy_threshold: int = 8
    ) -> None:
        at_least(
            1,
            window=window,
            unhealthy_threshold=unhealthy_threshold,
            healthy_threshold=healthy_threshold,
        )
        highest = max(unhealthy_threshold, healthy_threshold)
        if highest > window:
            raise InvalidSetting(f"thresholds must be at most the window, {window}, not {highest}")
        self._window = window
        self._thresholds = (healthy_threshold, unhealthy_threshold)

    def initial_state(self, healthy: bool) -> State:
        """Give (healthy, the last results, oldest first)."""
        return (healthy, ())

    def next_state(self, state: State, ok: bool) -> State:
        """Let the oldest go and count what speaks against the state; O(n)."""
        healthy, results = state
        results = (*results[-self._window + 1 :], ok) if self._window > 1 else (ok,)
        if results.count(not healthy) == self._thresholds[healthy]:
            return (not healthy, ())
        return (healthy, results)


def transitions(rule: HealthRule) -> dict[State, tuple[State, State]]:
    """List every state there is, and what follows a failure and a success; O(states).

    >>> for state, (failed, succeeded) in transitions(Consecutive(2, 1)).items():
    ...     print(state, failed, succeeded)
    (True, 0) (True, 1) (True, 0)
    (False, 0) (False, 0) (True, 0)
    (True, 1) (False, 0) (True, 0)
    """
    table: dict[State, tuple[State, State]] = {}
    ahead = [rule.initial_state(healthy=True), rule.initial_state(healthy=False)]
    for state in ahead:
        if state not in table:
            table[state] = follows = (
                rule.next_state(state, ok=False),
                rule.next_state(state, ok=True),
            )
            ahead.extend(follows)
    return table
