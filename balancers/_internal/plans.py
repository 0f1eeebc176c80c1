"""Helps to make plans: ranked lists of the backends that a request may try."""

from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from random import Random
from typing import Any, TypeVar

from balancers._internal.checks import shown
from balancers._internal.types import B
from balancers.errors import NotPlannable

__all__ = ["ascending", "first_different", "plan_of", "undrawn", "uniforms"]

T = TypeVar("T")

_BITS = (1 << 64) - 1
_UNIT = 2.0**-53


def first_different(candidates: Iterable[B], n: int, avoid: Collection[B] = ()) -> list[B]:
    """Return the first ``n`` different candidates that are not avoided, in their order.

    At most as many candidates as necessary are taken from the iterable.  ``in`` must be O(1) for
    ``avoid``.

    >>> first_different("abacad", 2, avoid={"a"})
    ['b', 'c']
    """
    seen: set[B] = set()
    found: list[B] = []
    for backend in candidates:
        if backend not in seen and backend not in avoid:
            seen.add(backend)
            found.append(backend)
            if len(found) == n:
                break
    return found


def plan_of(balancer: Any) -> Callable[..., list[Any]]:
    """Return the method ``plan`` of a balancer.

    Raises NotPlannable if the balancer has none.
    """
    plan: Callable[..., list[Any]] | None = getattr(balancer, "plan", None)
    if not callable(plan):
        raise NotPlannable(f"this balancer has no method plan: {shown(balancer)}")
    return plan


def uniforms(seed: int) -> Iterator[float]:
    """Yield numbers from 0 to below 1 without end.

    They are the upper bits of a linear congruential generator (Knuth's constants for MMIX), which
    starts from a hash of the seed, so that the numbers of near seeds differ.

    >>> [round(number, 3) for _, number in zip(range(3), uniforms(1))]
    [0.237, 0.533, 0.331]
    """
    state = (seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9 & _BITS
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _BITS
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) & _BITS
        yield (state >> 11) * _UNIT


@contextmanager
def undrawn(rng: Random) -> Generator[None]:
    """Restore the state of a random generator after the block, which takes numbers from it.

    A generator without a state, such as ``random.SystemRandom``, needs no restoration.

    >>> rng = Random(1)
    >>> with undrawn(rng):
    ...     number = rng.random()
    >>> rng.random() == number
    True
    """
    try:
        state = rng.getstate()
    except NotImplementedError:
        state = None
    try:
        yield
    finally:
        if state is not None:
            rng.setstate(state)


def ascending(heap: list[T]) -> Iterator[T]:
    """Yield the entries of a heap in ascending order.  The heap does not change.

    The first k entries cost O(k log k).

    >>> from itertools import islice
    >>> list(islice(ascending([1, 4, 2, 5, 6, 3]), 4))
    [1, 2, 3, 4]
    """
    frontier = [(heap[0], 0)] if heap else []
    while frontier:
        entry, place = heappop(frontier)
        yield entry
        for child in (2 * place + 1, 2 * place + 2):
            if child < len(heap):
                heappush(frontier, (heap[child], child))
