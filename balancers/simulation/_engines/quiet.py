"""Runs a simulation in which nothing goes wrong, and every server is a line with one slot.

The end of a request is known when it arrives: the server serves it after all that arrived before
it.  So the only events are arrivals, and the ends that are reported to the balancer or pool.
Ends at the same instant are reported in the order in which the requests arrived.
"""

from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from itertools import repeat
from math import inf
from typing import Any, Generic, TypeVar, cast

import numpy as np

from balancers._internal.types import B
from balancers.algorithms import (
    LeastConnections,
    PowerOfTwoChoices,
    WeightedLeastConnections,
)
from balancers.balancer import Balancer
from balancers.errors import NoBackendAvailable
from balancers.outcome import SUCCESS
from balancers.pool import Lease, Pool
from balancers.simulation._engines.answers import outcome_of
from balancers.simulation._engines.setup import Chunk, Setup
from balancers.simulation._engines.tally import ANSWERED, REFUSED, Tally
from balancers.simulation._grid import LATEST, served

__all__ = ["CHUNK", "keys_of", "run"]

T = TypeVar("T", bound=tuple[Any, float])

CHUNK = 1 << 14
"""How many requests are drawn and counted at once."""


def run(setup: Setup[B], tally: Tally[B]) -> None:
    """Run a simulation that is ``simple``; see :class:`Setup`."""
    balancer = setup.balancer
    if isinstance(balancer, Pool):
        _pooled(setup, tally, balancer)
    elif _is_default(balancer, "started") and _is_default(balancer, "finished"):
        _uninformed(setup, tally, balancer)
    else:
        _informed(setup, tally, balancer)


def _is_default(balancer: Balancer[Any], name: str) -> bool:
    """Return whether the method is the default of the protocol, which does nothing."""
    function = getattr(getattr(balancer, name), "__func__", None)
    return function is getattr(Balancer, name)


def _uninformed(setup: Setup[B], tally: Tally[B], balancer: Balancer[B]) -> None:
    """Run a balancer that need not be informed about starts and ends, so there are no events."""
    pick, places, there, back = balancer.pick, setup.places, setup.there, setup.back
    free = [0.0] * len(setup.backends)
    for chunk in setup.chunks(CHUNK):
        works, speeds = _works(setup, chunk)
        chosen: list[int] = []
        responses: list[float] = []
        for now, work, key in zip(chunk.times.tolist(), works, keys_of(chunk), strict=False):
            try:
                backend = pick(key, now)
            except NoBackendAvailable:
                chosen.append(-1)
                responses.append(0.0)
                continue
            try:
                place = places[backend]
            except (KeyError, TypeError):
                place = _joined(setup, free, backend)
            begin, freed = now + there, free[place]
            if begin < freed:  # noqa: PLR1730 - a call of max() is slower
                begin = freed
            free[place] = end = begin + (work if speeds is None else _scaled(work, speeds[place]))
            chosen.append(place)
            responses.append(end + back - now)
        _report(setup, tally, chunk, chosen, responses)


def _informed(setup: Setup[B], tally: Tally[B], balancer: Balancer[B]) -> None:
    """Run a balancer that is informed about starts and ends."""
    pick, started, finished = balancer.pick, balancer.started, balancer.finished
    places, there, back = setup.places, setup.there, setup.back
    free = [0.0] * len(setup.backends)
    counts_only = _counts_only(balancer)

    def finish(flight: tuple[B, float], end: float) -> None:
        backend, start = flight
        finished(backend, SUCCESS if counts_only else outcome_of(True, end - start), end)

    ends = _Ends(finish)
    instants, flights = ends.instants, ends.flights
    for chunk in setup.chunks(CHUNK):
        works, speeds = _works(setup, chunk)
        chosen: list[int] = []
        responses: list[float] = []
        for now, work, key in zip(chunk.times.tolist(), works, keys_of(chunk), strict=False):
            while instants[0] <= now:
                end = heappop(instants)
                flight = flights.pop(end)
                if counts_only and type(flight) is tuple:
                    finished(flight[0], SUCCESS, end)
                else:
                    ends.finish(flight, end)
            try:
                backend = pick(key, now)
            except NoBackendAvailable:
                chosen.append(-1)
                responses.append(0.0)
                continue
            try:
                place = places[backend]
            except (KeyError, TypeError):
                place = _joined(setup, free, backend)
            started(backend, now)
            begin, freed = now + there, free[place]
            if begin < freed:  # noqa: PLR1730 - a call of max() is slower
                begin = freed
            free[place] = end = begin + (work if speeds is None else _scaled(work, speeds[place]))
            end += back
            chosen.append(place)
            responses.append(end - now)
            flight = (backend, now)
            if flights.setdefault(end, flight) is flight:
                heappush(instants, end)
            else:
                ends.add(flight, end)
        _report(setup, tally, chunk, chosen, responses)
    ends.finish_all()


def _pooled(setup: Setup[B], tally: Tally[B], pool: Pool[B]) -> None:
    """Run a pool."""
    acquire, release = pool.acquire, pool.release
    places, there, back = setup.places, setup.there, setup.back
    free = [0.0] * len(setup.backends)

    def finish(flight: tuple[Lease[B], float], end: float) -> None:
        lease, start = flight
        release(lease, end, True, end - start)

    ends = _Ends(finish)
    instants, flights = ends.instants, ends.flights
    for chunk in setup.chunks(CHUNK):
        works, speeds = _works(setup, chunk)
        chosen: list[int] = []
        responses: list[float] = []
        for now, work, key in zip(chunk.times.tolist(), works, keys_of(chunk), strict=False):
            while instants[0] <= now:
                end = heappop(instants)
                ends.finish(flights.pop(end), end)
            try:
                lease = acquire(now, key)
            except NoBackendAvailable:
                chosen.append(-1)
                responses.append(0.0)
                continue
            try:
                place = places[lease.backend]
            except KeyError:
                place = _joined(setup, free, lease.backend)
            begin, freed = now + there, free[place]
            if begin < freed:  # noqa: PLR1730 - a call of max() is slower
                begin = freed
            free[place] = end = begin + (work if speeds is None else _scaled(work, speeds[place]))
            end += back
            chosen.append(place)
            responses.append(end - now)
            flight = (lease, now)
            if flights.setdefault(end, flight) is flight:
                heappush(instants, end)
            else:
                ends.add(flight, end)
        _report(setup, tally, chunk, chosen, responses)
    ends.finish_all()


class _Ends(Generic[T]):
    """The requests in flight, by the instant at which they end.

    ``instants`` is a heap of all such instants, and of infinity, so that it is never empty.  It
    contains only floats, because these are compared several times faster than tuples.  ``flights``
    has for each instant the flight that ends then, a tuple; or a list of several flights, in the
    order in which they started.  ``end_one`` is called with a flight and its instant.
    """

    def __init__(self, end_one: Callable[[T, float], None]) -> None:
        self._end_one = end_one
        self.instants = [inf]
        self.flights: dict[float, T | list[T]] = {}

    def add(self, flight: T, end: float) -> None:
        """Add one more flight to an instant that is there already."""
        others = self.flights[end]
        if isinstance(others, list):
            others.append(flight)
        else:
            self.flights[end] = [others, flight]

    def finish(self, ended: T | list[T], end: float) -> None:
        """Finish what was removed from ``flights``."""
        if isinstance(ended, list):
            for flight in ended:
                self._end_one(flight, end)
        else:
            self._end_one(ended, end)

    def finish_all(self) -> None:
        """Finish all flights that are left, in order of time."""
        while self.flights:
            end = heappop(self.instants)
            self.finish(self.flights.pop(end), end)


def _counts_only(balancer: Balancer[Any]) -> bool:
    """Return whether it is known that the balancer ignores outcomes and times."""
    kind = type(balancer)
    if "finished" in getattr(balancer, "__dict__", {}):  # a function of the user
        return False
    if kind is PowerOfTwoChoices:
        return cast("PowerOfTwoChoices[Any]", balancer).by_count
    return kind is LeastConnections or kind is WeightedLeastConnections


def keys_of(chunk: Chunk) -> Iterable[Any]:
    """Return the keys of the requests as Python objects; without a key law, None for each."""
    keys = chunk.keys
    if keys is None:
        return repeat(None)
    return cast("list[Any]", keys.tolist()) if isinstance(keys, np.ndarray) else keys


def _works(setup: Setup[Any], chunk: Chunk) -> tuple[list[float], list[float] | None]:
    """Return how long each request is served, or its work and the speeds if these differ."""
    speeds = setup.speeds.tolist()
    if any(speed != speeds[0] for speed in speeds):
        return chunk.works.tolist(), speeds
    works = chunk.works if speeds[0] == 1 else served(chunk.works, speeds[0])
    return works.tolist(), None


def _scaled(work: float, speed: float) -> float:
    """Return the work divided by the speed, on the grid.

    The sum with the latest time has no bits beyond the grid, so it is rounded to the nearest tick.
    """
    return (work / speed + LATEST) - LATEST


def _joined(setup: Setup[B], free: list[float], backend: B) -> int:
    """Return the place of a backend that has joined, after it got a server."""
    place = setup.place_of(backend)
    free.append(0.0)
    return place


def _report(
    setup: Setup[Any], tally: Tally[Any], chunk: Chunk, chosen: list[int], waited: list[float]
) -> None:
    """Count the requests of one chunk.  Those at the place -1 were refused."""
    start, times, works, _ = chunk
    places, responses = np.array(chosen, np.intp), np.array(waited)
    refused = places < 0
    if not refused.any():
        tally.block(start, times, places, setup.services(works, places), responses, works)
        return
    indices = np.arange(start, start + len(times))
    states = np.where(refused, REFUSED, ANSWERED)
    tries = np.ones(len(times), np.intp)
    tally.requests_ended(indices, times, places, responses, states, tries, works)
    part = ~refused
    services = setup.services(works[part], places[part])
    ends = times[part] + responses[part]
    failed = np.zeros(len(services), np.bool_)
    tally.tries_ended(indices[part], places[part], times[part], ends, services, failed)
