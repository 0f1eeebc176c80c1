"""Objects that are made without backends: their type is known without an annotation."""

from collections.abc import Mapping
from random import Random
from typing import Any, assert_type

from balancers import (
    Balancer,
    Drain,
    HashRing,
    HealthChecks,
    IPHash,
    LeastConnections,
    Maglev,
    Pool,
    PowerOfTwoChoices,
    RandomChoice,
    Rendezvous,
    RoundRobin,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from balancers.hashing import Anchor, BoundedLoad, Jump, Memento, MultiProbe
from balancers.overload import AdmissionQueue


def balancers() -> list[Balancer[Any]]:
    rng = Random(1)
    round_robin, weighted = RoundRobin(), WeightedRoundRobin()
    assert_type(round_robin, RoundRobin[Any])
    assert_type(weighted, WeightedRoundRobin[Any])
    chance, two = RandomChoice(rng=rng), PowerOfTwoChoices(rng=rng)
    assert_type(chance, RandomChoice[Any])
    assert_type(two, PowerOfTwoChoices[Any])
    least, weighted_least = LeastConnections(), WeightedLeastConnections()
    assert_type(least, LeastConnections[Any])
    assert_type(weighted_least, WeightedLeastConnections[Any])
    by_address, ring, maglev = IPHash(), HashRing(), Maglev()
    assert_type(by_address, IPHash[Any])
    assert_type(ring, HashRing[Any])
    assert_type(maglev, Maglev[Any])
    rendezvous, probes, jump = Rendezvous(), MultiProbe(), Jump()
    assert_type(rendezvous, Rendezvous[Any])
    assert_type(probes, MultiProbe[Any])
    assert_type(jump, Jump[Any])
    anchor, memento, bounded = Anchor(capacity=8), Memento(), BoundedLoad(Maglev())
    assert_type(anchor, Anchor[Any])
    assert_type(memento, Memento[Any])
    assert_type(bounded, BoundedLoad[Any])
    return [
        *(round_robin, weighted, chance, two, least, weighted_least, by_address, ring, maglev),
        *(rendezvous, probes, jump, anchor, memento, bounded),
    ]


def pool() -> Pool[Any]:
    health, drain = HealthChecks(), Drain()
    assert_type(health, HealthChecks[Any])
    assert_type(drain, Drain[Any])
    assert_type(Pool(LeastConnections()), Pool[Any])
    made = Pool(LeastConnections(), gates=[health, drain])
    assert_type(made, Pool[Any])
    made.update({"a": 1, "b": 3}, now=0.0)
    return made


def queue() -> AdmissionQueue[Any]:
    made = AdmissionQueue(limit=10, timeout=1.0)
    assert_type(made, AdmissionQueue[Any])
    return made


def with_backends(weights: Mapping[str, float]) -> list[Balancer[str]]:
    """What is known stays known."""
    assert_type(RoundRobin(weights), RoundRobin[str])
    assert_type(HashRing(["a"]), HashRing[str])
    expected: RoundRobin[str] = RoundRobin()
    return [expected, HashRing(["a"]), IPHash(weights)]
