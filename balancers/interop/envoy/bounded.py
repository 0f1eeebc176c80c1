"""Bounded load as Envoy means it: slots by weight, and past a full host a shuffle of all."""

from collections.abc import Callable, Iterator
from math import ceil
from random import Random

__all__ = ["overload", "shuffle", "spill"]

_WORDS = 624
_WORD = 0xFFFFFFFF


def overload(active: int, total: int, factor: int, share: float) -> float:
    """Give a host's active requests over its slots; above 1 it is overloaded.

    ``total`` are the active requests of the cluster, ``factor`` the balance factor in percent,
    ``share`` the host's part of all weight.

    >>> overload(2, 4, 120, 0.3), overload(3, 4, 120, 0.3)
    (1.0, 1.5)
    """
    slots = ((total + 1) * factor + 99) // 100
    return active / ceil(slots * share)


def spill(owner: int, digest: int, count: int, overloaded: Callable[[int], float]) -> int:
    """Give the host that serves for an overloaded owner, of ``count`` hosts.

    The first of the hash's own shuffle that has room, or whoever is overloaded least.  O(n).
    """
    least, best = overloaded(owner), owner
    for host in shuffle(digest, count):
        load = overloaded(host)
        if load <= 1:
            return host
        if load < least:
            least, best = load, host
    return best


def shuffle(digest: int, count: int) -> Iterator[int]:
    """Give the numbers below ``count`` in the order that a hash shuffles them into; O(count).

    Fisher and Yates over MT19937 seeded with the low 32 bits.

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
    """Seed as Matsumoto and Nishimura do with a number of 32 bits; Random seeds otherwise."""
    words = [seed]
    for place in range(1, _WORDS):
        last = words[-1]
        words.append((1812433253 * (last ^ (last >> 30)) + place) & _WORD)
    twister = Random(0)
    twister.setstate((3, (*words, _WORDS), None))
    return twister
