"""Packets that keepalived and FRR sent: decoded, encoded and announced byte for byte."""

import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from balancers.redundancy.vrrp import (
    Announce,
    Datagram,
    MalformedPacket,
    decode,
    encode,
    ipv4_datagram,
)

RECORDINGS = sorted((Path(__file__).parents[1] / "vectors" / "vrrp").glob("*.json"))
FLAG_ROUTER = 4
ETHERNET = 14


def recorded(path: Path) -> tuple[list[dict[str, Any]], set[str]]:
    """Return the packets, and the frames that the recorder made by hand."""
    recording = json.loads(path.read_text(encoding="utf-8"))
    made = {event["hex"] for event in recording["events"] if event["action"] == "inject"}
    return recording["packets"], made


def datagram_of(packet: dict[str, Any]) -> Datagram:
    frame = bytes.fromhex(packet["hex"])
    if packet["family"] == 4:
        return ipv4_datagram(frame[ETHERNET:])
    length = int.from_bytes(frame[18:20], "big")
    return Datagram(frame[22:38], frame[38:54], frame[21], frame[54 : 54 + length])


def mac_of(packet: dict[str, Any]) -> bytes:
    return bytes.fromhex((packet.get("tlla") or packet["sha"]).replace(":", ""))


def test_there_are_recordings() -> None:
    assert len(RECORDINGS) >= 55


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_packets_of_real_programs(path: Path) -> None:
    seen = 0
    packets, made_by_hand = recorded(path)
    for packet in packets:
        if packet["kind"] == "advert":
            datagram = datagram_of(packet)
            try:
                content = decode(datagram)
            except MalformedPacket:
                assert packet["hex"] in made_by_hand
                continue
            assert content.vrid == packet["vrid"]
            assert content.priority == packet["priority"]
            assert content.interval_cs == packet["interval_cs"]
            assert [str(ip_address(a)) for a in content.addresses] == packet["addresses"]
            made = encode(content, datagram.source, datagram.destination, "pseudo-header")
            assert made == datagram.payload
        elif packet["kind"] in {"garp", "na"}:
            address = ip_address(packet.get("target") or packet["spa"])
            is_router = bool(packet.get("flags", 0) & FLAG_ROUTER)
            made = Announce(address).frame(mac_of(packet), router=is_router)
            assert made.hex() == packet["hex"]
        else:
            continue
        seen += 1
    assert seen
