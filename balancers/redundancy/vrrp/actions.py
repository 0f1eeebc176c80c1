"""Defines what a virtual router asks its caller to do."""

from typing import Literal, NamedTuple

from balancers.addresses import Address
from balancers.redundancy.vrrp.announcements import announcement_frame
from balancers.redundancy.vrrp.packet import Datagram

__all__ = ["Action", "Announce", "Install", "Send", "State", "StateChanged", "Withdraw"]

State = Literal["init", "backup", "active"]


class Send(NamedTuple):
    """Send ``datagram`` by the raw socket.

    For multicast, the caller must not receive its own packets (IP_MULTICAST_LOOP off).
    """

    datagram: Datagram


class Install(NamedTuple):
    """Add ``address`` to the interface, so that the host answers for it."""

    address: Address


class Announce(NamedTuple):
    """Announce ``address`` to the network by the frame that :meth:`frame` returns.

    For IPv6, join the solicited-node group of the address first.
    """

    address: Address

    def frame(self, mac: bytes, *, router: bool = True) -> bytes:
        """Return the Ethernet frame: a gratuitous ARP or a neighbour advertisement; O(1).

        ``mac`` is the MAC that now has the address: 6 bytes, that of the interface or the
        virtual MAC (:attr:`VirtualRouter.mac`).  ``router`` says whether this host forwards
        packets.

        Raises InvalidSetting if ``mac`` is not 6 bytes.
        """
        return announcement_frame(self.address, mac, router=router)


class Withdraw(NamedTuple):
    """Remove ``address`` from the interface, so that the host no longer answers for it."""

    address: Address


class StateChanged(NamedTuple):
    """The state changed from ``before`` to ``after``.  Nothing must be done.

    ``reason`` is "startup", "shutdown", "link up", "link down", "owner" (it starts as active
    because it owns the addresses), "silence" (the down timer has fired), "resigned" (the same,
    after an advertisement with the priority 0), "higher priority" or "higher address" (the active
    router has received an advertisement that wins).
    """

    before: State
    after: State
    reason: str


Action = Send | Install | Announce | Withdraw | StateChanged
