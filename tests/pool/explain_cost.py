"""Measures what it costs to explain a request: ``python -m tests.pool.explain_cost``.

Each balancer is in a pool of 10 and of 1000 backends with requests in flight, and no change of a
gate is due.  The last rows have the usual gates, and a change is due at each explanation.  The exit
code is 1 if a bar is missed.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from random import Random
from time import process_time
from typing import Any

from balancers import (
    Balancer,
    ConnectionLimit,
    Drain,
    Gate,
    HashRing,
    HealthChecks,
    Maglev,
    Pool,
    SlowStart,
    WeightedLeastConnections,
)
from balancers.gates import OutlierEjection
from balancers.hashing import Anchor, BoundedLoad
from balancers.interop import caddy, envoy, haproxy, ketama, nginx
from tests.kinds import KINDS

__all__ = ["MAKERS", "main", "milliseconds"]

BARS = {10: 1.0, 1000: 40.0}
"""The greatest number of milliseconds for each number of backends."""
KEYS = [f"192.0.2.{number}" for number in range(256)]


def bounded_ring(backends: list[str]) -> Balancer[str]:
    return BoundedLoad(HashRing(backends))


def caddy_rendezvous(backends: list[str]) -> Balancer[str]:
    return caddy.Rendezvous(backends, fallback=caddy.RoundRobin())


MAKERS: dict[str, Callable[..., Any]] = {
    **{kind.name: kind.make for kind in KINDS if kind.name not in {"Maglev", "Anchor"}},
    "Anchor": partial(Anchor, capacity=4096),
    "Maglev of default size": Maglev,
    "HashRing of default size": HashRing,
    "BoundedLoad of default size": bounded_ring,
    "nginx.LeastConn": nginx.LeastConn,
    "nginx.ConsistentHash": nginx.ConsistentHash,
    "haproxy.LeastConn": haproxy.LeastConn,
    "haproxy.Consistent": haproxy.Consistent,
    "envoy.LeastRequest": partial(envoy.LeastRequest, rng=Random(1)),
    "envoy.RingHash": envoy.RingHash,
    "envoy.Maglev": envoy.Maglev,
    "caddy.Rendezvous": caddy_rendezvous,
    "ketama.TwemproxyKetama": ketama.TwemproxyKetama,
}


def milliseconds(pool: Pool[str], now: float, repeats: int) -> float:
    """Return the shortest processor time of an explanation."""
    shortest = float("inf")
    for place in range(repeats):
        begun = process_time()
        pool.explain(now, key=KEYS[place])
        shortest = min(shortest, process_time() - begun)
    return shortest * 1000


def busy(balancer: Any, gates: Iterable[Gate[str]] = ()) -> Pool[str]:
    pool: Pool[str] = Pool(balancer, gates)
    for key in KEYS[:50]:
        pool.acquire(0.0, key=key)
    return pool


def rows() -> Iterator[tuple[str, list[float]]]:
    """Yield the name of each row, and its milliseconds for each number of backends."""
    names = {n: [f"10.0.{place // 250}.{place % 250}:80" for place in range(n)] for n in BARS}
    for name, make in MAKERS.items():
        yield name, [milliseconds(busy(make(names[n])), 1.0, 2000 // n + 20) for n in BARS]
    due: list[float] = []
    for n, backends in names.items():
        balancer, drain = WeightedLeastConnections(backends), Drain[str]()
        outliers = OutlierEjection[str](rng=Random(1))
        pool = busy(
            balancer, [HealthChecks(), outliers, drain, ConnectionLimit(99), SlowStart(30.0)]
        )
        drain.begin(backends[0], 0.0)
        assert pool.due <= 1.0
        due.append(milliseconds(pool, 1.0, 2000 // n + 20))
    yield "a change of one of five gates is due", due


def main() -> int:
    bars = BARS.values()
    lines = ["milliseconds to explain a request       " + "".join(f"{n:>10}" for n in BARS)]
    missed = False
    for name, found in rows():
        late = any(each > bar for each, bar in zip(found, bars, strict=True))
        missed |= late
        times = "".join(f"{each:10.3f}" for each in found)
        lines.append(f"{name:40}{times}{'  too slow' if late else ''}")
    lines.append(f"{'bars':40}{''.join(f'{bar:10.3f}' for bar in bars)}")
    print("\n".join(lines))  # noqa: T201 - the report
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
