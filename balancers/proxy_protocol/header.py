"""Defines the data of a PROXY header and builds its bytes in version 1 or 2.

Source: HAProxy's ``doc/proxy-protocol.txt`` of 2020-03-05.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, cast

from balancers._internal.checks import HIGHEST_PORT, check_flags, shown
from balancers.addresses import Address, ntop_text
from balancers.errors import InvalidSetting
from balancers.proxy_protocol._crc32c import crc32c
from balancers.proxy_protocol.ssl_tlv import ReadSsl, ssl_in
from balancers.proxy_protocol.tlv import (
    UNIQUE_ID_BYTES,
    Tlv,
    TlvType,
    is_valid,
    tlv_bytes,
    tlv_head,
)

__all__ = [
    "CHECKSUM",
    "CHECKSUM_BYTES",
    "FIXED_SIZE",
    "INET",
    "INET6",
    "MAX_BLOCK_SIZE",
    "SIGNATURE",
    "UNIQUE_ID",
    "UNIX",
    "UNIX_PATH",
    "Endpoint",
    "ProxyHeader",
    "addresses_size",
]

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
FIXED_SIZE = 16
"""The number of bytes of a version 2 header before the block of addresses and TLVs."""
MAX_BLOCK_SIZE = 0xFFFF
"""The largest number of bytes in the block, because the header gives its length in two bytes."""
INET, INET6, UNIX = 1, 2, 3
UNIX_PATH = 108
CHECKSUM, UNIQUE_ID = TlvType.CRC32C.value, TlvType.UNIQUE_ID.value
CHECKSUM_BYTES = 4

_STREAM, _DATAGRAM = 1, 2
_TLV_HEAD_SIZE = 3
_MAPPED = bytes(10) + b"\xff\xff"
"""The first 12 bytes of an IPv4 address that is written as IPv6 (RFC 4291, section 2.5.5.2)."""
_ADDRESSES_SIZE = {0: 0, INET: 2 * (4 + 2), INET6: 2 * (16 + 2), UNIX: 2 * UNIX_PATH}


class Endpoint(NamedTuple):
    """Holds the address and the port of one end of an Internet connection.

    >>> Endpoint(IPv4Address("192.168.0.1"), 56324).port
    56324
    """

    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    r"""Says which two endpoints a connection had before a proxy forwarded it.

    ``source`` and ``destination`` are of the same kind.  They are two :class:`Endpoint`, or two
    Unix paths, or None.  A Unix path is bytes, and an abstract path begins with NUL.  If they are
    None, use the addresses of the connection itself.

    Two IPv4 addresses are written as IPv4.  If only one of the two is IPv6, both are written as
    IPv6, and the IPv4 address is written as IPv4-mapped IPv6, as HAProxy does.

    ``datagram`` is True for UDP and similar protocols.  ``local`` is True for a connection that the
    proxy opened itself and did not forward, such as a health check.  ``tlvs`` contains additional
    properties.  With ``checksum``, the header also contains a CRC-32C checksum, which is not an
    element of ``tlvs``.  A header of version 1 contains TCP addresses or no addresses.  It cannot
    contain anything else.

    >>> client, server = (Endpoint(IPv4Address(f"192.168.0.{n}"), n) for n in (1, 11))
    >>> ProxyHeader(client, server, version=1).build()
    b'PROXY TCP4 192.168.0.1 192.168.0.11 1 11\r\n'
    >>> ProxyHeader(client, server, tlvs=(Tlv(0x01, b"h2"),)).build()[12:].hex(" ", 4)
    '21 110011c0 a80001c0 a8000b00 01000b01 00026832'
    >>> mixed = ProxyHeader(client, Endpoint(IPv6Address("2001:db8::1"), 443), version=1)
    >>> mixed.build()
    b'PROXY TCP6 ::ffff:192.168.0.1 2001:db8::1 1 443\r\n'

    Raises InvalidSetting for a header that cannot be sent.
    """

    source: Endpoint | bytes | None = None
    destination: Endpoint | bytes | None = None
    datagram: bool = False
    local: bool = False
    tlvs: tuple[Tlv, ...] = ()
    checksum: bool = False
    version: int = 2

    def __post_init__(self) -> None:
        family = _family(self.source, self.destination)
        if type(self.version) is not int or self.version not in {1, 2}:
            raise InvalidSetting(f"version must be 1 or 2, not {shown(self.version)}")
        if not isinstance(self.tlvs, tuple) or not all(map(_is_valid, self.tlvs)):
            raise InvalidSetting(
                f"tlvs must be a tuple of valid Tlv without a checksum, not {shown(self.tlvs)}"
            )
        check_flags(datagram=self.datagram, local=self.local, checksum=self.checksum)
        if self.datagram and not family:
            raise InvalidSetting(
                f"datagram must be False without addresses, not {shown(self.datagram)}"
            )
        has_tlvs = bool(self.tlvs) or self.checksum
        if self.local and (family or has_tlvs):
            raise InvalidSetting(
                f"a local header must have no addresses and no TLVs, not {shown(self)}"
            )
        if self.version == 1 and (has_tlvs or self.local or self.datagram or family == UNIX):
            raise InvalidSetting(
                f"version 1 must have TCP addresses or none only, not {shown(self)}"
            )
        if self._block_size() > MAX_BLOCK_SIZE:
            raise InvalidSetting(
                f"addresses and TLVs must be at most {MAX_BLOCK_SIZE} bytes, "
                f"not {self._block_size()}"
            )

    def build(self) -> bytes:
        """Return the bytes of the header; O(bytes).

        Send them with one write, before any other data of the connection.
        """
        return self._line() if self.version == 1 else self._binary()

    def read_ssl(self) -> ReadSsl:
        """Parse the TLV that describes the TLS connection of the client; O(bytes).

        A malformed TLV does not make the header invalid, and no data raises an error.

        >>> from balancers.proxy_protocol import Ssl
        >>> ssl, reason = ProxyHeader(tlvs=(Ssl(tls=True).tlv(),)).read_ssl()
        >>> ssl == Ssl(tls=True), reason, ProxyHeader().read_ssl()
        (True, '', ReadSsl(ssl=None, reason='absent'))
        """
        return ssl_in(self.tlvs)

    def _line(self) -> bytes:
        source, destination = self.source, self.destination
        if not isinstance(source, Endpoint) or not isinstance(destination, Endpoint):
            return b"PROXY UNKNOWN\r\n"
        addresses = (source.address, destination.address)
        family = 4
        if _family(source, destination) == INET6:
            family, addresses = 6, (_as_ipv6(addresses[0]), _as_ipv6(addresses[1]))
        text = " ".join(map(ntop_text, addresses))
        return f"PROXY TCP{family} {text} {source.port} {destination.port}\r\n".encode()

    def _binary(self) -> bytes:
        family = _family(self.source, self.destination)
        transport = _DATAGRAM if self.datagram else _STREAM
        command = 0x20 if self.local else 0x21
        parts = [SIGNATURE, bytes([command, family << 4 | transport if family else 0])]
        parts.append(self._block_size().to_bytes(2, "big"))
        parts += _packed(self.source, self.destination)
        parts += map(tlv_bytes, self.tlvs)
        if not self.checksum:
            return b"".join(parts)
        data = b"".join([*parts, tlv_head(CHECKSUM, CHECKSUM_BYTES)])
        return data + crc32c(data + bytes(CHECKSUM_BYTES)).to_bytes(CHECKSUM_BYTES, "big")

    def _block_size(self) -> int:
        size = addresses_size(_family(self.source, self.destination))
        size += (_TLV_HEAD_SIZE + CHECKSUM_BYTES) * self.checksum
        return size + sum(_TLV_HEAD_SIZE + len(tlv.value) for tlv in self.tlvs)


def addresses_size(family: int) -> int:
    """Return how many bytes two addresses and their ports take in a version 2 header.

    The result is 0 if the family is 0, which means that there are no addresses.
    """
    return _ADDRESSES_SIZE[family]


def _family(source: object, destination: object) -> int:
    """Return the address family that both endpoints are written in, or 0 without addresses."""
    families = {_family_of(source), _family_of(destination)}
    if families == {INET, INET6}:
        return INET6
    if len(families) > 1:
        raise InvalidSetting(
            "source and destination must be both Endpoint, both bytes or both None, "
            f"not {shown(source)} and {shown(destination)}"
        )
    return families.pop()


def _family_of(endpoint: object) -> int:
    if endpoint is None:
        return 0
    if isinstance(endpoint, bytes):
        if len(endpoint) <= UNIX_PATH and not endpoint.endswith(b"\0"):
            return UNIX
    elif isinstance(endpoint, Endpoint):
        address: object = endpoint.address
        port: object = endpoint.port
        if type(port) is int and 0 <= port <= HIGHEST_PORT:
            if isinstance(address, IPv4Address):
                return INET
            if isinstance(address, IPv6Address) and address.scope_id is None:
                return INET6
    raise InvalidSetting(
        f"source and destination must be Endpoint, bytes or None, and valid, not {shown(endpoint)}"
    )


def _is_valid(tlv: object) -> bool:
    if not is_valid(tlv):
        return False
    kind, value = cast("Tlv", tlv)
    return kind != CHECKSUM and (kind != UNIQUE_ID or len(value) <= UNIQUE_ID_BYTES)


def _as_ipv6(address: Address) -> Address:
    return address if isinstance(address, IPv6Address) else IPv6Address(_MAPPED + address.packed)


def _packed(source: Endpoint | bytes | None, destination: Endpoint | bytes | None) -> list[bytes]:
    if isinstance(source, Endpoint) and isinstance(destination, Endpoint):
        both = (source, destination)
        ports = [end.port.to_bytes(2, "big") for end in both]
        addresses = [end.address for end in both]
        if _family(source, destination) == INET6:
            addresses = [_as_ipv6(address) for address in addresses]
        return [*(address.packed for address in addresses), *ports]
    paths = (path for path in (source, destination) if isinstance(path, bytes))
    return [path.ljust(UNIX_PATH, b"\0") for path in paths]
