"""Reads a recording of VRRP routers: who was configured how, and what each node saw and did."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from balancers.redundancy.vrrp.packet import Datagram

__all__ = ["Config", "Item", "Track", "fields_of", "once", "payload_of", "tracks"]

_IPV4 = "0800"
_ORDER = ("event", "rx", "tx", "announcement", "state", "check")
"""What comes first of two records of one instant."""


@dataclass(frozen=True)
class Config:
    """The settings of one virtual router from the time ``since`` on."""

    since: float
    source: str
    vrid: int
    priority: int
    interval_cs: int
    addresses: tuple[str, ...]
    preempt: bool = True
    preempt_delay: float = 0.0
    peers: tuple[str, ...] = ()
    answer_lower: bool = True
    frr: bool = False

    @property
    def interval(self) -> float:
        """The seconds between two advertisements."""
        return self.interval_cs / 100


@dataclass(frozen=True)
class Item:
    """One record of one node: an event, a packet, a change of the state or a check."""

    time: float
    kind: str
    value: Any
    frame: bytes = b""


@dataclass
class Track:
    """All that concerns one virtual router of one node, in the order of the times."""

    node: str
    configs: list[Config]
    items: list[Item] = field(default_factory=list[Item])
    logged: bool = False
    """Whether the changes of its state are in a log."""
    signs: list[float] = field(default_factory=list[float])
    """When a program with several virtual routers did anything at all: it is one thread."""

    @property
    def first(self) -> float:
        """When the first packet was sent."""
        return min((item.time for item in self.items if item.kind == "tx"), default=0.0)

    @property
    def name(self) -> str:
        """The node, and the number of the virtual router."""
        return f"{self.node} {self.configs[0].vrid}"


def payload_of(frame: bytes) -> Datagram:
    """Return the IP packet of an Ethernet frame as a raw socket receives it."""
    if frame[12:14].hex() == _IPV4:
        start, end = 14 + (frame[14] & 15) * 4, 14 + int.from_bytes(frame[16:18], "big")
        return Datagram(frame[26:30], frame[30:34], frame[22], frame[start:end])
    end = 54 + int.from_bytes(frame[18:20], "big")
    return Datagram(frame[22:38], frame[38:54], frame[21], frame[54:end])


def fields_of(frame: bytes) -> dict[str, Any]:
    """Return what a recorder reads from the frame of an advertisement."""
    source, destination, hop_limit, payload = payload_of(frame)
    return {
        "src": str(ip_address(source)),
        "dst": str(ip_address(destination)),
        "ttl": hop_limit,
        "len": len(payload),
        "version": payload[0] >> 4,
        "type": payload[0] & 15,
        "vrid": payload[1],
        "priority": payload[2],
        "count": payload[3],
        "reserved": payload[4] >> 4,
        "interval_cs": (payload[4] & 15) << 8 | payload[5],
        "checksum": payload[6:8].hex(),
    }


def _config(node: Mapping[str, Any]) -> Config:
    text = " ".join(str(node[key]) for key in ("config", "keepalived_extra", "keepalived_globals"))
    block = re.search(r"unicast_peer\s*\{([^}]*)\}", text)
    words = re.findall(r"\S+", text)
    return Config(
        since=node["t"],
        source=node["address"],
        vrid=node["vrid"],
        priority=node["priority"],
        interval_cs=node["advert_interval_cs"],
        addresses=tuple(node["addresses"]),
        preempt=node["preempt"],
        preempt_delay=float(node["preempt_delay_s"]) if node["preempt"] else 0.0,
        peers=tuple(block[1].split()) if block else (),
        answer_lower=not {"vrrp_strict", "lower_prio_no_advert", "vrrp_lower_prio_no_advert"}
        & set(words),
    )


def _guesses(recording: Mapping[str, Any]) -> Iterator[tuple[str, Config]]:
    """Yield the settings of each router of a recording without settings, from what it sent."""
    injected = {event["node"] for event in recording["events"] if event["action"] == "inject"}
    adverts = [packet for packet in recording["packets"] if packet["kind"] == "advert"]
    seen: set[tuple[str, int]] = set()
    for packet in adverts:
        node, vrid = packet["node"], packet["vrid"]
        if packet["dir"] != "tx" or node in injected or (node, vrid) in seen:
            continue
        seen.add((node, vrid))
        yield node, _guess(recording, node, packet)
    senders = {node for node, _ in seen}
    for node in sorted({state["node"] for state in recording["transitions"]} - senders):
        heard = [packet for packet in adverts if packet["node"] == node]
        if heard:  # a backup that never sent: only its priority is known
            silent = "fe80::1" if heard[0]["family"] == 6 else "0.0.0.1"
            priority = max(
                (state["priority"] or 0)
                for state in recording["transitions"]
                if state["node"] == node
            )
            yield node, _guess(recording, node, {**heard[0], "src": silent, "priority": priority})


def _guess(recording: Mapping[str, Any], node: str, packet: Mapping[str, Any]) -> Config:
    program = str(recording.get("meta", {}).get(node, "")).lower()
    return Config(
        since=0.0,
        source=packet["src"],
        vrid=packet["vrid"],
        priority=packet["priority"],
        interval_cs=packet["interval_cs"],
        addresses=tuple(packet["addresses"]),
        answer_lower=not program.startswith("frr"),
        frr=program.startswith("frr"),
    )


def _instances(recording: Mapping[str, Any], routers: Sequence[Track]) -> dict[str, Track]:
    """Return the virtual router of each name of an instance.

    The log says which addresses an instance announced.  For the others, the priority must be the
    same, and the number in the name or the start is the nearest.
    """
    names: dict[str, Track] = {}
    owners = {address: router for router in routers for address in router.configs[0].addresses}
    for line in recording.get("log", ()):
        found = re.match(r"\((\w+)\) Sending/queueing .* for (\S+)$", line["line"])
        if found and line["node"] == routers[0].node and found[2] in owners:
            names[found[1]] = owners[found[2]]
    states = [state for state in recording["transitions"] if state["node"] == routers[0].node]
    states.sort(key=lambda state: state["state"] != "MASTER")
    for numbered in (True, False):
        for state in states:
            taken = [id(router) for router in names.values()]
            free = [
                router
                for router in routers
                if id(router) not in taken
                and router.configs[0].priority == state["priority"]
                and (not numbered or _number(state) == router.configs[0].vrid)
            ]
            if free and state["instance"] not in names:
                names[state["instance"]] = min(free, key=lambda each: abs(each.first - state["t"]))
    return names


def _number(state: Mapping[str, Any]) -> int:
    return int("0" + re.sub(r"\D", "", state["instance"]))


def tracks(recording: Mapping[str, Any]) -> list[Track]:
    """Return one track for each virtual router of each node."""
    configured: Mapping[str, Any] = recording.get("nodes") or {}
    if configured:
        routers = [
            Track(name, [_config(each) for each in configs]) for name, configs in configured.items()
        ]
    else:
        routers = [Track(name, [config]) for name, config in _guesses(recording)]
    for router in routers:
        alone = sum(each.node == router.node for each in routers) == 1
        router.items.extend(_packets(recording, router, alone))
    for node in {router.node for router in routers}:
        own = [router for router in routers if router.node == node]
        names = _instances(recording, own) if len(own) > 1 else {}
        if len(own) > 1:
            _add_signs(recording, own)
        _add_states(recording, own, names)
    for router in routers:
        router.logged = any(
            line["node"] == router.node and "Entering" in line["line"]
            for line in recording.get("log", ())
        )
        router.items.sort(key=lambda item: (item.time, _ORDER.index(item.kind)))
    return routers


def _packets(recording: Mapping[str, Any], router: Track, alone: bool) -> Iterator[Item]:
    for packet in recording["packets"]:
        if packet["node"] != router.node:
            continue
        frame = bytes.fromhex(packet["hex"])
        if packet["kind"] != "advert":
            if packet["dir"] == "tx":
                yield Item(packet["t"], "announcement", packet, frame)
        elif packet["dir"] == "rx" or alone or packet["vrid"] == router.configs[0].vrid:
            yield Item(packet["t"], packet["dir"], payload_of(frame), frame)


def _add_signs(recording: Mapping[str, Any], routers: Sequence[Track]) -> None:
    records = [packet for packet in recording["packets"] if packet["dir"] == "tx"]
    node = routers[0].node
    signs = [each["t"] for each in (*records, *recording.get("log", ())) if each["node"] == node]
    for router in routers:
        router.signs = sorted(signs)


def once(states: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the changes of the state once each.

    The recorder fills a late notification in from the log; then the notification follows.
    """
    last: dict[tuple[str, str], Mapping[str, Any]] = {}
    for state in states:
        key = state["node"], state["instance"]
        before = last.get(key)
        last[key] = state
        if before is None or state["state"] != before["state"] or "from" not in before:
            yield state


def _add_states(
    recording: Mapping[str, Any], routers: Sequence[Track], names: Mapping[str, Track]
) -> None:
    node = routers[0].node
    for router in routers:
        for event in recording["events"]:
            if event["node"] == node:
                router.items.append(Item(event["t"], "event", event))
    for state in once(recording["transitions"]):
        if state["node"] == node:
            router = names[state["instance"]] if names else routers[0]
            router.items.append(Item(state["t"], "state", state["state"]))
    for check in recording.get("checks", ()):
        if node in check["vips"] and len(routers) == 1:
            vips = [vip.partition("/")[0] for vip in check["vips"][node]]
            routers[0].items.append(Item(check["t"], "check", vips))
