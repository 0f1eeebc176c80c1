"""Simulates balancers whose picks do not depend on loads, with arrays of requests.

The next picks are computed without the requests: in turn, at random, or by the hashes of keys.  So
each server's requests are known, and their ends are computed with a few vector operations.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from balancers.algorithms import RandomChoice, RoundRobin, WeightedRoundRobin
from balancers.balancer import Balancer
from balancers.hashing import (
    Anchor,
    HashedBalancer,
    HashRing,
    Jump,
    Maglev,
    Memento,
    MultiProbe,
    Rendezvous,
)
from balancers.simulation._engines.lindley import Lines
from balancers.simulation._engines.setup import Chunk, Setup
from balancers.simulation._engines.tally import Tally
from balancers.simulation.request_keys import UniformKeys, ZipfKeys

__all__ = ["CHUNK", "applies", "run"]

B = TypeVar("B")
Places = Callable[[Chunk], NDArray[np.intp]]
"""A function that picks for a chunk of requests, and returns the indices of their backends in the
order of ``weights``, which is also that of the backends of the setup."""

CHUNK = 1 << 15
"""The number of requests that are computed at once.  Arrays of this length stay in the caches of
the processor.  The results do not depend on it."""
_AHEAD = (RoundRobin, RandomChoice, WeightedRoundRobin)
_HASHED = (Anchor, HashRing, Jump, Maglev, Memento, MultiProbe, Rendezvous)
_NUMBERED = (UniformKeys, ZipfKeys)


def applies(setup: Setup[Any]) -> bool:
    """Return whether this engine gives the results of the object.

    Only exact types are accepted, because a subclass may use times or loads.
    """
    balancer: object = setup.balancer
    kind = type(balancer)
    known = kind in _AHEAD or (kind in _HASHED and setup.keys is not None)
    return known and setup.plain and any(cast("Balancer[Any]", balancer).weights.values())


def run(setup: Setup[B], tally: Tally[B]) -> None:
    """Simulate all requests, and report them to the tally."""
    balancer = cast("Balancer[B]", setup.balancer)
    pick = _places(balancer, setup)
    lines = Lines(len(setup.backends))
    for chunk in setup.chunks(CHUNK):
        places = pick(chunk)
        services = setup.services(chunk.works, places)
        arrivals = chunk.times + setup.there if setup.there else chunk.times
        ends = lines.ends(places, arrivals, services)
        ends += setup.back
        ends -= chunk.times
        tally.block(chunk.start, chunk.times, places, services, ends, chunk.works)


def _places(balancer: Balancer[B], setup: Setup[B]) -> Places:
    if isinstance(balancer, _AHEAD):
        return lambda chunk: balancer.picks_ahead(len(chunk.times))
    hashed = cast("HashedBalancer[B]", balancer)
    law = setup.keys
    if isinstance(law, _NUMBERED) and type(law) in _NUMBERED and law.size <= setup.requests:
        owners = hashed.pick_many(hashed.hash_many(range(law.size)))
        return lambda chunk: owners[chunk.keys]
    return lambda chunk: hashed.pick_many(hashed.hash_many(chunk.keys))
