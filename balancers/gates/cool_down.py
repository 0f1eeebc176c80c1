"""Cooling down: a backend that asks to be left alone, or fails again and again, is left alone."""

from math import inf
from random import Random

from balancers._internal.checks import at_least, duration, number
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.gates.member_gate import MemberGate
from balancers.outcome import Outcome

__all__ = ["CoolDown"]


class _Cooling:
    __slots__ = ("failures", "pauses", "since", "until")

    def __init__(self) -> None:
        self.failures = 0
        self.pauses = 0
        self.since = -inf
        self.until = -inf


class CoolDown(MemberGate[B, _Cooling]):
    """Closed for as long as the backend asked, or for a growing while after failures in a row.

    ``Outcome(retry_after=…)``, whatever else it says, closes for that many seconds, at most
    ``max_time``: a 429 is capacity, not sickness, so it counts as no failure here.  ``consecutive_failures`` in a
    row close for ``base_time`` seconds, then for ``factor`` times as long as before, up to ``max_time``,
    each up to ``jitter`` of it shorter by ``rng``; a success begins anew.  Requests that began
    before the last such pause count nowhere.  Hard: panic never opens it, and when everyone
    cools down the refusal's ``retry_at`` says until when.  Every method is O(log n).

    >>> from random import Random
    >>> from balancers import Pool, RoundRobin
    >>> pool = Pool(RoundRobin(["a", "b"]), gates=[CoolDown(rng=Random(1))])
    >>> pool.release(pool.acquire(now=0.0), now=1.0, ok=False, retry_after=30.0)
    >>> [pool.acquire(now).backend for now in (2.0, 30.0, 31.0, 31.0)]
    ['b', 'b', 'a', 'b']

    Raises InvalidSetting for ``consecutive_failures`` below 1, times that are not positive or a ``base_time`` above
    the ``max_time``, a factor below 1, a jitter outside 0…1; TypeError unless ``rng`` is a
    ``random.Random``.
    """

    reason = "cooling down"

    def __init__(
        self,
        consecutive_failures: int = 5,
        base_time: float = 1.0,
        factor: float = 2.0,
        max_time: float = 60.0,
        jitter: float = 0.2,
        *,
        rng: Random,
    ) -> None:
        super().__init__()
        at_least(1, consecutive_failures=consecutive_failures)
        if not isinstance(rng, Random):
            raise TypeError(f"rng must be a random.Random, not {rng!r}")
        if duration("base_time", base_time) > duration("max_time", max_time):
            raise InvalidSetting(
                f"base_time must be at most max_time, {max_time!r}, not {base_time!r}"
            )
        if not 1 <= number("factor", factor) < inf:
            raise InvalidSetting(f"factor must be finite, 1 or more, not {factor!r}")
        if not 0 <= number("jitter", jitter) <= 1:
            raise InvalidSetting(f"jitter must be 0 to 1, not {jitter!r}")
        self._consecutive_failures = consecutive_failures
        self._base_time, self._factor, self._max_time = base_time, factor, max_time
        self._jitter = jitter
        self._rng = rng

    def new_state(self, now: float) -> _Cooling:
        del now
        return _Cooling()

    def factor(self, backend: B, now: float) -> float:
        """Give 0 while it cools down, else 1.  Raises UnknownBackend."""
        return 0 if max(now, self._now) < self.state_of(backend).until else 1

    def until(self, backend: B) -> float:
        """Give when it opens, ``-inf`` when it was never closed.  Raises UnknownBackend."""
        return self.state_of(backend).until

    def finished(
        self, backend: B, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        """Hear how a request went."""
        cooling = self._members[backend]
        if outcome.retry_after is not None:
            now = self.advance(now)
            self._close(backend, cooling, now, min(outcome.retry_after, self._max_time), "it asked")
        elif outcome.ok is None or started_at < cooling.since:
            return
        elif outcome.ok:
            cooling.failures = cooling.pauses = 0
        else:
            cooling.failures += 1
            if cooling.failures >= self._consecutive_failures:
                now = self.advance(now)
                pause = self._pause(cooling.pauses) * (1 - self._jitter * self._rng.random())
                cooling.pauses += 1
                cooling.failures = 0
                cooling.since = now
                self._close(
                    backend, cooling, now, pause, f"{self._consecutive_failures} failures in a row"
                )

    def _pause(self, pauses: int) -> float:
        try:
            return min(self._base_time * self._factor**pauses, self._max_time)
        except OverflowError:
            return self._max_time

    def _close(self, backend: B, cooling: _Cooling, now: float, pause: float, detail: str) -> None:
        """Close for at least so long; a pause is never cut short."""
        if now + pause > cooling.until:
            if self.timers.get(backend) <= now:
                self.timer_expired(backend, cooling.until)
            if cooling.until <= now:
                self.record_event(backend, True, now, detail)
            cooling.until = now + pause
            self.timers.set(backend, cooling.until)
            self.notify_change(backend)

    def timer_expired(self, backend: B, when: float) -> None:
        self.record_event(backend, False, when)
