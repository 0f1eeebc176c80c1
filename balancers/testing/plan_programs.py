"""Defines the functions that the programs of a broken law of plans import."""

from contextlib import suppress
from copy import deepcopy
from typing import Any

from balancers.errors import NoBackendAvailable

__all__ = ["picks_after", "planned", "retried"]


def planned(lb: Any, n: int, **arguments: Any) -> list[Any]:
    """Return the plan of a balancer, or an empty list if it raises NoBackendAvailable.

    >>> from balancers import RoundRobin
    >>> planned(RoundRobin(["a", "b"]), 3), planned(RoundRobin(), 3)
    (['a', 'b'], [])
    """
    try:
        backends: list[Any] = lb.plan(n, **arguments)
    except NoBackendAvailable:
        return []
    return backends


def retried(lb: Any, n: int, avoid: Any = (), **arguments: Any) -> list[Any]:
    """Return up to ``n`` backends.  Each is the pick of a copy that avoids those before it.

    >>> from balancers import RoundRobin
    >>> retried(RoundRobin(["a", "b"]), 3)
    ['a', 'b']
    """
    found: list[Any] = []
    while len(found) < n:
        given = {"avoid": [*avoid, *found]} if found or avoid else {}
        try:
            found.append(deepcopy(lb).pick(**given, **arguments))
        except NoBackendAvailable:
            break
    return found


def picks_after(lb: Any, count: int, picked: bool = False, **arguments: Any) -> list[Any]:
    """Return the next ``count`` picks of a copy; each request starts, and does not end.

    With ``picked``, the copy picks once more before.

    >>> from balancers import RoundRobin
    >>> picks_after(RoundRobin(["a", "b"]), 2), picks_after(RoundRobin(["a", "b"]), 2, picked=True)
    (['a', 'b'], ['b', 'a'])
    """
    copy, picks = deepcopy(lb), list[Any]()
    later = {name: value for name, value in arguments.items() if name != "avoid"}
    if picked:
        with suppress(NoBackendAvailable):
            copy.pick(**arguments)
    with suppress(NoBackendAvailable):
        for _ in range(count):
            picks.append(copy.pick(**later))
            copy.started(picks[-1])
    return picks
