"""Encodes and decodes the advertisements of VRRP version 3 (RFC 9568, section 5)."""

from typing import Literal, NamedTuple

from balancers._internal.checks import checked_choice, shown
from balancers.errors import BalancersError, InvalidSetting

__all__ = [
    "ALL_ROUTERS_IPV4",
    "ALL_ROUTERS_IPV6",
    "CHECKSUMS",
    "HOP_LIMIT",
    "OWNER",
    "PROTOCOL",
    "Advertisement",
    "Checksum",
    "Datagram",
    "MalformedPacket",
    "checked_advertisement",
    "decode",
    "encode",
    "fault_in_content",
    "fault_on_wire",
    "ipv4_datagram",
]

PROTOCOL = 112
"""The number of VRRP in the header of an IP packet."""
OWNER = 255
"""The priority of the router that owns the virtual addresses, because they are its real ones."""
HOP_LIMIT = 255
"""The only hop limit (IPv4: TTL) that is accepted.  A router that forwards a packet lowers it."""
ALL_ROUTERS_IPV4 = bytes([224, 0, 0, 18])
"""The packed multicast address of all VRRP routers in IPv4."""
ALL_ROUTERS_IPV6 = bytes.fromhex("ff020000000000000000000000000012")
"""The packed multicast address of all VRRP routers in IPv6."""
_GROUPS = (ALL_ROUTERS_IPV4, ALL_ROUTERS_IPV6)

Checksum = Literal["pseudo-header", "plain", "either"]
CHECKSUMS = ("pseudo-header", "plain", "either")
"""The ways to compute the checksum of IPv4.  See :func:`encode`."""

_HEADER = 8
_FIRST_BYTE = 3 << 4 | 1  # version 3, type 1
_LONGEST = 4095  # 12 bits
_WORD = 0xFFFF
_SIZES = (4, 16)
_IPV4 = 4
_IPV4_HEADER = 20
_MOST_ADDRESSES = 255
_LINK_LOCAL = 0xFE80  # fe80::/10
_LINK_LOCAL_MASK = 0xFFC0


class MalformedPacket(BalancersError, ValueError):
    """Raised when a packet is not a valid advertisement.

    ``reason`` is one of the keys of :attr:`VirtualRouter.drops`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason: str = reason

    def __str__(self) -> str:
        return f"malformed VRRP packet: {self.reason}"


class Datagram(NamedTuple):
    """A packet of the IP protocol 112 as a raw socket sends or receives it.

    ``source`` and ``destination`` are packed addresses (4 bytes for IPv4, 16 bytes for IPv6).
    ``hop_limit`` is the TTL of IPv4 or the hop limit of IPv6.  ``payload`` is all after the IP
    header.

    >>> Datagram(bytes([10, 0, 0, 1]), ALL_ROUTERS_IPV4, 255, b"").hop_limit
    255
    """

    source: bytes
    destination: bytes
    hop_limit: int
    payload: bytes


class Advertisement(NamedTuple):
    """The content of one packet.

    ``priority`` is 0 if the active router resigns, and 255 if it owns the addresses.
    ``interval_cs`` is the time between two advertisements in hundredths of a second, 1 to 4095.
    ``addresses`` are packed: 4 bytes each for IPv4, or 16 bytes each for IPv6.

    >>> Advertisement(51, 100, 100, (bytes([10, 77, 0, 100]),)).priority
    100
    """

    vrid: int
    priority: int
    interval_cs: int
    addresses: tuple[bytes, ...]


def checked_advertisement(advertisement: Advertisement, size: int) -> Advertisement:
    """Return the advertisement.  Raise InvalidSetting for a value that does not fit in its field.

    ``size`` is the number of bytes of an address.
    """
    vrid, priority, interval_cs, addresses = advertisement
    for name, value, least, most in (
        ("vrid", vrid, 1, 255),
        ("priority", priority, 0, OWNER),
        ("interval_cs", interval_cs, 1, _LONGEST),
    ):
        if type(value) is not int or not least <= value <= most:
            raise InvalidSetting(f"{name} must be an int, {least} to {most}, not {shown(value)}")
    if not 1 <= len(addresses) <= _MOST_ADDRESSES:
        raise InvalidSetting(f"addresses must be 1 to {_MOST_ADDRESSES}, not {len(addresses)}")
    for address in addresses:
        if type(address) is not bytes or len(address) != size:
            raise InvalidSetting(f"an address must be {size} bytes, not {shown(address)}")
    return advertisement


def encode(
    advertisement: Advertisement, source: bytes, destination: bytes, checksum: Checksum
) -> bytes:
    """Return the payload of a packet with the checksum; O(addresses).

    For IPv6, the checksum always covers a pseudo-header with both addresses.  For IPv4, it does so
    unless ``checksum`` is "plain": RFC 9568 specifies a plain checksum, but keepalived and FRR use
    the pseudo-header.  With "either", the pseudo-header is used to send, and both are accepted.

    >>> source = bytes([10, 77, 0, 1])
    >>> addresses = (bytes([10, 77, 0, 100]),)
    >>> hello = Advertisement(51, 150, 50, addresses)
    >>> encode(hello, source, ALL_ROUTERS_IPV4, "pseudo-header").hex()
    '313396010032430b0a4d0064'

    Raises InvalidSetting for a value that does not fit in its field.
    """
    checked_choice("checksum", checksum, CHECKSUMS)
    size = len(source)
    if size not in _SIZES or len(destination) != size:
        raise InvalidSetting(
            f"source and destination must be 4 or 16 bytes, not {shown((source, destination))}"
        )
    vrid, priority, interval_cs, addresses = checked_advertisement(advertisement, size)
    start = bytes(
        (_FIRST_BYTE, vrid, priority, len(addresses), interval_cs >> 8, interval_cs & 255)
    )
    rest = b"".join(addresses)
    if size == _IPV4 and checksum == "plain":
        total = int.from_bytes(start + rest, "big")
    else:
        total = int.from_bytes(source + destination + start + rest, "big")
        total += PROTOCOL + _HEADER + len(rest)
    # 2^16 is 1 modulo 65535, so this remainder is the sum of the words with the carries added.
    return start + (_WORD - (total % _WORD or _WORD)).to_bytes(2, "big") + rest


def fault_on_wire(  # noqa: PLR0911 - one return for each check
    datagram: Datagram, checksum: Checksum, check_hop_limit: bool
) -> str:
    """Return why a packet is no VRRP packet of version 3.  Return "" if it is one; O(bytes).

    The checks are those of RFC 9568, section 7.1, in their order.
    """
    source, destination, hop_limit, payload = datagram
    size = len(source)
    length = len(payload)
    if length < _HEADER:
        return "truncated"
    if hop_limit != HOP_LIMIT and check_hop_limit:
        return "hop limit"
    first = payload[0]
    if first != _FIRST_BYTE:
        return "version" if first >> 4 != _FIRST_BYTE >> 4 else "type"
    complete = _HEADER + size * payload[3]
    if length != complete:
        return "truncated" if length < complete else "trailing bytes"
    if size == _IPV4 and checksum != "pseudo-header":
        if not int.from_bytes(payload, "big") % _WORD:
            return ""
        if checksum == "plain":
            return "checksum"
    summed = int.from_bytes(source + destination + payload, "big")
    return "checksum" if (summed + PROTOCOL + length) % _WORD else ""


def fault_in_content(payload: bytes, size: int) -> str:
    """Return why the content of a complete VRRP packet is invalid.  Return "" if it is valid; O(1).

    These are the checks that the errata of RFC 9568 add.  ``size`` is that of an address in bytes.
    """
    if not payload[3]:
        return "no addresses"
    if not (payload[4] & 0xF | payload[5]):
        return "interval"
    first = payload[8] << 8 | payload[9]
    if size != _IPV4 and first & _LINK_LOCAL_MASK != _LINK_LOCAL:
        return "not link-local"
    return ""


def decode(datagram: Datagram, checksum: Checksum = "pseudo-header") -> Advertisement:
    r"""Return the content of a packet; O(addresses).

    ``checksum`` says which checksums of IPv4 are accepted (see :func:`encode`).  The four reserved
    bits are ignored.  The hop limit must be 255 if the packet was sent to the multicast group.

    >>> source = bytes([10, 77, 0, 1])
    >>> payload = bytes.fromhex("313396010032430b0a4d0064")
    >>> decode(Datagram(source, ALL_ROUTERS_IPV4, 255, payload))
    Advertisement(vrid=51, priority=150, interval_cs=50, addresses=(b'\nM\x00d',))

    Raises MalformedPacket for a packet that is not valid, and InvalidSetting for an unknown
    checksum.
    """
    checked_choice("checksum", checksum, CHECKSUMS)
    size = len(datagram.source)
    if size not in _SIZES or len(datagram.destination) != size:
        raise MalformedPacket("family")
    payload = datagram.payload
    fault = fault_on_wire(datagram, checksum, datagram.destination in _GROUPS)
    if not fault:
        fault = fault_in_content(payload, size) if payload[1] else "vrid"
    if fault:
        raise MalformedPacket(fault)
    return Advertisement(
        payload[1],
        payload[2],
        (payload[4] & 0xF) << 8 | payload[5],
        tuple(payload[at : at + size] for at in range(_HEADER, len(payload), size)),
    )


def ipv4_datagram(packet: bytes) -> Datagram:
    """Return an IPv4 packet with its header, as a raw socket receives it, as a Datagram; O(bytes).

    >>> packet = bytes.fromhex("45c0002000010000ff70d04c0a4d0001e0000012313396010032430b0a4d0064")
    >>> ipv4_datagram(packet).payload.hex()
    '313396010032430b0a4d0064'

    Raises MalformedPacket with the reason "truncated" if the header is not complete, or if the
    packet is shorter than its header says.
    """
    if len(packet) < _IPV4_HEADER or packet[0] >> 4 != _IPV4:
        raise MalformedPacket("truncated")
    start = (packet[0] & 0xF) * 4
    end = packet[2] << 8 | packet[3]
    if not _IPV4_HEADER <= start <= end <= len(packet):
        raise MalformedPacket("truncated")
    return Datagram(packet[12:16], packet[16:20], packet[8], packet[start:end])
