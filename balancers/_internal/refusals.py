"""Finds the reason that a NoBackendAvailable error reports, and whether it helps to wait."""

from collections.abc import Mapping
from typing import cast

__all__ = ["USUAL_REASONS", "has_room_later", "shared_reason"]

USUAL_REASONS = frozenset(("", "avoided", "empty", "mixed", "quiesced"))
"""The reasons of balancers that know only weights.  Their owner knows better reasons."""


def shared_reason(counts: Mapping[str, int], members: int) -> str:
    """Return the first reason that applies to every member.

    ``counts`` is the number of members for each reason.  The result is "empty" if there are no
    members.  It is "mixed" if no reason applies to every member.

    >>> shared_reason({"draining": 1, "unhealthy": 2}, members=2), shared_reason({}, members=0)
    ('unhealthy', 'empty')
    """
    for reason, count in counts.items():
        if count == members:
            return reason
    return "mixed" if members else "empty"


def has_room_later(backend: object, avoid: object) -> bool:
    """Return whether a request is to avoid a backend only until other requests on it have ended.

    A pool passes the backends that have no room for the cost of a request as ``avoid``: a mapping
    of backends to tuples of :class:`balancers.gate.NoRoom`.

    >>> from balancers.gate import NoRoom
    >>> avoid = {"a": (NoRoom("saturated", full=True),), "b": (NoRoom("too large"),), "c": ()}
    >>> [has_room_later(backend, avoid) for backend in "abcd"]
    [True, False, False, False]
    """
    if not isinstance(avoid, Mapping):
        return False
    rooms = cast("Mapping[object, object]", avoid).get(backend)
    if not rooms or not isinstance(rooms, tuple):
        return False
    each_room = cast("tuple[object, ...]", rooms)
    return all(getattr(room, "full", False) is True for room in each_room)
