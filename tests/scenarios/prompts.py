"""Prompts with a heavy tail, on servers that read one prompt at a time, and on servers with slots.

Eight servers get requests at random times (Poisson), 0.8 of what they can serve.  A prompt has a
log-normal number of tokens, 500 on average (sigma 1: 5 % are longer than 1570).  A server needs a
millisecond per token.

* A *serial* server serves one request after the other.  The first token of the answer ends it.
* A server with *eight slots* serves eight requests at the same time, each as fast as if it were
  alone.  Its first token comes after 2 % of the time.  The rest of the time is the answer.

The figure is the mean slowdown: the time from the arrival to the end, divided by the time that the
request needs on an idle server.  It is compared with the better of two loads: requests in flight,
and tokens of the requests in flight.  The time to the first token is no good load here: it depends
on the prompt more than on the server.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import log
from random import Random
from typing import Any

from balancers import Lease, Pool
from balancers.algorithms import LeastLoaded
from balancers.loads import Combined, InFlight, InFlightCost, PeakEwma
from tests.scenarios.scenario import Row

__all__ = ["NAME", "WHAT", "rows"]

NAME = "prompts"
WHAT = "One setting is as good as the better load, on serial servers and on servers with slots."

SERVERS, MEAN, SIGMA, LOAD = 8, 500, 1.0, 0.8
SECONDS_PER_TOKEN, FIRST_TOKEN = 0.001, 0.02
REQUESTS = 12_000
SEEDS = (3, 4, 5)
NEAR, FAR = 1.05, 1.2


def both(cost: float, in_flight: float) -> float:
    """Return the load of the one setting: tokens to read, in prompts of 500, plus requests."""
    return cost / MEAN + in_flight


def one_setting() -> Any:
    return Combined[str](both, InFlightCost[str](), InFlight[str]())


def first_token() -> Any:
    return PeakEwma[str](first=True)


@dataclass
class Request:
    """A request on a server, which waits or is served."""

    lease: Lease[str]
    arrived_at: float
    seconds: float


def mean_slowdown(load: Callable[[], Any], slots: int, cost_ends: bool, seed: int) -> float:
    """Send requests through a pool that picks the least loaded server.

    With ``cost_ends``, the cost of a request ends at its first token, else with the request.
    """
    rng = Random(seed)
    names = [f"server {number}" for number in range(SERVERS)]
    pool = Pool(LeastLoaded(names, load=load()))
    busy = dict.fromkeys(names, 0)
    waiting: dict[str, deque[Request]] = {name: deque() for name in names}
    pause = MEAN * SECONDS_PER_TOKEN / (LOAD * SERVERS * slots)
    events: list[tuple[float, int, str, Request | None]] = [(0.0, 0, "arrival", None)]
    numbers = count(1)
    arrived = 0
    slowdown = 0.0

    def serve(request: Request, now: float) -> None:
        busy[request.lease.backend] += 1
        end = now + request.seconds
        if cost_ends and slots > 1:
            first = now + FIRST_TOKEN * request.seconds
            heappush(events, (first, next(numbers), "first token", request))
        heappush(events, (end, next(numbers), "end", request))

    while events:
        now, _, what, request = heappop(events)
        if request is None:
            tokens = max(1, round(rng.lognormvariate(log(MEAN) - SIGMA**2 / 2, SIGMA)))
            lease = pool.acquire(now, cost=tokens)
            request = Request(lease, now, tokens * SECONDS_PER_TOKEN)
            if busy[lease.backend] < slots:
                serve(request, now)
            else:
                waiting[lease.backend].append(request)
            arrived += 1
            if arrived < REQUESTS:
                heappush(events, (now + rng.expovariate(1 / pause), next(numbers), "arrival", None))
        elif what == "first token":
            pool.progress(request.lease, now, cost=0)
        else:
            first = now - request.arrived_at if slots == 1 else None
            pool.release(request.lease, now, first=first)
            backend = request.lease.backend
            busy[backend] -= 1
            slowdown += (now - request.arrived_at) / request.seconds
            if waiting[backend]:
                serve(waiting[backend].popleft(), now)
    assert not any(map(pool.cost_in_flight, names))
    return slowdown / REQUESTS


def rows() -> Iterator[Row]:
    """Simulate both kinds of servers, and yield the figures."""
    for slots, kind in ((1, "serial"), (8, "eight slots")):
        for seed in SEEDS:
            requests = mean_slowdown(InFlight[str], slots, False, seed)
            tokens = mean_slowdown(InFlightCost[str], slots, False, seed)
            ours = mean_slowdown(one_setting, slots, True, seed)
            better, worse = sorted((requests, tokens))
            yield Row(f"{kind}, seed {seed}: one setting / the better load", ours / better, NEAR)
            which = "requests" if requests > tokens else "tokens"
            name = f"{kind}, seed {seed}: the worse load ({which}) / the better load"
            yield Row(name, worse / better, FAR, at_most=False)
            durations = mean_slowdown(first_token, slots, True, seed)
            name = f"{kind}, seed {seed}: PeakEwma of the first token / requests in flight"
            yield Row(name, durations / requests, 1.0, at_most=False)
