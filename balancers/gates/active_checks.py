"""Active health checks: whom to probe and when, and what follows from silence."""

from collections import OrderedDict
from collections.abc import Iterable
from math import inf
from random import Random
from typing import Generic, NamedTuple

from balancers._internal.checks import LATEST, duration, number, valid_now
from balancers._internal.timers import Timers
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.gates.health_checks import Health, HealthChecks, Promotion
from balancers.gates.health_rules import HealthRule
from balancers.gates.health_state_machine import Initial

__all__ = ["ActiveChecks", "Probe"]


class Probe(NamedTuple, Generic[B]):
    """One probe to send.  Its answer counts before ``deadline`` seconds; silence is a failure."""

    backend: B
    number: int
    sent_at: float
    deadline: float


class ActiveChecks(HealthChecks[B]):
    """Health checks with a schedule: data for a prober that is yours.

    Ask :meth:`probes` whom to probe, send, and tell :meth:`answer`; :meth:`probes_due` says when to
    ask again.  At most one probe is in flight for each backend, and one that is not answered within
    ``timeout`` seconds is a failure, whoever asks first: this gate or its pool.

    A backend is probed every ``interval`` seconds; every ``fast_interval`` (a fifth of it) while
    its state is changing; every ``slow_interval`` (six times it) once it is unhealthy for
    ``slow_after`` seconds.  First probes are spread over an interval, and each interval is up to
    ``jitter`` of it shorter or longer, by ``rng``, so that no fleet probes in step.  Probes late by
    more than two intervals, as nobody asked, are spread over the next one.

    ``promotion`` says who brings back a backend that its requests demoted: ``probes``, or ``time``,
    ``recovery_time`` seconds later: probes that succeed say little of requests that do not.

    >>> from balancers import Pool, RoundRobin
    >>> checks = ActiveChecks(unhealthy_threshold=1, rng=Random(1))
    >>> pool = Pool(RoundRobin(["a"]), gates=[checks])
    >>> [probe] = checks.probes(now=5.0)
    >>> checks.answer(probe, ok=False, now=5.2), pool.state("a")
    (True, ('unhealthy',))

    A probe costs O(log n) to send and to answer.
    Raises InvalidSetting for a threshold below 1, durations that are not positive or not in order
    (fast, usual, slow; the timeout is below the interval), a jitter outside 0…1; TypeError unless
    ``rng`` is a ``random.Random``.
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
        promotion: Promotion = "probes",
        recovery_time: float = 10.0,
    ) -> None:
        super().__init__(
            unhealthy_threshold,
            healthy_threshold,
            recovery_time,
            rule=rule,
            initial=initial,
            promotion=promotion,
        )
        if not isinstance(rng, Random):
            raise TypeError(f"rng must be a random.Random, not {rng!r}")
        self._rng = rng
        self._interval = duration("interval", interval)
        self._timeout = duration("timeout", timeout)
        fast = interval / 5 if fast_interval is None else fast_interval
        slow = interval * 6 if slow_interval is None else slow_interval
        self._fast = duration("fast_interval", fast)
        self._slow = duration("slow_interval", slow)
        self._slow_after = duration("slow_after", slow_after)
        if not fast <= interval <= slow:
            raise InvalidSetting(f"fast <= interval <= slow fails for {fast}, {interval}, {slow}")
        if timeout >= interval:
            raise InvalidSetting(f"timeout must be below the interval {interval}, not {timeout!r}")
        if not 0 <= number("jitter", jitter) < 1:
            raise InvalidSetting(f"jitter must be 0 to 1, below 1, not {jitter!r}")
        self._least, self._spread = 1 - jitter, 2 * jitter
        self._number = 0
        self._sends: Timers[B] = Timers()
        self._put_off: set[B] = set()  # since they were last probed
        self._awaited: OrderedDict[B, Probe[B]] = OrderedDict()  # in the order of their deadlines

    def probes(self, now: float) -> list[Probe[B]]:
        """Give the probes to send now; O(log n) each.  Raises InvalidTime."""
        self._expire(valid_now(now, self._now))
        now = self.advance(now)
        for backend, when in self.timers.pop(now):
            self.timer_expired(backend, when)
        if self._sends.first < now - 2 * self._interval:
            self._put_off_late(now)
        deadline = now + self._timeout
        sent: list[Probe[B]] = []
        for backend in self._sends.take(now):
            self._number += 1
            probe = self._awaited[backend] = Probe(backend, self._number, now, deadline)
            sent.append(probe)
        if self._put_off:
            self._put_off -= {probe.backend for probe in sent}
        self.due = min(self.due, self._next_instant())
        return sent

    def _put_off_late(self, now: float) -> None:
        """Put off who is late by more than two intervals, unless that was done already."""
        for backend in self._sends.take(now - 2 * self._interval):
            wait = 0.0 if backend in self._put_off else self._rng.random() * self._interval
            self._sends.set(backend, now + wait)
            self._put_off.add(backend)

    @property
    def probes_due(self) -> float:
        """Give when to call :meth:`probes` next: to send one, or to hear of a silence; O(1)."""
        return min(self._sends.first, self._next_deadline())

    def answer(self, probe: Probe[B], ok: bool, now: float, immediate: bool = False) -> bool:
        """Hear a probe's result, and say whether it counts; O(log n).

        It does not when it is late, told before, sent before the last flip, or of a backend that
        left since.  ``immediate``: this failure demotes whatever the threshold.
        Raises InvalidTime, InvalidSetting for an immediate success.
        """
        if immediate and ok:
            raise InvalidSetting("only a failure can be immediate")
        if not self._now <= now <= LATEST:
            now = valid_now(now, self._now)
        backend, _, _, deadline = probe
        if deadline <= now:
            self._expire(now)
        self._now = now
        if self._awaited.get(backend) != probe:
            return False
        del self._awaited[backend]
        return self._judge(probe, ok, now, immediate)

    def factor(self, backend: B, now: float) -> float:
        """Give 1 while healthy, else 0; a silence that is over counts.  Raises UnknownBackend."""
        health, probe = self.state_of(backend), self._awaited.get(backend)
        promoted_at = self.timers.get(backend)
        if promoted_at < inf:
            return 1 if promoted_at <= now else 0
        if probe is None or probe.deadline > now or probe.sent_at < health.flipped_at:
            return 1 if health.machine.healthy else 0
        return 1 if health.machine.would_be_healthy(ok=False) else 0

    def changes(self, now: float) -> Iterable[B]:
        """Give the backends whose factor moved since last asked."""
        self._expire(valid_now(now, self._now))
        return super().changes(now)

    def added(self, backend: B, now: float) -> None:
        """Hear of a new member, and plan its first probe; O(log n)."""
        super().added(backend, now)
        self._sends.set(backend, self._now + self._rng.random() * self._interval)

    def removed(self, backend: B, now: float) -> None:
        """Forget the member and its probe; O(log n)."""
        self._sends.cancel(backend)
        self._put_off.discard(backend)
        self._awaited.pop(backend, None)
        super().removed(backend, now)

    def new_state(self, now: float) -> Health:
        health = super().new_state(now)
        health.probed = True
        return health

    def _catch_up(self, backend: B, health: Health, now: float) -> None:
        self._expire(now)
        super()._catch_up(backend, health, now)

    def _next_instant(self) -> float:
        return min(self.timers.first, self._next_deadline())

    def _next_deadline(self) -> float:
        return next(iter(self._awaited.values())).deadline if self._awaited else inf

    def _expire(self, now: float) -> None:
        """Take silence for failure, at the deadline."""
        while self._next_deadline() <= now:
            _, probe = self._awaited.popitem(last=False)
            self._judge(probe, ok=False, now=probe.deadline)

    def _judge(self, probe: Probe[B], ok: bool, now: float, immediate: bool = False) -> bool:
        backend, _, sent_at, _ = probe
        health = self._members[backend]
        machine = health.machine
        if health.awaits_time:
            super()._catch_up(backend, health, now)
        counts = sent_at >= health.flipped_at and not health.awaits_time
        if counts and machine.observe(ok, immediate):
            self._flip(backend, health, machine.healthy, now, "by probes")
        if not machine.settled:
            gap = self._fast
        elif machine.healthy or now - health.flipped_at < self._slow_after:
            gap = self._interval
        else:
            gap = self._slow
        when = sent_at + gap * (self._least + self._spread * self._rng.random())
        self._sends.set(backend, max(now, when))
        return counts
