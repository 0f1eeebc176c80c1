"""Runs a simulation in which nothing goes wrong, and every server is a line with one slot.

The end of a request is known when it arrives: the server serves it after all that arrived before
it.  So the only events are arrivals, and the ends that are reported to the balancer or pool.
Ends at the same instant are reported in the order in which the requests arrived.

The way to the server takes equally long for all requests.  So ``free`` is when a server is free
for a request that arrives at the balancer, and the time of both ways is added to the end.
"""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import repeat
from math import inf
from typing import Any, cast

import numpy as np

from balancers._internal.types import B
from balancers.algorithms import (
    LeastConnections,
    PowerOfTwoChoices,
    WeightedLeastConnections,
)
from balancers.balancer import Balancer
from balancers.errors import NoBackendAvailable
from balancers.outcome import SUCCESS, Outcome
from balancers.pool import Lease, Pool
from balancers.simulation._engines.in_flight import InFlight
from balancers.simulation._engines.setup import Chunk, Setup
from balancers.simulation._engines.tally import ANSWERED, REFUSED, Tally
from balancers.simulation._grid import LATEST, served

__all__ = ["CHUNK", "keys_of", "run"]

CHUNK = 1 << 12
"""How many requests are drawn and counted at once, but not fewer than there are servers."""


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
    places, network = setup.places, setup.network
    free = [0.0] * len(setup.backends)
    for chunk in setup.chunks(max(CHUNK, len(setup.backends))):
        works, speeds = _works(setup, chunk)
        chosen: list[int] = []
        ends: list[float] = []
        for now, work, key in zip(chunk.times.tolist(), works, keys_of(chunk), strict=False):
            try:
                backend = balancer.pick(key, now)
            except NoBackendAvailable:
                chosen.append(-1)
                ends.append(now)
                continue
            try:
                place = places[backend]
            except (KeyError, TypeError):
                place = _joined(setup, free, backend)
            begin, freed = now, free[place]
            if begin < freed:  # noqa: PLR1730 - a call of max() is slower
                begin = freed
            free[place] = end = begin + (work if speeds is None else _scaled(work, speeds[place]))
            chosen.append(place)
            ends.append(end + network)
        _report(setup, tally, chunk, chosen, ends)


def _informed(  # noqa: C901, PLR0912 - calls cost more time than branches
    setup: Setup[B], tally: Tally[B], balancer: Balancer[B]
) -> None:
    """Run a balancer that is informed about starts and ends."""
    places, network = setup.places, setup.network
    free = [0.0] * len(setup.backends)
    counts_only = _counts_only(balancer)

    in_flight = InFlight[Any]()
    instants, flights, horizon = in_flight.instants, in_flight.flights, in_flight.horizon
    for chunk in setup.chunks(max(CHUNK, len(setup.backends))):
        works, speeds = _works(setup, chunk)
        chosen: list[int] = []
        ends: list[float] = []
        ended = 0
        for now, work, key in zip(chunk.times.tolist(), works, keys_of(chunk), strict=False):
            if horizon <= now:
                horizon = in_flight.advance(now)
            while instants[ended] <= now:
                if counts_only:
                    balancer.finished(flights[ended], SUCCESS, instants[ended])
                else:
                    _finish(balancer, flights[ended], instants[ended])
                ended += 1
            try:
                backend = balancer.pick(key, now)
            except NoBackendAvailable:
                chosen.append(-1)
                ends.append(now)
                continue
            try:
                place = places[backend]
            except (KeyError, TypeError):
                place = _joined(setup, free, backend)
            balancer.started(backend, now)
            begin, freed = now, free[place]
            if begin < freed:  # noqa: PLR1730 - a call of max() is slower
                begin = freed
            free[place] = end = begin + (work if speeds is None else _scaled(work, speeds[place]))
            end += network
            chosen.append(place)
            ends.append(end)
            flight = backend if counts_only else (backend, now)
            if end < horizon:
                place = bisect_right(instants, end, ended)
                instants.insert(place, end)
                flights.insert(place, flight)
            else:
                in_flight.later.append((end, flight))
        _report(setup, tally, chunk, chosen, ends)
        horizon = in_flight.forget(ended)
    in_flight.advance(inf)
    for end, flight in zip(instants, flights, strict=False):
        if counts_only:
            balancer.finished(flight, SUCCESS, end)
        else:
            _finish(balancer, flight, end)


def _finish(balancer: Balancer[B], flight: tuple[B, float], end: float) -> None:
    """Inform the balancer about an end, with the time since the start."""
    backend, start = flight
    balancer.finished(backend, Outcome(True, end - start), end)


def _pooled(setup: Setup[B], tally: Tally[B], pool: Pool[B]) -> None:
    """Run a pool."""
    places, network = setup.places, setup.network
    free = [0.0] * len(setup.backends)

    in_flight = InFlight[tuple[Lease[B], float]]()
    instants, flights, horizon = in_flight.instants, in_flight.flights, in_flight.horizon
    for chunk in setup.chunks(max(CHUNK, len(setup.backends))):
        works, speeds = _works(setup, chunk)
        chosen: list[int] = []
        ends: list[float] = []
        ended = 0
        for now, work, key in zip(chunk.times.tolist(), works, keys_of(chunk), strict=False):
            if horizon <= now:
                horizon = in_flight.advance(now)
            while instants[ended] <= now:
                end, (lease, start) = instants[ended], flights[ended]
                pool.release(lease, end, True, end - start)
                ended += 1
            try:
                lease = pool.acquire(now, key)
            except NoBackendAvailable:
                chosen.append(-1)
                ends.append(now)
                continue
            try:
                place = places[lease.backend]
            except KeyError:
                place = _joined(setup, free, lease.backend)
            begin, freed = now, free[place]
            if begin < freed:  # noqa: PLR1730 - a call of max() is slower
                begin = freed
            free[place] = end = begin + (work if speeds is None else _scaled(work, speeds[place]))
            end += network
            chosen.append(place)
            ends.append(end)
            if end < horizon:
                place = bisect_right(instants, end, ended)
                instants.insert(place, end)
                flights.insert(place, (lease, now))
            else:
                in_flight.later.append((end, (lease, now)))
        _report(setup, tally, chunk, chosen, ends)
        horizon = in_flight.forget(ended)
    in_flight.advance(inf)
    for end, (lease, start) in zip(instants, flights, strict=False):
        pool.release(lease, end, True, end - start)


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
    setup: Setup[Any], tally: Tally[Any], chunk: Chunk, chosen: list[int], ends: list[float]
) -> None:
    """Count the requests of one chunk.  Those at the place -1 were refused, when they arrived."""
    start, times, works, _ = chunk
    places = np.fromiter(chosen, np.intp, len(chosen))  # twice as fast as an array of the list
    responses = np.fromiter(ends, np.float64, len(ends)) - times
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
    finishes = times[part] + responses[part]
    failed = np.zeros(len(services), np.bool_)
    tally.tries_ended(indices[part], places[part], times[part], finishes, services, failed)
