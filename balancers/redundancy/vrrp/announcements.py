"""Builds the frames that announce a virtual address after a takeover."""

from balancers._internal.checks import shown
from balancers.addresses import Address
from balancers.errors import InvalidSetting

__all__ = ["announcement_frame", "virtual_mac"]

_BROADCAST = b"\xff" * 6
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")
_ARP = bytes.fromhex("08060001080006040001")  # Ethernet, IPv4, a request
_IPV6 = bytes.fromhex("86dd6000000000203aff")  # 32 bytes of ICMPv6, hop limit 255
_ADVERTISEMENT = 136  # the type of a neighbour advertisement
_ROUTER = 0x80
_OVERRIDE = 0x20
_ICMPV6 = 58
_MAC_BYTES = 6
_WORD = 0xFFFF
_LAST_VRID = 255


def virtual_mac(vrid: int, version: int) -> bytes:
    """Return the virtual MAC of a virtual router; O(1).  ``version`` is 4 or 6, that of IP.

    >>> virtual_mac(51, 4).hex(":")
    '00:00:5e:00:01:33'

    Raises InvalidSetting for a ``vrid`` outside 1 to 255, and for another version.
    """
    if type(vrid) is not int or not 1 <= vrid <= _LAST_VRID:
        raise InvalidSetting(f"vrid must be an int, 1 to {_LAST_VRID}, not {shown(vrid)}")
    if version not in {4, 6}:
        raise InvalidSetting(f"version must be 4 or 6, not {shown(version)}")
    return bytes((0, 0, 0x5E, 0, 1 if version == 4 else 2, vrid))  # noqa: PLR2004 - the version of IP


def announcement_frame(address: Address, mac: bytes, *, router: bool = True) -> bytes:
    """Return the Ethernet frame that announces that ``address`` is now at ``mac``; O(1).

    For IPv4, this is a gratuitous ARP request: its sender and its target are the address.  For
    IPv6, it is an unsolicited neighbour advertisement to all nodes, with the flag "override", and
    the flag "router" if ``router`` is True.

    >>> from ipaddress import ip_address
    >>> mac = bytes.fromhex("020000000001")
    >>> announcement_frame(ip_address("10.77.0.100"), mac).hex()
    'ffffffffffff020000000001080600010800060400010200000000010a4d0064ffffffffffff0a4d0064'

    Raises InvalidSetting if ``mac`` is not 6 bytes.
    """
    if not isinstance(mac, bytes) or len(mac) != _MAC_BYTES:
        raise InvalidSetting(f"mac must be 6 bytes, not {shown(mac)}")
    packed = address.packed
    if address.version == 4:  # noqa: PLR2004 - the version of IP
        return b"".join((_BROADCAST, mac, _ARP, mac, packed, _BROADCAST, packed))
    flags = _OVERRIDE | _ROUTER if router else _OVERRIDE
    option = b"\x02\x01" + mac  # the link-layer address of the target
    start = bytes((_ADVERTISEMENT, 0))
    rest = bytes((flags, 0, 0, 0)) + packed + option
    length = len(start) + 2 + len(rest)
    total = int.from_bytes(packed + _ALL_NODES + start + rest, "big") + length + _ICMPV6
    checksum = (_WORD - (total % _WORD or _WORD)).to_bytes(2, "big")
    return b"".join(
        (_ALL_NODES_MAC, mac, _IPV6, packed, _ALL_NODES, start, checksum, rest),
    )
