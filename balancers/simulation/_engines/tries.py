"""Defines the requests of a simulation, and their tries."""

from math import inf
from typing import Any

__all__ = ["Request", "Try"]


class Request:
    """One request, with all its tries."""

    __slots__ = (
        "arrival",
        "current",
        "done",
        "expired",
        "front",
        "index",
        "key",
        "place",
        "retrying",
        "tried",
        "tries",
        "work",
    )

    def __init__(self, index: int, arrival: float, work: float, key: Any, front: int) -> None:
        self.index = index
        self.arrival = arrival
        self.work = work
        self.key = key
        self.front = front
        self.place = -1
        self.tries = 0
        self.tried: set[Any] | None = None
        self.current: Try | None = None
        self.retrying = False  # a retry is counted in the budget
        self.done = False
        self.expired = False  # its deadline has passed


class Try:
    """One try of a request, on one server.

    ``left`` is the rest of its service in seconds, as of the time ``since``.  ``end`` is when it
    will be completed, or ``inf`` if that is not known or it is not on its server any more.
    """

    __slots__ = (
        "begun",
        "busy",
        "done",
        "end",
        "failing",
        "finish",
        "first",
        "lease",
        "left",
        "place",
        "present",
        "request",
        "room",
        "sent",
        "serial",
        "since",
    )

    def __init__(self, request: Request, serial: int, place: int, sent: float, lease: Any) -> None:
        self.request = request
        self.serial = serial
        self.place = place
        self.sent = sent
        self.lease = lease
        self.end = inf
        self.busy = 0.0
        self.done = False
        self.failing = False
        self.present = False  # on the server
        self.first: float | None = None  # the seconds from its start to its first token
        self.room = 0  # the tokens that an engine reserves for it
        self.begun: float  # it, since and left are set by a line; finish by a shared server
        self.since: float
        self.left: float
        self.finish: float
