"""An independent model of a virtual router: the tables of RFC 9568, section 6.4, in exact time.

It gets the fields of valid packets and returns its actions as text.
"""

from fractions import Fraction

__all__ = ["PlainRouter"]


class PlainRouter:
    """One state of the tables is one method."""

    def __init__(
        self,
        source: int,
        priority: int,
        interval_cs: int,
        preempt: bool,
        delay: Fraction,
        answers: bool,
    ) -> None:
        self.source, self.priority, self.own_cs = source, priority, interval_cs
        self.preempt, self.delay, self.answers = preempt, delay, answers
        self.state = "init"
        self.wanted, self.carrier = False, True
        self.adver_timer: Fraction | None = None
        self.down_timer: Fraction | None = None
        self.active_cs = interval_cs
        self.is_learned = False
        self.shortened = False
        self.lower_since: Fraction | None = None

    @property
    def skew(self) -> Fraction:
        return Fraction(256 - self.priority, 256) * self.active_cs / 100

    @property
    def down(self) -> Fraction:
        return 3 * Fraction(self.active_cs, 100) + self.skew

    @property
    def timer(self) -> Fraction | None:
        return self.adver_timer if self.state == "active" else self.down_timer

    def startup(self, now: Fraction) -> list[str]:
        if self.wanted:
            return []
        self.wanted = True
        return self._initialize(now)

    def shutdown(self) -> list[str]:
        self.wanted = False
        actions = ["send 0", "withdraw"] if self.state == "active" else []
        return actions + self._stop()

    def link(self, up: bool, now: Fraction) -> list[str]:
        if up == self.carrier:
            return []
        self.carrier = up
        if up:
            return self._initialize(now)
        return (["withdraw"] if self.state == "active" else []) + self._stop()

    def tick(self, now: Fraction) -> list[str]:
        if self.timer is None or now < self.timer:
            return []
        return self._become_active(now) if self.state == "backup" else self._advertise(now)

    def change(self, now: Fraction, priority: int, interval_cs: int) -> list[str]:
        before = self.skew if self.shortened else self.down
        waits = self.state == "backup" and self.down_timer is not None and now < self.down_timer
        self.priority, self.own_cs = priority, interval_cs
        if not self.is_learned:
            self.active_cs = interval_cs
        if waits and self.down_timer is not None:
            self.down_timer += (self.skew if self.shortened else self.down) - before
        return self._advertise(now) if self.state == "active" else []

    def advert(self, now: Fraction, priority: int, interval_cs: int, source: int) -> list[str]:
        if self.state == "backup":
            self._hear(now, priority, interval_cs)
            return []
        if priority == 0:
            return self._advertise(now)
        if (priority, source) > (self.priority, self.source):
            self.adver_timer = None
            self._learn(interval_cs)
            self.down_timer = now + self.down
            self.state = "backup"
            return ["withdraw", "active to backup"]
        return [*self._advertise(now), "announce"] if self.answers else []

    def _hear(self, now: Fraction, priority: int, interval_cs: int) -> None:
        if priority == 0:
            self.shortened = True
            self.down_timer = now + self.skew
            return
        if priority >= self.priority:
            self.lower_since = None
        elif self.priority == 255:
            return
        elif self.preempt:
            if self.delay and self.lower_since is None:
                self.lower_since = now
            if self.lower_since is None or now >= self.lower_since + self.delay:
                return
        self.shortened = False
        self._learn(interval_cs)
        self.down_timer = now + self.down

    def _learn(self, interval_cs: int) -> None:
        self.active_cs, self.is_learned = interval_cs, True

    def _initialize(self, now: Fraction) -> list[str]:
        if not self.wanted or not self.carrier:
            return []
        if self.priority == 255:
            return self._become_active(now)
        self.active_cs, self.is_learned = self.own_cs, False
        self.down_timer = now + self.down
        self.state = "backup"
        return ["withdraw", "init to backup"]

    def _become_active(self, now: Fraction) -> list[str]:
        before, self.state = self.state, "active"
        self._clear()
        return [*self._advertise(now), "install", "announce", f"{before} to active"]

    def _stop(self) -> list[str]:
        if self.state == "init":
            return []
        before, self.state = self.state, "init"
        self._clear()
        return [f"{before} to init"]

    def _clear(self) -> None:
        self.adver_timer = self.down_timer = self.lower_since = None
        self.shortened = self.is_learned = False
        self.active_cs = self.own_cs

    def _advertise(self, now: Fraction) -> list[str]:
        self.adver_timer = now + Fraction(self.own_cs, 100)
        return [f"send {self.priority} {self.own_cs}"]
