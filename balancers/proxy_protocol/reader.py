"""Parses the PROXY header, version 1 or 2, at the start of a TCP stream.

Source: HAProxy's ``doc/proxy-protocol.txt`` of 2020-03-05.
"""

import re
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from balancers._internal.checks import HIGHEST_PORT, at_least
from balancers.addresses import unmapped
from balancers.proxy_protocol._crc32c import crc32c
from balancers.proxy_protocol.header import (
    CHECKSUM,
    CHECKSUM_BYTES,
    FIXED_SIZE,
    INET,
    MAX_BLOCK_SIZE,
    SIGNATURE,
    UNIQUE_ID,
    UNIX,
    UNIX_PATH,
    Endpoint,
    ProxyHeader,
    addresses_size,
)
from balancers.proxy_protocol.tlv import UNIQUE_ID_BYTES, Tlv, spans

__all__ = ["ReadHeader", "read_proxy_header"]

_MIN_LINE_SIZE = len(b"PROXY UNKNOWN\r\n")
_MAX_LINE_SIZE = 107
_DATAGRAM = 2
_VERSION = 2
_LOCAL = SIGNATURE + bytes([0x20, 0, 0, 0])
_OPENINGS = (b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN")
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: .*)?", re.DOTALL)
_LINE = re.compile(
    rb"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9][0-9]*) (0|[1-9][0-9]*)"
)

Bytes = bytes | bytearray | memoryview
_Endpoints = tuple[Endpoint, Endpoint] | tuple[bytes, bytes]


class ReadHeader(NamedTuple):
    """The result of parsing data that should begin with a PROXY header.

    The result is a header, or more data is needed, or the data is refused.
    """

    header: ProxyHeader | None
    """The header, or None if more data is needed or the data is refused."""
    reason: str
    """Why there is no header.  It is empty if there is a header.  It is ``incomplete`` if more data
    is needed.  Any other reason says why the data is refused.  Close the connection then."""
    size: int
    """The size of the header in bytes, which is the index where the other data begins.  If the
    reason is ``incomplete``, it is the smallest size that the header can have.  If the data is
    refused, it is 0."""


def read_proxy_header(data: Bytes, max_size: int = FIXED_SIZE + MAX_BLOCK_SIZE) -> ReadHeader:
    r"""Parse the PROXY header at the start of the data.

    If the result is ``incomplete``, call the function again with all data received so far.  Data
    after the header is ignored.

    Use this function for every connection from your own proxies, and for no other connection.
    Do not inspect the data to decide whether it begins with a header.

    >>> read_proxy_header(b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / ...")[1:]
    ('', 47)
    >>> read_proxy_header(b"PROXY TCP")[1:], read_proxy_header(b"GET / HTTP/1.1\r\n")[1:]
    (('incomplete', 15), ('no signature', 0))

    A header of more than ``max_size`` bytes is refused as soon as its size is known.  An
    IPv4-mapped IPv6 address becomes an IPv4 address.  An IPv6 address may end in dotted IPv4,
    because programs write IPv4-mapped addresses like this.

    In version 1, everything after ``UNKNOWN`` is skipped.  In version 2, everything after the
    command LOCAL is skipped, whatever the protocol byte is.  After the command PROXY, the protocol
    byte decides.  Its high half is the address family and its low half is the transport:

    * 0x11, 0x12, 0x21, 0x22, 0x31 and 0x32 are TCP and UDP over IPv4, TCP and UDP over IPv6, and
      stream and datagram over Unix sockets.  The addresses and the TLVs are read.
    * 0x00 leaves both halves unspecified.  The header is accepted without addresses.  Its TLVs are
      read if they are well-formed; otherwise everything is skipped.
    * 0x01, 0x02, 0x10, 0x20 and 0x30 leave one half unspecified.  The header is accepted without
      addresses, and everything is skipped, because the size of the addresses is not known.
    * All other values have a family above 3 or a transport above 2.  The specification demands
      that they are refused, and the reason is ``unknown protocol``.

    For 0x00 and the half-specified values, the specification lets the receiver choose between
    accepting and refusing.  HAProxy 2.6.12 refuses the command PROXY with any other value than 0x11
    and 0x21.

    Cost: O(bytes of the header).  A header has at most 107 bytes in version 1 and at most 65551
    bytes in version 2.  Raises InvalidSetting for a ``max_size`` that is not an int of 16 or more.
    No data raises an error.
    """
    at_least(FIXED_SIZE, max_size=max_size)
    start = bytes(data[:_MAX_LINE_SIZE])
    try:
        if not start:
            return _incomplete(_MIN_LINE_SIZE)
        if start.startswith(SIGNATURE[: len(start)]):
            return _read_binary(data, start, max_size)
        if any(start.startswith(opening[: len(start)]) for opening in _OPENINGS):
            return _read_line(start, min(max_size, _MAX_LINE_SIZE))
    except _Refused as refused:
        return ReadHeader(None, str(refused), 0)
    return ReadHeader(None, "no signature", 0)


class _Refused(Exception):
    """Raised when the data is not a PROXY header.  The message is the reason."""


def _incomplete(least: int) -> ReadHeader:
    return ReadHeader(None, "incomplete", least)


def _read_line(start: bytes, max_size: int) -> ReadHeader:
    end = start.find(b"\r\n")
    size = end + 2 if end >= 0 else len(start) + (1 if start.endswith(b"\r") else 2)
    if size > max_size:
        raise _Refused("too long")
    if end < 0:
        return _incomplete(max(size, _MIN_LINE_SIZE))
    if _UNKNOWN.fullmatch(start, 0, end):
        return ReadHeader(ProxyHeader(version=1), "", size)
    found = _LINE.fullmatch(start, 0, end)
    if found is None:
        raise _Refused("malformed line")
    family, *fields = (field.decode() for field in found.groups())
    source, destination = (
        _line_endpoint(family, *pair) for pair in zip(fields[:2], fields[2:], strict=True)
    )
    return ReadHeader(ProxyHeader(source, destination, version=1), "", size)


def _line_endpoint(family: str, address: str, port: str) -> Endpoint:
    if int(port) <= HIGHEST_PORT:
        try:
            parsed = IPv4Address(address) if family == "4" else unmapped(IPv6Address(address))
            return Endpoint(parsed, int(port))
        except ValueError:
            pass
    raise _Refused("malformed line")


def _read_binary(data: Bytes, start: bytes, max_size: int) -> ReadHeader:
    command, family, transport = _protocol(start + _LOCAL[len(start) :])
    if len(start) < FIXED_SIZE:
        return _incomplete(FIXED_SIZE)
    size = FIXED_SIZE + int.from_bytes(start[FIXED_SIZE - 2 : FIXED_SIZE], "big")
    if size > max_size:
        raise _Refused("too long")
    specified = family > 0 and transport > 0
    if specified and size < FIXED_SIZE + addresses_size(family):
        raise _Refused("addresses cut short")
    if len(data) < size:
        return _incomplete(size)
    if command == 0:
        return ReadHeader(ProxyHeader(local=True), "", size)
    header = bytes(data[:size])
    if specified:
        source, destination = _endpoints(header, family)
        tlvs, checksum = _read_tlvs(header, FIXED_SIZE + addresses_size(family))
        found = ProxyHeader(source, destination, transport == _DATAGRAM, False, tlvs, checksum)
        return ReadHeader(found, "", size)
    if family or transport or spans(header, FIXED_SIZE) is None:
        return ReadHeader(ProxyHeader(), "", size)
    tlvs, checksum = _read_tlvs(header, FIXED_SIZE)
    return ReadHeader(ProxyHeader(tlvs=tlvs, checksum=checksum), "", size)


def _protocol(fixed: bytes) -> tuple[int, int, int]:
    """Return the command, the address family and the transport.

    All three are 0 for the command LOCAL.
    """
    version, command = divmod(fixed[len(SIGNATURE)], 16)
    family, transport = divmod(fixed[len(SIGNATURE) + 1], 16)
    if version != _VERSION:
        raise _Refused("unknown version")
    if command == 0:
        return 0, 0, 0
    if command != 1:
        raise _Refused("unknown command")
    if family > UNIX or transport > _DATAGRAM:
        raise _Refused("unknown protocol")
    return command, family, transport


def _endpoints(header: bytes, family: int) -> _Endpoints:
    if family == UNIX:
        middle = FIXED_SIZE + UNIX_PATH
        paths = header[FIXED_SIZE:middle], header[middle : middle + UNIX_PATH]
        return paths[0].rstrip(b"\0"), paths[1].rstrip(b"\0")
    address_type, width = (IPv4Address, 4) if family == INET else (IPv6Address, 16)
    ports = FIXED_SIZE + 2 * width
    source, destination = (
        Endpoint(
            unmapped(
                address_type(header[FIXED_SIZE + width * place : FIXED_SIZE + width * (place + 1)])
            ),
            int.from_bytes(header[ports + 2 * place : ports + 2 * (place + 1)], "big"),
        )
        for place in (0, 1)
    )
    return source, destination


def _read_tlvs(header: bytes, at: int) -> tuple[tuple[Tlv, ...], bool]:
    """Return the TLVs without the checksum, and whether there was a checksum.

    Raises _Refused if the TLVs are malformed or the checksum is wrong.
    """
    found = spans(header, at)
    if found is None:
        raise _Refused("TLV cut short")
    if any(kind == UNIQUE_ID and end - start > UNIQUE_ID_BYTES for kind, start, end in found):
        raise _Refused("unique id too long")
    checksums = [(start, end) for kind, start, end in found if kind == CHECKSUM]
    for start, end in checksums:
        if len(checksums) > 1 or end - start != CHECKSUM_BYTES:
            raise _Refused("malformed checksum")
        zeroed = header[:start] + bytes(CHECKSUM_BYTES) + header[end:]
        if crc32c(zeroed) != int.from_bytes(header[start:end], "big"):
            raise _Refused("wrong checksum")
    tlvs = tuple(Tlv(kind, header[start:end]) for kind, start, end in found if kind != CHECKSUM)
    return tlvs, bool(checksums)
