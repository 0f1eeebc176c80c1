"""Pauses the traffic of a backend that sends ``Retry-After`` or fails several times in a row."""

from math import inf
from random import Random

from balancers._internal.checks import (
    LATEST,
    at_least,
    check_flags,
    checked_callable,
    checked_rng,
    duration,
    number,
    shown,
    valid_now,
)
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.gates.member_gate import MemberGate
from balancers.outcome import Outcome, Verdict, count_capacity_as_unknown

__all__ = ["CoolDown"]


class _CoolDownState:
    """Stores the failures and pauses of one backend.

    ``failures_in_row`` is the number of failures since the last success or pause after failures.
    ``pauses_in_row`` is the number of pauses after failures since the last success.

    ``ignore_before`` is a time in seconds.  The results of requests that started earlier are
    ignored.
    ``closed_until`` is the time in seconds at which the last pause ends or ended.
    """

    __slots__ = ("closed_until", "failures_in_row", "ignore_before", "pauses_in_row")

    def __init__(self) -> None:
        self.failures_in_row: int = 0
        self.pauses_in_row: int = 0
        self.ignore_before: float = -LATEST
        self.closed_until: float = -inf


class CoolDown(MemberGate[B, _CoolDownState]):
    """Closes a backend for a pause if the backend asks for one, or after failures in a row.

    An ``Outcome`` with ``retry_after`` closes the backend for ``retry_after`` seconds, at most
    ``max_time``.  The value of its ``ok`` has no effect.  Such an outcome means a lack of capacity
    (HTTP 429), so this gate does not count it as a failure.

    ``consecutive_failures`` failures in a row close the backend for ``base_time`` seconds.  Each
    further pause after failures is ``factor`` times as long as the previous one, at most
    ``max_time`` seconds.  After a success, the next pause lasts ``base_time`` again.  Each pause
    after failures is shortened by up to ``jitter`` of its length, a share from 0 to 1.  The exact
    share is sampled from ``rng``.  The results of requests that started before the last pause after
    failures are ignored.  Requests of a backend that is not a member are ignored too.

    ``verdict`` is a function that returns what the outcome of a request counts as: True for a
    success, False for a failure, None for neither.  It is not called for an outcome with
    ``retry_after``.

    The gate is hard: the pool respects it even during a panic (when too few members are open).  A
    closed backend gets no bound requests (requests of sticky sessions) either.  If all backends
    cool down, the pool raises NoBackendAvailable.  Its ``retry_at`` is the time at which the first
    backend opens.  With ``last_resort``, the pool ignores this gate instead, while no member is
    open otherwise.  Every method is O(log n).

    >>> from random import Random
    >>> from balancers import Pool, RoundRobin
    >>> pool = Pool(RoundRobin(["a", "b"]), gates=[CoolDown(rng=Random(1))])
    >>> pool.release(pool.acquire(now=0.0), now=1.0, ok=False, retry_after=30.0)
    >>> [pool.acquire(now).backend for now in (2.0, 30.0, 31.0, 31.0)]
    ['b', 'b', 'a', 'b']

    Raises InvalidSetting for ``consecutive_failures`` below 1, a time that is not positive and
    finite, a ``base_time`` above ``max_time``, a ``factor`` that is below 1 or not finite, or a
    ``jitter`` outside 0…1.  Raises TypeError unless ``rng`` is a ``random.Random`` and ``verdict``
    is a function.
    """

    reason = "cooling down"

    def __init__(
        self,
        consecutive_failures: int = 5,
        base_time: float = 1.0,
        factor: float = 2.0,
        max_time: float = 60.0,
        jitter: float = 0.2,
        last_resort: bool = False,
        *,
        rng: Random,
        verdict: Verdict = count_capacity_as_unknown,
    ) -> None:
        super().__init__()
        at_least(1, consecutive_failures=consecutive_failures)
        self._rng = checked_rng(rng)
        if duration("base_time", base_time) > duration("max_time", max_time):
            raise InvalidSetting(
                f"base_time must be at most max_time, {shown(max_time)}, not {shown(base_time)}"
            )
        if not 1 <= number("factor", factor) < inf:
            raise InvalidSetting(f"factor must be finite, 1 or more, not {shown(factor)}")
        if not 0 <= number("jitter", jitter) <= 1:
            raise InvalidSetting(f"jitter must be 0 to 1, not {shown(jitter)}")
        self._consecutive_failures = consecutive_failures
        self._base_time, self._factor, self._max_time = base_time, factor, max_time
        self._jitter = jitter
        self._verdict = checked_callable("verdict", verdict)
        self._plain = verdict is count_capacity_as_unknown
        check_flags(last_resort=last_resort)
        self.last_resort: bool = last_resort
        """Whether the pool ignores this gate while no member is open otherwise."""

    def new_state(self, now: float) -> _CoolDownState:
        del now
        return _CoolDownState()

    def factor(self, backend: B, now: float) -> float:
        """Return 0 while the backend cools down, else 1.  Raises UnknownBackend, InvalidTime."""
        return 0 if self.clamp(now) < self.state_of(backend).closed_until else 1

    def until(self, backend: B) -> float:
        """Return the time in seconds at which the last pause ends or ended.

        Return ``-inf`` if the backend had no pause.

        Raises UnknownBackend.
        """
        return self.state_of(backend).closed_until

    def finished(
        self, backend: B, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        """Called when a request ends."""
        state = self._members.get(backend)
        if state is None:
            return
        known = type(now) is type(started_at) is float  # the usual case, checked without a call
        if not (known and state.ignore_before <= started_at <= now <= LATEST):
            started_at, now = valid_now(started_at, -inf, "started_at"), self.clamp(now)
        if outcome.retry_after is not None:
            now = self.advance(now)
            pause = min(outcome.retry_after, self._max_time)
            self._close(backend, state, now, pause, "retry_after")
            return
        ok = outcome.ok if self._plain else self._verdict(outcome)
        if ok is None or started_at < state.ignore_before:
            return
        if ok:
            state.failures_in_row = state.pauses_in_row = 0
        else:
            state.failures_in_row += 1
            if state.failures_in_row >= self._consecutive_failures:
                now = self.advance(now)
                pause = self._pause(state.pauses_in_row) * (1 - self._jitter * self._rng.random())
                state.pauses_in_row += 1
                state.failures_in_row = 0
                state.ignore_before = now
                detail = f"{self._consecutive_failures} failures in a row"
                self._close(backend, state, now, pause, detail)

    def timer_expired(self, backend: B, when: float) -> None:
        self.record_event(backend, False, when)

    def __repr__(self) -> str:
        """Show the settings and the number of closed members; O(members)."""
        last_resort = ", last_resort" if self.last_resort else ""
        closed = sum(self._now < state.closed_until for state in self._members.values())
        return (
            f"<CoolDown: consecutive_failures {self._consecutive_failures}, "
            f"{self._base_time} to {self._max_time} s{last_resort}, "
            f"{closed} of {len(self._members)} closed>"
        )

    def _pause(self, pauses_in_row: int) -> float:
        """Return the length of the next pause in seconds, without jitter."""
        try:
            return min(self._base_time * float(self._factor) ** pauses_in_row, self._max_time)
        except OverflowError:
            return self._max_time

    def _close(
        self, backend: B, state: _CoolDownState, now: float, pause: float, detail: str
    ) -> None:
        """Close the backend for ``pause`` seconds, unless it is already closed for longer."""
        if now + pause > state.closed_until:
            if self.timers.get(backend) <= now:  # the end of the last pause is not recorded yet
                self.timer_expired(backend, state.closed_until)
            if state.closed_until <= now:
                self.record_event(backend, True, now, detail)
            state.closed_until = now + pause
            self.timers.set(backend, state.closed_until)
            self.notify_change(backend)
