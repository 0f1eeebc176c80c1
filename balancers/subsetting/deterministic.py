"""Implements the deterministic subsetting of Google's SRE book."""

from collections.abc import Iterable, Mapping

from balancers._internal.checks import at_least
from balancers._internal.types import B
from balancers.keys import Hasher, Identity, name_of
from balancers.subsetting._backends import int_bytes, named, ordered

__all__ = ["deterministic_subset"]


def deterministic_subset(
    backends: Iterable[B] | Mapping[B, float],
    *,
    index: int,
    size: int,
    identity: Identity[B] = name_of,
    hasher: Hasher | None = None,
) -> dict[B, float]:
    """Return the subset of the balancer with this index: ``size`` backends with their weights.

    The balancers have the indices 0, 1, 2 and so on.  With n backends, n // size balancers in a row
    form a round.  In a round, all balancers shuffle the backends in the same way, and each takes
    the next ``size`` of them, so no backend is in two subsets of one round.  If ``size`` divides n,
    every backend is in one subset of each round, and the numbers of balancers that two backends
    have differ by at most 1.  Otherwise n % size backends of each round are left out, others in
    every round.

    The shuffle is not that of a random generator.  In round r, the backends are sorted by
    ``hasher(prefix + name)``, where ``prefix`` is ``hasher`` of the number r as bytes, so it is the
    same in every version of Python, and does not depend on the order of ``backends``.  The default
    ``hasher`` is :class:`~balancers.keys.Murmur3`.  ``identity`` returns the name of a backend.

    The weights are those that are passed, or 1.  A backend of weight 0 keeps its place.  If there
    are at most ``size`` backends, all are returned.

    >>> servers = [f"srv{n}" for n in range(12)]
    >>> for index in range(4):
    ...     print(list(deterministic_subset(servers, index=index, size=3)))
    ['srv10', 'srv7', 'srv3']
    ['srv1', 'srv6', 'srv2']
    ['srv11', 'srv4', 'srv5']
    ['srv0', 'srv8', 'srv9']

    Cost: O(n log n).  Raises InvalidSetting unless ``index`` is an int of 0 or more, and ``size``
    one of 1 or more.  Raises InvalidWeight, TypeError, and DuplicateBackend for two backends of
    one name.
    Source: B. Beyer and others (editors), "Site Reliability Engineering", O'Reilly, 2016,
    chapter 20.
    """
    at_least(0, index=index)
    at_least(1, size=size)
    weights, by_name = named(backends, identity)
    lap, place = divmod(index, max(1, len(weights) // size))
    order = ordered(by_name, int_bytes(lap), hasher)
    return {backend: weights[backend] for backend in order[place * size : (place + 1) * size]}
