"""Keeps what will happen in a simulation, in order of time.

At one instant, events come in the order of their kinds, and events of one kind in the order in
which they were scheduled: ends of requests in the order in which these were sent.
"""

from heapq import heappush
from typing import Any

__all__ = [
    "ANSWER",
    "COMPLETE",
    "END",
    "FAULT",
    "FIRST",
    "KIND_BITS",
    "PROBE",
    "REACH",
    "RETRY",
    "SCRIPT",
    "STEP",
    "TIMEOUT",
    "Agenda",
    "Event",
]

KIND_BITS = 56
STEP, FIRST, COMPLETE, END, TIMEOUT, FAULT, SCRIPT, ANSWER, PROBE, REACH, RETRY = (
    kind << KIND_BITS for kind in range(-2, 9)
)
"""The kinds of events: an engine has completed steps, the first token of a try arrives at
the balancer, a server has completed a try, the answer of a try arrives at the balancer, a
try or request takes too long, a fault begins or ends, an entry of the script is due, an answer to a
probe arrives, probes are due, a try arrives at its server, and a request is tried again."""

Event = tuple[float, int, Any]
"""The time, the kind plus a number that no other event of this kind has, and what it is about."""


class Agenda:
    """The events of one simulation, as a heap.  An event that is no longer valid stays in it."""

    __slots__ = ("_number", "events")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._number = 0

    def add(self, when: float, kind: int, item: Any) -> None:
        """Schedule an event after those of the same time and kind; O(log n)."""
        self._number += 1
        heappush(self.events, (when, kind + self._number, item))
