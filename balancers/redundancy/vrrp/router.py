"""Decides which of several routers is active for virtual addresses (RFC 9568, section 6)."""

from collections.abc import Iterable, Mapping
from math import inf
from types import MappingProxyType

from balancers._internal.checks import (
    check_flags,
    not_negative,
    shown,
    valid_now,
)
from balancers.addresses import Address
from balancers.errors import InvalidSetting
from balancers.redundancy.vrrp._machine import Machine, Settings
from balancers.redundancy.vrrp._packets import Packets
from balancers.redundancy.vrrp._settings import checked_address, checked_addresses, checked_peers
from balancers.redundancy.vrrp.actions import Action, State
from balancers.redundancy.vrrp.announcements import virtual_mac
from balancers.redundancy.vrrp.packet import Checksum, Datagram
from balancers.redundancy.vrrp.snapshot import RouterSnapshot
from balancers.redundancy.vrrp.timers import centiseconds, checked_priority

__all__ = ["VirtualRouter"]


class VirtualRouter(Machine):
    """One of the routers that share virtual addresses.  One of them, the active router, has them.

    The caller owns the socket and the clock.  It calls a method for each event and executes the
    returned actions in their order: :class:`Send`, :class:`Install`, :class:`Announce`,
    :class:`Withdraw` and :class:`StateChanged`.  It calls :meth:`tick` at the time :attr:`due`.
    All times are seconds.  A time that is earlier than the latest one counts as the latest one.

    ``vrid`` is the number of the virtual router, 1 to 255.  ``addresses`` are the virtual
    addresses, and ``source`` is the real address of this router.  For IPv6, the first virtual
    address must be link-local, and without ``peers`` also ``source``.  The router with the highest
    ``priority`` becomes active, 1 to 254, or 255 for the router that owns the addresses.  The
    active router sends an advertisement each ``interval`` seconds, a multiple of 0.01 up to 40.95.

    Without ``preempt``, a backup does not replace an active router of a lower priority.  The owner
    always does.  A backup waits for ``preempt_delay`` seconds before it begins to do so.

    ``checksum`` says which checksums of IPv4 are sent and accepted (see :func:`encode`).  With
    ``answer_lower``, an active router answers an advertisement that does not win by its own at
    once (RFC 9568), and announces its addresses again, because hosts may have learned the MAC of
    the other router; without, it is silent (RFC 5798).  With ``peers``, the router sends a copy to
    each of these addresses instead of the multicast group, and accepts packets only from them.

    >>> router = VirtualRouter(51, ["10.77.0.100"], "10.77.0.1", priority=150)
    >>> for action in router.startup(now=0.0):
    ...     print(action)
    Withdraw(address=IPv4Address('10.77.0.100'))
    StateChanged(before='init', after='backup', reason='startup')
    >>> router.due
    3.4140625
    >>> for action in router.tick(now=3.4140625):
    ...     print(type(action).__name__)
    Send
    Install
    Announce
    StateChanged
    >>> router.state, router.due
    ('active', 4.4140625)

    Every method is O(addresses + peers), and the usual :meth:`receive` is O(bytes).

    Raises InvalidSetting for a setting that is outside its range.
    """

    def __init__(
        self,
        vrid: int,
        addresses: Iterable[object],
        source: object,
        *,
        priority: int = 100,
        interval: float = 1.0,
        preempt: bool = True,
        preempt_delay: float = 0.0,
        checksum: Checksum = "pseudo-header",
        answer_lower: bool = True,
        peers: Iterable[object] = (),
    ) -> None:
        own = checked_address("source", source)
        self._mac = virtual_mac(vrid, own.version)
        others = checked_peers(peers, own)
        virtual = checked_addresses(addresses, own, multicast=not others)
        check_flags(preempt=preempt, answer_lower=answer_lower)
        delay = not_negative("preempt_delay", preempt_delay)
        if delay and not preempt:
            raise InvalidSetting("preempt_delay must be 0 without preempt")
        settings = Settings(
            checked_priority(priority), centiseconds(interval), preempt, delay, answer_lower
        )
        packets = Packets(vrid, virtual, own, others, checksum)
        super().__init__(packets, virtual, settings)

    @property
    def state(self) -> State:
        """The state: "init" (it does not take part), "backup" or "active"."""
        return self._state

    @property
    def due(self) -> float:
        """The time in seconds at which to call :meth:`tick`.  It is ``inf`` if no timer runs."""
        return self._due

    @property
    def drops(self) -> Mapping[str, int]:
        """The number of dropped packets for each of the reasons DROP_REASONS."""
        return MappingProxyType(self._drops)

    @property
    def notices(self) -> Mapping[str, int]:
        """The number of accepted packets with something to log, for each of NOTICES."""
        return MappingProxyType(self._notices)

    @property
    def vrid(self) -> int:
        """The number of the virtual router."""
        return self._packets.vrid

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The virtual addresses in the order of the packet."""
        return self._addresses

    @property
    def priority(self) -> int:
        """The priority of this router."""
        return self._settings.priority

    @property
    def interval(self) -> float:
        """The seconds between two advertisements of this router."""
        return self._settings.interval_cs / 100

    @property
    def active_interval(self) -> float:
        """The seconds between two advertisements of the active router, as far as known."""
        return (self._learned_cs or self._settings.interval_cs) / 100

    @property
    def mac(self) -> bytes:
        """The virtual MAC of the virtual router, 6 bytes."""
        return self._mac

    def startup(self, now: float) -> tuple[Action, ...]:
        """Begin to take part.  If it takes part already, do nothing.

        The owner is active at once.  Any other router is a backup first, and withdraws addresses
        that an earlier process may have left.  If the link is down, the router begins when the
        link comes up.  Raises InvalidTime.
        """
        now = self._advance(now)
        if self._started:
            return ()
        self._started = True
        return self._begin("startup", now) if self._link else ()

    def shutdown(self, now: float) -> tuple[Action, ...]:
        """Stop to take part.  If it does not take part, do nothing.

        An active router resigns, so that a backup takes over after its skew time.  Raises
        InvalidTime.
        """
        self._advance(now)
        self._started = False
        return self._end("shutdown", resign=True)

    def link(self, up: bool, now: float) -> tuple[Action, ...]:
        """Note that the link of the interface is up or down.

        Without the link, the router does not take part.  It cannot resign then, so the addresses
        are withdrawn only.  When the link is up again, the router begins as after
        :meth:`startup`.  Raises InvalidTime, and InvalidSetting if ``up`` is not a bool.
        """
        check_flags(up=up)
        now = self._advance(now)
        if up == self._link:
            return ()
        self._link = up
        if not up:
            return self._end("link down", resign=False)
        return self._begin("link up", now) if self._started else ()

    def tick(self, now: float) -> tuple[Action, ...]:
        """Do what is due: a backup becomes active, an active router sends an advertisement.

        Before the time :attr:`due`, do nothing.  After a late call, the next time counts from
        ``now``, so there is one advertisement for it.  Raises InvalidTime.
        """
        now = self._advance(now)
        if now < self._due:
            return ()
        if self._state == "active":
            return self._advertise(now)
        return self._take_over("resigned" if self._resigned else "silence", now)

    def receive(self, datagram: Datagram, now: float) -> tuple[Action, ...]:
        """Note a packet of the network; O(bytes).

        A packet that is not valid changes nothing but :attr:`drops`.  Raises InvalidTime, and
        TypeError if ``datagram`` is not a Datagram, or if its addresses or its payload are not
        bytes.
        """
        if not isinstance(datagram, Datagram):
            raise TypeError(f"datagram must be a Datagram of bytes, not {shown(datagram)}")
        source, destination, _, payload = datagram
        if not type(source) is type(destination) is type(payload) is bytes:
            raise TypeError(f"datagram must be a Datagram of bytes, not {shown(datagram)}")
        now = self._advance(now)
        fault = self._packets.fault(datagram, self._state != "init")
        if fault:
            self._drops[fault] += 1
            return ()
        interval_cs = (payload[4] & 0xF) << 8 | payload[5]
        priority = payload[2]
        settings = self._settings
        noticed = self._packets.notices(
            payload, interval_cs, settings.interval_cs, settings.priority
        )
        for notice in noticed:
            self._notices[notice] += 1
        if self._state == "active":
            return self._receive_as_active(priority, interval_cs, source, now)
        self._receive_as_backup(priority, interval_cs, now)
        return ()

    def reconfigure(
        self, now: float, *, priority: int | None = None, interval: float | None = None
    ) -> tuple[Action, ...]:
        """Change the priority or the interval at run time.

        An active router sends an advertisement with the new values at once.  The running down
        timer of a backup is moved by the difference of the down intervals (or skew times).  A timer
        that is due stays due.
        Raises InvalidTime, and InvalidSetting like the constructor.
        """
        settings = self._settings
        if priority is not None:
            settings = settings._replace(priority=checked_priority(priority))
        if interval is not None:
            settings = settings._replace(interval_cs=centiseconds(interval))
        now = self._advance(now)
        before = self._down_time()
        self._settings = settings
        self._advert = self._packets.sends(settings.priority, settings.interval_cs)
        if self._state == "active":
            return self._advertise(now)
        if self._state == "backup" and now < self._due:
            self._due += self._down_time() - before
        return ()

    def snapshot(self, now: float) -> RouterSnapshot:
        """Return the state with all times relative to ``now``.  It can be hashed.

        The time of the router does not change.  Raises InvalidTime.
        """
        now = valid_now(now, self._latest)
        return RouterSnapshot(
            self._state,
            self._started,
            self._link,
            max(self._due - now, 0.0),
            self._learned_cs,
            self._resigned,
            max(self._preempt_at - now, 0.0),
        )

    def restore(self, snapshot: RouterSnapshot, now: float) -> None:
        """Set the state to a snapshot of a router with the same settings, as of ``now``.

        The time ``now`` may be earlier than the latest time.  Raises InvalidTime.
        """
        state, started, link, remaining, learned_cs, resigned, preempt_in = snapshot
        self._latest = now = valid_now(now, -inf)
        self._state, self._started, self._link = state, started, link
        self._due = now + remaining
        self._learned_cs, self._resigned = learned_cs, resigned
        self._preempt_at = now + preempt_in

    def __copy__(self) -> "VirtualRouter":
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._drops, twin._notices = dict(self._drops), dict(self._notices)
        return twin

    def __repr__(self) -> str:
        return f"<VirtualRouter {self.vrid}: {self._state}, priority {self.priority}>"
