"""Ejects outliers: closes a backend for some time if it fails more often than the others."""

from collections.abc import Iterable
from math import floor, inf
from random import Random

from balancers._internal.checks import (
    LATEST,
    at_least,
    check_flags,
    checked_callable,
    checked_rng,
    duration,
    number,
    valid_now,
)
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.gates._ejection import Ejection, EjectionState
from balancers.gates.member_gate import MemberGate
from balancers.gates.outlier_rules import OutlierRule, SuccessRate, checked_rules
from balancers.outcome import SUCCESS, Outcome, Verdict, count_capacity_as_unknown

__all__ = ["Ejection", "OutlierEjection"]

_ROUNDING = 1e-9
"""This number is added before rounding down.  Without it, 0.29 × 100 would be rounded to 28."""


class OutlierEjection(MemberGate[B, EjectionState]):
    """Closes a backend for some time (ejects it) if it fails more often than the others.

    A backend is ejected at once after ``consecutive_failures`` failures in a row (None: never).
    Every ``interval`` seconds, each of ``rules`` compares the success rates of the interval.  The
    backends with the lowest rates are ejected first.

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
    The defaults are from Envoy.  In Envoy, ``jitter`` is a duration, one ejection is not always
    allowed, and ``min_remaining`` does not exist.

    >>> from balancers import Pool, RoundRobin
    >>> outliers = OutlierEjection(consecutive_failures=2)
    >>> pool = Pool(RoundRobin(["a", "b"]), gates=[outliers])
    >>> for lease in [pool.acquire(now=0.0) for _ in range(4)]:
    ...     pool.release(lease, now=1.0, ok=lease.backend == "b")
    >>> pool.state("a"), outliers.ejections()
    (('ejected',), [Ejection(backend='a', rule='consecutive failures', at=1.0, until=31.0)])

    A request costs O(1), an ejection O(log n), an evaluation of the rules O(n log n).
    Raises InvalidSetting for a count below 1, a duration that is not positive and finite,
    ``base_ejection_time`` above ``max_ejection_time``, ``max_ejected_share`` or ``jitter`` outside
    0…1, or a positive ``jitter`` without ``rng``.
    Raises TypeError if one of ``rules`` is not an outlier rule, ``rng`` is not a ``random.Random``,
    or ``verdict`` is not a function.
    """

    reason = "ejected"
    soft = True

    def __init__(
        self,
        consecutive_failures: int | None = 5,
        rules: Iterable[OutlierRule] = (SuccessRate(),),
        *,
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
        if consecutive_failures is not None:
            at_least(1, consecutive_failures=consecutive_failures)
        at_least(1, min_remaining=min_remaining)
        if duration("base_ejection_time", base_ejection_time) > duration(
            "max_ejection_time", max_ejection_time
        ):
            raise InvalidSetting(
                f"base_ejection_time must be at most max_ejection_time, {max_ejection_time!r}, "
                f"not {base_ejection_time!r}"
            )
        if not 0 <= number("max_ejected_share", max_ejected_share) <= 1:
            raise InvalidSetting(f"max_ejected_share must be 0 to 1, not {max_ejected_share!r}")
        self._rng = None if rng is None else checked_rng(rng)
        if not 0 <= number("jitter", jitter) <= 1 or (jitter and rng is None):
            raise InvalidSetting(f"jitter must be 0 to 1, and 0 without an rng, not {jitter!r}")
        self._consecutive_failures = consecutive_failures
        self._rules = checked_rules(rules)
        self._interval = duration("interval", interval)
        self._base_ejection_time = base_ejection_time
        self._max_ejection_time = max_ejection_time
        self._jitter = jitter
        self._max_ejected_share = max_ejected_share
        self._min_remaining = min_remaining
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
            state.failures_in_row = 0
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
            state.failures_in_row = 0
            return
        state.failures += 1
        state.failures_in_row += 1
        if state.failures_in_row == self._consecutive_failures:
            state.failures_in_row = 0
            self._eject(backend, state, "consecutive failures", now)

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
        state = self._members[backend]
        state.failures_in_row = state.failures = state.requests = 0
        state.changed_at = when
        self.record_event(backend, False, when)

    def notify_change(self, backend: B) -> None:
        """Record that the factor has changed.  In a dry run, no factor changes."""
        if not self._dry_run:
            super().notify_change(backend)

    def __repr__(self) -> str:
        """Show the settings and the number of ejected members; O(ejected)."""
        rules = ", ".join(type(rule).__name__ for rule in self._rules) or "none"
        dry_run = ", dry run" if self._dry_run else ""
        return (
            f"<OutlierEjection: consecutive_failures {self._consecutive_failures}, rules {rules}, "
            f"max_ejected_share {self._max_ejected_share}{dry_run}, "
            f"{len(self.ejections())} of {len(self._members)} ejected>"
        )

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
        counts = {
            b: (state.requests - state.failures, state.requests)
            for b in backends
            if (state := self._members[b]).requests and b not in self._ejections
        }
        for backend in backends:
            state = self._members[backend]
            state.failures = state.requests = 0
            if backend not in self._ejections:
                quiet = now - max(state.changed_at, started)
                quiet_intervals = floor(quiet / self._interval + _ROUNDING)
                state.earlier_ejections -= min(state.earlier_ejections, quiet_intervals)
        for rule in self._rules:
            below, rates = rule.threshold(counts)
            for backend in sorted(rates, key=rates.__getitem__):
                if rates[backend] < below and backend not in self._ejections:
                    self._eject(backend, self._members[backend], type(rule).__name__, now)
        for backend in backends:
            if self._members[backend].earlier_ejections:
                self._schedule_evaluation(backend, now)

    def _eject(self, backend: B, state: EjectionState, rule: str, now: float) -> None:
        """Eject the backend, unless it is ejected already or no further ejection is allowed."""
        if backend in self._ejections or len(self._ejections) >= self._allowed():
            return
        earlier = state.earlier_ejections
        pause = min(self._base_ejection_time * (earlier + 1), self._max_ejection_time)
        if self._rng is not None:
            pause *= 1 + self._jitter * self._rng.random()
        state.earlier_ejections += earlier * self._base_ejection_time < self._max_ejection_time
        state.changed_at = now
        self._ejections[backend] = Ejection(backend, rule, now, now + pause)
        self.timers.set(backend, now + pause)
        self.due = min(self.due, now + pause)
        self._schedule_evaluation(backend, now)
        self.notify_change(backend)
        self.record_event(backend, True, now, f"{rule}, dry run" if self._dry_run else rule)

    def _allowed(self) -> int:
        """Return how many of all members may be ejected at the same time."""
        members = len(self._members)
        share = floor(self._max_ejected_share * members + _ROUNDING)
        lowest = 1 if self._max_ejected_share else 0
        return max(0, min(max(share, lowest), members - self._min_remaining))

    def _restore(self, backend: B, now: float) -> None:
        self.timers.cancel(backend)
        self.timer_expired(backend, now)
        self.notify_change(backend)
