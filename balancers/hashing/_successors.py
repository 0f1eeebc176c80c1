"""Lists the backends of a key in order of preference, by repeated picks."""

from collections.abc import Callable, Collection, Iterator

from balancers._internal.types import B
from balancers.errors import NoBackendAvailable

__all__ = ["picked_in_turn", "picked_until_refused"]


def picked_in_turn(pick: Callable[[Collection[B]], B], eligible: Callable[[], int]) -> Iterator[B]:
    """Yield every backend that can be picked, in order of preference.

    ``pick(avoid)`` returns the preferred backend that is not in ``avoid``.  It is called once per
    backend, lazily, and ``avoid`` contains all backends that were yielded before.  ``eligible()``
    returns the number of backends that can be picked.

    >>> list(picked_in_turn(lambda avoid: min({3, 1, 2} - set(avoid)), lambda: 3))
    [1, 2, 3]
    """
    found: dict[B, None] = {}
    while len(found) < eligible():
        backend = pick(found.keys())
        found[backend] = None
        yield backend


def picked_until_refused(
    pick: Callable[[Collection[B]], B], n: int, avoid: Collection[B]
) -> list[B]:
    """Return up to ``n`` backends.  Each is the pick when ``avoid`` and those before are avoided.

    If no backend can be picked at all, the exception of ``pick`` is raised.
    """
    passed = dict.fromkeys(avoid)
    found = [pick(passed.keys())]
    while len(found) < n:
        passed[found[-1]] = None
        try:
            found.append(pick(passed.keys()))
        except NoBackendAvailable:
            break
    return found
