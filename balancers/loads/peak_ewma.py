"""Measures the load of a backend by the durations of its requests, as Finagle does.

The value is an average of durations, multiplied by one more than the requests in flight.  The
average follows a longer duration at once, and shorter ones slowly (peak EWMA).
"""

from math import exp, inf
from typing import Any

from balancers._internal.checks import (
    LATEST,
    at_least,
    check_flags,
    duration,
    number,
    shown,
    valid_now,
)
from balancers._internal.copying import copy_of_slots
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.load import Load
from balancers.outcome import SUCCESS, Outcome

__all__ = ["PeakEwma"]

_UNMEASURED = 1e150
"""The average of a backend without a measurement.  It is longer than every duration."""
_LONGEST = 1e100
"""A longer duration counts as this one, so that all values are finite."""
_SHORTEST = 1e-6
"""A shorter duration counts as this one, so that a value depends on the requests in flight."""
_MOST = 1e9
"""The highest penalty."""
_DOUBLINGS = 60
"""After so many doublings, every penalty has reached its limit."""


class _State:
    """Stores what is known of one backend."""

    __slots__ = ("average", "failures", "in_flight", "progressed", "successes", "updated_at")

    def __init__(self) -> None:
        self.in_flight = 0
        self.progressed = 0
        """How many of them have reported their first byte."""
        self.forget()

    def forget(self) -> None:
        """Forget all results."""
        self.average = _UNMEASURED
        """The average in seconds, with the penalties."""
        self.updated_at: float = -inf
        """The time of the last success or failure, in seconds."""
        self.failures = 0
        """The number of failures since the last success."""
        self.successes = 0
        """The number of measured successes."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_State":
        return copy_of_slots(self)


class PeakEwma(Load[B]):
    """Multiplies the average duration of a backend by one more than its requests in flight.

    A duration above the average becomes the average.  A shorter one moves the average towards it by
    1 - e^(-t / tau), where t is the time since the last result of the backend.  This is the rule of
    Finagle's ``PeakEwma``.  The other rules are our own:

    * The average of a new backend begins at the usual average, so one fast answer attracts no flood
      of requests.  A longer first duration counts at once.  The usual average is the mean of the
      averages over time: each success adds the average before it, for the time since the last
      result of its backend.  It begins at 0, and needs several ``tau`` to follow.
    * A backend without a result has the value 0, so it gets a request at once.  Until its first
      success, it gets at most ``probes`` requests at a time: while so many are in flight, its value
      is higher than that of every backend with a success.
    * Few answers attract few requests.  While a backend has more requests in flight than successes,
      its value is also multiplied by (in flight + 1) / (successes + ``probes``), if this is above
      1.  So a lucky first answer does not fill a new backend at once, and a backend that answers
      few of many requests looks busier than one that answers more.
    * A failure raises the average to ``penalty`` times the mean duration of all successes, or to
      its own duration if that is longer.  It never lowers the average.  The second failure in a row
      counts twice as much, the third four times, up to ``penalty`` times as much.  Failures do not
      count for the mean.
    * A backend without requests in flight and without a result for ``max_age`` seconds counts as
      one without a result.  So a backend that was slow or failed gets another request.
    * Reading changes nothing: an average does not depend on when it is read.

    With ``first``, the time to the first byte or token is averaged, and not the duration.  It comes
    from ``Pool.progress``, or from ``first`` of an outcome without progress.  An unknown outcome
    (``ok`` None) says nothing.  A success without a duration ends the penalty of a backend that has
    only failed, and says nothing else.  A pool measures the durations, because ``timed`` is True.

    >>> load = PeakEwma()
    >>> for backend, seconds in (("a", 0.1), ("b", 0.4)):
    ...     load.started(backend, now=0.0)
    ...     load.finished(backend, Outcome(elapsed=seconds), now=seconds)
    >>> load.started("a", now=1.0)
    >>> [load.value(backend, now=1.0) for backend in "abc"]
    [0.2, 0.4, 0.0]

    Every method is O(1).  The first success of all is O(n).  Raises InvalidSetting for ``tau`` and
    ``max_age`` that are not positive seconds, for ``penalty`` unless it is 0 to 10⁹, for ``probes``
    unless it is an int above 0, and for ``first`` unless it is a bool.
    """

    def __init__(
        self,
        tau: float = 5.0,
        *,
        penalty: float = 10.0,
        probes: int = 1,
        max_age: float = 30.0,
        first: bool = False,
    ) -> None:
        at_least(1, probes=probes)
        check_flags(first=first)
        if not 0 <= number("penalty", penalty) <= _MOST:
            raise InvalidSetting(f"penalty must be 0 to {_MOST:g}, not {shown(penalty)}")
        self._tau = float(duration("tau", tau))
        self._penalty = float(penalty)
        self._most = max(self._penalty, self._penalty**2)
        self._probes = probes
        self._max_age = float(duration("max_age", max_age))
        self._first = first
        self.timed: bool = not first
        """Whether a pool measures durations for this load."""
        self._states: dict[B, _State] = {}
        self._now: float = -inf
        self._mean: float | None = None
        """The moving average of the durations of all successes, in seconds."""
        self._usual = 0.0
        """The usual average: a mean of the averages over all backends and times, in seconds."""
        self._mean_at = 0.0
        """The time of the last success of all."""

    def value(self, backend: B, now: float) -> float:
        """Return the average in seconds, multiplied by one more than the requests in flight.

        It is 0 for a backend that must be measured, and higher for one with few successes.
        """
        state = self._states.get(backend)
        if state is None:
            return 0.0
        in_flight = state.in_flight
        if in_flight < self._probes:
            if now < self._now:  # noqa: PLR1730 - a call of max() is slower
                now = self._now
            since = state.updated_at
            if now - since > self._max_age and (not in_flight or since < -LATEST):
                return 0.0
        elif in_flight > state.successes:
            if not state.successes:
                return _UNMEASURED * (in_flight + 1)
            known = state.successes + self._probes
            if in_flight >= known:
                return state.average * (in_flight + 1) * ((in_flight + 1) / known)
        return state.average * (in_flight + 1)

    def started(self, backend: B, now: float = 0.0) -> None:
        """Count a request in flight.  Forget an average that is older than ``max_age``."""
        if not (now.__class__ is float and self._now <= now <= LATEST):
            now = valid_now(now, self._now)
        self._now = now
        state = self._states.get(backend)
        if state is None:
            state = self._states[backend] = _State()
        elif not state.in_flight and now - state.updated_at > self._max_age:
            state.forget()
        state.in_flight += 1

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """End a request, and take its duration into the average.

        The call is ignored if the backend has no request in flight.
        """
        state = self._states.get(backend)
        if state is None or not state.in_flight:
            return
        if not (now.__class__ is float and self._now <= now <= LATEST):
            now = valid_now(now, self._now)
        self._now = now
        state.in_flight -= 1
        seconds = self._first_of(state, outcome) if self._first else outcome.elapsed
        ok = outcome.ok
        if ok is None:
            return
        if not ok:
            self._fail(state, seconds)
        elif seconds is not None:
            self._succeed(state, seconds)
        elif state.successes:
            state.failures = 0
        else:
            state.forget()

    def progressed(self, backend: B, elapsed: float, now: float = 0.0) -> None:
        """Take the time to the first byte or token into the average, with ``first``.

        The call is ignored without ``first``, and if no request in flight can have progressed.
        """
        state = self._states.get(backend)
        if self._first and state is not None and state.progressed < state.in_flight:
            self._now = valid_now(now, self._now)
            state.progressed += 1
            self._succeed(state, elapsed)

    def removed(self, backend: B) -> None:
        """Delete what is stored for the backend."""
        self._states.pop(backend, None)

    def _first_of(self, state: _State, outcome: Outcome) -> float | None:
        """Return the time to the first byte, if :meth:`progressed` has not reported it already."""
        if outcome.first is None:
            state.progressed = min(state.progressed, state.in_flight)
        elif state.progressed:
            state.progressed -= 1
            return None
        return outcome.first

    def _succeed(self, state: _State, seconds: float) -> None:
        now = self._now
        if not (seconds.__class__ is float and _SHORTEST <= seconds <= _LONGEST):
            seconds = min(max(_SHORTEST, float(seconds)), _LONGEST)
        mean = self._mean
        if mean is None:
            mean, self._mean_at = seconds, now
            self._begin(mean)
        self._mean = seconds + (mean - seconds) * exp((self._mean_at - now) / self._tau)
        average, updated_at = state.average, state.updated_at
        if updated_at < -LATEST:
            average, updated_at = self._usual, self._mean_at
        else:
            passed = now - updated_at
            known = self._tau * len(self._states)
            self._usual += (average - self._usual) * passed / (passed + known)
        self._mean_at = now
        if seconds >= average:
            state.average = seconds
        else:
            state.average = seconds + (average - seconds) * exp((updated_at - now) / self._tau)
        state.updated_at, state.failures = now, 0
        state.successes += 1

    def _begin(self, mean: float) -> None:
        """Compute the penalties of the failures before the first success; O(n)."""
        for state in self._states.values():
            if state.failures:
                state.average = self._penalty_of(state, mean)

    def _fail(self, state: _State, seconds: float | None) -> None:
        state.failures += 1
        mean = self._mean
        average = self._penalty_of(state, _UNMEASURED if mean is None else mean)
        if seconds is not None and seconds > average:
            average = min(float(seconds), _LONGEST)
        if state.updated_at < -LATEST or average > state.average:
            state.average = average
        state.updated_at = self._now

    def _penalty_of(self, state: _State, mean: float) -> float:
        """Return the average that the failures since the last success lead to."""
        factor = self._penalty * 2.0 ** min(state.failures - 1, _DOUBLINGS)
        return mean * min(factor, self._most)

    def __repr__(self) -> str:
        measured = sum(state.updated_at > -inf for state in self._states.values())
        return f"<PeakEwma: {measured} measured>"
