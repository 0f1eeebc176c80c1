"""Health: what probes and requests told, judged by a rule."""

from typing import Literal

from balancers._internal.checks import duration, valid_now
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.gates.health_rules import Consecutive, HealthRule
from balancers.gates.health_state_machine import HealthStateMachine, Initial
from balancers.gates.member_gate import MemberGate
from balancers.outcome import Outcome

__all__ = ["Health", "HealthChecks", "Promotion"]

Promotion = Literal["probes", "time", "either"]


class Health:
    """One backend: the machine of its probes, its requests' failures, and when it last flipped."""

    __slots__ = ("awaits_time", "failures", "flipped_at", "machine", "probed")

    def __init__(self, machine: HealthStateMachine, now: float) -> None:
        self.machine = machine
        self.failures = 0
        self.flipped_at = now
        self.probed = False
        self.awaits_time = False  # time is to promote it, and no probe

    def flip(self, healthy: bool, when: float) -> None:
        """Turn, and start counting anew."""
        self.machine.reset(healthy)
        self.failures = 0
        self.flipped_at = when
        self.awaits_time = False


class HealthChecks(MemberGate[B, Health]):
    """Closed while unhealthy.  Soft: panic ignores it.

    Probes, told by :meth:`observe`, and the outcomes of requests, told by the pool, count apart;
    ``unhealthy_threshold`` failures in a row of either demote.  Probes promote, after
    ``healthy_threshold`` successes in a row.  Another ``rule`` judges the probes instead; a new
    member is ``initial``: up, down until proven, or unknown, which the first probe decides.

    ``promotion`` says who brings back a backend that its requests demoted: ``probes``; ``time``,
    ``recovery_time`` seconds later, and until then its probes count nowhere; or ``either``: probes,
    but time where none was heard of since it was added.  The result of a request or probe that
    began before the last flip is ignored.  Every method is O(1), or O(log n) with a flip.

    >>> from balancers import Pool, RoundRobin
    >>> health = HealthChecks(unhealthy_threshold=1)
    >>> pool = Pool(RoundRobin(["a", "b"]), gates=[health])
    >>> health.observe("a", ok=False, now=1.0)
    >>> [pool.acquire(now=1.0).backend for _ in range(2)], pool.state("a")
    (['b', 'b'], ('unhealthy',))

    Raises InvalidSetting for a threshold below 1, a time that is not positive, another promotion or
    initial state.
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
    ) -> None:
        super().__init__()
        if promotion not in {"probes", "time", "either"}:
            raise InvalidSetting(f"promotion must be probes, time or either, not {promotion!r}")
        self._promotion = promotion
        usual = Consecutive(unhealthy_threshold, healthy_threshold)
        self._unhealthy_threshold = unhealthy_threshold
        self._machine = HealthStateMachine(rule=usual if rule is None else rule, initial=initial)
        self._recovery_time = duration("recovery_time", recovery_time)

    def new_state(self, now: float) -> Health:
        return Health(self._machine.copy(), now)

    def factor(self, backend: B, now: float) -> float:
        """Give 1 while healthy, else 0.  Raises UnknownBackend."""
        healthy = self.state_of(backend).machine.healthy
        return 1 if healthy or self.timers.get(backend) <= now else 0

    def healthy(self, backend: B) -> bool:
        """Whether it is healthy, as of the latest time seen.  Raises UnknownBackend."""
        return self.factor(backend, self._now) > 0

    def observe(
        self,
        backend: B,
        ok: bool,
        now: float,
        started_at: float | None = None,
        immediate: bool = False,
    ) -> None:
        """Hear a probe's result; ``started_at`` seconds tells when the probe was sent.

        ``immediate``: this failure demotes whatever the threshold.
        Raises UnknownBackend, InvalidTime, InvalidSetting for an immediate success.
        """
        health = self.state_of(backend)
        if immediate and ok:
            raise InvalidSetting("only a failure can be immediate")
        started_at = None if started_at is None else valid_now(started_at, started_at)
        now = self.advance(now)
        self._catch_up(backend, health, now)
        if started_at is not None and started_at < health.flipped_at:
            return
        health.probed = True
        if self._promotion == "either":
            self.timers.cancel(backend)
            health.awaits_time = False
        if not health.awaits_time and health.machine.observe(ok, immediate):
            self._flip(backend, health, health.machine.healthy, now, "by probes")

    def finished(
        self, backend: B, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        """Hear a request's outcome: failures in a row may demote, nothing promotes."""
        health = self._members[backend]
        if outcome.ok:
            if health.failures and started_at >= health.flipped_at:
                health.failures = 0
        elif outcome.ok is not None:
            self._failed(backend, health, started_at, self.advance(now))

    def _failed(self, backend: B, health: Health, started_at: float, now: float) -> None:
        self._catch_up(backend, health, now)
        if started_at < health.flipped_at or not health.machine.healthy:
            return
        health.failures += 1
        if health.failures >= self._unhealthy_threshold:
            self._flip(backend, health, False, now, "by requests")
            if self._promotion == "time" or (self._promotion == "either" and not health.probed):
                self.timers.set(backend, now + self._recovery_time)
                health.awaits_time = True

    def _catch_up(self, backend: B, health: Health, now: float) -> None:
        """Promote by time before anything else is counted."""
        when = self.timers.get(backend)
        if when <= now:
            self.timers.cancel(backend)
            self.timer_expired(backend, when)

    def timer_expired(self, backend: B, when: float) -> None:
        self._flip(backend, self._members[backend], True, when, "by time")

    def _flip(self, backend: B, health: Health, healthy: bool, when: float, detail: str) -> None:
        health.flip(healthy, when)
        self.notify_change(backend)
        self.record_event(backend, not healthy, when, detail)
