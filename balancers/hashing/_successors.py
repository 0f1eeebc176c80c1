"""The order in which backends take over a key, for balancers that can only pick."""

from collections.abc import Callable, Collection, Iterator

from balancers._internal.types import B

__all__ = ["picked_in_turn"]


def picked_in_turn(pick: Callable[[Collection[B]], B], eligible: Callable[[], int]) -> Iterator[B]:
    """Yield every eligible backend, each picked when all before it are avoided.

    Lazy: one call of ``pick`` per backend.

    >>> list(picked_in_turn(lambda avoid: min({3, 1, 2} - set(avoid)), lambda: 3))
    [1, 2, 3]
    """
    found: dict[B, None] = {}
    while len(found) < eligible():
        backend = pick(found.keys())
        found[backend] = None
        yield backend
