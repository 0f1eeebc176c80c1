"""Where keepalived 2.2.7 leaves the RFC and is not copied: recognised in packets and settings.

Each rule is a constant, which is the text of the report.  A rule applies because of what the
recording holds, never because of its name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from balancers.redundancy.vrrp.packet import Datagram
from tests.parity.vrrp_recording import Config

__all__ = [
    "BUSY",
    "FIRST_ADVERT",
    "INTERVAL_ZERO",
    "KILLED",
    "LISTS",
    "NOT_A_PEER",
    "NOT_COMPARED",
    "NOT_LINK_LOCAL",
    "NO_START",
    "OWNER_WAITS",
    "OWN_SOURCE",
    "RELOADED",
    "RELOADED_BACKUP",
    "REPEATS",
    "RESTARTED",
    "ROUTER_FLAG",
    "TWO_OWNERS",
    "Packet",
    "read",
]

RESTARTED = "a rejected packet restarts the timer of the active router"
KILLED = "a program whose parent was killed first still resigns"
LISTS = "a packet with a different list of addresses is rejected"
INTERVAL_ZERO = "an interval of 0 is accepted and learned"
NOT_A_PEER = "a unicast packet is accepted from an address that is not a peer"
NOT_LINK_LOCAL = "a packet whose first address is not link-local is accepted"
OWN_SOURCE = "a packet from the own source address is accepted (IPv6)"
OWNER_WAITS = "an owner whose file says `state BACKUP` waits for the down interval"
TWO_OWNERS = "an owner that receives the packet of another owner lowers its priority to 254"
RELOADED = "a reload of the active router sends the old values once more before the new ones"
RELOADED_BACKUP = "a reload of a backup starts its down timer again"
NO_START = "the start was not recorded: it counts from the first packet"
FIRST_ADVERT = "FRR announces its addresses before its first advertisement"
REPEATS = "an announcement is repeated (garp_master_repeat, garp_master_delay)"
ROUTER_FLAG = "the flag `router` of a neighbour advertisement: the host does not forward"
NOT_COMPARED = (REPEATS, ROUTER_FLAG)
"""What is left out of the comparison of the announcements."""

BUSY = "a program with many virtual routers did nothing at all while a timer was due"

_PSEUDO = 112
_HEADER = 8


@dataclass(frozen=True)
class Packet:
    """What a router can tell from one packet, read independently of the package."""

    priority: int
    interval_cs: int
    differs: bool
    """Whether the list of addresses is another one than that of the router, in any order."""
    misordered: bool
    """Whether the list is the same, but begins with an address that is not link-local."""
    invisible: bool
    """Whether the kernel drops it before the program reads it (IPv6, the checksum is wrong)."""
    ours: bool
    """Whether it names the virtual router, so that keepalived finds the one that it concerns."""
    sound: bool
    """Whether nothing but the list of addresses or the interval could be a reason to reject it."""


def read(datagram: Datagram, config: Config) -> Packet:
    """Return what matters of a received packet for the rules."""
    source, destination, hop_limit, payload = datagram
    size = len(source)
    head = payload[:_HEADER].ljust(_HEADER, b"\0")
    pseudo = source + destination + len(payload).to_bytes(4, "big") + bytes((0, _PSEUDO))
    even = payload + b"\0" * (len(payload) % 2)
    right = len(payload) >= _HEADER and not int.from_bytes(pseudo + even, "big") % 0xFFFF
    complete = _HEADER + size * head[3]
    listed: Sequence[bytes] = [
        payload[at : at + size] for at in range(_HEADER, min(complete, len(payload)), size)
    ]
    own = [ip_address(address).packed for address in config.addresses]
    return Packet(
        priority=head[2],
        interval_cs=(head[4] & 15) << 8 | head[5],
        differs=sorted(listed) != sorted(own),
        misordered=size == 16 and sorted(listed) == sorted(own) and listed[0][:2] != own[0][:2],
        invisible=size == 16 and not right,
        ours=head[1] == config.vrid,
        sound=right
        and head[0] == 0x31
        and _HEADER < len(payload) == complete
        and (hop_limit == 255 or bool(config.peers)),
    )
