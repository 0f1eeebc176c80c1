"""Reads and writes the EDNS client subnet option, by which a resolver passes its client's network.

The format is that of RFC 7871, "Client Subnet in DNS Queries".
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from balancers._internal.checks import shown
from balancers.addresses import Address, address_of
from balancers.errors import InvalidSetting, MalformedClientSubnet

__all__ = ["ClientSubnet"]

_HEADER = 4
"""The number of bytes before the address: the family, the source and the scope."""


@dataclass(frozen=True, slots=True)
class ClientSubnet:
    """The EDNS client subnet option (ECS, option code 8) of a DNS query or of an answer.

    A resolver sends the first ``source`` bits of the address of its client, so that the answer can
    suit the client and not the resolver.  A source of 0 means that the client's address must not be
    used.  The answer repeats the option with a ``scope``: caches use the answer for all clients
    whose addresses have the same first ``scope`` bits.  A scope of 0 means all clients.

    ``address`` is an object of :mod:`ipaddress`, a text, or 4 or 16 packed bytes.

    >>> query = ClientSubnet.parse(bytes.fromhex("0001 18 00 c00002"))
    >>> query
    ClientSubnet(address=IPv4Address('192.0.2.0'), source=24, scope=0)
    >>> query.answer(16).encode().hex(" ", 1)
    '00 01 18 10 c0 00 02'

    Find the client by the address if the source is not 0, else by the address of the resolver:

    >>> from balancers.gslb import NetworkTable
    >>> table = NetworkTable({"192.0.0.0/16": "us"})
    >>> found = table.find(query.address)
    >>> found.value, query.answer(found.scope).scope
    ('us', 16)

    Every method is O(1).  Raises InvalidKey for a value that is not an address.  Raises
    InvalidSetting for a source or a scope that is longer than the address, and for an address with
    bits set beyond the source.
    """

    address: Address
    """The first bits of the client's address.  All other bits are 0."""
    source: int
    """The number of bits of the address that the resolver sent."""
    scope: int = 0
    """The number of bits for which an answer is valid.  It is 0 in a query."""

    def __init__(self, address: Address | str | bytes, source: int, scope: int = 0) -> None:
        parsed = address_of(address)
        for name, value in (("source", source), ("scope", scope)):
            if type(value) is not int or not 0 <= value <= parsed.max_prefixlen:
                raise InvalidSetting(
                    f"{name} must be an int, 0 to {parsed.max_prefixlen}, not {shown(value)}"
                )
        if int(parsed) & ((1 << parsed.max_prefixlen - source) - 1):
            raise InvalidSetting(f"address must be 0 after {source} bits, not {parsed}")
        if isinstance(parsed, IPv6Address) and parsed.scope_id is not None:
            raise InvalidSetting(f"address must have no zone, not {parsed}")
        object.__setattr__(self, "address", parsed)
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "scope", scope)

    @classmethod
    def parse(
        cls, option: bytes | bytearray | memoryview, *, answer: bool = False
    ) -> "ClientSubnet":
        """Return the option whose data is given, without its code and length.

        Set ``answer`` for the option of an answer, which may have a scope.

        >>> ClientSubnet.parse(bytes.fromhex("0001 14 00 0c0107"))
        Traceback (most recent call last):
        balancers.errors.MalformedClientSubnet: bits are set after the source of 20 bits

        Raises MalformedClientSubnet for everything that RFC 7871 forbids: less than 4 bytes, a
        family other than 1 (IPv4) and 2 (IPv6), a source or a scope longer than the address, a
        scope in a query, too many or too few bytes, and bits set beyond the source.  Answer such a
        query with FORMERR.  Raises TypeError for anything but bytes.
        """
        if not isinstance(option, bytes | bytearray | memoryview):
            raise TypeError(f"option must be bytes, not {shown(option)}")
        data = bytes(option)
        if len(data) < _HEADER:
            raise MalformedClientSubnet(f"it has {len(data)} bytes, at least {_HEADER} are needed")
        family, source, scope = data[0] << 8 | data[1], data[2], data[3]
        if family not in {1, 2}:
            raise MalformedClientSubnet(f"the family is {family}, not 1 (IPv4) or 2 (IPv6)")
        bits = 32 if family == 1 else 128
        if source > bits or scope > bits:
            name, value = ("source", source) if source > bits else ("scope", scope)
            raise MalformedClientSubnet(f"the {name} is {value} bits, more than {bits}")
        if scope and not answer:
            raise MalformedClientSubnet(f"the scope in a query is {scope}, not 0")
        size = (source + 7) // 8
        if len(data) != _HEADER + size:
            raise MalformedClientSubnet(
                f"the address has {len(data) - _HEADER} bytes, a source of {source} needs {size}"
            )
        number = int.from_bytes(data[_HEADER:], "big") << bits - 8 * size
        if number & (1 << bits - source) - 1:
            raise MalformedClientSubnet(f"bits are set after the source of {source} bits")
        address = IPv4Address(number) if family == 1 else IPv6Address(number)
        return cls(address, source, scope)

    def encode(self) -> bytes:
        """Return the data of the option, without its code and length.

        >>> ClientSubnet("2001:db8::", 56).encode().hex()
        '0002380020010db8000000'
        """
        family = 1 if isinstance(self.address, IPv4Address) else 2
        header = bytes((0, family, self.source, self.scope))
        return header + self.address.packed[: (self.source + 7) // 8]

    def answer(self, scope: int) -> "ClientSubnet":
        """Return the option of the answer to a query with this option.

        ``scope`` is the :attr:`~balancers.gslb.Found.scope` of the lookup, or the narrowest of
        several.  With a source of 0 the scope is always 0, because the answer is that for the
        resolver.  A scope longer than the source is allowed: the answer depends on more bits than
        the resolver sent.  Put no option in the answer to a query without one.

        >>> ClientSubnet("0.0.0.0", 0).answer(24).scope
        0

        Raises InvalidSetting for a scope that is longer than the address.
        """
        answered = ClientSubnet(self.address, self.source, scope)
        return answered if self.source else ClientSubnet(self.address, 0)
