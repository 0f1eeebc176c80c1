"""Finds backends below their bound, one after another, as a bounded load picks them."""

from collections.abc import Iterator, Mapping
from fractions import Fraction

from balancers._internal.types import B

__all__ = ["in_turn"]

_Exact = int | Fraction


def in_turn(
    order: Iterator[B],
    counts: Mapping[B, int],
    weights: Mapping[B, _Exact],
    slack: int,
    c: tuple[int, int],
    bound: tuple[_Exact, _Exact],
) -> Iterator[B]:
    """Yield each backend that is picked when all before it are avoided, lazily.

    ``order`` is the order of preference of the key.  ``weights`` has the open backends only.  ``c``
    and ``bound`` are pairs of a numerator and a denominator; those of the bound are c·(m + 1) and
    W, each one times the denominator of c.  Both become smaller with each backend that is avoided.

    >>> counts, weights = {"a": 3, "b": 0, "c": 0}, {"a": 1, "b": 1, "c": 1}
    >>> list(in_turn(iter("abc"), counts, weights, 0, (5, 4), (5 * 4, 4 * 3)))
    ['b', 'c', 'a']
    """
    numerator, denominator = bound
    at_bound: list[B] = []  # in order of preference
    while True:
        for place, backend in enumerate(at_bound):
            if (counts[backend] - slack) * denominator < numerator * weights[backend]:
                del at_bound[place]
                break
        else:
            for backend in order:
                if (counts[backend] - slack) * denominator < numerator * weights[backend]:
                    break
                at_bound.append(backend)
            else:
                return
        yield backend
        numerator -= c[0] * counts[backend]
        denominator -= c[1] * weights[backend]
