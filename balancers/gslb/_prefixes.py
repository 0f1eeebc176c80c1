"""Reads networks and addresses as numbers, and finds the IPv4 address that an IPv6 one contains."""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from balancers._internal.checks import shown
from balancers.addresses import Address, address_of
from balancers.errors import InvalidSetting

__all__ = [
    "BITS",
    "EMBEDDED",
    "IPV4",
    "IPV6",
    "Prefix",
    "contained",
    "located",
    "network_of",
    "prefix_of",
]

Prefix = tuple[int, int, int]
"""A network: the version of IP (4 or 6), its first address, and the length of its prefix."""

IPV4, IPV6 = 4, 6
BITS = {IPV4: 32, IPV6: 128}
"""The number of bits of an address."""

_OCTETS = {str(octet): octet for octet in range(256)}
_LENGTHS = {str(length): length for length in range(129)}
_GROUPS = re.compile(r"[0-9a-fA-F:]+", re.ASCII)
_DIGITS = 32  # of an IPv6 address in hexadecimal
_LOW = 0xFFFFFFFF

_MAPPED = 0xFFFF << 32
_TRANSLATED = 0xFFFF << 48
_NAT64 = 0x64FF9B << 96
_TEREDO = 0x20010000 << 96
_6TO4 = 0x2002 << 112
EMBEDDED: tuple[tuple[int, int], ...] = (
    (_MAPPED, 96),
    (_TRANSLATED, 96),
    (_NAT64, 96),
    (_TEREDO, 32),
    (_6TO4, 16),
)
"""The IPv6 networks whose addresses contain an IPv4 address: first address and length."""
_TOPS = frozenset(first >> 112 for first, _ in EMBEDDED)
"""The highest 16 bits of all these networks."""


def located(address: object) -> tuple[int, int, int]:
    """Return the version and the number by which an address is looked up; O(1).

    The third number is the length of the prefix before the IPv4 address in an IPv6 address, else 0.

    >>> located("2002:c000:201::1") == (4, 0xC0000201, 16)
    True

    Raises InvalidKey for a value that is not an address.
    """
    if type(address) is IPv4Address:  # tested first, because this is the fastest
        return IPV4, int(address), 0
    address = address_of(address)
    number = int(address)
    if isinstance(address, IPv4Address):
        return IPV4, number, 0
    if number >> 112 in _TOPS:
        high = number >> 32
        if high << 32 in {_MAPPED, _TRANSLATED, _NAT64}:
            return IPV4, number & _LOW, 96
        if number >> 112 == _6TO4 >> 112:
            return IPV4, number >> 80 & _LOW, 16
        if number >> 96 == _TEREDO >> 96:
            return IPV4, number & _LOW ^ _LOW, 96
    return IPV6, number, 0


def contained(address: Address) -> tuple[Address, int]:
    """Return the IPv4 address in an IPv6 address, else the address itself; O(1).

    The number is the length of the prefix before it.

    >>> contained(IPv6Address("64:ff9b::192.0.2.1"))
    (IPv4Address('192.0.2.1'), 96)
    """
    if isinstance(address, IPv6Address):
        _, number, before = located(address)
        if before:
            return IPv4Address(number), before
    return address, 0


def prefix_of(network: object) -> Prefix:
    """Return a network as numbers; O(1).  An IPv4-mapped IPv6 network is returned as IPv4.

    >>> prefix_of("::ffff:10.0.0.0/104") == prefix_of("10.0.0.0/8") == (4, 10 << 24, 8)
    True

    Raises InvalidSetting for a value that is not a network, for a network with bits set beyond its
    prefix, and for an IPv6 network in which addresses are looked up as IPv4.
    """
    version, first, length = _parsed(network)
    if version != IPV4 and first >> 112 in _TOPS:
        for start, bits in EMBEDDED:
            if length >= bits and first >> 128 - bits == start >> 128 - bits:
                if start == _MAPPED:
                    return IPV4, first & _LOW, length - bits
                raise InvalidSetting(
                    f"{shown(network)} is in {IPv6Network((start, bits))}, and a client in that "
                    "network is looked up by the IPv4 address that its address contains"
                )
    return version, first, length


def network_of(prefix: Prefix) -> IPv4Network | IPv6Network:
    """Return a network as an object of :mod:`ipaddress`.

    >>> network_of((4, 10 << 24, 8))
    IPv4Network('10.0.0.0/8')
    """
    version, first, length = prefix
    return IPv4Network((first, length)) if version == IPV4 else IPv6Network((first, length))


def _parsed(given: object) -> Prefix:
    if isinstance(given, str):
        prefix = _quick_ipv6(given) if ":" in given else _quick_ipv4(given)
        if prefix is not None and not prefix[1] & (1 << BITS[prefix[0]] - prefix[2]) - 1:
            return prefix
    elif not isinstance(given, IPv4Network | IPv6Network | IPv4Address | IPv6Address):
        raise InvalidSetting(f"network must be an IP network, not {shown(given)}")
    try:
        network = ip_network(given)
    except ValueError as error:
        raise InvalidSetting(
            f"network must be an IP network without bits after its prefix, not {shown(given)}"
        ) from error
    return network.version, int(network.network_address), network.prefixlen


def _quick_ipv4(text: str) -> Prefix | None:
    """Return a network in its usual form.  Return None for any other text."""
    address, _, length = text.partition("/")
    try:
        first, second, third, fourth = address.split(".")
        high = _OCTETS[first] << 24 | _OCTETS[second] << 16
        number = high | _OCTETS[third] << 8 | _OCTETS[fourth]
        bits = _LENGTHS[length]
    except (KeyError, ValueError):
        return None
    return (IPV4, number, bits) if bits <= BITS[IPV4] else None


def _quick_ipv6(text: str) -> Prefix | None:
    """Return a network in its usual form.  Return None for any other text."""
    address, _, length = text.partition("/")
    bits = _LENGTHS.get(length)
    if bits is None or not _GROUPS.fullmatch(address):
        return None
    head, gap, tail = address.partition("::")
    left = head.split(":") if head else []
    right = tail.split(":") if tail else []
    missing = 8 - len(left) - len(right)
    digits = "".join([group.zfill(4) for group in (*left, *["0"] * missing, *right)])
    if (missing < 1 if gap else missing) or "" in left + right or len(digits) != _DIGITS:
        return None
    return IPV6, int(digits, 16), bits
