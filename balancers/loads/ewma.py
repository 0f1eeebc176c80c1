"""Measures the load of a backend by the durations of its requests, as Envoy does.

The rule is that of Envoy's load balancing policy ``peak_ewma``, commit a5cf9896 (2026).  In spite
of its name, the average does not follow peaks: it is a plain moving average (EWMA).
"""

from math import exp, inf
from typing import Any

from balancers._internal.checks import LATEST, duration, valid_now
from balancers._internal.copying import copy_of_slots
from balancers._internal.types import B
from balancers.load import Load
from balancers.outcome import SUCCESS, Outcome

__all__ = ["Ewma"]

_PENALTY = 1e6
"""The value of a backend that has requests in flight and no measurement."""
_LONGEST = 1e100
"""A longer duration counts as this one, so that all values are finite."""
_MILLISECONDS = 1000.0


class _State:
    """Stores what is known of one backend."""

    __slots__ = ("average", "in_flight", "measured_at")

    def __init__(self) -> None:
        self.in_flight = 0
        self.average = 0.0
        """The average in milliseconds, or 0 without a measurement."""
        self.measured_at: float = -inf
        """The time of the last measurement, in seconds."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_State":
        return copy_of_slots(self)


class Ewma(Load[B]):
    """Multiplies the average duration of a backend by one more than its requests in flight.

    Each duration moves the average towards it by 1 - e^(-t / tau), where t is the time since the
    last measurement of the backend.  If no time has passed, the duration becomes the average.  The
    value is in milliseconds, as in Envoy.  Without a measurement it is ``default`` if the backend
    is idle, and 10⁶ plus the number of requests in flight if it is not.

    The duration is ``first`` of the outcome, or else ``elapsed``, because Envoy measures the time
    to the first byte.  A duration of 0 is no measurement.  As in Envoy, a failure counts as a
    success does if there was a response, that is, if the outcome has a ``status``.  So a backend
    that fails quickly attracts requests, unless a gate closes it: prefer
    :class:`~balancers.loads.PeakEwma`.  An unknown outcome (``ok`` None) says nothing.  Envoy takes
    its measurements into the averages every 100 ms, in whole milliseconds; this class does it at
    once, with fractions.  A pool measures the durations, because ``timed`` is True.

    >>> load = Ewma()
    >>> load.value("a", now=0.0)
    10.0
    >>> load.started("a", now=0.0)
    >>> load.value("a", now=0.0)
    1000001.0
    >>> load.finished("a", Outcome(elapsed=0.25), now=0.25)
    >>> load.value("a", now=1.0)
    250.0

    Every method is O(1).  Raises InvalidSetting for ``tau`` and ``default`` that are not positive
    seconds.
    """

    timed = True

    def __init__(self, tau: float = 10.0, *, default: float = 0.01) -> None:
        self._tau = float(duration("tau", tau))
        self._default = min(float(duration("default", default)), _LONGEST) * _MILLISECONDS
        self._states: dict[B, _State] = {}
        self._now: float = -inf

    def value(self, backend: B, now: float) -> float:
        """Return the average in milliseconds, multiplied by one more than the requests in flight.

        ``now`` is ignored.
        """
        del now
        state = self._states.get(backend)
        if state is None:
            return self._default
        if state.average:
            return state.average * (state.in_flight + 1)
        return _PENALTY + state.in_flight if state.in_flight else self._default

    def started(self, backend: B, now: float = 0.0) -> None:
        """Count a request in flight."""
        if not (now.__class__ is float and self._now <= now <= LATEST):
            now = valid_now(now, self._now)
        self._now = now
        state = self._states.get(backend)
        if state is None:
            state = self._states[backend] = _State()
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
        if outcome.ok is None or not (outcome.ok or outcome.status is not None):
            return
        seconds = outcome.elapsed if outcome.first is None else outcome.first
        if not seconds:
            return
        new = min(float(seconds), _LONGEST) * _MILLISECONDS
        passed = now - state.measured_at
        if state.average and passed > 0:
            kept = exp(-passed / self._tau)
            state.average = (1 - kept) * new + kept * state.average
        else:
            state.average = new
        state.measured_at = now

    def removed(self, backend: B) -> None:
        """Delete what is stored for the backend."""
        self._states.pop(backend, None)

    def __repr__(self) -> str:
        measured = sum(bool(state.average) for state in self._states.values())
        return f"<Ewma: {measured} measured>"
