"""Finds where the order of two things inside a program is not recorded.

A packet that arrives when a timer is due, for example, is received before or after the timer is
served.  The replay tries one order, and the other one if the first does not agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from tests.parity.vrrp_node import TOLERANCE, Node
from tests.parity.vrrp_recording import Item

__all__ = ["RACE", "WAKES", "Moment", "other_order"]

RACE = 0.05
"""The longest time in seconds between two things whose order inside the program is not known."""
WAKES = {"thaw", "sigcont", "resume"}
"""The events after which a program finds both packets and a timer."""


@dataclass
class Moment:
    """What one record meets."""

    node: Node
    items: Sequence[Item]
    place: int
    pending: str
    frozen: bool

    def kind(self) -> str:
        """Return what may have come first: "start", "delay", "timer", or "" for nothing."""
        if self.place == len(self.items):
            return ""
        item, router = self.items[self.place], self.node.router
        if item.kind == "rx" and self.pending == "start":
            # A program may have begun already, and notify it after the packet.
            return "start" if self._follows("state", RACE) else ""
        if router is None:
            return ""
        if item.kind == "rx" and abs(item.time - self.node.delay_end) <= RACE:
            return "delay"
        if router.due - item.time > RACE:
            return ""
        wakes = item.kind == "event" and item.value["action"] in WAKES
        meets = item.kind == "rx" and not self.frozen and self._follows("tx", TOLERANCE)
        return "timer" if wakes or meets else ""

    def _follows(self, kind: str, within: float) -> bool:
        """Return whether a record of this kind follows so soon."""
        following = (each.time for each in self.items[self.place :] if each.kind == kind)
        return next(following, inf) - self.items[self.place].time <= within


def other_order(node: Node, kind: str, now: float) -> None:
    """Let come first what may have come first: the timer, or the other side of a delay's end."""
    if kind == "timer":
        node.force(now)
    elif node.router is not None:
        snapshot = node.router.snapshot(now)
        ended = snapshot.preempt_in == 0
        node.router.restore(snapshot._replace(preempt_in=RACE if ended else 0.0), now)
