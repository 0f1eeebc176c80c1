"""Runs a simulation in which nothing goes wrong, and every server is a line with one slot.

The end of a request is known when it arrives: the server serves it after all that arrived before
it.  So the only events are arrivals, and the ends that are reported to the balancer or pool.
Ends at the same instant are reported in the order in which the requests arrived.
"""

from collections.abc import Iterable
from heapq import heappop, heappush
from itertools import repeat
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
from balancers.outcome import SUCCESS
from balancers.pool import Lease, Pool
from balancers.simulation._answers import outcome_of
from balancers.simulation._grid import LATEST, on_grid
from balancers.simulation._setup import Chunk, Setup
from balancers.simulation._tally import ANSWERED, REFUSED, Tally

__all__ = ["CHUNK", "keys_of", "run"]

CHUNK = 1 << 14
"""How many requests are drawn and counted at once."""

_BITS = 20
"""A try is numbered, and the place of its backend is added in the lowest bits."""
_NUMBER = 1 << _BITS
_MASK = _NUMBER - 1


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
            begin = now + there
            begin = max(begin, free[place])
            end = begin + (work if speeds is None else _scaled(work, speeds[place]))
            free[place] = end
            chosen.append(place)
            responses.append(end + back - now)
        _report(setup, tally, chunk, chosen, responses)


def _informed(setup: Setup[B], tally: Tally[B], balancer: Balancer[B]) -> None:
    """Run a balancer that is informed about starts and ends."""
    pick, started, finished = balancer.pick, balancer.started, balancer.finished
    places, there, back = setup.places, setup.there, setup.back
    backends = setup.backends
    free = [0.0] * len(backends)
    ends: list[tuple[float, int, float]] = []  # time, number and place, time in flight
    number = 0
    counts_only = _counts_only(balancer)
    for chunk in setup.chunks(CHUNK):
        works, speeds = _works(setup, chunk)
        chosen: list[int] = []
        responses: list[float] = []
        for now, work, key in zip(chunk.times.tolist(), works, keys_of(chunk), strict=False):
            while ends and ends[0][0] <= now:
                end, code, elapsed = heappop(ends)
                outcome = SUCCESS if counts_only else outcome_of(True, elapsed)
                finished(backends[code & _MASK], outcome, end)
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
            begin = now + there
            begin = max(begin, free[place])
            end = begin + (work if speeds is None else _scaled(work, speeds[place]))
            free[place] = end
            end += back
            chosen.append(place)
            responses.append(end - now)
            heappush(ends, (end, number + place, end - now))
            number += _NUMBER
        _report(setup, tally, chunk, chosen, responses)
    while ends:
        end, code, elapsed = heappop(ends)
        finished(backends[code & _MASK], outcome_of(True, elapsed), end)


def _pooled(setup: Setup[B], tally: Tally[B], pool: Pool[B]) -> None:
    """Run a pool."""
    acquire, release = pool.acquire, pool.release
    places, there, back = setup.places, setup.there, setup.back
    free = [0.0] * len(setup.backends)
    ends: list[tuple[float, int, float, Lease[B]]] = []  # time, number, time in flight, lease
    number = 0
    for chunk in setup.chunks(CHUNK):
        works, speeds = _works(setup, chunk)
        chosen: list[int] = []
        responses: list[float] = []
        for now, work, key in zip(chunk.times.tolist(), works, keys_of(chunk), strict=False):
            while ends and ends[0][0] <= now:
                end, _, elapsed, lease = heappop(ends)
                release(lease, end, True, elapsed)
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
            begin = now + there
            begin = max(begin, free[place])
            end = begin + (work if speeds is None else _scaled(work, speeds[place]))
            free[place] = end
            end += back
            chosen.append(place)
            responses.append(end - now)
            heappush(ends, (end, number, end - now, lease))
            number += 1
        _report(setup, tally, chunk, chosen, responses)
    while ends:
        end, _, elapsed, lease = heappop(ends)
        release(lease, end, True, elapsed)


def _counts_only(balancer: Balancer[Any]) -> bool:
    """Return whether it is known that the balancer ignores outcomes and times."""
    kind = type(balancer)
    if kind is PowerOfTwoChoices:
        return cast("PowerOfTwoChoices[Any]", balancer).load is None
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
    works = chunk.works if speeds[0] == 1 else on_grid(chunk.works / speeds[0])
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
