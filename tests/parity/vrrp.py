"""Replay what VRRP routers did: the states, the times and the packets of every node.

Each node is one of our virtual routers with the settings of the node.  It receives what the node
received, when it did so, and it starts, stops and loses its link when the node did.  These are
compared: the order of its states, the times (within 0.3 s), every packet that it sends (byte for
byte, with the addresses and the hop limit), the first announcement of every address after each
takeover (the whole frame), and the addresses of the interface.

These are not compared: repeated announcements, the MAC from which they are sent, the flag "router"
of neighbour advertisements, and the header fields that the kernel writes.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from tests.parity.recordings import Tally
from tests.parity.vrrp_node import Mismatch, Node
from tests.parity.vrrp_play import Player
from tests.parity.vrrp_recording import Item, Track, tracks
from tests.parity.vrrp_rules import NOT_COMPARED
from tests.parity.vrrp_witness import contradictions

__all__ = ["replay"]

RETRIES = 400
"""The largest number of branches that are tried."""

KINDS = ("states", "packets", "announcements", "addresses")


def replay(recording: Mapping[str, Any]) -> Iterable[Tally]:
    """Return one tally per kind of comparison; the notes name the rules that were applied."""
    tallies = {kind: Tally(f"vrrp {kind}") for kind in KINDS}
    whole = Tally("vrrp")
    problems = list(contradictions(recording))
    thinned = bool(recording.get("meta", {}).get("gallery"))
    announcements = any(packet["kind"] != "advert" for packet in recording["packets"])
    rules: dict[str, list[str]] = {}
    for track in tracks(recording):
        node, mismatch = _play(track, announcements=announcements, thinned=thinned)
        for kind, number in node.compared.items():
            tallies[kind].compared += number
            tallies[kind].agreed += number
        for rule in node.rules:
            if rule in NOT_COMPARED:
                tallies["announcements"].leave(track.name, rule)
            else:
                rules.setdefault(rule, []).append(track.name)
        if mismatch is not None:
            problems.append(f"{track.name} {mismatch}")
    whole.check("recording", "; ".join(problems[:3]) or "agrees", "agrees")
    whole.notes.extend(f"{rule} ({', '.join(names)})" for rule, names in rules.items())
    return [whole, *(tally for tally in tallies.values() if tally.cases)]


def _play(track: Track, *, announcements: bool, thinned: bool) -> tuple[Node, Mismatch | None]:
    """Replay one node; return what was compared, and the first difference.

    If the order of a timer and a packet is not known, the other order is tried after a difference.
    """
    player = Player(track, announcements, thinned)
    branches: list[tuple[int, str, dict[str, Any]]] = []
    place, before, retries, worst = 0, "", 0, None
    last = max((item.time for item in track.items), default=0.0)
    items = [*track.items, Item(last, "end", None)]
    while place < len(items):
        try:
            race = "" if before else player.race(place)
            if race:
                branches.append((place, race, player.save(items[place].time)))
            player.step(items[place], before)
            place, before = place + 1, ""
        except Mismatch as mismatch:
            if worst is None or mismatch.time > worst.time:
                worst = mismatch
            if not branches or retries == RETRIES:
                return player.node, worst
            place, before, saved = branches.pop()
            player.restore(saved)
            retries += 1
    return player.node, None
