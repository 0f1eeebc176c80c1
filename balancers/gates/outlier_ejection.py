"""Outlier ejection: who does worse than the others is left out for a while."""

from collections.abc import Iterable
from math import floor, inf
from random import Random
from typing import Generic, NamedTuple

from balancers._internal.checks import at_least, duration, number
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.gates.member_gate import MemberGate
from balancers.gates.outlier_rules import OutlierRule, SuccessRate
from balancers.outcome import Outcome

__all__ = ["Ejection", "OutlierEjection"]

_DUST = 1e-9
"""A tenth of thirty is three, though 0.1 is a little less or more than a tenth."""


class Ejection(NamedTuple, Generic[B]):
    """Who is ejected, by which rule, from when until when in seconds."""

    backend: B
    rule: str
    at: float
    until: float


class _Conduct:
    __slots__ = ("errors", "good", "times", "total", "turned_at")

    def __init__(self, now: float) -> None:
        self.errors = 0  # in a row
        self.good = self.total = 0  # in this interval
        self.times = 0  # by which the next ejection is longer
        self.turned_at = now  # ejected or restored


class OutlierEjection(MemberGate[B, _Conduct]):
    """Closed while ejected.  Soft: panic ignores it.

    ``consecutive_failures`` failures in a row eject at once (None: never).  Every ``interval``
    seconds each of ``rules`` looks at the success rates since the last look, and the worst go
    first.  An ejection lasts ``base_ejection_time`` seconds times how often it happened, at most ``max_ejection_time``, and
    up to ``jitter`` seconds more by ``rng``; each interval without one takes a time back.

    Never more than ``max_ejected`` of the members are out, all rules together, the next one
    included (one is allowed however few they are), and ``min_remaining`` stay in.  With
    ``dry_run`` nobody is closed, and :meth:`ejections` says who would be.

    Outcomes with ``retry_after`` are capacity, not sickness, and count nowhere; nor do requests
    that began before the last ejection or its end.  The defaults are Envoy's, but for the one that
    is always allowed.  When members leave and too many of the rest are out, those that would be
    back first are restored.

    >>> from balancers import Pool, RoundRobin
    >>> outliers = OutlierEjection(consecutive_failures=2)
    >>> pool = Pool(RoundRobin(["a", "b"]), gates=[outliers])
    >>> for lease in [pool.acquire(now=0.0) for _ in range(4)]:
    ...     pool.release(lease, now=1.0, ok=lease.backend == "b")
    >>> pool.state("a"), outliers.ejections()
    (('ejected',), [Ejection(backend='a', rule='consecutive errors', at=1.0, until=31.0)])

    A request costs O(1), an ejection O(log n), a look O(n log n).
    Raises InvalidSetting for counts below 1, durations that are not positive, ``base_ejection_time`` above
    ``max_ejection_time``, a share outside 0…1, a negative jitter, or one without a generator; TypeError for
    what is no rule, or no ``random.Random``.
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
        max_ejected: float = 0.1,
        min_remaining: int = 1,
        dry_run: bool = False,
        rng: Random | None = None,
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
        if not 0 <= number("max_ejected", max_ejected) <= 1:
            raise InvalidSetting(f"max_ejected must be 0 to 1, not {max_ejected!r}")
        if rng is not None and not isinstance(rng, Random):
            raise TypeError(f"rng must be a random.Random, not {rng!r}")
        if not 0 <= number("jitter", jitter) <= 1 or (jitter and rng is None):
            raise InvalidSetting(f"jitter must be 0 to 1, and 0 without an rng, not {jitter!r}")
        self._consecutive_failures = consecutive_failures
        self._rules = tuple(rules)
        for rule in self._rules:
            if not callable(getattr(rule, "threshold", None)):
                raise TypeError(f"rules must be outlier rules, not {rule!r}")
        self._interval = duration("interval", interval)
        self._base_ejection_time = base_ejection_time
        self._max_ejection_time = max_ejection_time
        self._jitter = jitter
        self._max_ejected = max_ejected
        self._min_remaining = min_remaining
        self._dry_run = dry_run
        self._rng = rng
        self._ejections: dict[B, Ejection[B]] = {}
        self._active: dict[B, None] = {}  # with requests this interval, or times to take back
        self._next_look = inf

    def new_state(self, now: float) -> _Conduct:
        return _Conduct(now)

    def factor(self, backend: B, now: float) -> float:
        """Give 0 while ejected, else 1.  Raises UnknownBackend."""
        self.state_of(backend)
        ejection = self._ejections.get(backend)
        return 1 if ejection is None or self._dry_run or ejection.until <= now else 0

    def ejections(self) -> list[Ejection[B]]:
        """Give who is ejected, as of the latest time seen; O(ejected)."""
        return [one for one in self._ejections.values() if one.until > self._now]

    def restore(self, backend: B, now: float) -> None:
        """Take a backend back at once; one that is not out is fine.

        Raises UnknownBackend, InvalidTime.
        """
        self.state_of(backend)
        now = self.advance(now)
        if backend in self._ejections:
            self._take_back(backend, now)

    def finished(
        self, backend: B, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        """Hear how a request went."""
        conduct, ok = self._members[backend], outcome.ok
        if self._ejections:
            self._catch_up(self.advance(now))
        if ok is None or outcome.retry_after is not None or started_at < conduct.turned_at:
            return
        if backend not in self._active:
            self._note(backend, self.advance(now))
        conduct.total += 1
        if ok:
            conduct.good += 1
            conduct.errors = 0
            return
        now = self.advance(now)
        conduct.errors += 1
        if conduct.errors == self._consecutive_failures:
            conduct.errors = 0
            self._eject(backend, conduct, "consecutive errors", now)

    def changes(self, now: float) -> Iterable[B]:
        """Give the backends whose factor moved since last asked."""
        told = dict.fromkeys(super().changes(now))
        if self._next_look <= self._now:
            self._look(self._now)
            told |= dict.fromkeys(super().changes(now))
        return list(told)

    def removed(self, backend: B, now: float) -> None:
        """Forget the member; O(log n)."""
        now = self.advance(now)
        self._catch_up(now)
        self._ejections.pop(backend, None)
        self._active.pop(backend, None)
        super().removed(backend, now)
        while len(self._ejections) > self._allowed():
            first = min(self._ejections.values(), key=lambda ejection: ejection.until)
            self._take_back(first.backend, now)

    def _next_instant(self) -> float:
        return min(self.timers.first, self._next_look)

    def _note(self, backend: B, now: float) -> None:
        """Have a look at this one when the interval is over."""
        self._active[backend] = None
        if self._next_look == inf:
            self._next_look = now + self._interval
            self.due = min(self.due, self._next_look)

    def _look(self, now: float) -> None:
        """Judge the interval by every rule, and begin the next."""
        self._catch_up(now)
        begun, self._next_look = self._next_look - self._interval, inf
        active, self._active = [b for b in self._members if b in self._active], {}
        counts = {
            b: (conduct.good, conduct.total)
            for b in active
            if (conduct := self._members[b]).total and b not in self._ejections
        }
        for backend in active:
            conduct = self._members[backend]
            conduct.good = conduct.total = 0
            if backend not in self._ejections:
                calm = now - max(conduct.turned_at, begun)
                conduct.times -= min(conduct.times, floor(calm / self._interval + _DUST))
        for rule in self._rules:
            below, rates = rule.threshold(counts)
            for backend in sorted(rates, key=rates.__getitem__):
                if rates[backend] < below and backend not in self._ejections:
                    self._eject(backend, self._members[backend], type(rule).__name__, now)
        for backend in active:
            if self._members[backend].times:
                self._note(backend, now)

    def _eject(self, backend: B, conduct: _Conduct, rule: str, now: float) -> None:
        """Close a backend, if the budget for all rules together allows another."""
        if backend in self._ejections or len(self._ejections) >= self._allowed():
            return
        pause = min(self._base_ejection_time * (conduct.times + 1), self._max_ejection_time)
        if self._rng is not None:
            pause *= 1 + self._jitter * self._rng.random()
        conduct.times += conduct.times * self._base_ejection_time < self._max_ejection_time
        conduct.turned_at = now
        self._ejections[backend] = Ejection(backend, rule, now, now + pause)
        self.timers.set(backend, now + pause)
        self._note(backend, now)
        self.notify_change(backend)
        self.record_event(backend, True, now, f"{rule}, dry run" if self._dry_run else rule)

    def _allowed(self) -> int:
        """Give how many may be out."""
        members = len(self._members)
        share = floor(self._max_ejected * members + _DUST)
        least = 1 if self._max_ejected else 0
        return max(0, min(max(share, least), members - self._min_remaining))

    def _catch_up(self, now: float) -> None:
        """Take back whose time is over before anything else is decided."""
        for backend, when in self.timers.pop(now):
            self.timer_expired(backend, when)
            self.notify_change(backend)

    def _take_back(self, backend: B, now: float) -> None:
        self.timers.cancel(backend)
        self.timer_expired(backend, now)
        self.notify_change(backend)

    def timer_expired(self, backend: B, when: float) -> None:
        del self._ejections[backend]
        conduct = self._members[backend]
        conduct.errors = conduct.good = conduct.total = 0
        conduct.turned_at = when
        self.record_event(backend, False, when)
