"""Whose packet this is: a transport connection as bytes that tell it from every other."""

from ipaddress import ip_address
from typing import Any, Literal, Self, cast

from balancers.addresses import Address, address_of
from balancers.errors import InvalidKey, InvalidSetting

__all__ = ["FlowKey"]

_NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17, "ipv6-icmp": 58, "sctp": 132}
_NAMES = {number: name for name, number in _NUMBERS.items()}
_HIGHEST_PROTOCOL, _HIGHEST_PORT = 0xFF, 0xFFFF
_MAPPED = bytes(10) + b"\xff\xff"
"""What makes IPv6 of an IPv4 address (RFC 4291, section 2.5.5.2)."""
_PACKED = {4, 16}
_SOURCE, _DESTINATION, _PROTOCOL = slice(0, 16), slice(16, 32), 32
_SOURCE_PORT, _DESTINATION_PORT = slice(33, 35), slice(35, 37)
_LENGTHS = {2: 32, 3: 33, 5: 37}
"""How many fields are how many bytes."""


class FlowKey(bytes):
    """A flow: protocol, source and destination, each an address and a port.

    It is 37 bytes, the same ones in every process: so it is a key for any keyed balancer as it
    stands, hashed once, compared and pickled as cheaply as bytes.  Both addresses first, each as
    IPv6, an IPv4 one mapped, so that ``::ffff:192.0.2.1`` is 192.0.2.1; then the protocol and the
    two ports.  A zone does not count.

    ``protocol`` is icmp, tcp, udp, ipv6-icmp, sctp or an IANA number; an address is text, its 4 or
    16 packed bytes (the quick way), or from :mod:`ipaddress`; a protocol without ports has port 0.
    ``symmetric`` puts the lesser end first: then both directions are one flow, which they must be
    where the answers pass through you too.

    >>> flow = FlowKey("tcp", "192.0.2.1", 50123, "198.51.100.7", 443)
    >>> flow
    FlowKey('tcp', '192.0.2.1', 50123, '198.51.100.7', 443)
    >>> flow.source, flow.destination_port, len(flow.key(2)), len(flow.key(3)), len(flow)
    ('192.0.2.1', 443, 32, 33, 37)
    >>> there = FlowKey(17, "2001:db8::1", 5000, "2001:db8::2", 53, symmetric=True)
    >>> there == FlowKey(17, "2001:db8::2", 53, "2001:db8::1", 5000, symmetric=True)
    True

    Raises InvalidKey, naming it, for what is no protocol, address or port.
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
        """Pack and check the fields; O(1)."""
        here, there = _packed(source), _packed(destination)
        here_port, there_port = _port(source_port), _port(destination_port)
        if symmetric and (here, here_port) > (there, there_port):
            here, there, here_port, there_port = there, here, there_port, here_port
        return bytes.__new__(cls, here + there + _number(protocol) + here_port + there_port)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Give the flow of 37 bytes that were one, in another process perhaps; O(1).

        >>> flow = FlowKey("udp", "192.0.2.1", 50123, "192.0.2.2", 53)
        >>> FlowKey.from_bytes(bytes(flow)) == flow
        True

        Raises InvalidKey for any other length or type.
        """
        if not isinstance(data, bytes) or len(data) != _LENGTHS[5]:
            raise InvalidKey(f"a flow is {_LENGTHS[5]} bytes, not {data!r}")
        return bytes.__new__(cls, data)

    def key(self, fields: Literal[2, 3, 5] = 5) -> bytes:
        """Give the bytes of fewer fields, for a client's flows to go one way together; O(1).

        Of 2: the addresses.  Of 3: the protocol too, which is all that a fragment tells.  Of 5: the
        ports too.  No two kinds are ever equal, as their lengths differ.

        Raises InvalidSetting for another number.
        """
        length = _LENGTHS.get(fields)
        if length is None or type(cast("object", fields)) is not int:
            raise InvalidSetting(f"a key has 2, 3 or 5 fields, not {fields!r}")
        return self if length == len(self) else self[:length]

    @property
    def protocol(self) -> int:
        """The number that IANA gave it."""
        return self[_PROTOCOL]

    @property
    def source(self) -> str:
        """The address as text, IPv4 where it is that."""
        return _text(self[_SOURCE])

    @property
    def source_port(self) -> int:
        """The port, 0 where there is none."""
        return int.from_bytes(self[_SOURCE_PORT], "big")

    @property
    def destination(self) -> str:
        """The address as text, IPv4 where it is that."""
        return _text(self[_DESTINATION])

    @property
    def destination_port(self) -> int:
        """The port, 0 where there is none."""
        return int.from_bytes(self[_DESTINATION_PORT], "big")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_bytes, (bytes(self),)

    def __repr__(self) -> str:
        protocol = _NAMES.get(self.protocol, self.protocol)
        here, there = (self.source, self.source_port), (self.destination, self.destination_port)
        return f"{type(self).__name__}{(protocol, *here, *there)!r}"

    __str__ = __repr__


def _packed(address: bytes | str | Address) -> bytes:
    """Give the 16 bytes of an address."""
    if type(address) is not bytes or len(address) not in _PACKED:
        address = address_of(address).packed
    return (_MAPPED + address)[-16:]


def _text(packed: bytes) -> str:
    return str(ip_address(packed.removeprefix(_MAPPED)))


def _port(port: int) -> bytes:
    if type(port) is not int or not 0 <= port <= _HIGHEST_PORT:
        raise InvalidKey(f"a port is an int, 0 to {_HIGHEST_PORT}, not {port!r}")
    return port.to_bytes(2, "big")


def _number(protocol: str | int) -> bytes:
    number = _NUMBERS.get(protocol) if isinstance(protocol, str) else protocol
    if type(number) is not int or not 0 <= number <= _HIGHEST_PROTOCOL:
        names = ", ".join(_NUMBERS)
        raise InvalidKey(f"a protocol is {names} or 0 to {_HIGHEST_PROTOCOL}, not {protocol!r}")
    return bytes((number,))
