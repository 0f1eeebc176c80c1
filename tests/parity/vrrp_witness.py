"""Checks that a recording of VRRP routers agrees with itself.

Every packet was recorded where it was sent and wherever it was received, and every packet is
recorded both as bytes and as fields.  A record that was changed, moved or removed afterwards
contradicts the others.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from itertools import chain, pairwise, zip_longest
from math import inf
from typing import Any

from tests.parity.vrrp_recording import fields_of, once, payload_of

__all__ = ["contradictions"]

TRANSIT = 0.005
"""The longest time in seconds between the records of one packet at two nodes."""
EFFECT = 0.05
"""The longest time in seconds between the record of an event and its effect."""
RETURN = 0.3
"""The same when packets are no longer lost: a link needs some time."""
LOG_DELAY = 0.3
"""The longest time in seconds between a change of the state and its line in the log."""
_MAC = 6
_IPV6 = 16
_ENTERED = {
    "BACKUP": ") entering backup",
    "MASTER": ") entering master",
    "FAULT": ") entering fault",
}
"""The words in the log, in lower case."""


def contradictions(recording: Mapping[str, Any]) -> Iterator[str]:
    """Yield each contradiction between two records."""
    packets: list[Mapping[str, Any]] = recording["packets"]
    for packet in packets:
        yield from _fields(packet)
    yield from _copies(packets, recording["events"])
    yield from _injections(packets, recording["events"])
    if recording.get("nodes"):
        end = max((packet["t"] for packet in packets), default=0.0) - LOG_DELAY
        yield from _log(list(once(recording["transitions"])), recording.get("log", []), end)
        yield from _settings(recording["nodes"])


def _mac(frame: bytes) -> str:
    return frame.hex(":", 1)


def _sum(data: bytes) -> int:
    """Return 0 if the checksum in the data is correct; ``data`` has an even length."""
    return int.from_bytes(data, "big") % 0xFFFF


def _fields(packet: Mapping[str, Any]) -> Iterator[str]:
    frame = bytes.fromhex(packet["hex"])
    kind = packet["kind"]
    read: dict[str, Any] = {"src_mac": _mac(frame[_MAC : 2 * _MAC]), "dst_mac": _mac(frame[:_MAC])}
    fault = ""
    if kind == "advert":
        read |= fields_of(frame)
        addresses = payload_of(frame).payload[8:]
        size = len(payload_of(frame).source)
        whole = range(0, len(addresses) - size + 1, size)
        read["addresses"] = [str(ip_address(addresses[at : at + size])) for at in whole]
        if size != _IPV6 and _sum(frame[14 : 14 + (frame[14] & 15) * 4]):
            fault = "the checksum of the IP header is wrong"
    elif kind == "garp":
        read |= {
            "op": int.from_bytes(frame[20:22], "big"),
            "sha": _mac(frame[22:28]),
            "spa": str(ip_address(frame[28:32])),
            "tha": _mac(frame[32:38]),
            "tpa": str(ip_address(frame[38:42])),
        }
    elif kind == "na":
        read |= {
            "src": str(ip_address(frame[22:38])),
            "dst": str(ip_address(frame[38:54])),
            "hlim": frame[21],
            "flags": frame[58] >> 5,
            "target": str(ip_address(frame[62:78])),
            "tlla": _mac(frame[80:86]),
        }
        length = (len(frame) - 54).to_bytes(4, "big") + bytes((0, 58))
        if _sum(frame[22:] + length):
            fault = "the checksum of the neighbour advertisement is wrong"
    for name, value in read.items():
        if name in packet and packet[name] != value:
            fault = f"{name} is {packet[name]}, but {value} in the bytes"
    if fault:
        yield f"{packet['node']} {packet['dir']} at {packet['t']}: {fault}"


def _span(events: Sequence[Mapping[str, Any]], node: str, ways: set[str]) -> list[Any]:
    """Return when the node could not send or receive: pairs of times."""
    spans: list[Any] = []
    latest: dict[bool, list[float]] = {}  # of the link, and of lost packets
    for event in events:
        way = event.get("direction", event.get("state"))
        if event["node"] != node or event["action"] not in {"drop", "undrop", "link"}:
            continue
        of_link = event["action"] == "link"
        if event["action"] == "undrop" or way == "up":
            if of_link in latest:
                latest.pop(of_link)[1] = event["t"] + RETURN
        elif way in ways:
            latest[of_link] = [event["t"] - EFFECT, inf]
            spans.append(latest[of_link])
    return spans


def _copies(
    packets: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Every packet that is received was sent, and every packet that is sent arrives."""
    received: dict[tuple[str, str], deque[Mapping[str, Any]]] = {}
    last: dict[str, float] = {}
    for packet in packets:
        if packet["dir"] == "rx":
            last[packet["node"]] = packet["t"]
            received.setdefault((packet["node"], packet["hex"]), deque()).append(packet)
    end = max(last.values(), default=0.0) - EFFECT
    lossless = _lossless(events)
    for packet in (each for each in packets if each["dir"] == "tx"):
        node, time = packet["node"], packet["t"]
        for hearer in last.keys() - {node}:
            waiting = received.get((hearer, packet["hex"]), deque())
            if waiting and abs(waiting[0]["t"] - time) <= TRANSIT:
                waiting.popleft()
                continue
            ended = time >= end and time >= last[hearer]
            if not ended and _is_to(packet, hearer, packets) and lossless(node, hearer, time):
                yield f"{hearer} did not receive what {node} sent at {time}"
    for packet in chain.from_iterable(received.values()):
        yield f"no node sent what {packet['node']} received at {packet['t']}"


def _lossless(events: Sequence[Mapping[str, Any]]) -> Callable[[str, str, float], bool]:
    """Return a function that says whether a packet from one node to another must arrive."""
    nodes = {event["node"] for event in events}
    deaf = {node: _span(events, node, {"in", "both", "down"}) for node in nodes}
    mute = {node: _span(events, node, {"out", "both", "down"}) for node in nodes}

    def must(sender: str, hearer: str, time: float) -> bool:
        spans = (*deaf.get(hearer, ()), *mute.get(sender, ()))
        return not any(start <= time <= end for start, end in spans)

    return must


def _is_to(packet: Mapping[str, Any], node: str, packets: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the frame goes to all nodes, or to the MAC of this one."""
    target = packet["hex"][: 2 * _MAC]
    if int(target[1], 16) & 1:
        return True
    return packet["kind"] == "advert" and any(
        each["node"] == node and each["dir"] == "tx" and each["hex"][12:24] == target
        for each in packets
    )


def _injections(
    packets: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    sent = {(each["node"], each["hex"], each["t"]) for each in packets if each["dir"] == "tx"}
    for event in events:
        if event["action"] == "inject" and not any(
            node == event["node"] and data == event["hex"] and abs(time - event["t"]) <= EFFECT
            for node, data, time in sent
        ):
            yield f"{event['node']} did not send what was injected at {event['t']}"


def _log(
    states: Sequence[Mapping[str, Any]], log: Sequence[Mapping[str, Any]], end: float
) -> Iterator[str]:
    """Every change of the state is in the log of the node, unless its log has no such lines."""
    lines = [line for line in log if ") entering " in line["line"].lower()]
    for node in sorted({line["node"] for line in lines}):
        for label, words in _ENTERED.items():
            logged = [
                line["t"]
                for line in lines
                if line["node"] == node and words in line["line"].lower()
            ]
            stated = [
                state["t"] for state in states if (state["node"], state["state"]) == (node, label)
            ]
            for ours, theirs in zip_longest(stated, logged, fillvalue=inf):
                if abs(ours - theirs) > LOG_DELAY and min(ours, theirs) < end:
                    yield f"{node}: {label} at {ours}, but at {theirs} in the log"


def _settings(nodes: Mapping[str, Any]) -> Iterator[str]:
    """The settings of a node are also in the text of its configuration."""
    for name, configs in nodes.items():
        for config in configs:
            words = config["config"].split()
            pairs = dict(pairwise(words))
            interval = float(pairs.get("advert_int", 1))
            for key, given, read in (
                ("virtual_router_id", config["vrid"], int(pairs.get("virtual_router_id", 0))),
                ("priority", config["priority"], int(pairs.get("priority", 100))),
                ("advert_int", config["advert_interval_cs"], round(100 * interval)),
                ("nopreempt", not config["preempt"], "nopreempt" in words),
            ):
                if given != read:
                    yield f"{name}: {key} is {given}, but {read} in the text"
