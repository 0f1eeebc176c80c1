"""Bounded load of Envoy: slots by weight, and a shuffle of all hosts if the owner is full."""

from collections.abc import Callable, Iterator
from math import ceil
from random import Random

__all__ = ["load_ratio", "shuffle", "substitute"]

_STATE_WORDS = 624
_WORD = 0xFFFFFFFF


def load_ratio(active: int, total: int, factor: int, share: float) -> float:
    """Return the active requests of a host over its slots; above 1 the host is overloaded.

    ``total`` is the number of active requests of the cluster, ``factor`` the balance factor in
    percent, ``share`` the host's part of the total weight, from 0 to 1.

    >>> load_ratio(2, 4, 120, 0.3), load_ratio(3, 4, 120, 0.3)
    (1.0, 1.5)
    """
    slots = ((total + 1) * factor + 99) // 100
    return active / ceil(slots * share)


def substitute(owner: int, digest: int, count: int, ratio: Callable[[int], float]) -> int:
    """Return the host, of ``count``, that serves instead of an overloaded owner; O(n).

    It is the first host that is not overloaded, in the order of the shuffle by the hash.  If every
    host is overloaded, it is the one with the least ratio.
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

    It is a Fisher-Yates shuffle with MT19937, which is seeded with the low 32 bits of the hash.

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
    """Return MT19937, seeded as by Matsumoto and Nishimura; ``Random(seed)`` seeds differently."""
    words = [seed]
    for place in range(1, _STATE_WORDS):
        last = words[-1]
        words.append((1812433253 * (last ^ (last >> 30)) + place) & _WORD)
    twister = Random(0)
    twister.setstate((3, (*words, _STATE_WORDS), None))
    return twister
