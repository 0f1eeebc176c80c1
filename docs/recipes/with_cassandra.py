"""cassandra-driver: a policy whose query plans come from a pool."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import count
from threading import Lock
from typing import Any

from cassandra.policies import HostDistance, LoadBalancingPolicy, SimpleConvictionPolicy
from cassandra.pool import Host
from cassandra.query import SimpleStatement

from balancers import Balancer, HashRing, NoBackendAvailable, Pool, RoundRobin


def address_of(host: Any) -> str:
    return str(host.address)


class PoolPolicy(LoadBalancingPolicy):  # type: ignore[misc]  # the driver has no types
    """Plans the hosts of each query: all that are up, the best one first.

    ``kind`` makes the balancer.  A keyed balancer gets the routing key of the query.
    """

    def __init__(self, kind: Callable[[], Balancer[Any]]) -> None:
        self.pool: Pool[Any] = Pool(kind())
        self.lock = Lock()  # the driver calls a policy in several threads
        self.numbers = count()

    def populate(self, cluster: Any, hosts: Iterable[Any]) -> None:
        with self.lock:
            self.pool.update(hosts, time.monotonic())

    def distance(self, host: Any) -> Any:
        return HostDistance.LOCAL

    def make_query_plan(
        self, working_keyspace: str | None = None, query: Any = None
    ) -> Iterator[Any]:
        key = getattr(query, "routing_key", None)  # there is no query while one is prepared
        with self.lock:
            if key is None:
                key = next(self.numbers)  # spreads the queries without a key
            with suppress(NoBackendAvailable):
                return iter(self.pool.plan(time.monotonic(), key, max(1, len(self.pool))))
        return iter(())  # the driver raises NoHostAvailable

    def on_up(self, host: Any) -> None:
        self.change(host, 1)

    def on_down(self, host: Any) -> None:
        self.change(host, 0)

    def on_add(self, host: Any) -> None:
        self.change(host, 1)

    def on_remove(self, host: Any) -> None:
        with self.lock:
            if host in self.pool:
                self.pool.remove(host, time.monotonic())

    def change(self, host: Any, weight: int) -> None:
        """Change the weight of a host, or add it.  The driver can call this at any time."""
        with self.lock:
            if host in self.pool:
                self.pool.set_weight(host, weight, time.monotonic())
            else:
                self.pool.add(host, weight, time.monotonic())


def main() -> None:
    """Plan queries without a key and with one, and take a host down."""
    hosts = [Host(f"10.0.0.{number}", SimpleConvictionPolicy) for number in (1, 2, 3)]
    rotating = PoolPolicy(RoundRobin)
    rotating.populate(None, hosts)
    firsts = Counter(next(rotating.make_query_plan()).address for _ in range(300))
    print("without a key:", dict(sorted(firsts.items())))
    by_key = PoolPolicy(lambda: HashRing(identity=address_of))
    by_key.populate(None, hosts)
    query = SimpleStatement("select 1", routing_key=b"user 42")
    plan = [*by_key.make_query_plan(query=query)]
    print("a key:", ", ".join(host.address for host in plan))
    by_key.on_down(plan[0])
    rest = by_key.make_query_plan(query=query)
    print("while its host is down:", ", ".join(host.address for host in rest))


if __name__ == "__main__":
    main()
