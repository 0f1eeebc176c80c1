"""Parses and writes client addresses, and reduces them to the prefix that identifies a client."""

from ipaddress import IPv4Address, IPv6Address, ip_address

from balancers._internal.checks import shown
from balancers.errors import InvalidKey, InvalidSetting

__all__ = ["Address", "Prefixes", "address_of", "address_text", "ntop_text", "unmapped"]

Address = IPv4Address | IPv6Address

_PACKED = {4, 16}
_COMPATIBLE = range(1 << 16, 1 << 32)
"""The numbers of the IPv6 addresses whose 96 highest bits are 0 and whose next 16 bits are not."""


class Prefixes:
    """Reduces client addresses to prefixes.  Two addresses with the same prefix are one client.

    ``ipv4_prefix`` and ``ipv6_prefix`` are the lengths of the prefixes in bits.

    >>> prefixes = Prefixes(24, 64)
    >>> prefixes
    <Prefixes: IPv4 /24, IPv6 /64>
    >>> prefixes.network("192.0.2.7") == prefixes.network("192.0.2.9")
    True

    Raises InvalidSetting for a length outside 0 to 32 (IPv4) or 0 to 128 (IPv6).
    """

    __slots__ = ("_host_bits",)

    def __init__(self, ipv4_prefix: int, ipv6_prefix: int) -> None:
        for name, bits, maximum in (
            ("ipv4_prefix", ipv4_prefix, 32),
            ("ipv6_prefix", ipv6_prefix, 128),
        ):
            if type(bits) is not int or not 0 <= bits <= maximum:
                raise InvalidSetting(f"{name} must be an int, 0 to {maximum}, not {shown(bits)}")
        self._host_bits = {4: 32 - ipv4_prefix, 6: 128 - ipv6_prefix}

    def network(self, client: object) -> bytes:
        """Return the packed address, with all bits after the prefix set to 0.

        An IPv4-mapped IPv6 address counts as IPv4.  The zone of an address is ignored.

        >>> Prefixes(24, 64).network("::ffff:192.0.2.1").hex()
        'c0000200'

        Raises InvalidKey for a value that is not an address.
        """
        address = unmapped(address_of(client))
        host_bits = self._host_bits[address.version]
        return (int(address) >> host_bits << host_bits).to_bytes(address.max_prefixlen // 8, "big")

    def __repr__(self) -> str:
        ipv4, ipv6 = 32 - self._host_bits[4], 128 - self._host_bits[6]
        return f"<Prefixes: IPv4 /{ipv4}, IPv6 /{ipv6}>"


def address_of(client: object) -> Address:
    """Return the client's address as an object of :mod:`ipaddress`.

    ``client`` is a text, 4 or 16 packed bytes, or already an object of :mod:`ipaddress`.

    >>> address_of(bytes([192, 0, 2, 1]))
    IPv4Address('192.0.2.1')

    Raises InvalidKey for any other value.
    """
    if isinstance(client, IPv4Address | IPv6Address):
        return client
    if isinstance(client, str) or (isinstance(client, bytes) and len(client) in _PACKED):
        try:
            return ip_address(client)
        except ValueError:
            pass
    raise InvalidKey(f"client must be an IP address, not {shown(client)}")


def unmapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv4-mapped IPv6 address contains.

    Any other address is returned unchanged.

    >>> unmapped(address_of("::ffff:192.0.2.1"))
    IPv4Address('192.0.2.1')
    """
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def address_text(address: Address) -> str:
    """Return the text of an address, which is the same on every version of Python.

    The text is that of RFC 5952: short and in lower case.  An IPv4-mapped IPv6 address ends in
    dotted IPv4.  ``str()`` writes it like this since Python 3.13 only.  A zone is kept.  O(1).

    >>> address_text(IPv6Address("::FFFF:c000:201")), address_text(IPv6Address("2001:db8:0::1"))
    ('::ffff:192.0.2.1', '2001:db8::1')
    """
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(address) if mapped is None else f"::ffff:{mapped}{_zone(address)}"


def ntop_text(address: Address) -> str:
    """Return the text that the function ``inet_ntop`` of glibc 2.36 writes; O(1).

    C programs such as HAProxy and Envoy write it.  It differs from :func:`address_text` for
    IPv4-compatible IPv6 addresses: if the first 96 bits are 0 and the next 16 bits are not, the
    address ends in dotted IPv4.  A zone is kept.

    >>> [ntop_text(IPv6Address(text)) for text in ("::c000:201", "::1:0", "::ffff", "::1")]
    ['::192.0.2.1', '::0.1.0.0', '::ffff', '::1']
    """
    if isinstance(address, IPv6Address) and int(address) in _COMPATIBLE:
        return f"::{IPv4Address(int(address))}{_zone(address)}"
    return address_text(address)


def _zone(address: Address) -> str:
    zone = address.scope_id if isinstance(address, IPv6Address) else None
    return "" if zone is None else f"%{zone}"
