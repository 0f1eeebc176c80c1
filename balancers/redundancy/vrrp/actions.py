"""Defines what a virtual router asks its caller to do."""

from typing import Literal, NamedTuple

from balancers.addresses import Address
from balancers.redundancy.vrrp.announcements import announcement_frame
from balancers.redundancy.vrrp.packet import Datagram

__all__ = ["Action", "Announce", "Install", "Send", "State", "StateChanged", "Withdraw"]

State = Literal["init", "backup", "active"]


class Send(NamedTuple):
    r"""Send ``datagram`` by the raw socket.

    For multicast, the caller must not receive its own packets (IP_MULTICAST_LOOP off).

    >>> from balancers.redundancy.vrrp import VirtualRouter
    >>> owner = VirtualRouter(51, ["10.77.0.1"], "10.77.0.1", priority=255)
    >>> datagram = owner.startup(now=0.0)[0].datagram
    >>> datagram.destination, datagram.hop_limit
    (b'\xe0\x00\x00\x12', 255)
    """

    datagram: Datagram


class Install(NamedTuple):
    """Add ``address`` to the interface, so that the host answers for it.

    >>> from ipaddress import ip_address
    >>> str(Install(ip_address("10.77.0.100")).address)
    '10.77.0.100'
    """

    address: Address


class Announce(NamedTuple):
    """Announce ``address`` to the network by the frame that :meth:`frame` returns.

    For IPv6, join the solicited-node group of the address first.

    >>> from ipaddress import ip_address
    >>> len(Announce(ip_address("10.77.0.100")).frame(bytes.fromhex("00005e000133")))
    42
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
    """Remove ``address`` from the interface, so that the host no longer answers for it.

    It may not be there: then do nothing.  The owner has its addresses in any case, so do nothing
    there either.

    >>> from ipaddress import ip_address
    >>> str(Withdraw(ip_address("10.77.0.100")).address)
    '10.77.0.100'
    """

    address: Address


class StateChanged(NamedTuple):
    """The state changed from ``before`` to ``after``.  Nothing must be done.

    ``reason`` is "startup", "shutdown", "link up", "link down", "owner" (it starts as active
    because it owns the addresses), "silence" (the down timer has fired), "resigned" (the same,
    after an advertisement with the priority 0), "higher priority" or "higher address" (the active
    router has received an advertisement that wins).

    >>> StateChanged("active", "backup", "higher priority").after
    'backup'
    """

    before: State
    after: State
    reason: str


Action = Send | Install | Announce | Withdraw | StateChanged
