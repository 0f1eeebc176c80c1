"""Implements the deterministic aperture of Finagle: equal slices of a ring of backends."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import lcm

from balancers._internal.checks import at_least
from balancers._internal.exact import exact
from balancers._internal.types import B
from balancers.keys import Hasher, Identity, name_of
from balancers.subsetting._backends import check_index, named, ordered

__all__ = ["aperture_subset"]


def aperture_subset(
    backends: Iterable[B] | Mapping[B, float],
    *,
    index: int,
    balancers: int,
    size: int = 12,
    identity: Identity[B] = name_of,
    hasher: Hasher | None = None,
) -> dict[B, float]:
    """Return the backends of the balancer with this index, with fractions of their weights.

    The backends divide a ring into arcs, whose lengths are proportional to their weights.  With C
    ``balancers``, balancer i covers the ring from i/C on.  All cover the same length: the least
    multiple of 1/C with which they cover ``size`` arcs of mean length, but at most the whole ring.
    The weight of a backend is multiplied by the part of its arc that is covered.

    So every point of the ring is covered by the same number of balancers.  If each balancer gets
    the same traffic, and divides it by these weights, then each backend gets exactly its share, for
    any numbers of balancers and backends.  Use the result with a balancer whose attribute
    ``fractional`` is True, for example ``WeightedLeastConnections``: others round fractions, or
    ignore them.

    The order of the arcs is that of the hashes of the names, so it does not depend on the order of
    ``backends``.  The default ``hasher`` is :class:`~balancers.keys.Murmur3`.  ``identity`` returns
    the name of a backend.  Backends of weight 0 have no arc, and are left out.

    >>> servers = ["a", "b", "c", "d"]
    >>> for index in range(3):
    ...     print(aperture_subset(servers, index=index, balancers=3, size=2))
    {'b': 1, 'a': 1, 'c': 0.6666666666666666}
    {'a': 0.6666666666666666, 'c': 1, 'd': 1}
    {'b': 1, 'a': 0.3333333333333333, 'c': 0.3333333333333333, 'd': 1}

    Cost: O(n log n).  Raises InvalidSetting unless ``size`` and ``balancers`` are ints of 1 or
    more, and ``index`` is an int from 0 to ``balancers`` - 1.  Raises InvalidWeight, TypeError, and
    DuplicateBackend for two backends of one name.
    Source: the class ``DeterministicAperture`` of Twitter's Finagle, whose least size is 12.
    """
    at_least(1, size=size, balancers=balancers)
    check_index(index, balancers)
    weights, by_name = named(backends, identity)
    order = [backend for backend in ordered(by_name, b"", hasher) if weights[backend]]
    arcs = _lengths([weights[backend] for backend in order], balancers)
    total = sum(arcs)
    slices = min(balancers, -(-size * balancers // max(1, len(order))))
    start = index * total // balancers
    stop = start + slices * total // balancers
    subset: dict[B, float] = {}
    low = 0
    for backend, arc in zip(order, arcs, strict=True):
        high = low + arc
        covered = _overlap(low, high, start, stop) + _overlap(low, high, 0, stop - total)
        if covered == arc:
            subset[backend] = weights[backend]
        elif covered:
            subset[backend] = float(Fraction(covered, arc) * exact(weights[backend]))
        low = high
    return subset


def _lengths(weights: list[float], balancers: int) -> list[int]:
    """Return the lengths of the arcs in the ratio of the weights, as multiples of ``balancers``."""
    decimals = [exact(weight) for weight in weights]
    unit = lcm(*(decimal.denominator for decimal in decimals)) * balancers
    return [int(decimal * unit) for decimal in decimals]


def _overlap(low: int, high: int, start: int, stop: int) -> int:
    """Return the length of the part of an arc that is between ``start`` and ``stop``."""
    return max(0, min(high, stop) - max(low, start))
