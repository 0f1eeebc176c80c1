"""When a backend turns unhealthy and when it is trusted again: rules, as pure functions of a state.

A state is a tuple that begins with whether the backend is healthy.  A rule says which state follows
a result; :func:`transitions` lists all there are.
"""

from typing import Any, Protocol

from balancers._internal.checks import at_least
from balancers.errors import InvalidSetting

__all__ = ["Consecutive", "HealthRule", "Leaky", "OfTheLast", "State", "transitions"]

State = tuple[Any, ...]
"""Healthy or not, and what the rule remembers."""


class HealthRule(Protocol):
    """Which state follows a result.  Both methods are pure."""

    def fresh(self, healthy: bool) -> State:
        """Give the state just after a flip: nothing is remembered."""
        ...

    def after(self, state: State, ok: bool) -> State:
        """Give the state after one more result; O(1)."""
        ...


class Consecutive:
    """So many failures in a row, then so many successes in a row: the usual rule.

    A result that agrees with the state forgives all that spoke against it, so a backend that fails
    half of its checks flips again and again: of 20 000 checks one in ten, at 3 and 2.

    >>> rule = Consecutive(unhealthy=2, healthy=1)
    >>> state = rule.fresh(healthy=True)
    >>> rule.after(state, ok=False), rule.after(rule.after(state, ok=False), ok=False)
    ((True, 1), (False, 0))

    Raises InvalidSetting for a threshold below 1.
    """

    def __init__(self, unhealthy: int = 3, healthy: int = 2) -> None:
        at_least(1, unhealthy_threshold=unhealthy, healthy_threshold=healthy)
        self._thresholds = (healthy, unhealthy)

    def fresh(self, healthy: bool) -> State:
        """Give (healthy, contrary results in a row)."""
        return (healthy, 0)

    def after(self, state: State, ok: bool) -> State:
        """Count a contrary result, forgive all after any other."""
        healthy, contrary = state
        if ok == healthy:
            return (healthy, 0) if contrary else state
        if contrary + 1 == self._thresholds[healthy]:
            return (not healthy, 0)
        return (healthy, contrary + 1)


class Leaky:
    """Failures add up across successes, until enough successes in a row forgive them.

    Unhealthy after ``unhealthy`` failures since ``forgiven`` successes came in a row; healthy after
    ``healthy`` successes in a row.  A backend that fails half of its checks goes, and stays away.
    The rule and the defaults are gdnsd's.

    >>> rule = Leaky(unhealthy=2, forgiven=3, healthy=4)
    >>> state = rule.fresh(healthy=True)
    >>> for ok in (False, True, True, False):
    ...     state = rule.after(state, ok)
    >>> state
    (False, 0, 0)

    Raises InvalidSetting for a threshold below 1.
    """

    def __init__(self, unhealthy: int = 10, forgiven: int = 10, healthy: int = 20) -> None:
        at_least(1, unhealthy=unhealthy, forgiven=forgiven, healthy=healthy)
        self._unhealthy = unhealthy
        self._forgiven = forgiven
        self._healthy = healthy

    def fresh(self, healthy: bool) -> State:
        """Give (healthy, failures not forgiven, successes in a row)."""
        return (healthy, 0, 0)

    def after(self, state: State, ok: bool) -> State:
        """Count; flip at a threshold; forget what was forgiven."""
        healthy, failures, streak = state
        if not ok:
            failures += 1
            gone = not healthy or failures == self._unhealthy
            return self.fresh(healthy=False) if gone else (True, failures, 0)
        streak += 1
        if not healthy:
            back = streak == self._healthy
            return self.fresh(healthy=True) if back else (False, 0, streak)
        forgiven = not failures or streak == self._forgiven
        return self.fresh(healthy=True) if forgiven else (True, failures, streak)


class OfTheLast:
    """So many of the last ``n`` results, either way.

    Unhealthy once ``unhealthy`` of the last ``n`` failed, healthy again once ``healthy`` of them
    succeeded; a flip empties the window.

    >>> rule = OfTheLast(4, unhealthy=2, healthy=3)
    >>> state = rule.fresh(healthy=True)
    >>> for ok in (False, True, True, False):
    ...     state = rule.after(state, ok)
    >>> state
    (False, ())

    Raises InvalidSetting for a threshold below 1 or above ``n``.
    """

    def __init__(self, n: int = 10, unhealthy: int = 5, healthy: int = 8) -> None:
        at_least(1, n=n, unhealthy=unhealthy, healthy=healthy)
        if max(unhealthy, healthy) > n:
            raise InvalidSetting(f"of the last {n} there are no {max(unhealthy, healthy)}")
        self._n = n
        self._thresholds = (healthy, unhealthy)

    def fresh(self, healthy: bool) -> State:
        """Give (healthy, the last results, oldest first)."""
        return (healthy, ())

    def after(self, state: State, ok: bool) -> State:
        """Let the oldest go and count what speaks against the state; O(n)."""
        healthy, window = state
        window = (*window[-self._n + 1 :], ok) if self._n > 1 else (ok,)
        if window.count(not healthy) == self._thresholds[healthy]:
            return (not healthy, ())
        return (healthy, window)


def transitions(rule: HealthRule) -> dict[State, tuple[State, State]]:
    """List every state there is, and what follows a failure and a success; O(states).

    >>> for state, (failed, succeeded) in transitions(Consecutive(2, 1)).items():
    ...     print(state, failed, succeeded)
    (True, 0) (True, 1) (True, 0)
    (False, 0) (False, 0) (True, 0)
    (True, 1) (False, 0) (True, 0)
    """
    table: dict[State, tuple[State, State]] = {}
    ahead = [rule.fresh(healthy=True), rule.fresh(healthy=False)]
    for state in ahead:
        if state not in table:
            table[state] = follows = (rule.after(state, ok=False), rule.after(state, ok=True))
            ahead.extend(follows)
    return table
