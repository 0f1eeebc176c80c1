"""The PROXY protocol, read: what stands ahead of a TCP stream, versions 1 and 2.

Source: HAProxy's ``doc/proxy-protocol.txt`` of 2020-03-05.
"""

import re
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from balancers._internal.checks import at_least
from balancers.proxy_protocol._crc32c import crc32c
from balancers.proxy_protocol.header import (
    CHECKSUM,
    CHECKSUM_BYTES,
    FIXED,
    INET,
    LONGEST_BLOCK,
    SIGNATURE,
    UNIQUE_ID,
    UNIQUE_ID_BYTES,
    UNIX,
    UNIX_PATH,
    Endpoint,
    ProxyHeader,
    Tlv,
    addresses_size,
)

__all__ = ["ReadHeader", "read_proxy_header"]

_SHORTEST_LINE = len(b"PROXY UNKNOWN\r\n")
_LONGEST_LINE = 107
_HIGHEST_PORT = 0xFFFF
_DATAGRAM = 2
_VERSION = 2
_LOCAL = SIGNATURE + bytes([0x20, 0, 0, 0])
_OPENINGS = (b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN")
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: .*)?", re.DOTALL)
_LINE = re.compile(
    rb"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9][0-9]*) (0|[1-9][0-9]*)"
)

Bytes = bytes | bytearray | memoryview
_Ends = tuple[Endpoint, Endpoint] | tuple[bytes, bytes]


class ReadHeader(NamedTuple):
    """What came of reading: a header, a wish for more, or the reason why it is none."""

    header: ProxyHeader | None
    reason: str
    """Empty beside a header; ``incomplete``; else why this is none, and the connection must end."""
    size: int
    """Bytes of the header, where the stream begins; while ``incomplete`` how many there are at
    least; else 0."""


def read_proxy_header(data: Bytes, longest: int = FIXED + LONGEST_BLOCK) -> ReadHeader:
    r"""Read the PROXY header that the data begins with.

    Call again with more of it while ``incomplete``; what follows the header does not matter.  Only
    for connections from your own proxies, and then for each: never guess whether there is a header.

    >>> read_proxy_header(b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / ...")[1:]
    ('', 47)
    >>> read_proxy_header(b"PROXY TCP")[1:], read_proxy_header(b"GET / HTTP/1.1\r\n")[1:]
    (('incomplete', 15), ('no signature', 0))

    A header longer than ``longest`` bytes is refused as soon as that is known.  IPv6 may end in
    dotted IPv4, as programs write IPv4-mapped addresses.  What follows ``UNKNOWN``, LOCAL and
    unspecified addresses is skipped, except TLVs straight after unspecified ones.

    Cost: O(bytes of the header): at most 107 in version 1, 65551 in version 2.  Raises
    InvalidSetting for ``longest`` below 16, and nothing for any bytes.
    """
    at_least(FIXED, longest=longest)
    start = bytes(data[:_LONGEST_LINE])
    try:
        if not start:
            return _incomplete(_SHORTEST_LINE)
        if start.startswith(SIGNATURE[: len(start)]):
            return _read_binary(data, start, longest)
        if any(start.startswith(opening[: len(start)]) for opening in _OPENINGS):
            return _read_line(start, min(longest, _LONGEST_LINE))
    except _Refused as refused:
        return ReadHeader(None, str(refused), 0)
    return ReadHeader(None, "no signature", 0)


class _Refused(Exception):
    """No PROXY header, and why."""


def _incomplete(least: int) -> ReadHeader:
    return ReadHeader(None, "incomplete", least)


def _read_line(start: bytes, longest: int) -> ReadHeader:
    end = start.find(b"\r\n")
    size = end + 2 if end >= 0 else len(start) + (1 if start.endswith(b"\r") else 2)
    if size > longest:
        raise _Refused("too long")
    if end < 0:
        return _incomplete(max(size, _SHORTEST_LINE))
    if _UNKNOWN.fullmatch(start, 0, end):
        return ReadHeader(ProxyHeader(version=1), "", size)
    found = _LINE.fullmatch(start, 0, end)
    if found is None:
        raise _Refused("malformed line")
    family, *ends = (field.decode() for field in found.groups())
    source, destination = (
        _end_of_line(family, *end) for end in zip(ends[:2], ends[2:], strict=True)
    )
    return ReadHeader(ProxyHeader(source, destination, version=1), "", size)


def _end_of_line(family: str, address: str, port: str) -> Endpoint:
    if int(port) <= _HIGHEST_PORT:
        try:
            return Endpoint(
                IPv4Address(address) if family == "4" else IPv6Address(address), int(port)
            )
        except ValueError:
            pass
    raise _Refused("malformed line")


def _read_binary(data: Bytes, start: bytes, longest: int) -> ReadHeader:
    command, family, transport = _protocol(start + _LOCAL[len(start) :])
    if len(start) < FIXED:
        return _incomplete(FIXED)
    size = FIXED + int.from_bytes(start[FIXED - 2 : FIXED], "big")
    if size > longest:
        raise _Refused("too long")
    specified = family > 0 and transport > 0
    if specified and size < FIXED + addresses_size(family):
        raise _Refused("addresses cut short")
    if len(data) < size:
        return _incomplete(size)
    if command == 0:
        return ReadHeader(ProxyHeader(local=True), "", size)
    header = bytes(data[:size])
    if specified:
        source, destination = _ends(header, family)
        tlvs, checksum = _read_tlvs(header, FIXED + addresses_size(family))
        found = ProxyHeader(source, destination, transport == _DATAGRAM, False, tlvs, checksum)
        return ReadHeader(found, "", size)
    if family or transport or _spans(header, FIXED) is None:
        return ReadHeader(ProxyHeader(), "", size)
    tlvs, checksum = _read_tlvs(header, FIXED)
    return ReadHeader(ProxyHeader(tlvs=tlvs, checksum=checksum), "", size)


def _protocol(fixed: bytes) -> tuple[int, int, int]:
    """Give the command, the family and the transport; the latter two are 0 for LOCAL."""
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


def _ends(header: bytes, family: int) -> _Ends:
    if family == UNIX:
        middle = FIXED + UNIX_PATH
        paths = header[FIXED:middle], header[middle : middle + UNIX_PATH]
        return paths[0].rstrip(b"\0"), paths[1].rstrip(b"\0")
    of_family, width = (IPv4Address, 4) if family == INET else (IPv6Address, 16)
    ports = FIXED + 2 * width
    source, destination = (
        Endpoint(
            of_family(header[FIXED + width * end : FIXED + width * (end + 1)]),
            int.from_bytes(header[ports + 2 * end : ports + 2 * (end + 1)], "big"),
        )
        for end in (0, 1)
    )
    return source, destination


def _spans(header: bytes, at: int) -> list[tuple[int, int, int]] | None:
    """Give each TLV's type and where its value starts and ends; None when the last is cut short."""
    spans: list[tuple[int, int, int]] = []
    while at < len(header):
        start = at + 3
        end = start + int.from_bytes(header[at + 1 : start], "big")
        spans.append((header[at], start, end))
        at = end
    return spans if at == len(header) else None


def _read_tlvs(header: bytes, at: int) -> tuple[tuple[Tlv, ...], bool]:
    """Read the TLVs, and whether a checksum was among them, which is verified and left out."""
    spans = _spans(header, at)
    if spans is None:
        raise _Refused("TLV cut short")
    if any(kind == UNIQUE_ID and end - start > UNIQUE_ID_BYTES for kind, start, end in spans):
        raise _Refused("unique id too long")
    sums = [(start, end) for kind, start, end in spans if kind == CHECKSUM]
    for start, end in sums:
        if len(sums) > 1 or end - start != CHECKSUM_BYTES:
            raise _Refused("malformed checksum")
        blank = header[:start] + bytes(CHECKSUM_BYTES) + header[end:]
        if crc32c(blank) != int.from_bytes(header[start:end], "big"):
            raise _Refused("wrong checksum")
    tlvs = tuple(Tlv(kind, header[start:end]) for kind, start, end in spans if kind != CHECKSUM)
    return tlvs, bool(sums)
