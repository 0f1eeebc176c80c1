"""Client addresses: read once, and told apart by the bits that count."""

from ipaddress import IPv4Address, IPv6Address, ip_address

from balancers.errors import InvalidKey, InvalidSetting

__all__ = ["Address", "Prefixes", "address_of", "unmapped"]

Address = IPv4Address | IPv6Address

_PACKED = {4, 16}


class Prefixes:
    """How many leading bits of an address tell clients apart.

    >>> Prefixes(24, 64).network("192.0.2.7") == Prefixes(24, 64).network("192.0.2.9")
    True

    Raises InvalidSetting for lengths beyond 32 and 128.
    """

    __slots__ = ("_blanks",)

    def __init__(self, ipv4_prefix: int, ipv6_prefix: int) -> None:
        for name, bits, most in (
            ("ipv4_prefix", ipv4_prefix, 32),
            ("ipv6_prefix", ipv6_prefix, 128),
        ):
            if type(bits) is not int or not 0 <= bits <= most:
                raise InvalidSetting(f"{name} must be an int, 0 to {most}, not {bits!r}")
        self._blanks = {4: 32 - ipv4_prefix, 6: 128 - ipv6_prefix}

    def network(self, client: object) -> bytes:
        """Give the packed address with the bits beyond the prefix cleared.

        IPv4-mapped IPv6 is IPv4; a zone does not count.

        >>> Prefixes(24, 64).network("::ffff:192.0.2.1").hex()
        'c0000200'

        Raises InvalidKey for what is no address.
        """
        address = unmapped(address_of(client))
        blank = self._blanks[address.version]
        return (int(address) >> blank << blank).to_bytes(address.max_prefixlen // 8, "big")


def address_of(client: object) -> Address:
    """Read an address: as text, as its 4 or 16 packed bytes, or from :mod:`ipaddress`.

    >>> address_of(bytes([192, 0, 2, 1]))
    IPv4Address('192.0.2.1')

    Raises InvalidKey for anything else.
    """
    if isinstance(client, IPv4Address | IPv6Address):
        return client
    if isinstance(client, str) or (isinstance(client, bytes) and len(client) in _PACKED):
        try:
            return ip_address(client)
        except ValueError:
            pass
    raise InvalidKey(f"no IP address: {client!r}")


def unmapped(address: Address) -> Address:
    """Return the IPv4 address of an IPv4-mapped IPv6 address, and any other address as it is.

    >>> unmapped(address_of("::ffff:192.0.2.1"))
    IPv4Address('192.0.2.1')
    """
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped
