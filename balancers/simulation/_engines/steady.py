"""Decides whether a run shows signs of having no steady state."""

from collections.abc import Iterator
from math import inf, sqrt
from typing import Any

import numpy as np

from balancers._internal.checks import shown
from balancers.hashing import HashedBalancer
from balancers.pool import Pool
from balancers.simulation._engines.setup import Setup
from balancers.simulation._engines.tally import REFUSED, Tally
from balancers.simulation._grid import TICK

__all__ = ["unsteady"]

_MOST_KEYS = 1 << 17
"""The owners of all keys are computed up to this number of keys."""
_NEARLY = 1 - 1e-12
"""A load that is 1 except for rounding."""
_FEW = 10
"""A sign that is measured with fewer requests than this for each server means nothing."""

_Sign = tuple[str, float]
"""What was measured, and the number of requests for each server that it was measured with."""


def unsteady(setup: Setup[Any], tally: Tally[Any]) -> str:
    """Return why the run has no steady state, or an empty text.

    There are three signs: the load is known to be 1 or more, in total or on the server that some
    keys belong to (of up to 131 072 keys); a server was busy for longer than the measured time; or
    the mean number in flight grew from the third to the last quarter of the run.  At a load of
    exactly 1, the last two grow by chance with the square root of the number of requests; they
    count from three times that on.  With fewer than ten requests for each server, they mean that
    the run is too short to tell: servers are idle at first, and one long request keeps its server
    busy all the time.
    """
    known = _known(setup, tally)
    if known:
        return known
    signs = [*_busy(setup, tally), *_growing(setup, tally)]
    if not signs:
        return ""
    counted, servers = setup.requests - setup.warm, len(setup.backends)
    short = f"the run is too short to tell, with {counted} requests for {servers} servers"
    return next((sign for sign, requests in signs if requests >= _FEW), short)


def _known(setup: Setup[Any], tally: Tally[Any]) -> str:
    """The load in total and by keys, if every request is served in the end and means are known."""
    balancer = setup.balancer
    limited = setup.timeout is not None or isinstance(balancer, Pool) or len(setup.fronts) > 1
    limited = limited or any(server.room is not None for server in setup.servers)
    changing = setup.faults or setup.retries is not None or setup.script is not None
    if limited or changing or tally.states[REFUSED] or isinstance(balancer, Pool):
        return ""
    work, gap = (getattr(law, "mean", None) for law in (setup.service, setup.arrivals))
    if work is None or gap is None:  # a law of a user may have no mean
        return ""
    offered = inf if work == inf or not gap else work / gap
    weights: Any = balancer.weights
    capacity = {
        backend: float(server.slots) * float(server.speed)
        for backend, server in zip(setup.backends, setup.servers, strict=True)
        if weights.get(backend, 0)
    }
    load = offered / sum(capacity.values())
    if load >= _NEARLY:
        return f"the load is {load:.4g} in total"
    return _known_by_keys(setup, balancer, offered, capacity)


def _known_by_keys(
    setup: Setup[Any], balancer: Any, offered: float, capacity: dict[Any, float]
) -> str:
    """The load of the server that some keys belong to, if the shares of the keys are known."""
    keys: Any = setup.keys
    hashed: Any = balancer
    shares = getattr(keys, "shares", None) if getattr(keys, "size", inf) <= _MOST_KEYS else None
    if shares is None or not isinstance(balancer, HashedBalancer):
        return ""
    weights = hashed.weights
    owners = hashed.pick_many(hashed.hash_many(range(len(shares))))
    by_owner = np.bincount(owners, shares, len(weights)).tolist()
    for backend, share in zip(weights, by_owner, strict=True):
        load = share * offered / capacity.get(backend, inf)
        if load >= _NEARLY:
            return f"the keys of {shown(backend)} make a load of {load:.4g}"
    return ""


def _busy(setup: Setup[Any], tally: Tally[Any]) -> Iterator[_Sign]:
    """The measured load of each server."""
    window, counted, busy = tally.window, tally.totals("tries"), tally.totals("busy")
    for place, tries in enumerate(counted):
        if tries and window:
            load = busy[place] * TICK / window / setup.servers[place].slots
            if load >= 1 + 3 * sqrt(2 / tries):
                yield f"the load of {shown(setup.backends[place])} is {load:.4g}", tries


def _growing(setup: Setup[Any], tally: Tally[Any]) -> Iterator[_Sign]:
    """The mean number in flight in the third and in the last quarter."""
    marks = setup.marks
    last = marks[setup.requests - 1]
    third, fourth = marks[setup.late] - marks[setup.half], last - marks[setup.late]
    if not third or not fourth:
        return
    before, after = tally.phases[2], tally.phases[3]
    grown = [
        int(ours) * TICK / fourth - int(theirs) * TICK / third
        for ours, theirs in zip(after.spans, before.spans, strict=True)
    ]
    if sum(grown) > 3 * sqrt(2 * int(after.tries.sum())):
        sign = f"{sum(grown):.0f} more in flight in the last quarter than in the one before"
        yield sign, (setup.requests - setup.warm) / len(grown)
    counted = tally.totals("tries")
    for place, (more, tries) in enumerate(zip(grown, after.tries.tolist(), strict=True)):
        if more > 3 * sqrt(2 * tries):
            sign = f"{more:.0f} more in flight on {shown(setup.backends[place])}"
            yield f"{sign} in the last quarter", counted[place]
