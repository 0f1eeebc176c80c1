"""Implements Google's Ringsteady: subsets of numbered backends that change little."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping

from balancers._internal.checks import as_weights, at_least
from balancers._internal.types import B

__all__ = ["ringsteady_subset"]


def ringsteady_subset(
    backends: Iterable[B] | Mapping[B, float], *, index: int, size: int
) -> dict[B, float]:
    """Return the subset of the balancer with this index: ``size`` backends with their weights.

    Backends and balancers have positions on one ring.  The position of number i is the element i of
    the binary van der Corput sequence: 0, 1/2, 1/4, 3/4, 1/8 and so on.  Each new position halves
    one of the longest gaps, so the positions are even at every count.  A balancer takes the first
    ``size`` backends at its own position or after it.

    The number of a backend is its place in ``backends``, so the order matters: add new backends at
    the end, and remove the last one.  To remove another, put the last one in its place.  Then each
    backend that joins or leaves replaces about 1/n of all connections, the least that is possible.
    A balancer that joins or leaves changes no subset of another.

    The weights are those that are passed, or 1.  A backend of weight 0 keeps its place.  If there
    are at most ``size`` backends, all are returned.

    >>> servers = [f"srv{n}" for n in range(8)]
    >>> for index in range(4):
    ...     print(list(ringsteady_subset(servers, index=index, size=3)))
    ['srv0', 'srv4', 'srv2']
    ['srv1', 'srv5', 'srv3']
    ['srv2', 'srv6', 'srv1']
    ['srv3', 'srv7', 'srv0']

    Cost: O(n log n).  Raises InvalidSetting unless ``index`` is an int of 0 or more, and ``size``
    one of 1 or more.  Raises InvalidWeight and TypeError.
    Source: P. Ward, P. Wankadia, K. Guliani, "Reinventing Backend Subsetting at Google", ACM Queue
    20(5), 2022.
    """
    at_least(0, index=index)
    at_least(1, size=size)
    weights = as_weights(backends)
    bits = max(len(weights), index, 1).bit_length()
    members = list(weights)
    positions = [_position(number, bits) for number in range(len(members))]
    order = sorted(range(len(members)), key=positions.__getitem__)
    first = bisect_left(order, _position(index, bits), key=positions.__getitem__)
    chosen = (order[first:] + order[:first])[:size]
    return {members[number]: weights[members[number]] for number in chosen}


def _position(number: int, bits: int) -> int:
    """Return an element of the van der Corput sequence, multiplied by 2 ** ``bits``."""
    return int(f"{number:0{bits}b}"[::-1], 2)
