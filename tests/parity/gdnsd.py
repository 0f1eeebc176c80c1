"""Replay the answers of gdnsd: ``multifo``, ``simplefo``, ``weighted``, ``metafo`` and ``geoip``.

The regions, policies and tables of networks are made from the recorded configuration.  Answers that
are not random, scopes and codes are compared exactly; answers as sets, because gdnsd rotates them.
Random answers are statistical.  Their exact probabilities follow from the weights, and the recorded
counts must be within the bound of ``bounds.py``, and those of 400 answers of our policy within five
standard deviations.

The TTL is not compared.  It is that of the monitor, clamped to the TTL of the zone file, and the
recordings hold neither.  ``TimeToLive`` computes the same clamp.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_interface
from typing import Any

from balancers.gslb import Client, ClientSubnet, Failover, narrowest
from tests.parity.bounds import Answer, beyond
from tests.parity.gdnsd_config import parsed
from tests.parity.gdnsd_maps import NotHeld, places_of
from tests.parity.gdnsd_resources import (
    Datacenters,
    Listed,
    Node,
    Resources,
    Tree,
    address_text,
    leaves,
)
from tests.parity.recordings import Tally, different

__all__ = ["replay"]

RESOLVER = "127.0.0.1"
"""Where the questions came from: the server listens on the loopback interface only."""

DRAWS = 400
"""How many random answers of ours are counted."""


def replay(recording: Mapping[str, Any]) -> Iterable[Tally]:
    """Return one tally per plugin."""
    tallies: dict[str, Tally] = {}
    server = Resources(parsed(recording["config"]), places_of(recording["geo"]))
    for case in recording["cases"]:
        name = str(case["resource"])
        plugin = server.plugin_of(name)
        tally = tallies.setdefault(plugin or "", Tally(f"gdnsd {plugin or 'zone file'}"))
        title = _title(case)
        try:
            if plugin is None:
                _zone_file(case, title, tally)
            else:
                _compare(server, case, title, tally)
        except NotHeld as reason:
            tally.leave(title, str(reason))
    return tallies.values()


def _title(case: Mapping[str, Any]) -> str:
    parts = (case["resource"], case.get("client", ""), "up" in case and f"up {case['up']}")
    return " ".join(str(part) for part in parts if part or part is None)


def _zone_file(case: Mapping[str, Any], title: str, tally: Tally) -> None:
    """Compare what is known of a record of the zone file: its answer is for every client."""
    if "scope" not in case:
        raise NotHeld("the zone file, which defines this name, is not recorded")
    subnet = _subnet(case)
    tally.check(title, case["scope"], None if subnet is None else subnet.answer(narrowest()).scope)


def _subnet(case: Mapping[str, Any]) -> ClientSubnet | None:
    if case.get("client") is None:
        return None
    network = ip_interface(case["client"]).network
    return ClientSubnet(network.network_address, network.prefixlen)


def _compare(server: Resources, case: Mapping[str, Any], title: str, tally: Tally) -> None:
    tree = server.tree(str(case["resource"]), 6 if case.get("type") == "AAAA" else 4)
    _set_states(tree, case.get("up"))
    subnet = _subnet(case)
    client = Client(RESOLVER, subnet)
    node, scope = _resolved(tree, client)
    everything = not node.part.healthy(0.0, client)
    odds = {answer: odd for answer, odd in node.odds(0.0, everything).items() if odd}
    announced = None if subnet is None else subnet.answer(scope).scope
    if "counts" in case:
        counts = {_answer(text.split()): count for text, count in case["counts"].items()}
        queries = int(case["queries"])
        drawn = Counter(_ours(node, client) for _ in range(DRAWS))
        wrong = beyond(counts, odds, queries)
        if not wrong and (wrong := beyond(drawn, odds, sigmas=5)):
            wrong = f"our policy: {wrong}"
        tally.count(title, wrong)
        return
    recorded, ours = _answer(case["answers"]), _ours(node, client)
    outside = (case["rcode"], case.get("scope", announced)), ("NOERROR", announced)
    if len(odds) == 1:
        tally.check(title, (sorted(recorded), *outside[0]), (sorted(ours), *outside[1]))
        return
    wrong = different(*outside)
    if not {recorded, ours} <= odds.keys():
        wrong = f"recorded {sorted(recorded)}, ours {sorted(ours)}, possible {list(odds)}"
    tally.count(title, wrong)


def _answer(texts: Iterable[str]) -> Answer:
    return frozenset(address_text(text) for text in texts)


def _ours(node: Node, client: Client) -> Answer:
    return frozenset(address for _, address in node.part.answer(client, 0.0).members)


def _set_states(tree: Tree, up: Sequence[object] | None) -> None:
    """Set which addresses are up: by address, or by the number at the end of the address."""
    for leaf in leaves(tree):
        for member in leaf.part.members:
            state = leaf.always
            if state is None:
                state = up is None or any(_names(each, member[1]) for each in up)
            leaf.part.set_up(member, state, 0.0)


def _names(each: object, address: str) -> bool:
    if isinstance(each, str):
        return address_text(each) == address
    return re.split(r"[.:]", address)[-1] == str(each)


def _resolved(tree: Tree, client: Client) -> tuple[Node, int]:
    """Return a resource with the order for a client, and the scope of that order.

    A resource within another one adds to the scope only if it is asked.
    """
    if not isinstance(tree, Datacenters):
        return tree, narrowest()
    names, scope = tree.order, narrowest()
    if tree.map is not None:
        known = Client(client.address) if tree.map.ignores_ecs else client
        names, scope = tree.map.find(known.lookup)
        scope = narrowest() if tree.map.ignores_ecs else scope
    if tree.skips_first and len(names) > 1:
        names = names[1:]
    items: list[Node] = []
    asked = True
    for name in names:
        item, inner = _resolved(tree.items[name], client)
        items.append(item)
        if asked:
            scope = narrowest(scope, inner)
        asked = asked and not item.part.healthy(0.0, client)
    return Listed(Failover([item.part for item in items]), items), scope
