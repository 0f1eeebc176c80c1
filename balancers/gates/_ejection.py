"""Defines what outlier ejection stores about a backend, and how it counts failures in a row."""

from typing import Any, Generic, NamedTuple

from balancers._internal.checks import at_least
from balancers._internal.copying import copy_of_slots
from balancers._internal.types import B
from balancers.outcome import Outcome

__all__ = ["Ejection", "EjectionState", "FailureCounters"]

_GATEWAY_ERRORS = frozenset({502, 503, 504})
"""The statuses of HTTP by which a gateway says that the server behind it does not answer."""


class Ejection(NamedTuple, Generic[B]):
    """Describes one ejection of a backend by a rule.

    ``rule`` is the name of the counter or rule, for example "consecutive failures", "SuccessRate"
    or "local SuccessRate".  The ejection starts at the time ``at`` and ends at the time ``until``,
    in seconds.
    """

    backend: B
    rule: str
    at: float
    until: float


class EjectionState:
    """Stores the results and the earlier ejections of one backend.

    ``failures`` and ``requests`` count the results of the current interval.  ``local_failures``
    counts the local failures among them, if they are counted separately.  ``row``, ``gateway_row``
    and ``local_row`` are the numbers of failures in a row.  If ``succeeded``, the last result was a
    success, and the next failure resets these three numbers: a success sets one attribute only.
    The next ejection lasts (1 + ``earlier_ejections``) times the base time.
    ``changed_at`` is when the backend joined, or was last ejected or restored, in seconds.
    """

    __slots__ = (
        "changed_at",
        "earlier_ejections",
        "failures",
        "gateway_row",
        "local_failures",
        "local_row",
        "requests",
        "row",
        "succeeded",
    )

    def __init__(self, now: float) -> None:
        self.earlier_ejections: int = 0
        self.begin(now)

    def __deepcopy__(self, memo: dict[int, Any]) -> "EjectionState":
        return copy_of_slots(self)  # numbers only

    def begin(self, now: float) -> None:
        """Reset all counts of results at the time ``now``."""
        self.changed_at: float = now
        self.succeeded: bool = True
        self.row: int = 0
        self.gateway_row: int = 0
        self.local_row: int = 0
        self.begin_interval()

    @property
    def answers(self) -> tuple[int, int]:
        """The successes and the requests of the interval, without separate local failures."""
        answered = self.requests - self.local_failures
        return answered - self.failures, answered

    @property
    def connections(self) -> tuple[int, int]:
        """The requests of the interval that were no separate local failures, and all requests."""
        return self.requests - self.local_failures, self.requests

    def begin_interval(self) -> None:
        """Reset the counts of the current interval."""
        self.requests: int = 0
        self.failures: int = 0
        self.local_failures: int = 0


class FailureCounters:
    """Counts the failures in a row of backends, as Envoy does.

    Each counter has a threshold.  A counter without a threshold (None) has no effect.  A failure is
    *local* if there was no response.  With ``separate_local``, local failures have their own
    counter, and the other counters ignore them.  Otherwise, they count as gateway failures.

    Raises InvalidSetting for a threshold below 1.
    """

    def __init__(
        self, failures: int | None, gateway: int | None, local: int | None, separate_local: bool
    ) -> None:
        given = {
            "consecutive_failures": failures,
            "consecutive_gateway_failures": gateway,
            "consecutive_local_failures": local,
        }
        set_ones = {name: value for name, value in given.items() if value is not None}
        at_least(1, **set_ones)
        self._failures = failures
        self._gateway = gateway
        self._local = local
        self._separate_local = separate_local
        self._shown: dict[str, int | None] = {"consecutive_failures": failures, **set_ones}
        self.names: list[str] = [name.replace("_", " ") for name in set_ones]
        """The names of the counters with a threshold."""

    def count(self, state: EjectionState, outcome: Outcome) -> tuple[str, ...]:
        """Count a failure, and return the names of the counters that reached their threshold.

        These counters are reset; O(1).
        """
        if state.succeeded:
            state.succeeded = False
            state.row = state.gateway_row = state.local_row = 0
        status = outcome.status
        local = status is None and outcome.ok is not True
        if local and self._separate_local:
            state.local_failures += 1
            state.local_row += 1
            if state.local_row != self._local:
                return ()
            state.local_row = 0
            return ("consecutive local failures",)
        state.failures += 1
        state.row += 1
        state.gateway_row = state.gateway_row + 1 if local or status in _GATEWAY_ERRORS else 0
        state.local_row = 0  # a response ends this row; without one, nothing counts it
        reached: tuple[str, ...] = ()
        if state.gateway_row == self._gateway:
            state.gateway_row = 0
            reached = ("consecutive gateway failures",)
        if state.row == self._failures:
            state.row = 0
            reached += ("consecutive failures",)
        return reached

    def __repr__(self) -> str:
        """Show the first threshold, and the others that are set."""
        return ", ".join(f"{name} {value}" for name, value in self._shown.items())
