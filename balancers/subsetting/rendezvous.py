"""Implements random subsetting with rendezvous hashing, as proposed for gRPC (A68)."""

from collections.abc import Iterable, Mapping

from balancers._internal.checks import at_least
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.keys import Hasher, Identity, key_bytes, name_of
from balancers.subsetting._backends import named, ordered

__all__ = ["rendezvous_subset"]


def rendezvous_subset(
    backends: Iterable[B] | Mapping[B, float],
    *,
    name: Key,
    size: int,
    identity: Identity[B] = name_of,
    hasher: Hasher | None = None,
) -> dict[B, float]:
    """Return the subset of the balancer with this name: ``size`` backends with their weights.

    The backends are sorted by ``hasher(prefix + name of the backend)``, where ``prefix`` is
    ``hasher`` of the balancer's name, and the first ``size`` are taken.  The balancer needs to know
    nothing about other balancers, and only its own backends change its subset: if a backend joins
    or leaves, at most one member of each subset changes.  If the names are random, so is the
    subset: with m balancers and n backends, the number of balancers that a backend has is binomial,
    with the mean m · size / n.  A smaller subset is the beginning of a larger one.

    gRPC seeds XXH64 with a random number where this function hashes a name.  A random name has the
    same effect.  The default ``hasher`` is :class:`~balancers.keys.Murmur3`.  ``identity`` returns
    the name of a backend.

    The weights are those that are passed, or 1.  A backend of weight 0 keeps its place.  If there
    are at most ``size`` backends, all are returned.

    >>> servers = [f"srv{n}" for n in range(12)]
    >>> list(rendezvous_subset(servers, name="edge-1", size=3))
    ['srv1', 'srv3', 'srv0']
    >>> list(rendezvous_subset([*servers, "srv12"], name="edge-1", size=3))
    ['srv1', 'srv12', 'srv3']

    Cost: O(n log n).  Raises InvalidSetting unless ``size`` is an int of 1 or more.  Raises
    MissingKey, InvalidKey and TypeError for an invalid name of the balancer.  Raises InvalidWeight,
    TypeError, and DuplicateBackend for two backends of one name.
    Source: gRPC proposal A68, "Random subsetting with rendezvous hashing LB policy".
    """
    at_least(1, size=size)
    salt = key_bytes(name)
    weights, by_name = named(backends, identity)
    return {backend: weights[backend] for backend in ordered(by_name, salt, hasher)[:size]}
