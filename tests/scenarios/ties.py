"""Counters and ties of balancers that pick the least busy backend.

* Thirty requests, one after the other, on two idle backends.
* Four backends serve 40 requests per second, each in 1 s on average (exponential).  After 30 s, one
  of them is removed and added again at once, so its counter is lost while its requests go on.  The
  share is that of the next 50 s.
* One of four backends leaves with 25 requests in flight and returns.  These requests end, and then
  400 requests are sent, one after the other.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from random import Random

from balancers import Balancer, Lease, LeastConnections, Pool
from balancers.algorithms import LeastLoaded
from balancers.loads import InFlight
from tests.scenarios.scenario import Row

__all__ = ["NAME", "WHAT", "rows"]

NAME = "ties"
WHAT = "Tied backends share the requests, also after a counter was lost or a backend has returned."
Make = Callable[[list[str]], Balancer[str]]


def least_loaded(backends: list[str]) -> Balancer[str]:
    return LeastLoaded(backends, load=InFlight())


METHODS: list[tuple[str, Make]] = [
    ("least connections", LeastConnections),
    ("least loaded", least_loaded),
]


def rows() -> Iterator[Row]:
    """Simulate, and yield the figures."""
    for name, make in METHODS:
        sent = sequential(Pool(make(["a", "b"])), 30)
        yield Row(f"{name}: busier of two after 30 requests", max(sent.values()), 15)
        for seed in (1, 2, 3):
            share = share_after_loss(make, seed)
            yield Row(f"{name}: share of one of four, counter lost, seed {seed}", share, 0.27)
        counted, spread = after_return(make)
        yield Row(f"{name}: requests counted on a backend that returned", counted, 0)
        yield Row(f"{name}: most minus fewest of 400 requests after it", spread, 1)


def sequential(pool: Pool[str], count: int) -> Counter[str]:
    """Send requests one after the other, and return how many each backend got."""
    sent = Counter(dict.fromkeys(pool.backends, 0))
    for _ in range(count):
        lease = pool.acquire(9.0)
        sent[lease.backend] += 1
        pool.release(lease, 9.0)
    return sent


def share_after_loss(make: Make, seed: int) -> float:
    """Return the share of a backend in the 50 s after its counter was lost."""
    rng, pool = Random(seed), Pool(make(["a", "b", "c", "d"]))
    ends: list[tuple[float, int, Lease[str]]] = []
    sent: Counter[str] = Counter()
    now, lost = 0.0, False
    while now < 80.0:
        now += rng.expovariate(40.0)
        while ends and ends[0][0] <= now:
            end, _, lease = heappop(ends)
            pool.release(lease, end)
        if now >= 30.0 and not lost:
            lost = True
            pool.remove("a", now)
            pool.add("a", now=now)
        lease = pool.acquire(now)
        heappush(ends, (now + rng.expovariate(1.0), rng.getrandbits(60), lease))
        if lost:
            sent[lease.backend] += 1
    return sent["a"] / sum(sent.values())


def after_return(make: Make) -> tuple[int, int]:
    """Return the count of a backend that returned, and the spread of the requests after it."""
    pool = Pool(make(["a", "b", "c", "d"]))
    leases = [pool.acquire(0.0) for _ in range(100)]
    pool.remove("a", 1.0)
    pool.add("a", now=2.0)
    counted = pool.in_flight("a")
    for lease in leases:
        pool.release(lease, 3.0)
    counted = max(counted, *(pool.in_flight(backend) for backend in pool.backends))
    sent = sequential(pool, 400)
    return counted, max(sent.values()) - min(sent.values())
