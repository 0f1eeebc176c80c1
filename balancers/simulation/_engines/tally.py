"""Counts what happened in a simulation: exactly, and independently of the order of the reports.

All sums are integers, in ticks of the grid.  So engines, and chunks of any size, give equal
results.
"""

from typing import Any, Generic, cast

import numpy as np
from numpy.typing import NDArray

from balancers._internal.types import B
from balancers.errors import InvalidTime
from balancers.simulation._engines.laps import sums
from balancers.simulation._engines.setup import Setup
from balancers.simulation._engines.timeline import TimelineCounter
from balancers.simulation._engines.token_counter import TokenCounter
from balancers.simulation._grid import LATEST, TICKS
from balancers.simulation.prompts import RecordedPrompts
from balancers.simulation.times import TimesCounter

__all__ = ["ANSWERED", "FAILED", "RECORD", "REFUSED", "Tally", "Usage", "sums_by_place"]

ANSWERED, FAILED, REFUSED = 0, 1, 2
"""The states of a request that has ended."""

PHASES = 4
"""Requests before the warm-up ends, and the first half and the two last quarters after it."""

RECORD = np.dtype(
    [
        ("arrival", np.float64),
        ("backend", np.int64),
        ("response", np.float64),
        ("ok", np.bool_),
        ("tries", np.int64),
        ("work", np.float64),
    ]
)
"""What ``keep`` keeps of each request."""

_EXACT = 2.0**22
"""Sums of seconds on the grid are exact as floats below this number of seconds."""

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


def sums_by_place(places: Ints, seconds: Floats, size: int) -> NDArray[np.object_]:
    """Return the exact sum of the seconds at each place, in ticks, as Python ints."""
    if not len(seconds) or seconds.max() * len(seconds) < _EXACT:
        return (sums(places, seconds, size) * TICKS).astype(np.int64).astype(object)
    whole = np.floor(seconds)
    ticks = sums(places, seconds - whole, size) * TICKS
    wholes = sums(places, whole, size).astype(np.int64).astype(object)
    total: NDArray[np.object_] = wholes * int(TICKS) + ticks.astype(np.int64).astype(object)
    return total


class Usage:
    """Counts the tries of one phase at each place: their number, failures, and ticks."""

    def __init__(self, size: int) -> None:
        self.tries = np.zeros(size, np.int64)
        self.failed = np.zeros(size, np.int64)
        self.spans: NDArray[np.object_] = np.zeros(size, object)  # in flight
        self.busy: NDArray[np.object_] = np.zeros(size, object)  # in service

    def grow(self, size: int) -> None:
        """Make room for backends that have joined."""
        more = size - len(self.tries)
        if more > 0:
            self.tries = np.append(self.tries, np.zeros(more, np.int64))
            self.failed = np.append(self.failed, np.zeros(more, np.int64))
            self.spans = np.append(self.spans, np.zeros(more, object))
            self.busy = np.append(self.busy, np.zeros(more, object))

    def add(self, places: Ints, spans: Floats, busy: Floats, failed: Ints | None) -> None:
        """Count some tries.  ``failed`` are the places of those that failed."""
        size = len(self.tries)
        self.tries += np.bincount(places, minlength=size)
        self.spans += sums_by_place(places, spans, size)
        self.busy += sums_by_place(places, busy, size)
        if failed is not None:
            self.failed += np.bincount(failed, minlength=size)


class Tally(Generic[B]):
    """Counts the requests of one simulation.

    An engine reports every request once.  If all requests are answered at the first try, it calls
    :meth:`block`.  Otherwise it calls :meth:`requests_ended` for requests, and :meth:`tries_ended`
    for their tries.
    """

    def __init__(self, setup: Setup[B]) -> None:
        self.setup = setup
        self.response = TimesCounter()
        self.states = np.zeros(3, np.int64)
        self.tries = 0
        self.end = 0.0
        self.phases = [Usage(len(setup.backends)) for _ in range(PHASES)]
        self.records = np.zeros(setup.requests, RECORD) if setup.keep else None
        self.timeline = (
            None if setup.timeline is None else TimelineCounter(setup.timeline, setup.backends)
        )
        prompts = setup.service
        self.tokens = (
            TokenCounter(prompts, setup.warm) if isinstance(prompts, RecordedPrompts) else None
        )
        self._bounds = np.array([setup.warm, setup.half, setup.late])

    def block(
        self,
        start: int,
        arrivals: Floats,
        places: Ints,
        services: Floats,
        responses: Floats,
        works: Floats,
    ) -> None:
        """Count consecutive requests, from the index ``start``, all answered at the first try.

        The arrays have one element per request: the time of arrival, the index of the backend, how
        long the server served it, how long it was in flight (network included), and its work.
        """
        count = len(arrivals)
        ends = arrivals + responses
        self._ended(ends)
        counted = max(0, self.setup.warm - start)
        if counted < count:
            self.response.add(responses[counted:])
            self.states[ANSWERED] += count - counted
            self.tries += count - counted
        cuts = [0, *(min(max(int(bound) - start, 0), count) for bound in self._bounds), count]
        for usage, first, last in zip(self.phases, cuts, cuts[1:], strict=False):
            if first < last:
                part = slice(first, last)
                usage.grow(len(self.setup.backends))
                usage.add(places[part], responses[part], services[part], None)
        if self.timeline is not None:
            self.timeline.tries(places, arrivals, ends)
            self.timeline.requests(arrivals, ends, responses, np.zeros(count, np.int64))
        if self.records is not None:
            part = slice(start, start + count)
            self._record(part, arrivals, places, responses, True, 1, works)

    def requests_ended(
        self,
        indices: Ints,
        arrivals: Floats,
        places: Ints,
        responses: Floats,
        states: Ints,
        tries: Ints,
        works: Floats,
    ) -> None:
        """Count requests in any order.

        ``places`` are those of the last tries, or -1 for requests that no backend was picked for.
        """
        ends = arrivals + responses
        self._ended(ends)
        counted = indices >= self.setup.warm
        self.states += np.bincount(states[counted], minlength=3)
        self.tries += int(tries[counted].sum())
        self.response.add(responses[counted & (states == ANSWERED)])
        if self.timeline is not None:
            self.timeline.requests(arrivals, ends, responses, states)
        if self.records is not None:
            self._record(indices, arrivals, places, responses, states == ANSWERED, tries, works)

    def tries_ended(
        self, indices: Ints, places: Ints, starts: Floats, ends: Floats, busy: Floats, failed: Any
    ) -> None:
        """Count tries in any order.

        ``indices`` are those of their requests.  ``busy`` is how long each was served, in seconds;
        ``failed`` is an array of bools.
        """
        size = len(self.setup.backends)
        phases = np.searchsorted(self._bounds, indices, side="right")
        for number, usage in enumerate(self.phases):
            part = phases == number
            if part.any():
                usage.grow(size)
                spans = ends[part] - starts[part]
                usage.add(places[part], spans, busy[part], places[part & failed])
        if self.timeline is not None:
            self.timeline.tries(places, starts, ends)

    @property
    def counted(self) -> list[Usage]:
        """The phases after the warm-up."""
        return self.phases[1:]

    def totals(self, name: str) -> list[int]:
        """Return the sums of an attribute of :class:`Usage` after the warm-up, for each place."""
        sums: Any = sum(getattr(phase, name) for phase in self.counted)
        return cast("list[int]", sums.tolist())

    @property
    def window(self) -> float:
        """The seconds from the first counted arrival to the last arrival."""
        marks = self.setup.marks
        return marks[self.setup.requests - 1] - marks[self.setup.warm]

    def complete(self) -> None:
        """Extend every phase to all places.  Call it once, at the end."""
        for phase in self.phases:
            phase.grow(len(self.setup.backends))

    def _ended(self, ends: Floats) -> None:
        """Note the time of the last end.  Raises InvalidTime if it is too late."""
        end = float(ends.max()) if len(ends) else 0.0
        if not end <= LATEST:
            raise InvalidTime(f"a simulation must end until {LATEST:g} s, not at {end:g} s")
        self.end = max(self.end, end)

    def _record(self, part: Any, *columns: Any) -> None:
        records: Any = self.records
        for name, column in zip(RECORD.names or (), columns, strict=True):
            records[name][part] = column
