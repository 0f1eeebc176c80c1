"""What a PROXY header says, and the bytes that say it: versions 1 and 2.

Source: HAProxy's ``doc/proxy-protocol.txt`` of 2020-03-05.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from balancers.addresses import Address
from balancers.errors import InvalidSetting
from balancers.proxy_protocol._crc32c import crc32c

__all__ = [
    "CHECKSUM",
    "CHECKSUM_BYTES",
    "FIXED",
    "INET",
    "INET6",
    "LONGEST_BLOCK",
    "SIGNATURE",
    "UNIQUE_ID",
    "UNIQUE_ID_BYTES",
    "UNIX",
    "UNIX_PATH",
    "Endpoint",
    "ProxyHeader",
    "Tlv",
    "addresses_size",
]

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
FIXED = 16
"""Bytes of version 2 before the block of addresses and TLVs, whose length is said in two bytes."""
LONGEST_BLOCK = 0xFFFF
INET, INET6, UNIX = 1, 2, 3
UNIX_PATH = 108
CHECKSUM, UNIQUE_ID = 0x03, 0x05
CHECKSUM_BYTES = 4
UNIQUE_ID_BYTES = 128

_STREAM, _DATAGRAM = 1, 2
_TLV_HEAD = 3
_HIGHEST_PORT = 0xFFFF
_HIGHEST_TYPE = 0xFF
_ADDRESSES = {0: 0, INET: 2 * (4 + 2), INET6: 2 * (16 + 2), UNIX: 2 * UNIX_PATH}


class Endpoint(NamedTuple):
    """One end of an Internet connection.

    >>> Endpoint(IPv4Address("192.168.0.1"), 56324).port
    56324
    """

    address: Address
    port: int


class Tlv(NamedTuple):
    """More about the connection: a type, 0 to 255, and its value.

    >>> Tlv(0x01, b"h2")
    Tlv(type=1, value=b'h2')
    """

    type: int
    value: bytes


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    r"""Whose connection it is that a proxy forwards.

    ``source`` and ``destination`` are two :class:`Endpoint` of one family, two Unix paths (bytes,
    NUL first in an abstract one), or None: then the connection's own addresses count.  ``datagram``
    is for UDP and its like, ``local`` for a connection of the proxy's own, such as a health check,
    ``checksum`` for a CRC-32C, which is no member of ``tlvs``.  Version 1 has addresses of TCP or
    none, and nothing else.

    >>> client, server = (Endpoint(IPv4Address(f"192.168.0.{n}"), n) for n in (1, 11))
    >>> ProxyHeader(client, server, version=1).build()
    b'PROXY TCP4 192.168.0.1 192.168.0.11 1 11\r\n'
    >>> ProxyHeader(client, server, tlvs=(Tlv(0x01, b"h2"),)).build()[12:].hex(" ", 4)
    '21 110011c0 a80001c0 a8000b00 01000b01 00026832'

    Raises InvalidSetting for what cannot be sent.
    """

    source: Endpoint | bytes | None = None
    destination: Endpoint | bytes | None = None
    datagram: bool = False
    local: bool = False
    tlvs: tuple[Tlv, ...] = ()
    checksum: bool = False
    version: int = 2

    def __post_init__(self) -> None:
        family = _family(self.source)
        if family != _family(self.destination):
            raise InvalidSetting(f"two families: {self.source!r} and {self.destination!r}")
        if type(self.version) is not int or self.version not in {1, 2}:
            raise InvalidSetting(f"version must be 1 or 2, not {self.version!r}")
        if not isinstance(self.tlvs, tuple) or not all(map(_is_valid, self.tlvs)):
            raise InvalidSetting(f"tlvs must be a tuple of Tlv, no checksum, not {self.tlvs!r}")
        if self.datagram and not family:
            raise InvalidSetting("datagram needs addresses")
        more = bool(self.tlvs) or self.checksum
        if self.local and (family or more):
            raise InvalidSetting(f"a local header says nothing more: {self!r}")
        if self.version == 1 and (more or self.local or self.datagram or family == UNIX):
            raise InvalidSetting(f"version 1 has addresses of TCP and nothing else: {self!r}")
        if self._block_size() > LONGEST_BLOCK:
            raise InvalidSetting(f"TLVs of {self._block_size()} bytes, addresses included")

    def build(self) -> bytes:
        """Give the bytes to send ahead of the stream, in one piece.  O(bytes)."""
        return self._line() if self.version == 1 else self._binary()

    def _line(self) -> bytes:
        source, destination = self.source, self.destination
        if not isinstance(source, Endpoint) or not isinstance(destination, Endpoint):
            return b"PROXY UNKNOWN\r\n"
        family = 4 if isinstance(source.address, IPv4Address) else 6
        addresses = f"{source.address} {destination.address}"
        return f"PROXY TCP{family} {addresses} {source.port} {destination.port}\r\n".encode()

    def _binary(self) -> bytes:
        family = _family(self.source)
        transport = _DATAGRAM if self.datagram else _STREAM
        command = 0x20 if self.local else 0x21
        parts = [SIGNATURE, bytes([command, family << 4 | transport if family else 0])]
        parts.append(self._block_size().to_bytes(2, "big"))
        parts += _packed(self.source, self.destination)
        parts += (_head(tlv.type, len(tlv.value)) + tlv.value for tlv in self.tlvs)
        if not self.checksum:
            return b"".join(parts)
        data = b"".join([*parts, _head(CHECKSUM, CHECKSUM_BYTES)])
        return data + crc32c(data + bytes(CHECKSUM_BYTES)).to_bytes(CHECKSUM_BYTES, "big")

    def _block_size(self) -> int:
        size = addresses_size(_family(self.source)) + (_TLV_HEAD + CHECKSUM_BYTES) * self.checksum
        return size + sum(_TLV_HEAD + len(tlv.value) for tlv in self.tlvs)


def addresses_size(family: int) -> int:
    """Give how many bytes two addresses take in version 2, ports included; 0 for no family."""
    return _ADDRESSES[family]


def _family(end: object) -> int:
    if end is None:
        return 0
    if isinstance(end, bytes):
        if len(end) <= UNIX_PATH and not end.endswith(b"\0"):
            return UNIX
    elif isinstance(end, Endpoint):
        address: object = end.address
        port: object = end.port
        if type(port) is int and 0 <= port <= _HIGHEST_PORT:
            if isinstance(address, IPv4Address):
                return INET
            if isinstance(address, IPv6Address) and address.scope_id is None:
                return INET6
    raise InvalidSetting(f"no end of a connection: {end!r}")


def _is_valid(tlv: object) -> bool:
    if not isinstance(tlv, Tlv) or type(tlv.type) is not int or not isinstance(tlv.value, bytes):
        return False
    known = 0 <= tlv.type <= _HIGHEST_TYPE and tlv.type != CHECKSUM
    return known and (tlv.type != UNIQUE_ID or len(tlv.value) <= UNIQUE_ID_BYTES)


def _packed(source: Endpoint | bytes | None, destination: Endpoint | bytes | None) -> list[bytes]:
    if isinstance(source, Endpoint) and isinstance(destination, Endpoint):
        ends = (source, destination)
        return [*(e.address.packed for e in ends), *(e.port.to_bytes(2, "big") for e in ends)]
    return [end.ljust(UNIX_PATH, b"\0") for end in (source, destination) if isinstance(end, bytes)]


def _head(kind: int, size: int) -> bytes:
    return bytes([kind]) + size.to_bytes(2, "big")
