"""A gateway before caches, with and without a bounded ring: a small simulation on virtual time.

Eight backends serve one request at a time.  Each has a cache of the 150 prefixes that it used last.
A hit takes 1 unit of time, a miss takes 8.  The popularity of prefixes is a Zipf distribution: one
request in nine is for the most popular one.  The program prints the hit rate, the greatest number
of requests in flight on a backend in fair shares (the mean over all arrivals), and the response
times.
"""

from collections import OrderedDict
from heapq import heappop, heappush
from itertools import accumulate
from random import Random
from typing import NamedTuple

from balancers import Balancer, HashRing, LeastConnections
from balancers.hashing import BoundedLoad

BACKENDS = [f"gpu-{i}" for i in range(8)]
PREFIXES = 4000
CACHE_SIZE = 150
HIT, MISS = 1.0, 8.0
RATE = 2.5
REQUESTS = 40_000
WARM_UP = 10_000


class Measured(NamedTuple):
    """The results of one policy, after the caches were filled."""

    hit_rate: float
    peak: float
    """The most requests in flight on a backend, in fair shares: the mean over all arrivals."""
    median: float
    p99: float


def simulate(lb: Balancer[str], seed: int = 1) -> Measured:
    """Send the same requests to any balancer."""
    rng = Random(seed)
    popularity = list(accumulate(1 / rank for rank in range(1, PREFIXES + 1)))
    prefixes = rng.choices(range(PREFIXES), cum_weights=popularity, k=REQUESTS)
    caches: dict[str, OrderedDict[int, None]] = {b: OrderedDict() for b in lb.weights}
    in_flight = dict.fromkeys(caches, 0)
    free_at = dict.fromkeys(caches, 0.0)
    ends: list[tuple[float, str]] = []
    hits, peaks, times = 0, 0.0, list[float]()
    now = 0.0
    for number, prefix in enumerate(prefixes):
        now += rng.expovariate(RATE)
        while ends and ends[0][0] <= now:
            _, backend = heappop(ends)
            lb.finished(backend, now=now)
            in_flight[backend] -= 1
        backend = lb.pick(prefix, now)
        lb.started(backend, now)
        in_flight[backend] += 1
        cache = caches[backend]
        hit = prefix in cache
        cache[prefix] = None
        cache.move_to_end(prefix)
        if len(cache) > CACHE_SIZE:
            cache.popitem(last=False)
        free_at[backend] = max(now, free_at[backend]) + (HIT if hit else MISS)
        heappush(ends, (free_at[backend], backend))
        if number >= WARM_UP:
            hits += hit
            peaks += max(in_flight.values()) * len(in_flight) / sum(in_flight.values())
            times.append(free_at[backend] - now)
    times.sort()
    measured = len(times)
    return Measured(
        hits / measured, peaks / measured, times[measured // 2], times[-measured // 100]
    )


def policies() -> dict[str, Balancer[str]]:
    """Return the policies to compare."""
    return {
        "least connections": LeastConnections(BACKENDS),
        "ring": HashRing(BACKENDS),
        "bounded ring, c = 1.25": BoundedLoad(HashRing(BACKENDS), c=1.25),
        "bounded ring, c = 2": BoundedLoad(HashRing(BACKENDS), c=2),
    }


def main() -> None:
    """Print one line per policy."""
    print(f"{'':<24} {'hit rate':>8} {'peak':>6} {'median':>7} {'p99':>7}")
    for name, lb in policies().items():
        found = simulate(lb)
        print(
            f"{name:<24} {found.hit_rate:>8.1%} {found.peak:>6.2f} "
            f"{found.median:>7.1f} {found.p99:>7.1f}"
        )


if __name__ == "__main__":
    main()
