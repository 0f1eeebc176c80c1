"""Models servers that serve in order of arrival."""

from collections import deque
from heapq import heappush
from math import inf
from operator import attrgetter

from balancers.simulation._engines.agenda import Event
from balancers.simulation._engines.server_model import SPARE, Model
from balancers.simulation._engines.tries import Try
from balancers.simulation._grid import tick
from balancers.simulation.server import Server

__all__ = ["Line"]


class Line(Model):
    """A server with some slots.  Further tries wait, and begin in the order in which they arrived.

    The rest of a service is rounded to the grid whenever the speed changes.
    """

    def __init__(self, server: Server, events: list[Event]) -> None:
        super().__init__(server, events)
        self._waiting: deque[Try] = deque()
        self._serving: dict[Try, None] = {}

    def arrive(self, each: Try, now: float) -> None:
        """Take a try, which waits or begins; O(log n)."""
        self.count += 1
        each.present = True
        if len(self._serving) < self._slots:
            self._serve(each, now)
        else:
            self._waiting.append(each)

    def complete(self, each: Try, now: float) -> None:
        """Remove a try that is completed, and begin the next one."""
        del self._serving[each]
        self._leave(each)
        each.busy = now - each.begun
        if self._waiting:
            self._serve_next(now)

    def cancel(self, each: Try, now: float) -> None:
        """Remove a try, which is in service or waits; O(1) amortised."""
        self._leave(each)
        if each in self._serving:
            del self._serving[each]
            each.busy = now - each.begun
            self._serve_next(now)
        elif len(self._waiting) > 2 * self.count + SPARE:
            self._waiting = deque(other for other in self._waiting if other.present)

    def _serve(self, each: Try, now: float) -> None:
        self._serving[each] = None
        each.begun = each.since = now
        left = self._service(each.request.work)
        each.left = left if self._factor == 1 else tick(left * self._factor)
        if not self.freezes:
            each.end = end = now + each.left
            heappush(self._events, (end, each.serial, each))

    def _schedule(self, each: Try) -> None:
        """Schedule the end of a try again."""
        end = each.since + each.left
        if end != each.end:
            each.end = end
            heappush(self._events, (end, each.serial, each))

    def _serve_next(self, now: float) -> None:
        waiting = self._waiting
        while waiting and len(self._serving) < self._slots:
            each = waiting.popleft()
            if each.present:
                self._serve(each, now)

    def _leave(self, each: Try) -> None:
        self.count -= 1
        each.present = False
        each.end = inf

    def _fail_all(self, now: float) -> list[Try]:
        failed = [*self._serving, *(each for each in self._waiting if each.present)]
        for each in failed:
            if each in self._serving:
                each.busy = now - each.begun
            self._leave(each)
        self._serving.clear()
        self._waiting.clear()
        return sorted(failed, key=attrgetter("serial"))

    def _pause(self, now: float) -> None:
        for each in self._serving:
            each.left -= now - each.since
            each.end = inf

    def _resume(self, now: float) -> None:
        for each in self._serving:
            each.since = now
            self._schedule(each)

    def _change_speed(self, now: float) -> None:
        factor = self._slowness()
        for each in self._serving:
            if not self.freezes:
                each.left -= now - each.since
                each.since = now
            each.left = tick(each.left * factor / self._factor)
            if not self.freezes:
                self._schedule(each)
        self._factor = factor
