"""Keys whose owner is down: how evenly their requests reach the other backends.

Ten backends behind a pool with health checks get one request for each of 20 000 keys: while all are
up, and then while one, or three that follow each other, are unhealthy.  Every second backend is
once the one, and once the first of three.  The figures are the worst of these five cases.
"""

from collections import Counter
from collections.abc import Callable, Iterator

from balancers import HashRing, HealthChecks, Maglev, Pool, Rendezvous
from balancers.hashing import HashedBalancer
from tests.scenarios.scenario import Row

__all__ = ["NAME", "WHAT", "rows"]

NAME = "owners"
WHAT = "The keys of backends that are down are shared among the others, and no other key moves."
BACKENDS = [f"10.0.0.{number}:80" for number in range(10)]
KEYS = [f"user:{number}" for number in range(20_000)]
METHODS: list[tuple[str, Callable[[list[str]], HashedBalancer[str]], float]] = [
    ("rendezvous", Rendezvous, 1.1),
    ("Maglev", Maglev, 1.1),
    ("ring of 160 points", HashRing, 1.3),
]


def rows() -> Iterator[Row]:
    """Simulate, and yield the figures."""
    for name, method, bar in METHODS:
        before = owners(method, ())
        for count, words in ((1, "one"), (3, "three")):
            peak, moved = 0.0, 0
            for first in range(0, 10, 2):
                down = [BACKENDS[(first + place) % 10] for place in range(count)]
                after = owners(method, down)
                mean = len(KEYS) / (len(BACKENDS) - count)
                peak = max(peak, max(Counter(after).values()) / mean)
                pairs = zip(before, after, strict=True)
                moved += sum(old != new for old, new in pairs if old not in down)
            yield Row(f"{name}, {words} down: requests of the busiest, × mean", peak, bar)
            yield Row(f"{name}, {words} down: other keys that moved", moved, 0)


def owners(
    method: Callable[[list[str]], HashedBalancer[str]], down: list[str] | tuple[()]
) -> list[str]:
    """Return the backend of each key while these backends are unhealthy."""
    health: HealthChecks[str] = HealthChecks(unhealthy_threshold=1)
    pool = Pool(method(BACKENDS), [health])
    for backend in down:
        health.observe(backend, ok=False, now=0.0)
    picked: list[str] = []
    for key in KEYS:
        lease = pool.acquire(1.0, key)
        picked.append(lease.backend)
        pool.release(lease, 1.0)
    return picked
