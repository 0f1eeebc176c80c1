"""Passive marking: requests that fail close a backend, and a few on trial open it again."""

from collections import deque

from balancers._internal.checks import at_least, duration
from balancers._internal.types import B
from balancers.gates.member_gate import MemberGate
from balancers.outcome import Outcome

__all__ = ["PassiveChecks"]


class _Marks:
    __slots__ = ("failures", "on_trial", "round_at", "trials", "turned_at")

    def __init__(self, max_fails: int, now: float) -> None:
        self.failures: deque[float] = deque(maxlen=max_fails)
        self.turned_at = now  # what began earlier tells of the time before
        self.on_trial = False
        self.round_at = now  # when trials were last let through anew
        self.trials = 0  # of this round, sent and not heard of


class PassiveChecks(MemberGate[B, _Marks]):
    """Closed for ``fail_timeout`` seconds after ``max_fails`` failures within as long.

    After the pause at most ``max_trials`` requests are let through, and no more until one is heard of:
    a success opens, a failure closes for another pause, a cancelled one lets another try.  Trials
    that nobody reports are given up ``fail_timeout`` seconds after the last of them.  Only trials
    promote.  Requests that began before a pause count nowhere, nor do those with ``retry_after``.
    Soft: panic ignores it.  The only member is never closed.

    The numbers are nginx's, ``max_fails=1 fail_timeout=10s``; nginx 1.22.1 too lets one request
    through after the pause, and spares a single server.  It forgets failures by a success in a
    later ``fail_timeout``; here each is forgotten ``fail_timeout`` seconds after it.

    >>> from balancers import Pool, RoundRobin
    >>> pool = Pool(RoundRobin(["a", "b"]), gates=[PassiveChecks(fail_timeout=10.0)])
    >>> pool.release(pool.acquire(now=0.0), now=0.0, ok=False)
    >>> [pool.acquire(now).backend for now in (1.0, 9.9, 10.0, 10.0, 10.0)]
    ['b', 'b', 'a', 'b', 'b']

    Every method is O(1), or O(log n) where a pause begins or a trial is sent.
    Raises InvalidSetting for counts below 1 or a time that is not positive.
    """

    reason = "failing"
    soft = True

    def __init__(self, max_fails: int = 1, fail_timeout: float = 10.0, max_trials: int = 1) -> None:
        super().__init__()
        at_least(1, max_fails=max_fails, max_trials=max_trials)
        self._max_fails = max_fails
        self._fail_timeout = duration("fail_timeout", fail_timeout)
        self._max_trials = max_trials
        self._marked: dict[B, None] = {}  # in a pause or on trial

    def new_state(self, now: float) -> _Marks:
        return _Marks(self._max_fails, now)

    def factor(self, backend: B, now: float) -> float:
        """Give 0 in a pause, and while all trials are out; else 1.  Raises UnknownBackend."""
        marks = self.state_of(backend)
        if backend not in self._marked or len(self._members) == 1:
            return 1
        tried = marks.on_trial and marks.trials < self._max_trials
        return 1 if tried or self.timers.get(backend) <= now else 0

    def started(self, backend: B, in_flight: int, now: float) -> None:
        """Hear of a request, which may be a trial."""
        if backend in self._marked and self._members[backend].on_trial:
            marks = self._members[backend]
            marks.trials += 1
            if marks.trials >= self._max_trials:
                self.timers.set(backend, self.advance(now) + self._fail_timeout)
                self.notify_change(backend)

    def finished(
        self, backend: B, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        """Hear how a request went."""
        if outcome.ok and backend not in self._marked:
            return
        marks = self._members[backend]
        now = self.advance(now)
        when = self.timers.get(backend)
        if when <= now:
            self.timers.cancel(backend)
            self.timer_expired(backend, when)
        if started_at < marks.turned_at:
            return
        known = outcome.ok is not None and outcome.retry_after is None
        if marks.on_trial:
            self._judge(backend, marks, outcome.ok if known else None, started_at, now)
        elif known and not outcome.ok and backend not in self._marked:
            marks.failures.append(now)
            enough = len(marks.failures) == self._max_fails
            if enough and now - marks.failures[0] < self._fail_timeout:
                self._pause(backend, marks, now, f"{self._max_fails} failed")

    def added(self, backend: B, now: float) -> None:
        """Hear of a new member: open."""
        super().added(backend, now)
        self._tell_marked_if(members=2)

    def removed(self, backend: B, now: float) -> None:
        """Forget the member; O(log n)."""
        self._marked.pop(backend, None)
        super().removed(backend, now)
        self._tell_marked_if(members=1)

    def _tell_marked_if(self, members: int) -> None:
        """Have those asked again of whom one is alone now, or no more."""
        if len(self._members) == members:
            for backend in self._marked:
                self.notify_change(backend)

    def _pause(self, backend: B, marks: _Marks, now: float, detail: str) -> None:
        self._marked[backend] = None
        marks.on_trial = False
        marks.turned_at = now
        marks.failures.clear()
        self.timers.set(backend, now + self._fail_timeout)
        self.notify_change(backend)
        self.record_event(backend, True, now, detail)

    def _judge(
        self, backend: B, marks: _Marks, ok: bool | None, started_at: float, now: float
    ) -> None:
        """Hear how a trial went."""
        if ok:
            del self._marked[backend]
            marks.on_trial = False
            self.timers.cancel(backend)
            self.notify_change(backend)
            self.record_event(backend, False, now, "the trial succeeded")
        elif ok is not None:
            self._pause(backend, marks, now, "the trial failed")
        elif marks.trials and started_at >= marks.round_at:
            marks.trials -= 1
            self.timers.cancel(backend)
            self.notify_change(backend)

    def timer_expired(self, backend: B, when: float) -> None:
        """Let trials through: the pause is over, or those sent were given up."""
        marks = self._members[backend]
        if not marks.on_trial:
            marks.on_trial = True
            marks.turned_at = when
            self.record_event(backend, False, when, "on trial")
        marks.round_at = when
        marks.trials = 0
        self.notify_change(backend)
