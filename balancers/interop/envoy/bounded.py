"""Implements the bounded load of Envoy.

A host has as many slots for requests as its weight allows.  If all slots of the owner of a hash are
in use, the other hosts are tried in a shuffled order.
"""

from collections.abc import Callable, Iterator
from math import ceil
from random import Random

__all__ = ["load_ratio", "shuffle", "substitute"]

_STATE_WORDS = 624
_WORD = 0xFFFFFFFF


def load_ratio(active: int, total: int, factor: int, share: float) -> float:
    """Return the number of requests in flight of a host, divided by its number of slots.

    If the result is above 1, the host is overloaded.  ``active`` is the number of requests in
    flight of the host, and ``total`` is that of the cluster.  ``factor`` is the balance factor in
    percent.  ``share`` is the share of the host in the total weight, from 0 to 1.

    >>> load_ratio(2, 4, 120, 0.3), load_ratio(3, 4, 120, 0.3)
    (1.0, 1.5)
    """
    slots = ((total + 1) * factor + 99) // 100
    return active / ceil(slots * share)


def substitute(owner: int, digest: int, count: int, ratio: Callable[[int], float]) -> int:
    """Return the host that serves instead of an overloaded owner; O(n).

    Hosts are numbers below ``count``, and ``ratio`` returns the load ratio of a host.  The hosts
    are tried in the order of :func:`shuffle`, and the first one that is not overloaded is returned.
    If every host is overloaded, the host with the smallest ratio is returned.
    """
    least, best = ratio(owner), owner
    for host in shuffle(digest, count):
        load = ratio(host)
        if load <= 1:
            return host
        if load < least:
            least, best = load, host
    return best


def shuffle(digest: int, count: int) -> Iterator[int]:
    """Return the numbers below ``count`` in an order that depends on a hash; O(count).

    The order is a Fisher-Yates shuffle.  Its random numbers come from MT19937, which is seeded with
    the low 32 bits of the hash.

    >>> list(shuffle(42, 5))
    [1, 4, 0, 3, 2]
    """
    twister = _mt19937(digest & _WORD)
    order = list(range(count))
    for place in range(count):
        left = count - place
        step = left
        while step >= left:
            step = twister.getrandbits(32) // ((1 << 32) // left)
        order[place], order[place + step] = order[place + step], order[place]
        yield order[place]


def _mt19937(seed: int) -> Random:
    """Return an MT19937 generator that is seeded as by Matsumoto and Nishimura.

    ``Random(seed)`` seeds the generator in a different way.
    """
    words = [seed]
    for place in range(1, _STATE_WORDS):
        last = words[-1]
        words.append((1812433253 * (last ^ (last >> 30)) + place) & _WORD)
    twister = Random(0)
    twister.setstate((3, (*words, _STATE_WORDS), None))
    return twister
