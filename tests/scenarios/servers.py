"""Simulates requests through a pool to servers that serve one request after the other.

Requests arrive at random (a Poisson process).  A server that is busy lets them wait, in the order
of arrival.  Everything happens in virtual time, so a run with the same seed repeats exactly.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import NamedTuple

from balancers import Pool
from balancers.pool.lease import Lease

__all__ = ["Answer", "Served", "Server", "run"]


class Answer(NamedTuple):
    """What a server does with a request."""

    seconds: float
    ok: bool = True
    waits: bool = True
    """Whether the request waits for the requests before it."""


class Served(NamedTuple):
    """A request that has ended."""

    backend: str
    began: float
    ended: float
    ok: bool


Server = Callable[[str, float, Random], Answer]
"""Returns how a backend answers a request that arrives at this time."""


def run(
    pool: Pool[str],
    server: Server,
    *,
    rate: float,
    seconds: float,
    seed: int,
    joins: tuple[str, float] | None = None,
) -> list[Served]:
    """Send ``rate`` requests per second for some time, and return them in the order of their ends.

    ``joins`` is a backend and the time when it joins the pool.
    """
    arrivals, service = Random(seed), Random(seed + 1)
    free: dict[str, float] = {}
    flying: list[tuple[float, int, Lease[str], bool]] = []
    served: list[Served] = []
    now, number = 0.0, 0

    def release_until(time: float) -> None:
        while flying and flying[0][0] <= time:
            ended, _, lease, ok = heappop(flying)
            pool.release(lease, ended, ok)
            served.append(Served(lease.backend, lease.acquired_at, ended, ok))

    while (now := now + arrivals.expovariate(rate)) < seconds:
        if joins is not None and now >= joins[1]:
            release_until(joins[1])
            pool.add(joins[0], now=joins[1])
            joins = None
        release_until(now)
        lease = pool.acquire(now)
        answer = server(lease.backend, now, service)
        begins = max(now, free.get(lease.backend, 0.0)) if answer.waits else now
        if answer.waits:
            free[lease.backend] = begins + answer.seconds
        number += 1
        heappush(flying, (begins + answer.seconds, number, lease, answer.ok))
    release_until(float("inf"))
    return served
