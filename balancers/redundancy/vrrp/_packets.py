"""Builds the packets of one virtual router, and checks the packets that it receives."""

from balancers.addresses import Address
from balancers.redundancy.vrrp.actions import Send
from balancers.redundancy.vrrp.packet import (
    ALL_ROUTERS_IPV4,
    ALL_ROUTERS_IPV6,
    HOP_LIMIT,
    OWNER,
    Advertisement,
    Checksum,
    Datagram,
    encode,
    fault_in_content,
    fault_on_wire,
)

__all__ = ["DROP_REASONS", "NOTICES", "Packets"]

DROP_REASONS = (
    "family",
    "truncated",
    "hop limit",
    "version",
    "type",
    "trailing bytes",
    "checksum",
    "vrid",
    "no addresses",
    "interval",
    "not link-local",
    "destination",
    "own address",
    "peer",
    "not running",
)
"""Every reason for which a router drops a packet.  See :attr:`VirtualRouter.drops`.

The first reason that applies is counted.  The order of the checks is that of this tuple, except
that "trailing bytes" belongs to the check of "truncated".
"""

NOTICES = ("addresses differ", "interval differs", "another owner")
"""Everything that a router counts about a packet which it accepts."""

_UNICAST_HOP_LIMIT_IPV6 = 64


class Packets:
    """Stores what all packets of a virtual router have in common.  It does not change."""

    def __init__(
        self,
        vrid: int,
        addresses: tuple[Address, ...],
        source: Address,
        peers: tuple[Address, ...],
        checksum: Checksum,
    ) -> None:
        self.vrid: int = vrid
        self.source: bytes = source.packed
        self._size = len(self.source)
        is_ipv4 = self._size == len(ALL_ROUTERS_IPV4)
        self._group = ALL_ROUTERS_IPV4 if is_ipv4 else ALL_ROUTERS_IPV6
        self._peers = tuple(peer.packed for peer in peers)
        self._hop_limit = _UNICAST_HOP_LIMIT_IPV6 if peers and not is_ipv4 else HOP_LIMIT
        self._checksum: Checksum = checksum
        self._addresses = tuple(address.packed for address in addresses)
        self._packed = b"".join(self._addresses)

    def sends(self, priority: int, interval_cs: int) -> tuple[Send, ...]:
        """Return the actions that send an advertisement to the group or to each peer."""
        content = Advertisement(self.vrid, priority, interval_cs, self._addresses)
        source = self.source
        return tuple(
            Send(Datagram(source, to, self._hop_limit, encode(content, source, to, self._checksum)))
            for to in self._peers or (self._group,)
        )

    def fault(self, datagram: Datagram, running: bool) -> str:
        """Return why the packet is dropped.  Return "" if it is accepted."""
        source, destination, _, payload = datagram
        size = self._size
        peers = self._peers
        if len(source) != size or len(destination) != size:
            return "family"
        fault = fault_on_wire(datagram, self._checksum, not peers)
        if not fault:
            fault = "vrid" if payload[1] != self.vrid else fault_in_content(payload, size)
        if fault:
            return fault
        if destination != (self.source if peers else self._group):
            return "destination"
        if source == self.source:
            return "own address"
        if peers and source not in peers:
            return "peer"
        return "" if running else "not running"

    def notices(
        self, payload: bytes, interval_cs: int, own_cs: int, own_priority: int
    ) -> tuple[str, ...]:
        """Return what about an accepted packet is worth a line in the log of the caller."""
        is_owner = payload[2] == OWNER
        given = payload[8:]
        if interval_cs == own_cs and not is_owner and given == self._packed:
            return ()
        found: list[str] = []
        size = self._size
        others = [given[at : at + size] for at in range(0, len(given), size)]
        if sorted(others) != sorted(self._addresses):
            found.append("addresses differ")
        if interval_cs != own_cs:
            found.append("interval differs")
        if is_owner and own_priority == OWNER:
            found.append("another owner")
        return tuple(found)
