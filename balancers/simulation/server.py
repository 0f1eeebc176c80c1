"""Defines the servers of a simulation: how fast they are, and in which order they serve."""

from dataclasses import dataclass
from typing import Literal

from balancers._internal.checks import at_least, checked_choice, duration, number

__all__ = ["Server"]


@dataclass(frozen=True, slots=True)
class Server:
    """Describes one server of a simulation.

    A request of ``work`` seconds takes ``work / speed`` seconds on an idle server.

    ``slots`` is the number of requests that the server can serve at full speed at the same time.
    With the ``discipline`` "fifo", further requests wait, and are served in the order in which they
    arrived.  With "shared" (processor sharing), no request waits: all n requests are served, and
    each one progresses with the share ``min(1, slots / n)`` of the full speed.

    ``room`` is the highest number of requests on the server, waiting ones included.  A request
    that finds no room fails at once.  None means that there is always room.

    >>> Server(speed=2.0, room=100)
    Server(speed=2.0, slots=1, discipline='fifo', room=100)

    Raises InvalidSetting for a ``speed`` that is not positive and finite, for ``slots`` or ``room``
    below 1, and for another discipline.
    """

    speed: float = 1.0
    slots: int = 1
    discipline: Literal["fifo", "shared"] = "fifo"
    room: int | None = None

    def __post_init__(self) -> None:
        duration("speed", self.speed)
        at_least(1, slots=self.slots)
        number("slots", self.slots)
        checked_choice("discipline", self.discipline, ("fifo", "shared"))
        if self.room is not None:
            at_least(1, room=self.room)
