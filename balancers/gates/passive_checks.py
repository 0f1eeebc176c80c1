"""Checks the health of backends by the outcomes of their requests.

Failed requests close a backend.  A successful trial request opens it again.
"""

from collections import deque

from balancers._internal.checks import at_least, duration
from balancers._internal.types import B
from balancers.gates.member_gate import MemberGate
from balancers.outcome import Outcome

__all__ = ["PassiveChecks"]


class _PassiveState:
    """Stores the recent failures and the trial requests of one backend.  Times are in seconds.

    ``failures`` contains the times of the last failures, at most ``max_fails`` of them.
    ``ignore_before`` is a time.  The results of requests that started earlier are ignored.
    ``on_trial`` is True from the end of a pause until a trial succeeds or fails.
    ``trials_since`` is the time from which trials are counted.  Older trials are not counted.
    ``trials_in_flight`` is the number of counted trials that have not ended.
    """

    __slots__ = ("failures", "ignore_before", "on_trial", "trials_in_flight", "trials_since")

    def __init__(self, max_fails: int, now: float) -> None:
        self.failures: deque[float] = deque(maxlen=max_fails)
        self.ignore_before: float = now
        self.on_trial: bool = False
        self.trials_since: float = now
        self.trials_in_flight: int = 0


class PassiveChecks(MemberGate[B, _PassiveState]):
    """Closes a backend after failed requests, and opens it after a successful trial request.

    If ``max_fails`` requests fail within ``fail_timeout`` seconds, the backend is closed for a
    pause.  The pause also lasts ``fail_timeout`` seconds.  After the pause, the backend is on
    trial: the gate allows at most ``max_trials`` requests in flight, which are called trials.

    * A trial that succeeds opens the backend.  This is the only way to open it.
    * A trial that fails closes the backend for another pause.
    * A trial that is cancelled allows one more trial.
    * If ``max_trials`` trials are in flight and none of them ends within ``fail_timeout`` seconds
      after the last one started, the gate stops counting them and allows new trials.

    An outcome with ``retry_after`` counts neither as a success nor as a failure.  The results of
    requests that started before the end of the last pause are ignored.  The gate is soft: the pool
    ignores it during a panic (when too few members are open).  The only member of a pool is never
    closed.

    The rule and the defaults are from nginx: ``max_fails=1 fail_timeout=10s``.  Like this gate,
    nginx 1.22.1 allows one request after the pause, and never closes a single server.  One thing is
    different.  nginx forgets all failures when a request succeeds in a later ``fail_timeout``
    period.  Here, each failure is forgotten ``fail_timeout`` seconds after it happened.

    >>> from balancers import Pool, RoundRobin
    >>> pool = Pool(RoundRobin(["a", "b"]), gates=[PassiveChecks(fail_timeout=10.0)])
    >>> pool.release(pool.acquire(now=0.0), now=0.0, ok=False)
    >>> [pool.acquire(now).backend for now in (1.0, 9.9, 10.0, 10.0, 10.0)]
    ['b', 'b', 'a', 'b', 'b']

    Every method is O(1), or O(log n) if a pause begins or a trial is sent.
    Raises InvalidSetting for a count below 1, or a ``fail_timeout`` that is not positive and
    finite.
    """

    reason = "failing"
    soft = True

    def __init__(self, max_fails: int = 1, fail_timeout: float = 10.0, max_trials: int = 1) -> None:
        super().__init__()
        at_least(1, max_fails=max_fails, max_trials=max_trials)
        self._max_fails = max_fails
        self._fail_timeout = duration("fail_timeout", fail_timeout)
        self._max_trials = max_trials
        self._failing: dict[B, None] = {}  # backends in a pause or on trial

    def new_state(self, now: float) -> _PassiveState:
        return _PassiveState(self._max_fails, now)

    def factor(self, backend: B, now: float) -> float:
        """Return 0 during a pause or while ``max_trials`` trials are in flight, else 1.

        Raises UnknownBackend.
        """
        state = self.state_of(backend)
        if backend not in self._failing or len(self._members) == 1:
            return 1
        may_try = state.on_trial and state.trials_in_flight < self._max_trials
        return 1 if may_try or self.timers.get(backend) <= now else 0

    def started(self, backend: B, in_flight: int, now: float) -> None:
        """Called when a request starts.  The request may be a trial."""
        if backend in self._failing and self._members[backend].on_trial:
            state = self._members[backend]
            state.trials_in_flight += 1
            if state.trials_in_flight >= self._max_trials:
                self.timers.set(backend, self.advance(now) + self._fail_timeout)
                self.notify_change(backend)

    def finished(
        self, backend: B, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        """Called when a request ends.  It may have failed, and it may have been a trial."""
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
        """Called when a backend joins.  The new member is open."""
        super().added(backend, now)
        self._notify_failing_if(members=2)

    def removed(self, backend: B, now: float) -> None:
        """Called when a backend leaves; O(log n)."""
        self._failing.pop(backend, None)
        super().removed(backend, now)
        self._notify_failing_if(members=1)

    def timer_expired(self, backend: B, when: float) -> None:
        """Allow new trials.

        Either the pause is over, or the trials in flight did not end in time.
        """
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
        """Record the failing backends as changed if the pool has this number of members.

        The only member of a pool is always open.  Its factor may therefore change when a second
        member joins, or when it becomes the only member because all others have left.
        """
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
        """Open the backend if ``ok`` is True, or close it for another pause if ``ok`` is False.

        If ``ok`` is None (unknown), allow one more trial.
        """
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
