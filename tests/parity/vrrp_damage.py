"""Damages recordings of VRRP routers, so that the replay must find it."""

import random
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from operator import itemgetter
from typing import Any

from tests.parity.vrrp_recording import fields_of, payload_of

__all__ = ["DAMAGES", "Damage", "Recording"]

FAR = (0.4, 2.0)
"""How far a record is moved, in seconds: more than the tolerance of 0.3."""

Recording = dict[str, Any]
Damage = Callable[[Recording, random.Random], bool]
"""It changes a recording, or returns False if there is nothing to change in it."""


# One record is wrong.


def a_byte(recording: Recording, rng: random.Random) -> bool:
    packet = rng.choice(recording["packets"])
    packet["hex"] = _changed(packet["hex"], rng)
    return True


def _changed(text: str, rng: random.Random, first: int = 0) -> str:
    frame = bytearray.fromhex(text)
    frame[rng.randrange(first, len(frame))] ^= rng.randrange(1, 256)
    return frame.hex()


def a_field(recording: Recording, rng: random.Random) -> bool:
    packet = rng.choice([each for each in recording["packets"] if each["kind"] == "advert"])
    name = rng.choice(["priority", "ttl", "interval_cs", "count", "vrid", "len", "version"])
    packet[name] += rng.choice([-1, 1, 7])
    return True


def a_packet_is_missing(recording: Recording, rng: random.Random) -> bool:
    recording["packets"].remove(rng.choice(recording["packets"]))
    return True


def a_packet_is_moved(recording: Recording, rng: random.Random) -> bool:
    packet = rng.choice(recording["packets"])
    packet["t"] += rng.choice([-1, 1]) * rng.uniform(*FAR)
    return True


def a_state_is_moved(recording: Recording, rng: random.Random) -> bool:
    rng.choice(recording["transitions"])["t"] += rng.choice([-1, 1]) * rng.uniform(*FAR)
    recording["transitions"].sort(key=itemgetter("t"))
    return True


def a_state_is_missing(recording: Recording, rng: random.Random) -> bool:
    recording["transitions"].remove(rng.choice(recording["transitions"]))
    return True


def a_state_is_another(recording: Recording, rng: random.Random) -> bool:
    state = rng.choice(recording["transitions"])
    states = {"BACKUP", "MASTER", "FAULT", "STOP"} - {state["state"]}
    state["state"] = rng.choice(sorted(states))
    return True


def an_event_is_moved(recording: Recording, rng: random.Random) -> bool:
    heard = [event for event in recording["events"] if event["action"] in {"stop", "link"}]
    if not heard:
        return False
    rng.choice(heard)["t"] += rng.choice([-1, 1]) * rng.uniform(*FAR)
    return True


def a_setting(recording: Recording, rng: random.Random) -> bool:
    if not recording.get("nodes"):
        return False
    config = rng.choice(rng.choice(list(recording["nodes"].values())))
    name = rng.choice(["priority", "advert_interval_cs", "vrid", "preempt"])
    config[name] = not config[name] if name == "preempt" else config[name] + rng.choice([-1, 1])
    return True


# The same is wrong in every record, so that the recording agrees with itself.


def _copies(recording: Recording, packet: Recording) -> Iterator[Recording]:
    for each in recording["packets"]:
        if each["hex"] == packet["hex"] and abs(each["t"] - packet["t"]) < 0.001:
            yield each


def _adverts(recording: Recording) -> list[Recording]:
    """Return what the nodes themselves sent."""
    injected = {event["node"] for event in recording["events"] if event["action"] == "inject"}
    packets: list[Recording] = recording["packets"]
    return [
        each
        for each in packets
        if each["kind"] == "advert" and each["dir"] == "tx" and each["node"] not in injected
    ]


def a_byte_everywhere(recording: Recording, rng: random.Random) -> bool:
    if recording.get("meta", {}).get("gallery") or "nodes" not in recording:
        return False  # the settings are taken from the packets
    packet = rng.choice(_adverts(recording))
    header = 34 if packet["family"] == 4 else 54
    data = _changed(packet["hex"], rng, header)
    for each in list(_copies(recording, packet)):
        each.update(fields_of(bytes.fromhex(data)), hex=data)
        size = 4 if packet["family"] == 4 else 16
        rest = payload_of(bytes.fromhex(data)).payload[8:]
        whole = range(0, len(rest) - size + 1, size)
        each["addresses"] = [str(ip_address(rest[at : at + size])) for at in whole]
    return True


def a_packet_is_missing_everywhere(recording: Recording, rng: random.Random) -> bool:
    adverts = [each for each in _adverts(recording) if each["interval_cs"] >= 10]
    if not adverts:
        return False
    packet = rng.choice(adverts)
    if packet["t"] + packet["interval_cs"] / 100 + 0.4 > recording["packets"][-1]["t"]:
        return False  # nothing is recorded of the time when the next one is due
    for each in list(_copies(recording, packet)):
        recording["packets"].remove(each)
    return True


def a_packet_is_moved_everywhere(recording: Recording, rng: random.Random) -> bool:
    packet = rng.choice(_adverts(recording))
    by = rng.choice([-1, 1]) * rng.uniform(*FAR)
    for each in list(_copies(recording, packet)):
        each["t"] += by
    recording["packets"].sort(key=itemgetter("t"))
    return True


def a_packet_is_invented(recording: Recording, rng: random.Random) -> bool:
    packet = rng.choice(_adverts(recording))
    by = packet["interval_cs"] / 200
    if by < 0.06:
        return False  # too close to the next one
    recording["packets"] += [{**each, "t": each["t"] + by} for each in _copies(recording, packet)]
    recording["packets"].sort(key=itemgetter("t"))
    return True


DAMAGES: tuple[Damage, ...] = (
    a_byte,
    a_field,
    a_packet_is_missing,
    a_packet_is_moved,
    a_state_is_moved,
    a_state_is_missing,
    a_state_is_another,
    an_event_is_moved,
    a_setting,
    a_byte_everywhere,
    a_packet_is_missing_everywhere,
    a_packet_is_moved_everywhere,
    a_packet_is_invented,
)
