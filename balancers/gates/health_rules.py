"""Health rules: when a backend becomes unhealthy, and when it becomes healthy again.

A rule is a pair of pure functions of a state.  A state is a tuple whose first item is whether the
backend is healthy.  A rule returns the state that follows a result; :func:`transitions` lists all
states.
"""

from typing import Any, Protocol

from balancers._internal.checks import at_least
from balancers.errors import InvalidSetting

__all__ = ["Consecutive", "HealthRule", "Leaky", "SlidingWindow", "State", "transitions"]

State = tuple[Any, ...]
"""Whether the backend is healthy, and what the rule stores."""


class HealthRule(Protocol):
    """A rule: which state follows a result.  Both methods are pure functions."""

    def initial_state(self, healthy: bool) -> State:
        """Return the state just after a flip: no results are stored."""
        ...

    def next_state(self, state: State, ok: bool) -> State:
        """Return the state after one more result; O(1)."""
        ...


class Consecutive:
    """Unhealthy after a number of failures in a row, healthy after a number of successes in a row.

    The usual rule: the thresholds are HAProxy's ``fall`` and ``rise``, with HAProxy's defaults.  A
    result that agrees with the state resets the count.  A backend that fails half of its checks
    therefore flips often: once per 10 checks with the thresholds 3 and 2.

    >>> rule = Consecutive(unhealthy_threshold=2, healthy_threshold=1)
    >>> state = rule.initial_state(healthy=True)
    >>> failed_once = rule.next_state(state, ok=False)
    >>> failed_once, rule.next_state(failed_once, ok=False)
    ((True, 1), (False, 0))

    Raises InvalidSetting for a threshold below 1.
    """

    def __init__(self, unhealthy_threshold: int = 3, healthy_threshold: int = 2) -> None:
        at_least(1, unhealthy_threshold=unhealthy_threshold, healthy_threshold=healthy_threshold)
        self._thresholds = (healthy_threshold, unhealthy_threshold)  # index: is it healthy?

    def initial_state(self, healthy: bool) -> State:
        """Return (healthy, number of contrary results in a row)."""
        return (healthy, 0)

    def next_state(self, state: State, ok: bool) -> State:
        """Count a result that is contrary to the state; any other resets the count."""
        healthy, contrary = state
        if ok == healthy:
            return (healthy, 0) if contrary else state
        if contrary + 1 == self._thresholds[healthy]:
            return (not healthy, 0)
        return (healthy, contrary + 1)

    def __repr__(self) -> str:
        healthy, unhealthy = self._thresholds
        return f"<Consecutive: unhealthy_threshold {unhealthy}, healthy_threshold {healthy}>"


class Leaky:
    """Failures add up, also across successes, until enough successes in a row reset their count.

    Unhealthy after ``unhealthy_threshold`` failures, unless ``ok_threshold`` successes in a row
    came between them; healthy after ``healthy_threshold`` successes in a row.  A backend that fails
    half of its checks becomes unhealthy and stays so.  The rule and its defaults are gdnsd's
    ``down_thresh``, ``ok_thresh`` and ``up_thresh``.

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
        """Return (healthy, number of failures, number of successes in a row)."""
        return (healthy, 0, 0)

    def next_state(self, state: State, ok: bool) -> State:
        """Count the result; a threshold flips the state or resets the failures."""
        healthy, failures, streak = state
        if not ok:
            failures += 1
            unhealthy = not healthy or failures == self._unhealthy_threshold
            return self.initial_state(healthy=False) if unhealthy else (True, failures, 0)
        streak += 1
        if not healthy:
            recovered = streak == self._healthy_threshold
            return self.initial_state(healthy=True) if recovered else (False, 0, streak)
        reset = not failures or streak == self._ok_threshold
        return self.initial_state(healthy=True) if reset else (True, failures, streak)

    def __repr__(self) -> str:
        return (
            f"<Leaky: unhealthy_threshold {self._unhealthy_threshold}, "
            f"ok_threshold {self._ok_threshold}, healthy_threshold {self._healthy_threshold}>"
        )


class SlidingWindow:
    """Counts failures, or successes, among the last ``window`` results.

    Unhealthy once ``unhealthy_threshold`` of the last ``window`` results are failures; healthy once
    ``healthy_threshold`` of them are successes.  A flip empties the window.

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
        thresholds = {
            "unhealthy_threshold": unhealthy_threshold,
            "healthy_threshold": healthy_threshold,
        }
        at_least(1, window=window, **thresholds)
        for name, threshold in thresholds.items():
            if threshold > window:
                raise InvalidSetting(f"{name} must be at most window, {window}, not {threshold}")
        self._window = window
        self._thresholds = (healthy_threshold, unhealthy_threshold)  # index: is it healthy?

    def initial_state(self, healthy: bool) -> State:
        """Return (healthy, the last results, oldest first)."""
        return (healthy, ())

    def next_state(self, state: State, ok: bool) -> State:
        """Drop the oldest result, and count those contrary to the state; O(window)."""
        healthy, results = state
        results = (*results[-self._window + 1 :], ok) if self._window > 1 else (ok,)
        if results.count(not healthy) == self._thresholds[healthy]:
            return (not healthy, ())
        return (healthy, results)

    def __repr__(self) -> str:
        healthy, unhealthy = self._thresholds
        return (
            f"<SlidingWindow: window {self._window}, unhealthy_threshold {unhealthy}, "
            f"healthy_threshold {healthy}>"
        )


def transitions(rule: HealthRule) -> dict[State, tuple[State, State]]:
    """Return each state of a rule, with the states after a failure and a success; O(states).

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
