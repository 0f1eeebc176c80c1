"""Models servers that all their requests share (processor sharing)."""

from heapq import heappop, heappush
from math import inf
from operator import attrgetter

from balancers.simulation._engines.agenda import Event
from balancers.simulation._engines.server_model import SPARE, Model
from balancers.simulation._engines.tries import Try
from balancers.simulation._grid import tick
from balancers.simulation.server import Server

__all__ = ["Shared"]


class Shared(Model):
    """A server that serves all its tries at once, each with an equal share of its speed.

    ``progress`` is how many seconds of service each try has got since the server was last empty
    (the virtual time of processor sharing).  A try is completed when the progress since its arrival
    is its service.  The progress is a float that is not on the grid; the time at which a try is
    completed is rounded to the nearest tick.
    """

    def __init__(self, server: Server, events: list[Event]) -> None:
        super().__init__(server, events)
        self._progress = 0.0
        self._since = 0.0
        self._busy = 0.0  # since it was last reported with a try
        self._tries: list[tuple[float, int, Try]] = []  # by the progress at which they finish
        self._first: Try | None = None  # whose end is scheduled

    def arrive(self, each: Try, now: float) -> None:
        """Take a try; O(log n)."""
        self._advance(now)
        self.count += 1
        each.present = True
        each.finish = self._progress + self._service(each.request.work)
        heappush(self._tries, (each.finish, each.serial, each))
        self._schedule(now)

    def complete(self, each: Try, now: float) -> None:
        """Remove the try that is completed."""
        self._advance(now)
        self._progress = each.finish
        self._leave(each)
        self._schedule(now)

    def cancel(self, each: Try, now: float) -> None:
        """Remove a try; O(log n) amortised."""
        self._advance(now)
        self._leave(each)
        if len(self._tries) > 2 * self.count + SPARE:
            self._tries = sorted(entry for entry in self._tries if entry[2].present)
        self._schedule(now)

    def _advance(self, now: float) -> None:
        if self.count:
            passed = now - self._since
            self._busy += passed * min(self.count, self._slots)
            if not self.freezes:
                self._progress += passed * min(1.0, self._slots / self.count) / self._factor
        self._since = now

    def _schedule(self, now: float) -> None:
        """Schedule the end of the try that finishes first."""
        tries = self._tries
        while tries and not tries[0][2].present:
            heappop(tries)
        if not tries:
            self._progress = 0.0
        first = tries[0][2] if tries and not self.freezes else None
        if self._first is not None and self._first is not first:
            self._first.end = inf
        self._first = first
        if first is not None:
            left = max(first.finish - self._progress, 0.0) * self._factor
            end = now + tick(left * max(1.0, self.count / self._slots))
            if end != first.end:
                first.end = end
                heappush(self._events, (end, first.serial, first))

    def _leave(self, each: Try) -> None:
        self.count -= 1
        each.present = False
        each.end = inf
        each.busy, self._busy = self._busy, 0.0

    def _fail_all(self, now: float) -> list[Try]:
        self._advance(now)
        present = [entry[2] for entry in self._tries if entry[2].present]
        failed = sorted(present, key=attrgetter("serial"))
        for each in failed:
            self._leave(each)
        self._tries.clear()
        self._schedule(now)
        return failed

    def _pause(self, now: float) -> None:
        self._advance(now)
        if self._first is not None:
            self._first.end = inf
            self._first = None

    def _resume(self, now: float) -> None:
        self._busy += (now - self._since) * min(self.count, self._slots)
        self._since = now
        self._schedule(now)

    def _change_speed(self, now: float) -> None:
        self._advance(now)
        self._factor = self._slowness()
        self._schedule(now)
