"""What the three gates of health are to do, written from their documentation for one backend.

Results since the last change of the state are kept in lists, and counted anew each time.  A list is
replaced and never changed, so that ``copy.copy`` gives an independent oracle.
"""

from math import inf

__all__ = ["ActiveOracle", "HealthOracle", "PassiveOracle"]


def in_a_row(results: list[bool], ok: bool, count: int) -> bool:
    return results[-count:] == [ok] * count


class HealthOracle:
    """``HealthChecks``."""

    def __init__(
        self, fall: int, rise: int, recovery_time: float, promotion: str, initial: str, now: float
    ) -> None:
        self.fall, self.rise, self.recovery_time = fall, rise, recovery_time
        self.promotion = promotion
        self.healthy = initial != "down"
        self.undecided = initial == "unknown"
        self.unproven = initial == "down"
        self.probed = False
        self.recovers_at = inf
        self.begin(self.healthy, now)

    def begin(self, healthy: bool, when: float) -> None:
        """Begin a state without results."""
        self.healthy, self.flipped_at = healthy, when
        self.probes: list[bool] = []
        self.requests: list[bool] = []

    def flip(self, healthy: bool, when: float) -> None:
        self.begin(healthy, when)
        self.undecided = self.unproven = False
        self.recovers_at = inf

    def settle(self, now: float) -> None:
        if self.recovers_at <= now:
            self.flip(True, self.recovers_at)

    def count_probe(self, ok: bool, when: float) -> None:
        self.unproven = False
        self.probes = [*self.probes, ok]
        row = in_a_row(self.probes, not self.healthy, self.fall if self.healthy else self.rise)
        if self.undecided and ok == self.healthy:
            self.undecided, self.probes = False, []
        elif self.undecided or row:
            self.flip(ok, when)

    def observe(self, ok: bool, now: float, started_at: float) -> None:
        self.settle(now)
        if started_at < self.flipped_at:
            return
        self.probed = True
        if self.promotion == "either":
            self.recovers_at = inf
        if self.recovers_at == inf:
            self.count_probe(ok, now)

    def request_ends(self, ok: bool | None, started_at: float, now: float) -> None:
        self.settle(now)
        if ok is None or started_at < self.flipped_at:
            return
        self.requests = [*self.requests, ok]
        if self.healthy and in_a_row(self.requests, False, self.fall):
            self.flip(False, now)
            if self.promotion == "time" or (self.promotion == "either" and not self.probed):
                self.recovers_at = now + self.recovery_time

    @property
    def settled(self) -> bool:
        """Whether the state is known and the last probe agrees with it."""
        return not self.undecided and not in_a_row(self.probes, not self.healthy, 1)


class ActiveOracle(HealthOracle):
    """``ActiveChecks`` without jitter; the first probe is due at once."""

    def __init__(
        self,
        fall: int,
        rise: int,
        promotion: str,
        initial: str,
        now: float,
        times: dict[str, float],
    ) -> None:
        super().__init__(fall, rise, times["recovery_time"], promotion, initial, now)
        self.times = times
        self.next_at = now
        self.sent_at: float | None = None

    def deadline(self) -> float:
        return inf if self.sent_at is None else self.sent_at + self.times["timeout"]

    def settle(self, now: float) -> None:
        if self.deadline() <= now:
            super().settle(self.deadline())
            self.result(False, self.deadline(), now)
        super().settle(now)

    def send(self, now: float) -> int:
        """Return how many probes are sent: one or none."""
        self.settle(now)
        if self.next_at > now:
            return 0
        self.sent_at, self.next_at = now, inf
        return 1

    def answer(self, ok: bool, now: float, sent_at: float) -> None:
        self.settle(now)
        if self.sent_at == sent_at:
            self.result(ok, now, now)

    def result(self, ok: bool, when: float, now: float) -> None:
        assert self.sent_at is not None
        if self.sent_at >= self.flipped_at and self.recovers_at == inf:
            self.count_probe(ok, when)
        name = "interval"
        if not self.settled:
            name = "fast_interval"
        elif not self.healthy and when - self.flipped_at >= self.times["slow_after"]:
            name = "slow_interval"
        self.next_at = max(self.sent_at + self.times[name], now)
        self.sent_at = None


class PassiveOracle:
    """``PassiveChecks``, for one of two members."""

    def __init__(self, max_fails: int, fail_timeout: float, max_trials: int) -> None:
        self.max_fails, self.fail_timeout, self.max_trials = max_fails, fail_timeout, max_trials
        self.failed_at: list[float] = []
        self.paused_until = -inf
        self.on_trial = False
        self.counts_from = -inf
        """Results of requests that started earlier are ignored."""
        self.trials: list[float] = []
        """When the trials in flight started that are counted."""
        self.trials_from = -inf

    def settle(self, now: float) -> None:
        if not self.on_trial and -inf < self.paused_until <= now:
            self.on_trial, self.counts_from = True, self.paused_until
            self.trials_from, self.trials = self.paused_until, []
        if self.on_trial and self.given_up_at() <= now:
            self.trials_from, self.trials = self.given_up_at(), []

    def given_up_at(self) -> float:
        """Return when the trials in flight are no longer counted."""
        full = len(self.trials) >= self.max_trials
        return self.trials[-1] + self.fail_timeout if full else inf

    def closed(self, now: float) -> bool:
        self.settle(now)
        paused = not self.on_trial and self.paused_until > now
        return paused or (self.on_trial and len(self.trials) >= self.max_trials)

    def request_starts(self, now: float) -> None:
        self.settle(now)
        if self.on_trial:
            self.trials = [*self.trials, now]

    def request_ends(self, ok: bool | None, started_at: float, now: float) -> None:
        self.settle(now)
        if started_at < self.counts_from:
            return
        if self.on_trial:
            self.trial_ends(ok, started_at, now)
        elif ok is False and self.paused_until == -inf:
            self.failed_at = [*self.failed_at, now]
            recent = [at for at in self.failed_at if now - at < self.fail_timeout]
            if len(recent) >= self.max_fails:
                self.pause(now)

    def trial_ends(self, ok: bool | None, started_at: float, now: float) -> None:
        if ok is None:
            if self.trials and started_at >= self.trials_from:
                self.trials = self.trials[1:]
        elif ok:
            self.on_trial, self.failed_at, self.paused_until = False, [], -inf
        else:
            self.pause(now)

    def pause(self, now: float) -> None:
        self.on_trial, self.failed_at = False, []
        self.paused_until, self.counts_from = now + self.fail_timeout, now
