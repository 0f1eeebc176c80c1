"""Packets for the tests of virtual routers, built without the code under test."""

import struct
from ipaddress import ip_address

from balancers.redundancy.vrrp import Datagram

__all__ = ["GROUPS", "advert", "summed", "words"]

GROUPS = {4: "224.0.0.18", 6: "ff02::12"}


def words(data: bytes) -> int:
    """Return the ones' complement sum of 16-bit words, as RFC 1071 describes it."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def summed(payload: bytes, source: bytes, destination: bytes, *, pseudo: bool = True) -> bytes:
    """Return a payload of an even length with its checksum."""
    empty = payload[:6] + b"\0\0" + payload[8:]
    if len(source) == 4:
        head = source + destination + struct.pack("!BBH", 0, 112, len(payload))
    else:
        head = source + destination + struct.pack("!II", len(payload), 112)
    total = words(head * pseudo + empty)
    return payload[:6] + struct.pack("!H", 0xFFFF - total) + payload[8:]


def advert(
    source: str,
    addresses: list[str],
    *,
    vrid: int = 51,
    priority: int = 100,
    cs: int = 100,
    destination: str | None = None,
    first: int = 0x31,
    hop_limit: int = 255,
    pseudo: bool = True,
    reserved: int = 0,
    count: int | None = None,
) -> Datagram:
    """Return the datagram of an advertisement; each field can have any value."""
    origin = ip_address(source)
    target = ip_address(destination or GROUPS[origin.version])
    number = len(addresses) if count is None else count
    start = struct.pack("!BBBBHH", first, vrid, priority, number, reserved << 12 | cs, 0)
    payload = start + b"".join(ip_address(address).packed for address in addresses)
    payload = summed(payload, origin.packed, target.packed, pseudo=pseudo)
    return Datagram(origin.packed, target.packed, hop_limit, payload)
