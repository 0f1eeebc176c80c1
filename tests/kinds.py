"""The registry of balancers: one row per balancer, for every test that all of them must pass.

To test a new balancer, add one row to ``KINDS``.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
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
from balancers.hashing import Anchor, BoundedLoad, HashedBalancer, Jump, Memento, MultiProbe
from balancers.loads import InFlight
from tests.references import NaiveWeightedLeastConnections, NaiveWeightedRoundRobin

__all__ = ["HASHED", "KEYED", "KINDS", "METHODS", "Kind", "by_name"]

Backends = Iterable[Any] | Mapping[Any, float]


@dataclass(frozen=True)
class Kind:
    """One balancer under the shared tests."""

    name: str
    make: Callable[..., Balancer[Any]]
    """Takes the backends, none by default, and returns a new balancer."""
    reference: Callable[[], Any] | None = None
    """Makes a slow implementation of the same algorithm, from ``tests.references``."""
    least: str = ""
    """``count`` or ``ratio``: the pick has the least in flight, or the least for its weight."""
    lighter_of_two: bool = False
    """Whether of two candidates the pick is the one with the lower load for its weight."""
    large: Callable[[], Balancer[Any]] | None = None
    """Makes the balancer for 100 000 backends, if ``make`` cannot hold as many or is too slow."""
    limits_weights: bool = False
    """Whether a weight takes memory, so that ``put`` raises RingTooLarge for a huge one."""
    only_last_leaves: bool = False
    """Whether ``discard`` raises InvalidSetting for a member that is not the last."""
    even: bool = False
    """Whether keys are shared as evenly as chance makes them."""

    def leavers(self, members: Iterable[str], backend: str) -> list[str]:
        """Return the members to remove, in this order, so that ``backend`` leaves.

        That is ``backend``, after every later member if only the last one can leave.
        """
        listed = list(members)
        if not self.only_last_leaves or backend not in listed:
            return [backend]
        return listed[listed.index(backend) :][::-1]


def random_choice(backends: Backends = ()) -> Balancer[Any]:
    return RandomChoice(backends, rng=Random(1))


def power_of_two(backends: Backends = ()) -> Balancer[Any]:
    return PowerOfTwoChoices(backends, rng=Random(1))


def power_of_three(backends: Backends = ()) -> Balancer[Any]:
    return PowerOfTwoChoices(backends, rng=Random(1), choices=3, load=InFlight())


def ip_hash_over_ring(backends: Backends = (), points: int = 8) -> Balancer[Any]:
    return IPHash(backends, over=HashRing(points=points))


def bounded_ring(backends: Backends = (), points: int = 8) -> Balancer[Any]:
    return BoundedLoad(HashRing(backends, points=points))


KINDS = [
    Kind("RoundRobin", RoundRobin),
    Kind("WeightedRoundRobin", WeightedRoundRobin, NaiveWeightedRoundRobin),
    Kind("RandomChoice", random_choice),
    Kind("LeastConnections", LeastConnections, least="count"),
    Kind(
        "WeightedLeastConnections",
        WeightedLeastConnections,
        NaiveWeightedLeastConnections,
        least="ratio",
    ),
    Kind(
        "WeightedLeastConnections-sed",
        partial(WeightedLeastConnections, rule="sed"),
        partial(NaiveWeightedLeastConnections, extra=1),
    ),
    Kind("PowerOfTwoChoices", power_of_two, lighter_of_two=True),
    Kind("PowerOfTwoChoices-3-load", power_of_three, lighter_of_two=True),
    Kind("IPHash", IPHash),
    Kind(
        "IPHash-over-HashRing",
        ip_hash_over_ring,
        large=partial(ip_hash_over_ring, points=1),
        limits_weights=True,
    ),
    Kind(
        "HashRing",
        partial(HashRing, points=8),
        large=partial(HashRing, points=1),
        limits_weights=True,
    ),
    Kind("Maglev", partial(Maglev, size=251), large=partial(Maglev, size=200_003), even=True),
    Kind("Rendezvous", Rendezvous, even=True),
    Kind("MultiProbe", MultiProbe),
    Kind("Jump", Jump, only_last_leaves=True, even=True),
    Kind(
        "Anchor", partial(Anchor, capacity=64), large=partial(Anchor, capacity=1 << 17), even=True
    ),
    Kind("Memento", Memento, even=True),
    Kind(
        "BoundedLoad-over-HashRing",
        bounded_ring,
        large=partial(bounded_ring, points=1),
        limits_weights=True,
    ),
]
KEYED = [kind for kind in KINDS if kind.make().keyed]
"""The balancers that pick by key."""
HASHED = [kind for kind in KEYED if hasattr(kind.make(), "pick_hashed")]
"""The balancers of ``balancers.hashing``: they also pick by the 64-bit hash of a key."""
METHODS = [kind for kind in HASHED if isinstance(kind.make(), HashedBalancer)]
"""Those that map hashes to backends themselves, and not over another balancer."""


def by_name(kind: Kind) -> str:
    """Name a test's parameter."""
    return kind.name
