"""Ejects outliers: closes a backend for some time if it fails more often than the others."""

from collections.abc import Iterable, Mapping
from math import floor, inf
from random import Random

from balancers._internal.checks import (
    LATEST,
    check_flags,
    checked_callable,
    checked_rng,
    duration,
    valid_now,
)
from balancers._internal.types import B
from balancers.gates._ejection import Ejection, EjectionState, FailureCounters
from balancers.gates._ejection_settings import ROUNDING, EjectionBudget, EjectionTimes, Enforcement
from balancers.gates.member_gate import MemberGate
from balancers.gates.outlier_rules import OutlierRule, SuccessRate, named_rules
from balancers.outcome import SUCCESS, Outcome, Verdict, count_capacity_as_unknown

__all__ = ["Ejection", "OutlierEjection"]


class OutlierEjection(MemberGate[B, EjectionState]):
    """Closes a backend for some time (ejects it) if it fails more often than the others.

    A backend is ejected at once after ``consecutive_failures`` failures in a row (None: never), or
    after ``consecutive_gateway_failures`` gateway failures in a row: the statuses 502, 503 and 504,
    and local failures.  A failure is *local* if there was no response: ``status`` is None and
    ``ok`` is not True.  Every ``interval`` seconds, each of ``rules`` compares the success rates of
    the interval.  The backends with the lowest rates are ejected first.

    With ``consecutive_local_failures`` or ``local_rules``, local failures are separate: only that
    counter and those rules count them, and a response of any status ends a row of them.

    ``enforcing`` is the share of detected outliers that are ejected, 0 to 1, or a mapping from
    names of rules (:attr:`Ejection.rule`) to shares.  The others are recorded as events only.

    The n-th ejection of a backend lasts n × ``base_ejection_time`` seconds, at most
    ``max_ejection_time``.  Each interval without an ejection reduces n by one.  With ``rng``, this
    time is then extended at random by up to ``jitter`` of its length, a share from 0 to 1.  As in
    Envoy, an ejection with jitter may therefore be longer than ``max_ejection_time``.

    ``max_ejected_share`` is from 0 to 1.  All rules together eject at most this share of the
    members at a time.  One ejection is always allowed, unless the share is 0.  At least
    ``min_remaining`` members (1 or more) are not ejected, so an only member is never ejected: there
    is no other backend to compare it with.  Both numbers count all members of the pool, as in
    Envoy, also those that other gates close or whose weight is 0.  The pool, and not this gate,
    decides what to do when no member is open.  If too many members are ejected because others have
    left, the gate ends ejections early.  It begins with the ejection that would end first.  With
    ``dry_run``, no backend is closed: :meth:`ejections` returns the ejections that would happen.

    ``verdict`` is a function that returns what the outcome of a request counts as: True for a
    success, False for a failure, None for neither.  By default, an outcome with ``retry_after``
    counts as neither.  The results of requests that started before the last ejection or its end are
    ignored.  The gate is soft: the pool ignores it during a panic (when too few members are open).
    The rules and defaults are from Envoy; the page on gates lists the differences.

    >>> from balancers import Pool, RoundRobin
    >>> outliers = OutlierEjection(consecutive_failures=2)
    >>> pool = Pool(RoundRobin(["a", "b"]), gates=[outliers])
    >>> for lease in [pool.acquire(now=0.0) for _ in range(4)]:
    ...     pool.release(lease, now=1.0, ok=lease.backend == "b")
    >>> pool.state("a"), outliers.ejections()
    (('ejected',), [Ejection(backend='a', rule='consecutive failures', at=1.0, until=31.0)])

    A request costs O(1), an ejection O(log n), an evaluation of the rules O(n log n).
    Raises InvalidSetting for a count below 1, a duration that is not positive and finite,
    ``base_ejection_time`` above ``max_ejection_time``, a share or ``jitter`` outside 0…1, an
    unknown name in ``enforcing``, or ``jitter`` or a share between 0 and 1 without ``rng``.
    Raises TypeError if a rule is not an outlier rule, ``rng`` is not a ``random.Random``, or
    ``verdict`` is not a function.
    """

    reason = "ejected"
    soft = True

    def __init__(
        self,
        consecutive_failures: int | None = 5,
        rules: Iterable[OutlierRule] = (SuccessRate(),),
        *,
        consecutive_gateway_failures: int | None = None,
        consecutive_local_failures: int | None = None,
        local_rules: Iterable[OutlierRule] = (),
        enforcing: float | Mapping[str, float] = 1.0,
        interval: float = 10.0,
        base_ejection_time: float = 30.0,
        max_ejection_time: float = 300.0,
        jitter: float = 0.0,
        max_ejected_share: float = 0.1,
        min_remaining: int = 1,
        dry_run: bool = False,
        rng: Random | None = None,
        verdict: Verdict = count_capacity_as_unknown,
    ) -> None:
        super().__init__()
        self._rng = rng = None if rng is None else checked_rng(rng)
        self._rules = named_rules("rules", rules)
        self._local_rules = named_rules("local_rules", local_rules, prefix="local ")
        self._counters = FailureCounters(
            consecutive_failures,
            consecutive_gateway_failures,
            consecutive_local_failures,
            separate_local=consecutive_local_failures is not None or bool(self._local_rules),
        )
        self._times = EjectionTimes(base_ejection_time, max_ejection_time, jitter, rng)
        self._budget = EjectionBudget(max_ejected_share, min_remaining)
        names = [name for name, _ in (*self._rules, *self._local_rules)]
        self._enforcement = Enforcement(enforcing, [*self._counters.names, *names], rng)
        self._interval = duration("interval", interval)
        check_flags(dry_run=dry_run)
        self._dry_run = dry_run
        self._verdict = checked_callable("verdict", verdict)
        self._plain = verdict is count_capacity_as_unknown
        self._ejections: dict[B, Ejection[B]] = {}
        self._to_evaluate: dict[B, None] = {}  # had requests or earlier ejections
        self._next_evaluation = inf

    def new_state(self, now: float) -> EjectionState:
        return EjectionState(now)

    def factor(self, backend: B, now: float) -> float:
        """Return 0 while the backend is ejected, else 1.  Raises UnknownBackend, InvalidTime."""
        self.state_of(backend)
        ejection, now = self._ejections.get(backend), self.clamp(now)
        return 1 if ejection is None or self._dry_run or ejection.until <= now else 0

    def ejections(self) -> list[Ejection[B]]:
        """Return the ejections at the latest time that was passed to the gate; O(ejected)."""
        return [one for one in self._ejections.values() if one.until > self._now]

    def restore(self, backend: B, now: float) -> None:
        """End the ejection of a backend, if it is ejected.  Raises UnknownBackend, InvalidTime."""
        self.state_of(backend)
        now = self.settle(now)
        if backend in self._ejections:
            self._restore(backend, now)

    def probe_passed(self, backend: B, now: float, started_at: float | None = None) -> None:
        """Called when an active check of a backend passes.  End the ejection of the backend.

        The call is ignored if the backend is not ejected or not a member, or if the probe started
        before the ejection.  Without ``started_at``, it counts as started later.  A health gate
        with ``restores`` calls this for every probe that passes and leaves the backend healthy.
        Raises InvalidTime.
        """
        state = self.find_state(backend)
        if state is None:
            return
        if started_at is not None:
            started_at = valid_now(started_at, -inf, "started_at")
        now = self.settle(now)
        if backend in self._ejections and (started_at is None or started_at >= state.changed_at):
            self._restore(backend, now)

    def finished(
        self, backend: B, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        """Called when a request ends.  An unknown backend is ignored.  Raises InvalidTime."""
        try:
            state = self._members[backend]
        except KeyError:
            return
        if (
            outcome is SUCCESS
            and self._plain
            and state.requests
            and type(started_at) is type(now) is float
            and state.changed_at <= started_at <= now < self.due
            and self._now <= now <= LATEST
        ):  # faster than the calls below, and the same
            self._now = now
            state.requests += 1
            state.succeeded = True
            return
        ok = self._verdict(outcome)
        valid_now(started_at, started_at, "started_at")
        now = self.settle(now)
        if ok is None or started_at < state.changed_at:
            return
        if not state.requests:
            self._schedule_evaluation(backend, now)
        state.requests += 1
        if ok:
            state.succeeded = True
            return
        for counter in self._counters.count(state, outcome):
            self._eject(backend, state, counter, now)

    def changes(self, now: float) -> Iterable[B]:
        """Return the backends whose factor changed.  Evaluate the rules if the interval is over."""
        now = self.settle(now)
        if self._next_evaluation <= now:
            self._evaluate(now)
        return super().changes(now)

    def removed(self, backend: B, now: float) -> None:
        """Called when a backend leaves; O(log n), plus O(ejected) per ejection that ends early."""
        now = self.settle(now)
        self._ejections.pop(backend, None)
        self._to_evaluate.pop(backend, None)
        super().removed(backend, now)
        while len(self._ejections) > self._allowed():
            first = min(self._ejections.values(), key=lambda ejection: ejection.until)
            self._restore(first.backend, now)

    def timer_expired(self, backend: B, when: float) -> None:
        del self._ejections[backend]
        self._members[backend].begin(when)
        self.record_event(backend, False, when)

    def notify_change(self, backend: B) -> None:
        """Record that the factor has changed.  In a dry run, no factor changes."""
        if not self._dry_run:
            super().notify_change(backend)

    def __repr__(self) -> str:
        """Show the settings and the number of ejected members; O(ejected)."""
        rules = ", ".join(name for name, _ in [*self._rules, *self._local_rules]) or "none"
        dry_run = ", dry run" if self._dry_run else ""
        settings = f"{self._counters}, rules {rules}, {self._budget}{self._enforcement}{dry_run}"
        ejected = f"{len(self.ejections())} of {len(self._members)} ejected"
        return f"<OutlierEjection: {settings}, {ejected}>"

    def _next_instant(self) -> float:
        return min(self.timers.first, self._next_evaluation)

    def _schedule_evaluation(self, backend: B, now: float) -> None:
        """Include this backend in the next evaluation.  If none is scheduled, start an interval."""
        self._to_evaluate[backend] = None
        if self._next_evaluation == inf:
            self._next_evaluation = now + self._interval
            self.due: float = min(self.due, self._next_evaluation)

    def _evaluate(self, now: float) -> None:
        """Apply every rule to the interval that ended.  Start the next interval if needed."""
        started, self._next_evaluation = self._next_evaluation - self._interval, inf
        backends = [b for b in self._members if b in self._to_evaluate]
        self._to_evaluate = {}
        answers = {b: self._members[b].answers for b in backends}
        connections = {b: self._members[b].connections for b in backends}
        for backend in backends:
            state = self._members[backend]
            state.begin_interval()
            if backend not in self._ejections:
                quiet = now - max(state.changed_at, started)
                quiet_intervals = min(quiet / self._interval + ROUNDING, state.earlier_ejections)
                state.earlier_ejections -= floor(quiet_intervals)
        self._apply(self._rules, answers, now)
        self._apply(self._local_rules, connections, now)
        for backend in backends:
            if self._members[backend].earlier_ejections:
                self._schedule_evaluation(backend, now)

    def _apply(
        self, rules: list[tuple[str, OutlierRule]], counts: dict[B, tuple[int, int]], now: float
    ) -> None:
        """Eject the outliers of each rule.  Ejected backends are not compared with the others."""
        counts = {
            b: (good, total)
            for b, (good, total) in counts.items()
            if total and b not in self._ejections
        }
        for name, rule in rules:
            below, rates = rule.threshold(counts)
            for backend in sorted(rates, key=rates.__getitem__):
                if rates[backend] < below:
                    self._eject(backend, self._members[backend], name, now)

    def _eject(self, backend: B, state: EjectionState, rule: str, now: float) -> None:
        """Eject the backend, unless it is ejected already or no further ejection is allowed."""
        if backend in self._ejections or len(self._ejections) >= self._allowed():
            return
        if not self._enforcement.decide(rule, self._rng):
            for began in (True, False):
                self.record_event(backend, began, now, f"{rule}, not enforced", "outlier")
            return
        pause = self._times.length(state.earlier_ejections, self._rng)
        state.earlier_ejections += self._times.grows(state.earlier_ejections)
        state.changed_at = now
        self._ejections[backend] = Ejection(backend, rule, now, now + pause)
        self.timers.set(backend, now + pause)
        self.due = min(self.due, now + pause)
        self._schedule_evaluation(backend, now)
        self.notify_change(backend)
        self.record_event(backend, True, now, f"{rule}, dry run" if self._dry_run else rule)

    def _allowed(self) -> int:
        """Return how many of all members may be ejected at the same time."""
        return self._budget.allowed(len(self._members))

    def _restore(self, backend: B, now: float) -> None:
        self.timers.cancel(backend)
        self.timer_expired(backend, now)
        self.notify_change(backend)
