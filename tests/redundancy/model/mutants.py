"""Wrong routers.  The model check must find each of them."""

from balancers.redundancy.vrrp import Action, Datagram, Send, VirtualRouter, Withdraw

__all__ = ["MUTANTS"]


class RejectedRestartsTimer(VirtualRouter):
    """A rejected packet restarts the timer of the active router, as in keepalived 2.2.7."""

    def receive(self, datagram: Datagram, now: float) -> tuple[Action, ...]:
        dropped = sum(self.drops.values())
        actions = super().receive(datagram, now)
        if self.state == "active" and sum(self.drops.values()) > dropped:
            self._due = now + self.interval
        return actions


class PreemptOffWhileActive(VirtualRouter):
    """Without pre-emption, an active router does not yield to a higher priority."""

    def _receive_as_active(
        self, priority: int, interval_cs: int, source: bytes, now: float
    ) -> tuple[Action, ...]:
        if not self._settings.preempt and priority:
            return ()
        return super()._receive_as_active(priority, interval_cs, source, now)


class PreemptsAlways(VirtualRouter):
    """A backup replaces a lower active router although it does not pre-empt."""

    def _keeps_lower(self, now: float) -> bool:
        return False


class LowerRestartsTimer(VirtualRouter):
    """Advertisements of a lower priority restart the down timer of a backup that pre-empts."""

    def _keeps_lower(self, now: float) -> bool:
        return True


class Bursts(VirtualRouter):
    """A late timer restarts from the time that it missed, so it fires several times in a row."""

    def tick(self, now: float) -> tuple[Action, ...]:
        due, was_active = self.due, self.state == "active"
        actions = super().tick(now)
        if actions and was_active:
            self._due = due + self.interval
        return actions


class LowerAddressWins(VirtualRouter):
    """Of two routers with the same priority, the one with the lower address stays active."""

    def _receive_as_active(
        self, priority: int, interval_cs: int, source: bytes, now: float
    ) -> tuple[Action, ...]:
        turned = bytes(4) if source > self._packets.source else b"\xff" * 4
        return super()._receive_as_active(priority, interval_cs, turned, now)


class TieForEver(VirtualRouter):
    """Of two routers with the same priority, both stay active."""

    def _receive_as_active(
        self, priority: int, interval_cs: int, source: bytes, now: float
    ) -> tuple[Action, ...]:
        return super()._receive_as_active(priority, interval_cs, bytes(4), now)


class BothYield(VirtualRouter):
    """Of two routers with the same priority, both yield."""

    def _receive_as_active(
        self, priority: int, interval_cs: int, source: bytes, now: float
    ) -> tuple[Action, ...]:
        return super()._receive_as_active(priority, interval_cs, b"\xff" * 4, now)


class IgnoresLearned(VirtualRouter):
    """A backup uses its own interval instead of that of the active router."""

    def _receive_as_backup(self, priority: int, interval_cs: int, now: float) -> None:
        super()._receive_as_backup(priority, self._settings.interval_cs, now)


class NoSkew(VirtualRouter):
    """The down interval is three intervals, without the skew time."""

    def _down_time(self) -> float:
        return 3 * self.active_interval if not self._resigned else super()._down_time()


class IgnoresResignation(VirtualRouter):
    """A backup ignores an advertisement with the priority 0."""

    def _receive_as_backup(self, priority: int, interval_cs: int, now: float) -> None:
        if priority:
            super()._receive_as_backup(priority, interval_cs, now)


class TakesOverAtOnce(VirtualRouter):
    """A backup becomes active when the active router resigns, without the skew time."""

    def _down_time(self) -> float:
        return 0.0 if self._resigned else super()._down_time()


class KeepsAddress(VirtualRouter):
    """A router that yields leaves the address installed."""

    def receive(self, datagram: Datagram, now: float) -> tuple[Action, ...]:
        actions = super().receive(datagram, now)
        return tuple(action for action in actions if type(action) is not Withdraw)


class LearnsWhileActive(VirtualRouter):
    """An active router sends at the interval of a lower router that it has received."""

    def _receive_as_active(
        self, priority: int, interval_cs: int, source: bytes, now: float
    ) -> tuple[Action, ...]:
        actions = super()._receive_as_active(priority, interval_cs, source, now)
        if self.state == "active":
            self._due = now + interval_cs / 100
        return actions


class SilentRestart(VirtualRouter):
    """A lower advertisement restarts the timer of the active router, which sends nothing."""

    def _receive_as_active(
        self, priority: int, interval_cs: int, source: bytes, now: float
    ) -> tuple[Action, ...]:
        actions = super()._receive_as_active(priority, interval_cs, source, now)
        if self.state == "active":
            self._due = now + self.interval
            return tuple(action for action in actions if type(action) is not Send)
        return actions


MUTANTS: dict[type[VirtualRouter], tuple[str, int]] = {
    RejectedRestartsTimer: ("different priorities", 1),
    PreemptOffWhileActive: ("no pre-emption", 1),
    PreemptsAlways: ("no pre-emption", 2),
    LowerRestartsTimer: ("different priorities", 2),
    Bursts: ("different priorities", 2),
    LowerAddressWins: ("equal priorities", 0),
    TieForEver: ("equal priorities", 3),
    BothYield: ("equal priorities", 0),
    IgnoresLearned: ("different intervals", 1),
    NoSkew: ("different priorities", 0),
    IgnoresResignation: ("different priorities", 1),
    TakesOverAtOnce: ("different priorities", 1),
    KeepsAddress: ("different priorities", 1),
    LearnsWhileActive: ("different intervals", 2),
    SilentRestart: ("different priorities", 1),
}
"""The scenario in which each is found, and the number of events that this needs."""
