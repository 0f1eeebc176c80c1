"""The same client reaches the same backend at every balancer, and connections survive a death.

Each balancer has a consistent hash of its own and a flow table of its own, and they share nothing.
Every broken connection is counted, and its reason is known.
"""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any
from zlib import crc32

import pytest

from balancers.flows import FlowKey, FlowTable
from balancers.hashing import HashRing, Maglev, Rendezvous
from balancers.redundancy import Owners
from tests.depth import runs

WEIGHTS: dict[str, float] = {f"10.0.0.{i}:80": 1 + i % 3 for i in range(7)}
NAMES = ["lb1", "lb2", "lb3", "lb4"]
SHARES = 64
"""The clients are divided into shares by their addresses, as a router does with ECMP."""
HASHES: dict[str, Callable[[dict[str, float]], Any]] = {
    "ring": HashRing,
    "rendezvous": Rendezvous,
    "maglev": Maglev,
}
EXACT = ("ring", "rendezvous")
"""Hashes that move only the keys of the backend that changes.  Maglev moves a few more."""


class Site:
    """Several active balancers behind a router that knows which of them are alive."""

    def __init__(self, kind: str, rng: Random) -> None:
        self.kind = kind
        self.rng = rng
        self.hashes: dict[str, Any] = {}
        for name in NAMES:
            order = rng.sample(list(WEIGHTS.items()), len(WEIGHTS))
            self.hashes[name] = HASHES[kind](dict(order))
        self.tables: dict[str, FlowTable[str]] = {name: FlowTable() for name in NAMES}
        self.alive = list(NAMES)
        self.shares = Owners(range(SHARES), NAMES)
        self.now = 0.0

    def balancer(self, flow: FlowKey) -> str:
        """Return the balancer that gets the packets of a flow now."""
        found = self.shares.owner(crc32(flow) % SHARES, self.alive)
        assert found is not None
        return found

    def packet(self, flow: FlowKey, *, at: str = "") -> str:
        """Route a packet at the balancer that gets it, or at a certain one."""
        self.now += 0.001
        name = at or self.balancer(flow)
        return self.tables[name].route(flow, self.hashes[name].pick, self.now, "established")

    def update(self, name: str, weights: dict[str, float]) -> None:
        """Change the backends of one balancer, in a random order."""
        balancer = self.hashes[name]
        before = balancer.weights
        for backend in self.rng.sample([*before], len(before)):
            if backend not in weights:
                balancer.discard(backend)
        for backend, weight in self.rng.sample([*weights.items()], len(weights)):
            balancer.put(backend, weight)

    def picks(self, name: str, flow: FlowKey) -> str:
        """Return the backend of a new flow at a balancer."""
        found: str = self.hashes[name].pick(flow)
        return found


def flows(rng: Random, count: int) -> list[FlowKey]:
    """Return different connections of random clients."""
    return [
        FlowKey("tcp", rng.randbytes(4), 1024 + i % 60_000, "203.0.113.1", 443)
        for i in range(count)
    ]


def broken(site: Site, connections: dict[FlowKey, str]) -> dict[FlowKey, str]:
    """Send a packet on every connection, and return the backends of those that reach another."""
    reached = {flow: site.packet(flow) for flow in connections}
    return {flow: found for flow, found in reached.items() if found != connections[flow]}


@pytest.mark.parametrize("kind", HASHES)
@pytest.mark.parametrize("seed", range(runs(20) // 5))
def test_every_balancer_picks_the_same_backend(kind: str, seed: int) -> None:
    rng = Random(seed)
    site = Site(kind, rng)
    for flow in flows(rng, 500):
        assert len({site.packet(flow, at=name) for name in NAMES}) == 1


@pytest.mark.parametrize("kind", HASHES)
def test_no_connection_breaks_when_balancers_die(kind: str) -> None:
    """All backends stay, so the hash of the next balancer replaces the lost table entirely."""
    rng = Random(kind)
    site = Site(kind, rng)
    connections = {flow: site.packet(flow) for flow in flows(rng, 1000)}
    for dies in ("lb2", "lb4", "lb1"):
        site.alive.remove(dies)
        assert broken(site, connections) == {}
    site.alive[:] = NAMES  # they return with the tables that they had
    assert broken(site, connections) == {}


@pytest.mark.parametrize("kind", HASHES)
def test_a_drain_that_one_balancer_sees_first(kind: str) -> None:
    """Only new connections whose backend drains differ, and no open connection breaks."""
    rng = Random(kind)
    site = Site(kind, rng)
    drained = next(iter(WEIGHTS))
    connections = {flow: site.packet(flow) for flow in flows(rng, 1000)}
    site.update("lb1", {b: w for b, w in WEIGHTS.items() if b != drained})
    assert broken(site, connections) == {}
    new = flows(Random("new"), 1000)
    different = {flow for flow in new if site.picks("lb1", flow) != site.picks("lb2", flow)}
    owned = {flow for flow in new if site.picks("lb2", flow) == drained}
    assert owned <= different
    if kind in EXACT:
        assert owned == different
    else:
        assert len(different) <= len(owned) + 0.05 * len(new)
    for name in NAMES[1:]:
        site.update(name, {b: w for b, w in WEIGHTS.items() if b != drained})
    assert all(len({site.picks(name, flow) for name in NAMES}) == 1 for flow in new)
    assert broken(site, connections) == {}


@pytest.mark.parametrize("kind", HASHES)
@pytest.mark.parametrize("change", ["drain", "join", "weight", "drain and join"])
def test_a_balancer_dies_after_the_backends_have_changed(kind: str, change: str) -> None:
    """Then exactly those of its connections break whose backend is no longer their hash's choice.

    The other balancers keep all of theirs, because of their tables.
    """
    rng = Random(f"{kind} {change}")
    site = Site(kind, rng)
    connections = {flow: site.packet(flow) for flow in flows(rng, 2000)}
    drained, raised = list(WEIGHTS)[1:3]
    after = dict(WEIGHTS)
    if "drain" in change:
        del after[drained]
    if "join" in change:
        after["10.0.9.9:80"] = 2
    if change == "weight":
        after[raised] += 2
    for name in rng.sample(NAMES, len(NAMES)):
        site.update(name, after)
        assert broken(site, connections) == {}  # while all balancers live, the tables decide
    lost = [flow for flow in connections if site.balancer(flow) == "lb3"]
    expected = {
        flow: site.picks("lb1", flow)
        for flow in lost
        if site.picks("lb1", flow) != connections[flow]
    }
    site.alive.remove("lb3")
    found = broken(site, connections)
    assert found == expected
    assert 0 < len(found) < len(lost) / 2
    reasons = Counter(reason(connections[flow], now, after) for flow, now in found.items())
    unexplained = reasons.pop("moved although neither backend changed", 0)
    assert sum(reasons.values()) > 0
    if kind in EXACT:
        assert not unexplained
    else:
        assert unexplained < 0.05 * len(lost)
    assert broken(site, connections) == found  # the connections that survive are stored again
    assert {"drain": "left", "join": "joined", "weight": "gained weight"}.get(
        change, "left"
    ) in " ".join(reasons)


def reason(before: str, now: str, weights: dict[str, float]) -> str:
    """Return why a connection is broken."""
    if before not in weights:
        return "its backend has left"
    if now not in WEIGHTS:
        return "a backend has joined and owns the key"
    if weights[now] > WEIGHTS[now]:
        return "a backend has gained weight and owns the key"
    return "moved although neither backend changed"


class Drill:
    """A site beside a model of it: dicts of what each balancer has stored."""

    def __init__(self, kind: str, seed: int) -> None:
        self.rng = Random(f"{kind} {seed}")
        self.site = Site(kind, self.rng)
        self.connections: dict[FlowKey, str] = {}
        self.stored: dict[str, dict[FlowKey, str]] = {name: {} for name in NAMES}
        self.waiting: dict[str, list[dict[str, float]]] = {name: [] for name in NAMES}
        self.weights = dict(WEIGHTS)
        self.opened = self.broken = 0

    def open(self) -> None:
        """Open connections through the balancers that are alive."""
        self.opened += 30
        for flow in flows(Random(f"{self.opened}"), 30):
            self.connections[flow] = self.site.packet(flow)
            self.stored[self.site.balancer(flow)][flow] = self.connections[flow]

    def packets(self) -> None:
        """Send a packet on each connection, and close those that have reached another backend."""
        for flow, backend in list(self.connections.items()):
            name = self.site.balancer(flow)
            expected = self.stored[name].get(flow) or self.site.picks(name, flow)
            assert self.site.packet(flow) == expected
            self.stored[name][flow] = expected
            if expected != backend:
                self.broken += 1
                del self.connections[flow]

    def die(self) -> None:
        """Stop a balancer, which loses its table."""
        if len(self.site.alive) > 1:
            dead = self.rng.choice(self.site.alive)
            self.site.alive.remove(dead)
            self.site.tables[dead], self.stored[dead] = FlowTable(), {}

    def back(self) -> None:
        """Start a balancer again."""
        dead = [name for name in NAMES if name not in self.site.alive]
        self.site.alive += self.rng.sample(dead, min(1, len(dead)))

    def change(self) -> None:
        """Change the backends.  The balancers see it later."""
        backend = f"10.0.0.{self.rng.randrange(9)}:80"
        self.weights = {**self.weights, backend: self.rng.choice([1, 2, 3])}
        if self.rng.random() < 0.5 and len(self.weights) > 1:
            del self.weights[backend]
        for name in NAMES:
            self.waiting[name].append(self.weights)

    def see(self) -> None:
        """Let two balancers see all changes of the backends."""
        for name in self.rng.sample(NAMES, 2):
            for seen in self.waiting[name]:
                self.site.update(name, seen)
            self.waiting[name].clear()


@pytest.mark.parametrize("kind", HASHES)
@pytest.mark.parametrize("seed", range(runs(40) // 4))
def test_random_changes_deaths_and_returns(kind: str, seed: int) -> None:
    """A connection breaks only if its packets move to a balancer that has not stored it.

    And then only if the hash of that balancer picks another backend.
    """
    drill = Drill(kind, seed)
    steps = [drill.open, drill.open, drill.packets, drill.die, drill.back, drill.change, drill.see]
    for _ in range(40):
        drill.rng.choice(steps)()
    tables = drill.site.tables.values()
    assert sum(map(len, tables)) == sum(map(len, drill.stored.values()))
    assert len(drill.connections) + drill.broken == drill.opened


def test_shares_follow_the_living() -> None:
    """Each balancer owns as many of the shares as the others, and the dead one's are spread."""
    shares = Owners(range(SHARES), NAMES)
    counts = Counter(shares.assign(NAMES).values())
    assert set(counts.values()) == {SHARES // len(NAMES)}
    counts = Counter(shares.assign(NAMES[1:]).values())
    assert max(counts.values()) - min(counts.values()) <= 1
