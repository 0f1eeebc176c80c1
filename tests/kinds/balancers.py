"""The registry of balancers.  Those that imitate another program are in ``presets``."""

from collections.abc import Iterable, Mapping
from functools import partial
from math import inf
from random import Random
from typing import Any
from zlib import crc32

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
from balancers.algorithms import LeastLoaded, Tiers, Zones
from balancers.hashing import (
    Anchor,
    BoundedLoad,
    HashedBalancer,
    Jump,
    Memento,
    MultiProbe,
    OwnerOnly,
    PrefixAffinity,
    chain,
)
from balancers.loads import InFlight, PeakEwma
from tests.kinds.kind import Kind
from tests.references import NaiveWeightedLeastConnections, NaiveWeightedRoundRobin

__all__ = ["ADDRESSES", "HASHED", "KEYED", "KINDS", "METHODS"]

Backends = Iterable[Any] | Mapping[Any, float]
ADDRESSES = [f"{10 + number % 90}.{number % 251}.{number // 251}.7" for number in range(950)] + [
    f"2001:db8:0:{number:x}::1" for number in range(50)
]
"""The addresses of clients, as the keys of balancers that take no others."""
PROMPTS = [chain([number, *range(15)]) for number in range(1000)]
"""The keys of prompts of one block."""


def random_choice(backends: Backends = (), rng: Random | None = None) -> Balancer[Any]:
    return RandomChoice(backends, rng=rng or Random(1))


def power_of_two(backends: Backends = (), rng: Random | None = None) -> Balancer[Any]:
    return PowerOfTwoChoices(backends, rng=rng or Random(1))


def power_of_three(backends: Backends = (), rng: Random | None = None) -> Balancer[Any]:
    return PowerOfTwoChoices(backends, rng=rng or Random(1), choices=3, load=InFlight())


def least_in_flight(backends: Backends = ()) -> Balancer[Any]:
    return LeastLoaded(backends, load=InFlight())


def fastest(backends: Backends = ()) -> Balancer[Any]:
    # without a penalty, because a backend that failed returns by time, and the laws let none pass
    return LeastLoaded(backends, load=PeakEwma(penalty=0.0))


def ip_hash_over_ring(backends: Backends = (), points: int = 8) -> Balancer[Any]:
    return IPHash(backends, over=HashRing(points=points))


def bounded_ring(backends: Backends = (), points: int = 8) -> Balancer[Any]:
    return BoundedLoad(HashRing(backends, points=points), c=1.25)


def least_connections_by_key(backends: Backends = ()) -> Balancer[Any]:
    return LeastConnections(backends, ties=HashRing(points=8))


def owner_of_a_ring(backends: Backends = (), points: int = 8) -> Balancer[Any]:
    return OwnerOnly(HashRing(backends, points=points))


def number_of(backend: Any) -> int:
    """Return the same number for the same name in every process."""
    named = isinstance(backend, bytes)
    return crc32(backend if named else str(backend).encode(errors="surrogatepass"))


def second_tier(backend: Any) -> int:
    return number_of(backend) % 4 // 3


def zone_of(backend: Any) -> str:
    return "ab"[number_of(backend) % 2]


def tiers(backends: Backends = ()) -> Balancer[Any]:
    """Return tiers that both serve: the factor is low, so the first one is not enough."""
    inner = [LeastConnections[Any](), WeightedRoundRobin[Any]()]
    return filled(Tiers(inner, tier=second_tier, factor=0.6), backends)


def backup_rings(backends: Backends = (), points: int = 8) -> Balancer[Any]:
    rings = [HashRing[Any](points=points), HashRing[Any](points=points)]
    return filled(Tiers(rings, tier=second_tier, factor=inf), backends)


def zones(backends: Backends = ()) -> Balancer[Any]:
    inner = {"a": LeastConnections[Any](), "b": WeightedRoundRobin[Any]()}
    return filled(Zones(inner, zone=zone_of, weights={"a": 2, "b": 1}), backends)


def filled(balancer: Balancer[Any], backends: Backends) -> Balancer[Any]:
    for backend, weight in RoundRobin(backends).weights.items():
        balancer.put(backend, weight)
    return balancer


FULL = "The requests in flight decide too, and not the key alone."
SED = "At low load, the shortest expected delay is only that of the heaviest backends."
KINDS = [
    Kind("RoundRobin", RoundRobin, traits=("rotating",)),
    Kind(
        "WeightedRoundRobin",
        WeightedRoundRobin,
        NaiveWeightedRoundRobin,
        traits=("weighted", "smooth", "rotating"),
    ),
    Kind("RandomChoice", random_choice, traits=("weighted", "random")),
    Kind("LeastConnections", LeastConnections, least="count", traits=("least_loaded", "rotating")),
    Kind(
        "LeastConnections-ties",
        least_connections_by_key,
        least="count",
        traits=("least_loaded", "rotating"),
        limits_weights=True,
        hashes=True,
    ),
    Kind(
        "WeightedLeastConnections",
        WeightedLeastConnections,
        NaiveWeightedLeastConnections,
        least="ratio",
        traits=("weighted", "least_loaded", "rotating"),
    ),
    Kind(
        "WeightedLeastConnections-sed",
        partial(WeightedLeastConnections, rule="sed"),
        partial(NaiveWeightedLeastConnections, extra=1),
        traits=("weighted", "least_loaded", "rotating"),
        excuses={"no_backend_starves": SED},
    ),
    Kind(
        "LeastLoaded",
        least_in_flight,
        least="ratio",
        traits=("weighted", "least_loaded", "rotating"),
    ),
    Kind(
        "LeastLoaded-PeakEwma",
        fastest,
        traits=("weighted",),
    ),
    Kind("PowerOfTwoChoices", power_of_two, lighter_of_two=True, traits=("weighted", "random")),
    Kind(
        "PowerOfTwoChoices-3-load",
        power_of_three,
        lighter_of_two=True,
        traits=("weighted", "random"),
    ),
    Kind("IPHash", IPHash, traits=("keyed",), keys=ADDRESSES),
    Kind(
        "IPHash-over-HashRing",
        ip_hash_over_ring,
        large=partial(ip_hash_over_ring, points=1),
        limits_weights=True,
        traits=("keyed", "weighted", "minimal_disruption"),
        keys=ADDRESSES,
    ),
    Kind(
        "HashRing",
        partial(HashRing, points=8),
        large=partial(HashRing, points=1),
        limits_weights=True,
        traits=("keyed", "weighted", "minimal_disruption"),
    ),
    Kind(
        "Maglev",
        partial(Maglev, size=251),
        large=partial(Maglev, size=200_003),
        even=True,
        traits=("keyed", "weighted"),
        max_members=251,
    ),
    Kind("Rendezvous", Rendezvous, even=True, traits=("keyed", "weighted", "minimal_disruption")),
    Kind("MultiProbe", MultiProbe, traits=("keyed", "minimal_disruption")),
    Kind(
        "Jump",
        Jump,
        only_last_leaves=True,
        even=True,
        traits=("keyed", "stacked", "historical", "minimal_disruption"),
    ),
    Kind(
        "Anchor",
        partial(Anchor, capacity=64),
        large=partial(Anchor, capacity=1 << 17),
        even=True,
        traits=("keyed", "historical", "minimal_disruption"),
        max_members=64,
    ),
    Kind("Memento", Memento, even=True, traits=("keyed", "historical", "minimal_disruption")),
    Kind(
        "BoundedLoad-over-HashRing",
        bounded_ring,
        large=partial(bounded_ring, points=1),
        limits_weights=True,
        traits=("keyed", "weighted", "bounded"),
        bound=1.25,
    ),
    Kind("Tiers", tiers),
    Kind(
        "Tiers-keyed",
        backup_rings,
        large=partial(backup_rings, points=1),
        limits_weights=True,
        traits=("keyed",),
    ),
    Kind("Zones", zones),
    Kind(
        "PrefixAffinity",
        partial(PrefixAffinity, capacity=100),
        traits=("keyed", "weighted", "historical"),
        keys=PROMPTS,
        excuses={"a_key_stays_put": FULL},
    ),
    Kind(
        "OwnerOnly",
        owner_of_a_ring,
        large=partial(owner_of_a_ring, points=1),
        limits_weights=True,
        traits=("keyed", "weighted", "minimal_disruption"),
    ),
]
KEYED = [kind for kind in KINDS if kind.make().keyed]
"""The balancers that pick by key."""
HASHED = [kind for kind in KEYED if hasattr(kind.make(), "pick_hashed")]
"""The balancers of ``balancers.hashing``: they also pick by the 64-bit hash of a key."""
METHODS = [kind for kind in HASHED if isinstance(kind.make(), HashedBalancer)]
"""Those that map hashes to backends themselves, and not over another balancer."""
