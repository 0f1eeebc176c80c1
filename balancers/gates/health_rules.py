"""Defines health rules.  A rule decides when a backend becomes unhealthy or healthy.

A rule consists of two pure functions.  One returns an initial state.  The other returns the next
state after a result.  A state is a tuple.  Its first item is True if the backend is healthy.
:func:`transitions` returns all states of a rule.
"""

from typing import Any, Protocol

from balancers._internal.checks import at_least, shown
from balancers.errors import InvalidSetting

__all__ = [
    "Consecutive",
    "HealthRule",
    "Leaky",
    "SlidingWindow",
    "State",
    "checked_rule",
    "transitions",
]

State = tuple[Any, ...]
"""A tuple.  Its first item is True if the backend is healthy.  The rule defines the rest."""


class HealthRule(Protocol):
    """Decides from the results of a backend whether it is healthy.

    Both methods must be pure functions: the same arguments always give the same state.

    A third method is optional.  It is not part of the protocol, so that a class without it still
    conforms: ``settled(state)`` returns whether the rule counts no result that contradicts the
    state.  Without it, a state is settled if it equals the initial state.  Define it if a rule also
    stores results that do not contradict the state.
    """

    def initial_state(self, healthy: bool) -> State:
        """Return the state just after the backend became healthy or unhealthy, without results."""
        ...

    def next_state(self, state: State, ok: bool) -> State:
        """Return the state that follows ``state`` after one more result; O(1)."""
        ...


class Consecutive:
    """Counts the failures in a row, or the successes in a row.

    A healthy backend becomes unhealthy after ``unhealthy_threshold`` failures in a row.  An
    unhealthy backend becomes healthy after ``healthy_threshold`` successes in a row.  A success of
    a healthy backend resets the count, and so does a failure of an unhealthy backend.

    This is the usual rule.  The thresholds are the settings ``fall`` and ``rise`` of HAProxy, with
    HAProxy's defaults.  A backend that fails half of its checks changes its state often: once per
    10 checks with the thresholds 3 and 2.

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
        """Return (healthy, count) with count 0.

        The count is the number of results in a row that contradict the state.
        """
        return (healthy, 0)

    def next_state(self, state: State, ok: bool) -> State:
        """Count a result that contradicts the state.  Any other result resets the count."""
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
    """Counts all failures of a healthy backend, including failures with successes between them.

    A healthy backend becomes unhealthy after ``unhealthy_threshold`` failures.  Only
    ``ok_threshold`` successes in a row reset the count of failures.  An unhealthy backend becomes
    healthy after ``healthy_threshold`` successes in a row.  A backend that fails half of its checks
    therefore becomes unhealthy and stays unhealthy.

    The rule and its defaults are from gdnsd.  There, the settings are called ``down_thresh``,
    ``ok_thresh`` and ``up_thresh``.

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
        """Return (healthy, number of failures, number of successes in a row).

        Both numbers are 0.
        """
        return (healthy, 0, 0)

    def next_state(self, state: State, ok: bool) -> State:
        """Count the result.

        A count that reaches its threshold changes the state, or resets the number of failures.
        """
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
    """Counts the failures, or the successes, among the last ``results`` results.

    A healthy backend becomes unhealthy when ``unhealthy_threshold`` of the last ``results`` results
    are failures.  An unhealthy backend becomes healthy when ``healthy_threshold`` of the last
    ``results`` results are successes.  Each change of the state deletes all results.

    >>> rule = SlidingWindow(4, unhealthy_threshold=2, healthy_threshold=3)
    >>> state = rule.initial_state(healthy=True)
    >>> for ok in (False, True, True, False):
    ...     state = rule.next_state(state, ok)
    >>> state
    (False, ())

    Raises InvalidSetting for a threshold below 1 or above ``results``.
    """

    def __init__(
        self, results: int = 10, unhealthy_threshold: int = 5, healthy_threshold: int = 8
    ) -> None:
        thresholds = {
            "unhealthy_threshold": unhealthy_threshold,
            "healthy_threshold": healthy_threshold,
        }
        at_least(1, results=results, **thresholds)
        for name, threshold in thresholds.items():
            if threshold > results:
                raise InvalidSetting(
                    f"{name} must be at most results, {shown(results)}, not {shown(threshold)}"
                )
        self._length = results
        self._thresholds = (healthy_threshold, unhealthy_threshold)  # index: is it healthy?

    def initial_state(self, healthy: bool) -> State:
        """Return (healthy, results) without results.

        The results are a tuple of booleans.  The oldest result comes first.
        """
        return (healthy, ())

    def next_state(self, state: State, ok: bool) -> State:
        """Add the result, and count the results that contradict the state; O(results)."""
        healthy, results = state
        results = (*results[-self._length + 1 :], ok) if self._length > 1 else (ok,)
        if results.count(not healthy) == self._thresholds[healthy]:
            return (not healthy, ())
        return (healthy, results)

    def settled(self, state: State) -> bool:
        """Return whether no stored result contradicts the state; O(results)."""
        healthy, results = state
        return (not healthy) not in results

    def __repr__(self) -> str:
        healthy, unhealthy = self._thresholds
        return (
            f"<SlidingWindow: results {self._length}, unhealthy_threshold {unhealthy}, "
            f"healthy_threshold {healthy}>"
        )


def checked_rule(rule: HealthRule) -> HealthRule:
    """Return the rule.  Raise TypeError unless it is a health rule.  A class is not a rule."""
    methods = (getattr(rule, name, None) for name in ("initial_state", "next_state"))
    if isinstance(rule, type) or not all(map(callable, methods)):
        raise TypeError(
            f"rule must be a health rule, not {shown(rule)}; pass an object, for example Leaky()"
        )
    return rule


def transitions(rule: HealthRule) -> dict[State, tuple[State, State]]:
    """Return all states of a rule; O(states).

    Each state is mapped to two states: the next state after a failure, and after a success.

    >>> for state, (failed, succeeded) in transitions(Consecutive(2, 1)).items():
    ...     print(state, failed, succeeded)
    (True, 0) (True, 1) (True, 0)
    (False, 0) (False, 0) (True, 0)
    (True, 1) (False, 0) (True, 0)

    Raises TypeError if ``rule`` is not a health rule.
    """
    checked_rule(rule)
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
