"""Schedules active health checks: when to send a probe to which backend.

A probe without an answer counts as a failure.
"""

from collections import OrderedDict
from math import inf
from random import Random
from typing import Generic, Literal, NamedTuple

from balancers._internal.checks import (
    LATEST,
    checked_choice,
    checked_ok,
    checked_rng,
    duration,
    number,
    shown,
)
from balancers._internal.timers import Timers
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.gates.health_checks import HealthChecks
from balancers.gates.health_rules import HealthRule
from balancers.gates.health_state_machine import Initial
from balancers.gates.outlier_ejection import OutlierEjection
from balancers.outcome import Verdict, count_capacity_as_unknown

__all__ = ["ActiveChecks", "Probe"]


class Probe(NamedTuple, Generic[B]):
    """A probe that you send to ``backend``.

    Each probe of a gate has a different ``number``.  ``sent_at`` and ``deadline`` are times in
    seconds.  The answer counts if it is reported before the deadline.  Without an answer by then,
    the probe counts as a failure.
    """

    backend: B
    number: int
    sent_at: float
    deadline: float


class ActiveChecks(HealthChecks[B]):
    """Checks the health of backends by probes on a schedule.  You send the probes.

    Call :meth:`probes` to get the probes that are due.  Send them, and report each result to
    :meth:`answer`.  :attr:`probes_due` is the time at which to call :meth:`probes` again.  At most
    one probe per backend is in flight.  A probe without an answer after ``timeout`` seconds is a
    failure.  The next call of this gate or of its pool counts this failure.

    The interval between the probes of a backend depends on its state:

    * Usually, it is ``interval`` seconds.
    * While the state is unknown or the rule counts results that contradict it, it is
      ``fast_interval`` seconds (default: ``interval`` / 5).
    * After ``slow_after`` seconds in the unhealthy state, it is ``slow_interval`` seconds (default:
      6 × ``interval``).

    ``jitter`` is a share from 0 to below 1.  Each interval is shorter or longer by up to this share
    of its length.  The exact share is sampled from ``rng``.  Several proxies therefore do not probe
    at the same time.  The first probes of the backends are spread over one interval.  If a probe is
    more than two intervals late, because ``probes`` was not called, the probe is moved to a random
    time within the next interval.  No probe is ever scheduled for a time that has passed.

    ``promotion`` selects what promotes (marks as healthy) a backend after failed requests demoted
    it.  With ``probes``, the default, successful probes promote it.  With ``time``, it is promoted
    ``recovery_time`` seconds later.  Use ``time`` if probes succeed while requests fail.  The value
    ``either`` of :class:`HealthChecks` is refused, because a backend with a schedule has probes.

    With ``restores``, a probe that passes and leaves the backend healthy also ends its ejection by
    that gate, unless the probe was sent before the ejection.

    ``verdict`` is a function that returns what the outcome of a request counts as: True for a
    success, False for a failure, None for neither.

    >>> from balancers import Pool, RoundRobin
    >>> checks = ActiveChecks(unhealthy_threshold=1, rng=Random(1))
    >>> pool = Pool(RoundRobin(["a"]), gates=[checks])
    >>> [probe] = checks.probes(now=5.0)
    >>> checks.answer(probe, ok=False, now=5.2), pool.state("a")
    (True, ('unhealthy',))

    A probe costs O(log n) to send, and O(log n) to answer.
    Raises InvalidSetting for a threshold below 1, a duration that is not positive and finite, a
    timeout that is not below ``interval``, a ``fast_interval`` above ``interval``, a
    ``slow_interval`` below ``interval``, a jitter that is negative, or 1 or more, or a
    ``promotion`` other than ``probes`` and ``time``.
    Raises TypeError unless ``rng`` is a ``random.Random``, ``restores`` is an OutlierEjection or
    None, and ``verdict`` is a function.
    """

    def __init__(
        self,
        unhealthy_threshold: int = 3,
        healthy_threshold: int = 2,
        *,
        rng: Random,
        interval: float = 5.0,
        timeout: float = 3.0,
        fast_interval: float | None = None,
        slow_interval: float | None = None,
        slow_after: float = 60.0,
        jitter: float = 0.1,
        rule: HealthRule | None = None,
        initial: Initial = "up",
        promotion: Literal["probes", "time"] = "probes",
        recovery_time: float = 10.0,
        restores: OutlierEjection[B] | None = None,
        verdict: Verdict = count_capacity_as_unknown,
    ) -> None:
        checked_choice("promotion", promotion, ("probes", "time"))
        super().__init__(
            unhealthy_threshold,
            healthy_threshold,
            recovery_time,
            rule=rule,
            initial=initial,
            promotion=promotion,
            restores=restores,
            verdict=verdict,
        )
        self._rng = checked_rng(rng)
        self._interval = duration("interval", interval)
        self._timeout = duration("timeout", timeout)
        fast = interval / 5 if fast_interval is None else fast_interval
        slow = min(interval * 6, LATEST) if slow_interval is None else slow_interval
        self._fast_interval = duration("fast_interval", fast)
        self._slow_interval = duration("slow_interval", slow)
        self._slow_after = duration("slow_after", slow_after)
        if fast > interval:
            raise InvalidSetting(
                f"fast_interval must be at most interval, {shown(interval)}, not {shown(fast)}"
            )
        if slow < interval:
            raise InvalidSetting(
                f"slow_interval must be at least interval, {shown(interval)}, not {shown(slow)}"
            )
        if timeout >= interval:
            raise InvalidSetting(
                f"timeout must be below interval, {shown(interval)}, not {shown(timeout)}"
            )
        if not 0 <= number("jitter", jitter) < 1:
            raise InvalidSetting(f"jitter must be 0 or more and below 1, not {shown(jitter)}")
        self._jitter_start, self._jitter_width = 1 - jitter, 2 * jitter
        self._last_number = 0
        self._scheduled: Timers[B] = Timers()  # when to send each next probe
        self._postponed: set[B] = set()  # backends whose next probe was postponed
        self._awaited: OrderedDict[B, Probe[B]] = OrderedDict()  # sorted by deadline

    def probes(self, now: float) -> list[Probe[B]]:
        """Return the probes that you must send now; O(log n) per probe.  Raises InvalidTime."""
        now = self.settle(now)
        if self._scheduled.first < now - 2 * self._interval:
            self._postpone_late(now)
        deadline = now + self._timeout
        sent: list[Probe[B]] = []
        for backend in self._scheduled.take(now):
            self._last_number += 1
            probe = self._awaited[backend] = Probe(backend, self._last_number, now, deadline)
            sent.append(probe)
        if self._postponed:
            self._postponed -= {probe.backend for probe in sent}
        self.due: float = min(self.due, self._next_instant())
        return sent

    @property
    def probes_due(self) -> float:
        """The time in seconds at which to call :meth:`probes` next; O(1).

        At this time, a probe is due or the deadline of a probe ends.  Set one timer to it, and move
        this timer after each call of this gate.  A new timer after each probe and each answer would
        multiply the timers without end.
        """
        return min(self._scheduled.first, self._next_deadline())

    def answer(self, probe: Probe[B], ok: bool, now: float, immediate: bool = False) -> bool:
        """Count the result of a probe, and return whether it counts; O(log n).

        A result does not count if it is late, if it was reported before, if the backend's state
        changed after the probe was sent, or if the backend has left since.  With ``immediate``,
        this single failure makes the backend unhealthy.
        Raises InvalidTime.  Raises InvalidSetting for a success with ``immediate``.  Raises
        TypeError unless ``ok`` is True or False.
        """
        ok = checked_ok(ok)
        if immediate and ok:
            raise InvalidSetting("immediate must be False for a success, not True")
        now = self.settle(now)
        backend = probe.backend
        if self._awaited.get(backend) != probe:
            return False
        del self._awaited[backend]
        return self._count_result(probe, ok, immediate, now, now)

    def factor(self, backend: B, now: float) -> float:
        """Return 1 if the backend is healthy at ``now``, else 0.

        A probe whose deadline has passed at ``now`` is included as a failure.
        Raises UnknownBackend, InvalidTime.
        """
        health, probe, now = self.state_of(backend), self._awaited.get(backend), self.clamp(now)
        promoted_at = self.timers.get(backend)
        if promoted_at < inf:
            return 1 if promoted_at <= now else 0
        if probe is None or probe.deadline > now or probe.sent_at < health.flipped_at:
            return 1 if health.machine.healthy else 0
        return 1 if health.machine.would_be_healthy(ok=False) else 0

    def unproven(self, backend: B, now: float) -> bool:
        """Return whether the backend joined as ``down`` and has no counted result of a probe.

        A probe whose deadline has passed at ``now`` is included as a failure.
        Raises UnknownBackend, InvalidTime.
        """
        if not super().unproven(backend, now):
            return False
        probe = self._awaited.get(backend)
        return probe is None or probe.deadline > self.clamp(now)

    def expire(self, now: float) -> None:
        """Count each probe whose deadline has passed as a failure at the time of its deadline."""
        while self._next_deadline() <= now:
            _, probe = self._awaited.popitem(last=False)
            super().expire(probe.deadline)
            self._count_result(probe, False, False, probe.deadline, now)
        super().expire(now)

    def added(self, backend: B, now: float) -> None:
        """Called when a backend joins.  Schedules its first probe; O(log n)."""
        now = self.settle(now)
        super().added(backend, now)
        self._scheduled.set(backend, now + self._rng.random() * self._interval)

    def removed(self, backend: B, now: float) -> None:
        """Called when a backend leaves.  An answer to its probe will be ignored; O(log n)."""
        now = self.settle(now)
        self._scheduled.cancel(backend)
        self._postponed.discard(backend)
        self._awaited.pop(backend, None)
        super().removed(backend, now)

    def _settings(self) -> str:
        return f"interval {self._interval} s, timeout {self._timeout} s, {super()._settings()}"

    def _summary(self) -> str:
        return f"{len(self._awaited)} probes in flight, {super()._summary()}"

    def _postpone_late(self, now: float) -> None:
        """Postpone each probe that is more than two intervals late."""
        for backend, when in [*self._scheduled.pop(now - 2 * self._interval)]:
            self._schedule(backend, when, now)

    def _schedule(self, backend: B, when: float, now: float) -> None:
        """Schedule the next probe of a backend for ``when``, or for ``now`` if that is later.

        If ``when`` is more than two intervals ago, the probe is postponed.  A probe that was
        already postponed once becomes due at ``now``.
        """
        if when < now:
            late = when <= now - 2 * self._interval and backend not in self._postponed
            when = now
            if late:
                self._postponed.add(backend)
                when += self._rng.random() * self._interval
        self._scheduled.set(backend, when)

    def _next_instant(self) -> float:
        return min(self.timers.first, self._next_deadline())

    def _next_deadline(self) -> float:
        return next(iter(self._awaited.values())).deadline if self._awaited else inf

    def _count_result(
        self, probe: Probe[B], ok: bool, immediate: bool, when: float, now: float
    ) -> bool:
        """Count a result at the time ``when`` if it is valid, and return whether it was counted.

        Also schedule the next probe of the backend, at ``now`` or later.
        """
        backend, _, sent_at, _ = probe
        health = self._members[backend]
        machine = health.machine
        counts = sent_at >= health.flipped_at and not health.awaits_time
        if counts:
            self._count_probe(backend, health, ok, immediate, sent_at, when)
        if not machine.settled:
            interval = self._fast_interval
        elif machine.healthy or when - health.flipped_at < self._slow_after:
            interval = self._interval
        else:
            interval = self._slow_interval
        jittered = interval * (self._jitter_start + self._jitter_width * self._rng.random())
        self._schedule(backend, sent_at + jittered, now)
        return counts
