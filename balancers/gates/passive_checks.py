"""Checks the health of backends by the outcomes of their requests.

Failed requests close a backend.  A successful trial request opens it again.
"""

from collections import deque
from math import inf

from balancers._internal.checks import LATEST, at_least, checked_callable, duration, valid_now
from balancers._internal.types import B
from balancers.gates.member_gate import MemberGate
from balancers.outcome import SUCCESS, Outcome, Verdict, count_capacity_as_unknown

__all__ = ["PassiveChecks"]


class _PassiveState:
    """Stores the recent failures and the trial requests of one backend.  Times are in seconds.

    ``failures`` contains the times of the last failures, at most ``max_fails`` of them.
    ``ignore_before`` is a time.  The results of requests that started earlier are ignored.
    ``failing`` is True from the beginning of a pause until a trial succeeds.
    ``on_trial`` is True from the end of a pause until a trial succeeds or fails.
    ``trials_since`` is the time from which trials are counted.  Older trials are not counted.
    ``trials_in_flight`` is the number of counted trials that have not ended.
    """

    __slots__ = (
        "failing",
        "failures",
        "ignore_before",
        "on_trial",
        "trials_in_flight",
        "trials_since",
    )

    def __init__(self, max_fails: int, now: float) -> None:
        self.failures: deque[float] = deque(maxlen=max_fails)
        self.ignore_before: float = now
        self.failing: bool = False
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
    * A trial whose result is not counted, for example because it is cancelled, allows one more
      trial.
    * If ``max_trials`` trials are in flight and none of them ends within ``fail_timeout`` seconds
      after the last one started, the gate stops counting them and allows new trials.

    ``verdict`` is a function that returns what the outcome of a request counts as: True for a
    success, False for a failure, None for neither.  By default, an outcome with ``retry_after``
    counts as neither.  The results of requests that started before the end of the last pause are
    ignored.  The gate is soft: the pool ignores it during a panic (when too few members are open).

    The rule and the defaults are from nginx: ``max_fails=1 fail_timeout=10s``.  Like this gate,
    nginx 1.22.1 allows one request after the pause, and never closes a single server.  Here too, a
    backend is open while it is the only member of the pool.  This rule counts all members, also
    those that other gates close or whose weight is 0.  One thing is different.  nginx forgets all
    failures when a request succeeds in a later ``fail_timeout`` period.  Here, each failure is
    forgotten ``fail_timeout`` seconds after it happened.

    The events have two reasons: "failing" is the pause, and "on trial" is the time from the end of
    the pause until a trial succeeds or fails.

    >>> from balancers import Pool, RoundRobin
    >>> pool = Pool(RoundRobin(["a", "b"]), gates=[PassiveChecks(fail_timeout=10.0)])
    >>> pool.release(pool.acquire(now=0.0), now=0.0, ok=False)
    >>> [pool.acquire(now).backend for now in (1.0, 9.9, 10.0, 10.0, 10.0)]
    ['b', 'b', 'a', 'b', 'b']

    Every method is O(1), or O(log n) if a pause begins or a trial is sent.
    Raises InvalidSetting for a count below 1, or a ``fail_timeout`` that is not positive and
    finite.  Raises TypeError if ``verdict`` is not a function.
    """

    reason = "failing"
    soft = True

    def __init__(
        self,
        max_fails: int = 1,
        fail_timeout: float = 10.0,
        max_trials: int = 1,
        *,
        verdict: Verdict = count_capacity_as_unknown,
    ) -> None:
        super().__init__()
        at_least(1, max_fails=max_fails, max_trials=max_trials)
        self._max_fails = max_fails
        self._fail_timeout = duration("fail_timeout", fail_timeout)
        self._max_trials = max_trials
        self._verdict = checked_callable("verdict", verdict)
        self._plain = verdict is count_capacity_as_unknown
        # A backend has a timer exactly while the gate closes it, or would close it if there were
        # other members.

    def new_state(self, now: float) -> _PassiveState:
        return _PassiveState(self._max_fails, now)

    def factor(self, backend: B, now: float) -> float:
        """Return 0 during a pause or while ``max_trials`` trials are in flight, else 1.

        Raises UnknownBackend, InvalidTime.
        """
        self.state_of(backend)
        closed = self.clamp(now) < self.timers.get(backend) < inf
        return 0 if closed and len(self._members) > 1 else 1

    def started(self, backend: B, in_flight: int, now: float) -> None:
        """Called when a request starts.  The request may be a trial.

        The call is ignored if the backend is not a member.  Raises InvalidTime.
        """
        state = self._members.get(backend)
        if state is None:
            return
        quiet = not state.failing and type(now) is float
        if quiet and self._now <= now < self.due and now <= LATEST:
            self._now = now
            return  # nothing else changes; this is faster than the call below
        now = self.settle(now)
        if state.on_trial:
            state.trials_in_flight += 1
            if state.trials_in_flight >= self._max_trials:
                self._close(backend, now)

    def finished(
        self, backend: B, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        """Called when a request ends.  It may have failed, and it may have been a trial.

        The call is ignored if the backend is not a member.  Raises InvalidTime.
        """
        state = self._members.get(backend)
        if state is None:
            return
        if (
            outcome is SUCCESS
            and self._plain
            and not state.failing
            and now.__class__ is started_at.__class__ is float
            and state.ignore_before <= started_at <= now <= LATEST
            and (now <= self._now or now < self.due)
        ):  # no count changes; this is faster than the calls below
            if now > self._now:  # noqa: PLR1730 - a call of max() is slower
                self._now = now
            return
        ok = self._verdict(outcome)
        valid_now(started_at, started_at, "started_at")
        now = self.settle(now)
        if started_at < state.ignore_before:
            return
        if state.on_trial:
            self._end_trial(backend, state, ok, started_at, now)
        elif ok is not None and not ok and not state.failing:
            state.failures.append(now)
            enough = len(state.failures) == self._max_fails
            if enough and now - state.failures[0] < self._fail_timeout:
                self._pause(backend, state, now, f"{self._max_fails} failed")

    def added(self, backend: B, now: float) -> None:
        """Called when a backend joins.  The new member is open."""
        super().added(backend, self.settle(now))
        self._notify_if_two_members()

    def removed(self, backend: B, now: float) -> None:
        """Called when a backend leaves; O(log n)."""
        self.settle(now)
        if backend in self._members:
            self._notify_if_two_members()
        super().removed(backend, now)

    def timer_expired(self, backend: B, when: float) -> None:
        """Allow new trials.

        Either the pause is over, or the trials in flight did not end in time.
        """
        state = self._members[backend]
        if not state.on_trial:
            state.on_trial = True
            state.ignore_before = when
            self.record_event(backend, False, when, "the pause is over")
            self.record_event(backend, True, when, reason="on trial")
        state.trials_since = when
        state.trials_in_flight = 0

    def notify_change(self, backend: B) -> None:
        """Record that the factor has changed.  The factor of an only member never changes."""
        if len(self._members) > 1:
            super().notify_change(backend)

    def __repr__(self) -> str:
        """Show the settings and the number of failing members; O(members)."""
        failing = sum(state.failing for state in self._members.values())
        return (
            f"<PassiveChecks: max_fails {self._max_fails}, fail_timeout {self._fail_timeout} s, "
            f"max_trials {self._max_trials}, "
            f"{failing} of {len(self._members)} closed or on trial>"
        )

    def _notify_if_two_members(self) -> None:
        """Record the closed members as changed if there are two members.

        One of them was the only member before, or is about to be the only member.  It is open as
        the only member.
        """
        if len(self._members) == 2:  # noqa: PLR2004 - two members
            for member in self._members:
                if self.timers.get(member) < inf:
                    self.notify_change(member)

    def _close(self, backend: B, now: float) -> None:
        """Close the backend for ``fail_timeout`` seconds, from ``now``."""
        if self.timers.get(backend) == inf:
            self.notify_change(backend)
        self.timers.set(backend, now + self._fail_timeout)
        self.due: float = min(self.due, now + self._fail_timeout)

    def _open(self, backend: B) -> None:
        if self.timers.get(backend) < inf:
            self.timers.cancel(backend)
            self.notify_change(backend)

    def _pause(self, backend: B, state: _PassiveState, now: float, detail: str) -> None:
        state.failing, state.on_trial = True, False
        state.ignore_before = now
        state.failures.clear()
        self._close(backend, now)
        self.record_event(backend, True, now, detail)

    def _end_trial(
        self, backend: B, state: _PassiveState, ok: bool | None, started_at: float, now: float
    ) -> None:
        """Open the backend if ``ok`` is True, or close it for another pause if ``ok`` is False.

        If ``ok`` is None (not counted), allow one more trial.
        """
        if ok is None:
            if state.trials_in_flight and started_at >= state.trials_since:
                state.trials_in_flight -= 1
                if state.trials_in_flight < self._max_trials:
                    self._open(backend)
            return
        state.on_trial = False
        detail = "the trial succeeded" if ok else "the trial failed"
        self.record_event(backend, False, now, detail, "on trial")
        if ok:
            state.failing = False
            self._open(backend)
        else:
            self._pause(backend, state, now, detail)
