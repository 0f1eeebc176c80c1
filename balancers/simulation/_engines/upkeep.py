"""Runs what happens beside the requests of a simulation: its script, and the probes of gates."""

from collections.abc import Callable, Iterable
from math import ceil, inf
from typing import Any

from balancers._internal.checks import shown
from balancers.errors import InvalidSetting, ScriptFailed
from balancers.gates import ActiveChecks, Probe
from balancers.simulation._engines.agenda import ANSWER, PROBE, SCRIPT, Agenda
from balancers.simulation._grid import TICK, TICKS, tick
from balancers.simulation._script import checked_entry

__all__ = ["Probing", "ScriptRunner", "answer"]

_CALLS = 100_000
"""The most calls of a script at one instant."""
_ROUNDS = 100_000
"""The most rounds of probes of one gate within one second."""


class ScriptRunner:
    """Calls the functions of a script.  Only the next entry is on the agenda."""

    def __init__(self, script: Iterable[Any], agenda: Agenda) -> None:
        self._entries = iter(script)
        self._agenda = agenda
        self._latest = 0.0
        self._at = -1.0
        self._calls = 0
        self._schedule_next(0.0)

    def run(self, function: Callable[[float], object], now: float) -> None:
        """Call one function.  Raises ScriptFailed if it raises an exception."""
        self._calls = self._calls + 1 if now == self._at else 1
        self._at = now
        if self._calls > _CALLS:
            raise InvalidSetting(f"script must have at most {_CALLS} entries at {shown(now)} s")
        try:
            function(now)
        except Exception as error:
            raise _failed(error, now) from error
        self._schedule_next(now)

    def _schedule_next(self, now: float) -> None:
        try:
            entry = next(self._entries, None)
        except Exception as error:
            raise _failed(error, now) from error
        if entry is not None:
            self._latest, function = checked_entry(entry, self._latest)
            self._agenda.add(tick(self._latest), SCRIPT, function)


def _failed(error: Exception, now: float) -> ScriptFailed:
    return ScriptFailed(f"the script raised {type(error).__name__} at {shown(now)} s: {error}")


class Probing:
    """Sends the probes of one gate when they are due, and reports the answers.

    At most one wake-up is armed.  Otherwise each probe and each answer would add another one.
    ``answer_after`` returns the number of seconds until a probe of a backend is answered, and
    whether with a success.
    """

    def __init__(
        self,
        checks: ActiveChecks[Any],
        agenda: Agenda,
        answer_after: Callable[[Any, float], tuple[float, bool]],
    ) -> None:
        self._checks = checks
        self._agenda = agenda
        self._answer_after = answer_after
        self._armed = inf
        self._second = -1
        self._rounds = 0

    def arm(self, now: float) -> None:
        """Schedule the next round of probes, unless an earlier one is scheduled."""
        due = self._checks.probes_due
        if due == inf:
            return
        due = max(ceil(due * TICKS) * TICK, now)
        if due < self._armed:
            self._armed = due
            self._agenda.add(due, PROBE, self)

    def send(self, now: float) -> None:
        """Send the probes that are due.  The call is ignored unless it is the one that is armed.

        Raises InvalidSetting if there are far too many rounds in one second.
        """
        if now != self._armed:
            return
        self._armed = inf
        self._rounds = self._rounds + 1 if int(now) == self._second else 1
        self._second = int(now)
        if self._rounds > _ROUNDS:
            raise InvalidSetting(
                f"the interval of probes must be longer: {self._rounds} rounds in one second, of "
                f"{shown(self._checks)}"
            )
        for probe in self._checks.probes(now):
            seconds, ok = self._answer_after(probe.backend, now)
            self._agenda.add(now + seconds, ANSWER, (self, probe, ok))
        self.arm(now)

    def report(self, probe: Probe[Any], ok: bool, now: float) -> None:
        """Report the answer to a probe."""
        self._checks.answer(probe, ok, now)
        self.arm(now)


def answer(answered: tuple[Probing, Probe[Any], bool], now: float) -> None:
    """Report the answer to a probe to its gate."""
    probing, probe, ok = answered
    probing.report(probe, ok, now)
