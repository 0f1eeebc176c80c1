"""Checks the health of backends by the results of probes and the outcomes of requests.

A rule decides when the results change the state of a backend.
"""

from copy import deepcopy
from math import inf
from typing import Any, Literal

from balancers._internal.checks import (
    LATEST,
    checked_callable,
    checked_choice,
    checked_ok,
    duration,
    shown,
    valid_now,
)
from balancers._internal.copying import copy_of_slots
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.gates.health_rules import Consecutive, HealthRule
from balancers.gates.health_state_machine import HealthStateMachine, Initial
from balancers.gates.member_gate import MemberGate
from balancers.gates.outlier_ejection import OutlierEjection
from balancers.outcome import SUCCESS, Outcome, Verdict, count_capacity_as_unknown

__all__ = ["Health", "HealthChecks", "Promotion"]

Promotion = Literal["probes", "time", "either"]


class Health:
    """Stores the state machine and the failed requests of one backend."""

    __slots__ = ("awaits_time", "failures", "flipped_at", "machine", "probed")

    def __init__(self, machine: HealthStateMachine, now: float) -> None:
        self.machine: HealthStateMachine = machine
        self.failures: int = 0
        """The number of requests that failed in a row."""
        self.flipped_at: float = now
        """The time in seconds at which the state last changed.

        The results of requests and probes that started earlier are ignored.
        """
        self.probed: bool = False
        """Whether the result of a probe was ever reported."""
        self.awaits_time: bool = False
        """Whether the backend waits for its promotion by time.

        Until then, the results of its probes are ignored.
        """

    def __deepcopy__(self, memo: dict[int, Any]) -> "Health":
        clone = copy_of_slots(self)
        clone.machine = deepcopy(self.machine, memo)
        return clone

    def flip(self, healthy: bool, when: float) -> None:
        """Set the state, reset the counts, and store the time of the change."""
        self.machine.reset(healthy)
        self.failures = 0
        self.flipped_at = when
        self.awaits_time = False

    def __repr__(self) -> str:
        return f"<Health: {self.machine!r}, {self.failures} failed requests in a row>"


class HealthChecks(MemberGate[B, Health]):
    """Closes a backend while it is unhealthy.

    The gate is soft: the pool ignores it during a panic (when too few members are open).  You
    report the results of probes by :meth:`observe`.  The pool reports the outcomes of requests.

    Failed probes and failed requests are counted separately.  ``unhealthy_threshold`` failed probes
    in a row demote the backend (make it unhealthy).  The same number of failed requests in a row
    does so too.  ``healthy_threshold`` successful probes in a row promote it (make it healthy).  If
    you pass a ``rule``, the rule decides about the probes instead of the two thresholds.

    ``initial`` is the state of a new member: ``up``, ``down`` or ``unknown``.  A member whose state
    is ``unknown`` is open until its first probe decides.  A member that is ``down`` is
    :meth:`unproven` until its first probe, and the pool does not serve it even during a panic.

    ``promotion`` selects what promotes a backend after failed requests demoted it:

    * ``probes``: successful probes promote it.
    * ``time``: it is promoted after ``recovery_time`` seconds.  Until then, the results of its
      probes are ignored.
    * ``either``: time promotes it if no probe was reported since the backend was added.  Otherwise,
      successful probes promote it.

    ``verdict`` is a function that returns what the outcome of a request counts as: True for a
    success, False for a failure, None for neither.  By default, an outcome with ``retry_after``
    counts as neither.

    With ``restores``, a probe that passes and leaves the backend healthy also ends its ejection by
    that gate, as in Envoy.  A probe that started before the ejection does not.

    The result of a request or a probe is ignored if the state of the backend changed after the
    request or probe started.  Every method is O(1), or O(log n) if it changes the state.

    >>> from balancers import Pool, RoundRobin
    >>> health = HealthChecks(unhealthy_threshold=1)
    >>> pool = Pool(RoundRobin(["a", "b"]), gates=[health])
    >>> health.observe("a", ok=False, now=1.0)
    >>> [pool.acquire(now=1.0).backend for _ in range(2)], pool.state("a")
    (['b', 'b'], ('unhealthy',))

    Raises InvalidSetting for a threshold below 1, a ``recovery_time`` that is not positive and
    finite, an unknown ``promotion`` or an unknown ``initial`` state.
    Raises TypeError if ``rule`` is not a health rule, ``restores`` is not an OutlierEjection, or
    ``verdict`` is not a function.
    """

    reason = "unhealthy"
    soft = True

    def __init__(
        self,
        unhealthy_threshold: int = 3,
        healthy_threshold: int = 2,
        recovery_time: float = 10.0,
        *,
        rule: HealthRule | None = None,
        initial: Initial = "up",
        promotion: Promotion = "either",
        restores: OutlierEjection[B] | None = None,
        verdict: Verdict = count_capacity_as_unknown,
    ) -> None:
        super().__init__()
        checked_choice("promotion", promotion, ("probes", "time", "either"))
        self._promotion = promotion
        default = Consecutive(unhealthy_threshold, healthy_threshold)
        self._unhealthy_threshold = unhealthy_threshold
        self._rule = default if rule is None else rule
        self._machine = HealthStateMachine(rule=self._rule, initial=initial)
        self._recovery_time = duration("recovery_time", recovery_time)
        if restores is not None and not isinstance(restores, OutlierEjection):
            raise TypeError(f"restores must be an OutlierEjection, not {shown(restores)}")
        self._restores = restores
        self._verdict = checked_callable("verdict", verdict)
        self._plain = verdict is count_capacity_as_unknown

    def new_state(self, now: float) -> Health:
        return Health(self._machine.copy(), now)

    def factor(self, backend: B, now: float) -> float:
        """Return 1 if the backend is healthy at ``now``, else 0.

        Raises UnknownBackend, InvalidTime.
        """
        healthy, now = self.state_of(backend).machine.healthy, self.clamp(now)
        return 1 if healthy or self.timers.get(backend) <= now else 0

    def healthy(self, backend: B) -> bool:
        """Return whether the backend is healthy at the latest time that was passed to the gate.

        Raises UnknownBackend.
        """
        return self.factor(backend, self._now) > 0

    def unproven(self, backend: B, now: float) -> bool:
        """Return whether the backend joined as ``down`` and has no counted result of a probe.

        Any result that is counted until ``now`` ends this, even a failure.  The pool does not
        ignore this gate for an unproven backend.  Raises UnknownBackend, InvalidTime.
        """
        health, _ = self.state_of(backend), self.clamp(now)
        return health.machine.unproven

    def observe(
        self,
        backend: B,
        ok: bool,
        now: float,
        started_at: float | None = None,
        immediate: bool = False,
    ) -> None:
        """Count the result of a probe.

        ``started_at`` is the time in seconds at which the probe was sent.  If it is None, the probe
        counts as sent after the last change of the state.

        With ``immediate``, this single failure makes the backend unhealthy, whatever the threshold.
        Raises UnknownBackend, InvalidTime.  Raises InvalidSetting for a success with ``immediate``.
        Raises TypeError unless ``ok`` is True or False.
        """
        health, ok = self.state_of(backend), checked_ok(ok)
        if immediate and ok:
            raise InvalidSetting("immediate must be False for a success, not True")
        if started_at is not None:
            started_at = valid_now(started_at, -inf, "started_at")
        now = self.settle(now)
        if started_at is not None and started_at < health.flipped_at:
            return
        health.probed = True
        if self._promotion == "either" and health.awaits_time:
            self.timers.cancel(backend)
            health.awaits_time = False
            if not self._changed:
                self.due: float = self._next_instant()
        if not health.awaits_time:
            self._count_probe(backend, health, ok, immediate, started_at, now)

    def added(self, backend: B, now: float) -> None:
        """Called when a backend joins; O(1)."""
        super().added(backend, now)
        if not self._members[backend].machine.healthy:
            self.record_event(backend, True, self._now, "no result yet")

    def finished(
        self, backend: B, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        """Called when a request ends.  The call is ignored if the backend is not a member.

        Failures in a row make the backend unhealthy.  A success resets their count, but never makes
        the backend healthy.  Raises InvalidTime.
        """
        health = self._members.get(backend)
        if health is None:
            return
        if (
            outcome is SUCCESS
            and self._plain
            and not health.failures
            and now.__class__ is started_at.__class__ is float
            and health.flipped_at <= started_at <= now <= LATEST
            and (now <= self._now or now < self.due)
        ):  # no count changes; this is faster than the calls below
            if now > self._now:  # noqa: PLR1730 - a call of max() is slower
                self._now = now
            return
        ok = self._verdict(outcome)
        valid_now(started_at, started_at, "started_at")
        now = self.settle(now)
        if ok is None or started_at < health.flipped_at:
            return
        if ok:
            health.failures = 0
        elif health.machine.healthy:
            health.failures += 1
            if health.failures >= self._unhealthy_threshold:
                self._demote(backend, health, now)

    def timer_expired(self, backend: B, when: float) -> None:
        self._flip(backend, self._members[backend], True, when, "by time")

    def __repr__(self) -> str:
        """Show the settings and the number of unhealthy members; O(members)."""
        return f"<{type(self).__name__}: {self._settings()}, {self._summary()}>"

    def _settings(self) -> str:
        restores = "" if self._restores is None else ", restores ejected members"
        return f"{self._rule!r}, promotion {self._promotion}{restores}"

    def _summary(self) -> str:
        unhealthy = sum(not self.healthy(backend) for backend in self._members)
        return f"{unhealthy} of {len(self._members)} unhealthy"

    def _count_probe(
        self,
        backend: B,
        health: Health,
        ok: bool,
        immediate: bool,
        started_at: float | None,
        when: float,
    ) -> None:
        unproven = health.machine.unproven
        if health.machine.observe(ok, immediate):
            self._flip(backend, health, health.machine.healthy, when, "by probes")
        elif unproven:
            self.notify_change(backend)
        if ok and health.machine.healthy and self._restores is not None:
            self._restores.probe_passed(backend, when, started_at)

    def _demote(self, backend: B, health: Health, now: float) -> None:
        """Make the backend unhealthy because its requests failed."""
        self._flip(backend, health, False, now, "by requests")
        if self._promotion == "time" or (self._promotion == "either" and not health.probed):
            self.timers.set(backend, now + self._recovery_time)
            health.awaits_time = True

    def _flip(self, backend: B, health: Health, healthy: bool, when: float, detail: str) -> None:
        health.flip(healthy, when)
        self.notify_change(backend)
        self.record_event(backend, not healthy, when, detail)
