"""Finds the backends that have no room for a request, because of its cost."""

from collections.abc import Callable, Collection, Iterable, Mapping
from math import inf
from typing import Any, Generic

from balancers._internal.types import B
from balancers.gate import NoRoom

__all__ = ["Rooms", "WithoutRoom", "fits_at"]


class WithoutRoom(dict[B, tuple[NoRoom, ...]]):
    """The backends that a request must avoid, with the reasons for which its cost does not fit.

    There is no reason for a backend that the caller avoids.  A pool passes this as ``avoid``.
    """

    def reasons(self, backend: B) -> tuple[str, ...]:
        """Return the reasons for which the cost does not fit, without repetition."""
        return tuple(dict.fromkeys(room.reason for room in self.get(backend, ())))


class Rooms(Generic[B]):
    """Asks the gates of a pool for the backends that have no room for a cost."""

    def __init__(self, gates: Iterable[Any]) -> None:
        methods = [getattr(gate, "without_room", None) for gate in gates]
        self.methods: list[Callable[[int, float], Mapping[B, NoRoom]]] = [m for m in methods if m]
        """The methods ``without_room`` of the gates that have one."""

    def avoid(self, avoid: Collection[B], cost: int, now: float) -> Collection[B]:
        """Return the backends to avoid: those of ``avoid``, and those without room; O(both).

        The result is a :class:`WithoutRoom` if there is a backend without room.
        """
        found: WithoutRoom[B] | None = None
        for without_room in self.methods:
            if rooms := without_room(cost, now):
                found = WithoutRoom() if found is None else found
                last: NoRoom | None = None
                alone: tuple[NoRoom, ...] = ()
                for backend, room in rooms.items():
                    if room is not last:  # many members have the same object
                        last, alone = room, (room,)
                    found[backend] = (*found[backend], room) if backend in found else alone
        if found is None:
            return avoid
        found.update(dict.fromkeys(avoid, ()))
        return found


def fits_at(rooms: Iterable[NoRoom]) -> float:
    """Return the time in seconds from which the cost can fit; ``inf`` if no time is known."""
    latest = -inf
    for room in rooms:
        if room.retry_at < inf:
            latest = max(latest, room.retry_at)
        elif not room.full:
            return inf
    return latest if latest > -inf else inf
