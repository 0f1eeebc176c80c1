"""Every kind of balancer: how to make one, and what it is held against."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from balancers import (
    Balancer,
    HashRing,
    IPHash,
    LeastConnections,
    Maglev,
    PowerOfTwoChoices,
    RandomChoice,
    Rendezvous,
    RoundRobin,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from balancers.hashing import BoundedLoad
from balancers.loads import InFlight
from tests.references import NaiveWeightedLeastConnections, NaiveWeightedRoundRobin

__all__ = ["KINDS", "Kind", "by_name"]


@dataclass(frozen=True)
class Kind:
    """One balancer under the shared tests."""

    name: str
    make: Callable[[], Balancer[str]]
    reference: Callable[[], Any] | None = None
    least: str = ""
    """``count`` or ``ratio``: the pick has the least in flight, or the least for its weight."""


KINDS = [
    Kind("RoundRobin", RoundRobin[str]),
    Kind("WeightedRoundRobin", WeightedRoundRobin[str], NaiveWeightedRoundRobin),
    Kind("RandomChoice", lambda: RandomChoice(rng=Random(1))),
    Kind("LeastConnections", LeastConnections[str], least="count"),
    Kind(
        "WeightedLeastConnections",
        WeightedLeastConnections[str],
        NaiveWeightedLeastConnections,
        least="ratio",
    ),
    Kind(
        "WeightedLeastConnections-sed",
        lambda: WeightedLeastConnections(rule="sed"),
        lambda: NaiveWeightedLeastConnections(ahead=1),
    ),
    Kind("PowerOfTwoChoices", lambda: PowerOfTwoChoices(rng=Random(1))),
    Kind(
        "PowerOfTwoChoices-3-load",
        lambda: PowerOfTwoChoices(rng=Random(1), choices=3, load=InFlight()),
    ),
    Kind("IPHash", IPHash[str]),
    Kind("IPHash-over-HashRing", lambda: IPHash(over=HashRing(points=8))),
    Kind("HashRing", lambda: HashRing(points=8)),
    Kind("Maglev", lambda: Maglev(size=251)),
    Kind("Rendezvous", Rendezvous[str]),
    Kind("BoundedLoad-over-HashRing", lambda: BoundedLoad(HashRing(points=8))),
]


def by_name(kind: Kind) -> str:
    """Name a test's parameter."""
    return kind.name
