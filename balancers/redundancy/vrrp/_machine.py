"""Defines the transitions and the timers of a virtual router (RFC 9568, section 6.4)."""

from math import inf
from typing import NamedTuple

from balancers._internal.checks import valid_now
from balancers.addresses import Address
from balancers.redundancy.vrrp._packets import DROP_REASONS, NOTICES, Packets
from balancers.redundancy.vrrp.actions import (
    Action,
    Announce,
    Install,
    Send,
    State,
    StateChanged,
    Withdraw,
)
from balancers.redundancy.vrrp.packet import OWNER

__all__ = ["Machine", "Settings"]

_UNITS = 25600


class Settings(NamedTuple):
    """The settings of the election.  ``interval_cs`` is in hundredths of a second."""

    priority: int
    interval_cs: int
    preempt: bool
    preempt_delay: float
    answer_lower: bool


class Machine:
    """Stores the state of a virtual router and changes it.  Times are seconds.

    ``_learned_cs`` is the interval that was learned from the active router, or 0.  ``_resigned``
    is whether the down timer runs for the skew time.  ``_preempt_at`` is the end of the delay of
    the pre-emption, or ``inf`` if no advertisement of a lower priority has started it.
    """

    def __init__(
        self, packets: Packets, addresses: tuple[Address, ...], settings: Settings
    ) -> None:
        self._packets: Packets = packets
        self._addresses: tuple[Address, ...] = addresses
        self._installs: tuple[Install, ...] = tuple(Install(address) for address in addresses)
        self._announces: tuple[Announce, ...] = tuple(Announce(address) for address in addresses)
        self._withdraws: tuple[Withdraw, ...] = tuple(Withdraw(address) for address in addresses)
        self._settings: Settings = settings
        self._advert: tuple[Send, ...] = packets.sends(settings.priority, settings.interval_cs)
        self._drops: dict[str, int] = dict.fromkeys(DROP_REASONS, 0)
        self._notices: dict[str, int] = dict.fromkeys(NOTICES, 0)
        self._latest: float = -inf
        self._state: State = "init"
        self._started: bool = False
        self._link: bool = True
        self._due: float = inf
        self._learned_cs: int = 0
        self._resigned: bool = False
        self._preempt_at: float = inf

    def _advance(self, now: float) -> float:
        self._latest = now = valid_now(now, self._latest)
        return now

    def _down_time(self) -> float:
        """Return the down interval, or the skew time if the active router has resigned."""
        steps = (256 if self._resigned else 1024) - self._settings.priority
        return steps * (self._learned_cs or self._settings.interval_cs) / _UNITS

    def _begin(self, reason: str, now: float) -> tuple[Action, ...]:
        if self._settings.priority == OWNER:
            return self._take_over("owner", now)
        self._wait(now, resigned=False)
        # A process that was killed while it was active may have left the addresses installed.
        return (*self._withdraws, self._enter("backup", reason))

    def _end(self, reason: str, *, resign: bool) -> tuple[Action, ...]:
        if self._state == "init":
            return ()
        active = self._state == "active"
        last = self._packets.sends(0, self._settings.interval_cs) if active and resign else ()
        withdrawn = self._withdraws if active else ()
        self._forget()
        self._due = inf
        return (*last, *withdrawn, self._enter("init", reason))

    def _forget(self) -> None:
        """Forget what was received from the active router."""
        self._learned_cs = 0
        self._resigned = False
        self._preempt_at = inf

    def _enter(self, state: State, reason: str) -> StateChanged:
        before, self._state = self._state, state
        return StateChanged(before, state, reason)

    def _wait(self, now: float, *, resigned: bool) -> None:
        """Restart the down timer."""
        self._resigned = resigned
        self._due = now + self._down_time()

    def _advertise(self, now: float) -> tuple[Send, ...]:
        self._due = now + self._settings.interval_cs / 100
        return self._advert

    def _take_over(self, reason: str, now: float) -> tuple[Action, ...]:
        self._forget()
        return (
            *self._advertise(now),
            *self._installs,
            *self._announces,
            self._enter("active", reason),
        )

    def _receive_as_backup(self, priority: int, interval_cs: int, now: float) -> None:
        if not priority:
            self._wait(now, resigned=True)
            return
        if priority >= self._settings.priority:
            self._preempt_at = inf
        elif not self._keeps_lower(now):
            return
        self._learned_cs = interval_cs
        self._wait(now, resigned=False)

    def _keeps_lower(self, now: float) -> bool:
        """Return whether an active router of a lower priority may stay active for now."""
        priority, _, preempt, delay, _ = self._settings
        if not preempt and priority != OWNER:
            return True
        if not delay or priority == OWNER:
            return False
        if self._preempt_at == inf:
            self._preempt_at = now + delay
        return now < self._preempt_at

    def _receive_as_active(
        self, priority: int, interval_cs: int, source: bytes, now: float
    ) -> tuple[Action, ...]:
        own = self._settings.priority
        if priority > own or (priority == own and source > self._packets.source):
            self._learned_cs = interval_cs
            self._wait(now, resigned=False)
            reason = "higher priority" if priority > own else "higher address"
            return (*self._withdraws, self._enter("backup", reason))
        if not priority:
            return self._advertise(now)
        if self._settings.answer_lower:  # the other one was active, so clients may know its MAC
            return (*self._advertise(now), *self._announces)
        return ()
