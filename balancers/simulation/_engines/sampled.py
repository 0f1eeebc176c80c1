"""Simulates the power of two choices without a schedule of events.

Each pick compares two backends that were sampled without their loads.  So the samples are drawn in
advance, exactly as ``pick`` would draw them, and only the requests in flight of these two backends
must be known.  When a request arrives at a FIFO server with one slot, its end is known at once.  So
each server has a queue of the ends of its requests, and those that are over are removed when the
server is sampled.
"""

from collections import deque
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from balancers.algorithms import PowerOfTwoChoices
from balancers.simulation._engines.setup import Chunk, Setup
from balancers.simulation._engines.tally import Tally

__all__ = ["CHUNK", "applies", "run"]

B = TypeVar("B")

CHUNK = 1 << 14
"""The number of requests that are drawn at once.  The results do not depend on it."""


def applies(setup: Setup[Any]) -> bool:
    """Return whether this engine gives the results of the object.

    The type must be exactly ``PowerOfTwoChoices``, with two choices, by its own counts of requests
    in flight, and with at least two open backends, all of the same weight.
    """
    balancer = setup.balancer
    if type(balancer) is not PowerOfTwoChoices or not setup.plain:
        return False
    weights = [weight for weight in balancer.weights.values() if weight]
    two = balancer.choices == 2 and balancer.by_count  # noqa: PLR2004 - two choices
    return two and len(weights) > 1 and len(set(weights)) == 1


def run(setup: Setup[B], tally: Tally[B]) -> None:
    """Simulate all requests, and report them to the tally."""
    balancer = cast("PowerOfTwoChoices[B]", setup.balancer)
    queues: list[deque[float]] = [deque() for _ in setup.backends]
    for chunk in setup.chunks(CHUNK):
        pairs = balancer.samples_ahead(len(chunk.times))
        places, ends = _picked(setup, chunk, pairs[:, 0], pairs[:, 1], queues)
        services = setup.services(chunk.works, places)
        responses = ends + setup.back - chunk.times
        tally.block(chunk.start, chunk.times, places, services, responses, chunk.works)


def _picked(
    setup: Setup[B],
    chunk: Chunk,
    firsts: NDArray[np.intp],
    seconds: NDArray[np.intp],
    queues: list[deque[float]],
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the place of each request, and when its server ends it.

    ``queues`` are the ends of the requests at each server that are not yet removed.  The balancer
    is informed of an end ``back`` seconds later.
    """
    places: list[int] = []
    ends: list[float] = []
    network = setup.network
    works, others = setup.services(chunk.works, firsts), setup.services(chunk.works, seconds)
    listed = _floats(works)
    for latest, work, other, place, second in zip(
        _floats(chunk.times - setup.back),
        listed,
        listed if others is works else _floats(others),
        _ints(firsts),
        _ints(seconds),
        strict=True,
    ):
        queue = queues[place]
        while queue and queue[0] <= latest:
            queue.popleft()
        if queue:
            rival = queues[second]
            while rival and rival[0] <= latest:
                rival.popleft()
            if len(rival) < len(queue):
                queue, place, work = rival, second, other  # noqa: PLW2901 - the other backend
        end = latest + network  # when it arrives at the server, until it starts
        if queue and queue[-1] > end:
            end = queue[-1]
        end += work
        queue.append(end)
        places.append(place)
        ends.append(end)
    return np.array(places, dtype=np.intp), np.array(ends)


def _floats(array: NDArray[np.float64]) -> list[float]:
    listed: list[float] = array.tolist()
    return listed


def _ints(array: NDArray[np.intp]) -> list[int]:
    listed: list[int] = array.tolist()
    return listed
