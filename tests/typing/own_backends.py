"""A user-defined backend class, and the types that are inferred from it."""

from dataclasses import dataclass
from random import Random
from typing import assert_type

from balancers import (
    Balancer,
    Drain,
    Gate,
    HashRing,
    HealthChecks,
    IPHash,
    Lease,
    LeastConnections,
    Pool,
    PowerOfTwoChoices,
    RandomChoice,
    RoundRobin,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from balancers.gates import Drained


@dataclass(frozen=True)
class Node:
    """A user-defined host; frozen, so that it is hashable."""

    host: str
    port: int


NODES = [Node("10.0.0.1", 80), Node("10.0.0.2", 80)]


def address(node: Node) -> str:
    return f"{node.host}:{node.port}"


def every_balancer() -> list[Balancer[Node]]:
    rng = Random(1)
    return [
        RoundRobin(NODES),
        WeightedRoundRobin(dict.fromkeys(NODES, 2.5)),
        RandomChoice(NODES, rng=rng),
        LeastConnections(NODES),
        WeightedLeastConnections(NODES, rule="sed"),
        PowerOfTwoChoices(NODES, rng=rng, choices=3),
        IPHash(NODES, identity=address),
        IPHash(NODES, over=HashRing(identity=address)),
        HashRing(NODES, identity=address),
    ]


def alone() -> Node:
    lb = WeightedRoundRobin({NODES[0]: 5, NODES[1]: 1})
    assert_type(lb, WeightedRoundRobin[Node])
    assert_type(lb.pick(), Node)
    assert_type(HashRing(NODES, identity=address).replicas("user:42", 2), list[Node])
    return lb.pick(avoid={NODES[0]})


def in_a_pool() -> Lease[Node]:
    health, drain = HealthChecks[Node](), Drain[Node]()
    gates: list[Gate[Node]] = [health, drain]
    pool = Pool(LeastConnections(NODES), gates)
    assert_type(pool, Pool[Node])
    health.observe(NODES[0], ok=False, now=0.0)
    drain.begin(NODES[1], now=0.0)
    assert_type(drain.drained(now=0.0), list[Drained])
    drain.cancel(NODES[1], now=0.0)
    with pool.lease(lambda: 0.0, prefer=NODES[1]) as held:
        assert_type(held, Lease[Node])
        assert_type(held.backend, Node)
    return pool.acquire(0.0, avoid=[NODES[0]])


def made_empty() -> Pool[Node]:
    """An empty balancer gets its type from the annotation, or from brackets."""
    pool: Pool[Node] = Pool(WeightedLeastConnections())
    other = Pool(WeightedLeastConnections[Node](), [HealthChecks[Node]()])
    assert_type(other, Pool[Node])
    pool.update(NODES)
    return pool
