"""Builds keys for transport connections.  Each connection has a different key."""

from ipaddress import ip_address
from typing import Any, Literal, Self, cast

from balancers._internal.checks import HIGHEST_PORT, shown
from balancers.addresses import Address, address_of, unmapped
from balancers.errors import InvalidKey, InvalidSetting

__all__ = ["FlowKey"]

_NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17, "ipv6-icmp": 58, "sctp": 132}
_NAMES = {number: name for name, number in _NUMBERS.items()}
_HIGHEST_PROTOCOL = 0xFF
_MAPPED = bytes(10) + b"\xff\xff"
"""The first 12 bytes of an IPv4 address that is written as IPv6 (RFC 4291, section 2.5.5.2)."""
_PACKED_LENGTHS = {4, 16}
_SOURCE, _DESTINATION, _PROTOCOL = slice(0, 16), slice(16, 32), 32
_SOURCE_PORT, _DESTINATION_PORT = slice(33, 35), slice(35, 37)
_LENGTHS = {2: 32, 3: 33, 5: 37}
"""The length in bytes of a key, for each number of fields."""


class FlowKey(bytes):
    """Identifies a flow by its protocol and the addresses and ports of its two endpoints.

    A flow key has 37 bytes, which are the same in every process.  It can be passed as a key to any
    keyed balancer.  Its hash is computed once.  Comparing and pickling it cost as much as for
    bytes.  The bytes are the two addresses as IPv6, then the protocol, then the two ports.  An IPv4
    address is stored as IPv4-mapped IPv6, so ``::ffff:192.0.2.1`` equals 192.0.2.1.  Zones are
    ignored.

    ``protocol`` is icmp, tcp, udp, ipv6-icmp, sctp or an IANA number.  An address is given as text,
    as 4 or 16 packed bytes, or as an object of :mod:`ipaddress`.  Packed bytes are the fastest.
    Pass port 0 for a protocol without ports.

    With ``symmetric``, the lower endpoint is always stored first, so both directions of a
    connection have the same key.  Use it if the responses also pass through the balancer.

    >>> flow = FlowKey("tcp", "192.0.2.1", 50123, "198.51.100.7", 443)
    >>> flow
    FlowKey('tcp', '192.0.2.1', 50123, '198.51.100.7', 443)
    >>> flow.source, flow.destination_port, len(flow.key(2)), len(flow.key(3)), len(flow)
    ('192.0.2.1', 443, 32, 33, 37)
    >>> there = FlowKey(17, "2001:db8::1", 5000, "2001:db8::2", 53, symmetric=True)
    >>> there == FlowKey(17, "2001:db8::2", 53, "2001:db8::1", 5000, symmetric=True)
    True

    Raises InvalidKey for an invalid protocol, address or port.  The message contains this value.
    """

    __slots__ = ()

    def __new__(
        cls,
        protocol: str | int,
        source: bytes | str | Address,
        source_port: int,
        destination: bytes | str | Address,
        destination_port: int,
        *,
        symmetric: bool = False,
    ) -> Self:
        """Check the fields and return the key that contains them; O(1)."""
        first, second = _packed(source), _packed(destination)
        first_port, second_port = _port_bytes(source_port), _port_bytes(destination_port)
        if symmetric and (first, first_port) > (second, second_port):
            first, second, first_port, second_port = second, first, second_port, first_port
        return bytes.__new__(
            cls, first + second + _protocol_byte(protocol) + first_port + second_port
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the flow key with these 37 bytes, which may come from another process; O(1).

        >>> flow = FlowKey("udp", "192.0.2.1", 50123, "192.0.2.2", 53)
        >>> FlowKey.from_bytes(bytes(flow)) == flow
        True

        Raises InvalidKey for any other length or type.
        """
        if not isinstance(data, bytes) or len(data) != _LENGTHS[5]:
            raise InvalidKey(f"data must be {_LENGTHS[5]} bytes, not {shown(data)}")
        return bytes.__new__(cls, data)

    def key(self, fields: Literal[2, 3, 5] = 5) -> bytes:
        """Return a key with 2, 3 or 5 of the fields; O(1).

        A key with 2 fields contains the addresses.  A key with 3 fields also contains the protocol.
        Use at most 3 fields for IP fragments, because not all fragments contain the ports.  A key
        with 5 fields also contains the ports.  Flows that differ only in the other fields have the
        same key.  Two keys with different numbers of fields are never equal, because they have
        different lengths.

        Raises InvalidSetting for another number of fields.
        """
        length = _LENGTHS.get(fields)
        if length is None or type(cast("object", fields)) is not int:
            raise InvalidSetting(f"fields must be 2, 3 or 5, not {shown(fields)}")
        return self if length == len(self) else self[:length]

    @property
    def protocol(self) -> int:
        """The protocol number assigned by IANA."""
        return self[_PROTOCOL]

    @property
    def source(self) -> str:
        """The source address as text.  An IPv4-mapped IPv6 address is written as IPv4."""
        return _text(self[_SOURCE])

    @property
    def source_port(self) -> int:
        """The source port.  It is 0 for a protocol without ports."""
        return int.from_bytes(self[_SOURCE_PORT], "big")

    @property
    def destination(self) -> str:
        """The destination address as text.  An IPv4-mapped IPv6 address is written as IPv4."""
        return _text(self[_DESTINATION])

    @property
    def destination_port(self) -> int:
        """The destination port.  It is 0 for a protocol without ports."""
        return int.from_bytes(self[_DESTINATION_PORT], "big")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_bytes, (bytes(self),)

    def __repr__(self) -> str:
        protocol = _NAMES.get(self.protocol, self.protocol)
        source = (self.source, self.source_port)
        destination = (self.destination, self.destination_port)
        return f"{type(self).__name__}{(protocol, *source, *destination)!r}"

    __str__ = __repr__


def _packed(address: bytes | str | Address) -> bytes:
    """Return an address as the 16 bytes of an IPv6 address."""
    if type(address) is not bytes or len(address) not in _PACKED_LENGTHS:
        address = address_of(address).packed
    return (_MAPPED + address)[-16:]


def _text(packed: bytes) -> str:
    return str(unmapped(ip_address(packed)))


def _port_bytes(port: int) -> bytes:
    if type(port) is not int or not 0 <= port <= HIGHEST_PORT:
        raise InvalidKey(f"port must be an int, 0 to {HIGHEST_PORT}, not {shown(port)}")
    return port.to_bytes(2, "big")


def _protocol_byte(protocol: str | int) -> bytes:
    number = _NUMBERS.get(protocol) if isinstance(protocol, str) else protocol
    if type(number) is not int or not 0 <= number <= _HIGHEST_PROTOCOL:
        names = ", ".join(_NUMBERS)
        raise InvalidKey(
            f"protocol must be {names} or 0 to {_HIGHEST_PROTOCOL}, not {shown(protocol)}"
        )
    return bytes((number,))
