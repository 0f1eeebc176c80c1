"""Passive health checks: failed requests close a backend, and trial requests open it again."""

from collections import deque

from balancers._internal.checks import at_least, duration
from balancers._internal.types import B
from balancers.gates.member_gate import MemberGate
from balancers.outcome import Outcome

__all__ = ["PassiveChecks"]


class _PassiveState:
    """One backend: its recent failures, and its trials; times are in seconds.

    ``failures``: when the last ``max_fails`` requests failed.
    ``ignore_before``: the results of requests that started earlier are ignored.
    ``on_trial``: whether the pause is over, and trials decide.
    ``trials_since``: when trials were last allowed anew; an earlier one was given up.
    ``trials_in_flight``: how many were sent since then and have not ended.
    """

    __slots__ = ("failures", "ignore_before", "on_trial", "trials_in_flight", "trials_since")

    def __init__(self, max_fails: int, now: float) -> None:
        self.failures: deque[float] = deque(maxlen=max_fails)
        self.ignore_before = now
        self.on_trial = False
        self.trials_since = now
        self.trials_in_flight = 0


class PassiveChecks(MemberGate[B, _PassiveState]):
    """Closed for ``fail_timeout`` seconds after ``max_fails`` failures within ``fail_timeout``.

    After this pause the backend is on trial: at most ``max_trials`` requests are let through until
    one of them ends.  A trial that succeeds opens the backend.  One that fails closes it for
    another pause.  One that is cancelled allows another trial.  Trials that do not end are
    given up ``fail_timeout`` seconds after the last of them started.  Only trials promote.

    Outcomes with ``retry_after`` are ignored, and so are the results of requests that started
    before the pause.  Soft: a panic ignores it.  The only member of a pool is never closed.

    The rule and the defaults are nginx's, ``max_fails=1 fail_timeout=10s``.  nginx 1.22.1, too,
    lets one request through after the pause, and never closes a single server.  It resets its count
    of failures by a success in a later ``fail_timeout``; here each failure counts for
    ``fail_timeout`` seconds.

    >>> from balancers import Pool, RoundRobin
    >>> pool = Pool(RoundRobin(["a", "b"]), gates=[PassiveChecks(fail_timeout=10.0)])
    >>> pool.release(pool.acquire(now=0.0), now=0.0, ok=False)
    >>> [pool.acquire(now).backend for now in (1.0, 9.9, 10.0, 10.0, 10.0)]
    ['b', 'b', 'a', 'b', 'b']

    Every method is O(1), or O(log n) if a pause begins or a trial is sent.
    Raises InvalidSetting for counts below 1, or a time that is not positive and finite.
    """

    reason = "failing"
    soft = True

    def __init__(self, max_fails: int = 1, fail_timeout: float = 10.0, max_trials: int = 1) -> None:
        super().__init__()
        at_least(1, max_fails=max_fails, max_trials=max_trials)
        self._max_fails = max_fails
        self._fail_timeout = duration("fail_timeout", fail_timeout)
        self._max_trials = max_trials
        self._failing: dict[B, None] = {}  # in a pause or on trial

    def new_state(self, now: float) -> _PassiveState:
        return _PassiveState(self._max_fails, now)

    def factor(self, backend: B, now: float) -> float:
        """Return 0 in a pause, and while ``max_trials`` trials are in flight; else 1.

        Raises UnknownBackend.
        """
        state = self.state_of(backend)
        if backend not in self._failing or len(self._members) == 1:
            return 1
        may_try = state.on_trial and state.trials_in_flight < self._max_trials
        return 1 if may_try or self.timers.get(backend) <= now else 0

    def started(self, backend: B, in_flight: int, now: float) -> None:
        """Called when a request starts: it may be a trial."""
        if backend in self._failing and self._members[backend].on_trial:
            state = self._members[backend]
            state.trials_in_flight += 1
            if state.trials_in_flight >= self._max_trials:
                self.timers.set(backend, self.advance(now) + self._fail_timeout)
                self.notify_change(backend)

    def finished(
        self, backend: B, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        """Called when a request ends: it may be a failure, or a trial."""
        if outcome.ok and backend not in self._failing:
            return
        state = self._members[backend]
        now = self.advance(now)
        when = self.timers.get(backend)
        if when <= now:
            self.timers.cancel(backend)
            self.timer_expired(backend, when)
        if started_at < state.ignore_before:
            return
        known = outcome.ok is not None and outcome.retry_after is None
        if state.on_trial:
            self._end_trial(backend, state, outcome.ok if known else None, started_at, now)
        elif known and not outcome.ok and backend not in self._failing:
            state.failures.append(now)
            enough = len(state.failures) == self._max_fails
            if enough and now - state.failures[0] < self._fail_timeout:
                self._pause(backend, state, now, f"{self._max_fails} failed")

    def added(self, backend: B, now: float) -> None:
        """Called when a backend joins: it is open."""
        super().added(backend, now)
        self._notify_failing_if(members=2)

    def removed(self, backend: B, now: float) -> None:
        """Called when a backend leaves; O(log n)."""
        self._failing.pop(backend, None)
        super().removed(backend, now)
        self._notify_failing_if(members=1)

    def timer_expired(self, backend: B, when: float) -> None:
        """Allow trials: the pause is over, or the trials in flight are given up."""
        state = self._members[backend]
        if not state.on_trial:
            state.on_trial = True
            state.ignore_before = when
            self.record_event(backend, False, when, "on trial")
        state.trials_since = when
        state.trials_in_flight = 0
        self.notify_change(backend)

    def __repr__(self) -> str:
        return (
            f"<PassiveChecks: max_fails {self._max_fails}, fail_timeout {self._fail_timeout} s, "
            f"max_trials {self._max_trials}, "
            f"{len(self._failing)} of {len(self._members)} closed or on trial>"
        )

    def _notify_failing_if(self, members: int) -> None:
        """Notify of failing backends if one of them became, or was, the only member."""
        if len(self._members) == members:
            for backend in self._failing:
                self.notify_change(backend)

    def _pause(self, backend: B, state: _PassiveState, now: float, detail: str) -> None:
        self._failing[backend] = None
        state.on_trial = False
        state.ignore_before = now
        state.failures.clear()
        self.timers.set(backend, now + self._fail_timeout)
        self.notify_change(backend)
        self.record_event(backend, True, now, detail)

    def _end_trial(
        self, backend: B, state: _PassiveState, ok: bool | None, started_at: float, now: float
    ) -> None:
        """Open the backend, close it for another pause, or (``ok`` is None) allow another trial."""
        if ok:
            del self._failing[backend]
            state.on_trial = False
            self.timers.cancel(backend)
            self.notify_change(backend)
            self.record_event(backend, False, now, "the trial succeeded")
        elif ok is not None:
            self._pause(backend, state, now, "the trial failed")
        elif state.trials_in_flight and started_at >= state.trials_since:
            state.trials_in_flight -= 1
            self.timers.cancel(backend)
            self.notify_change(backend)
