"""Adapters of redis-py, whose cluster client spreads reads over the nodes of a shard."""

from collections.abc import Collection
from importlib import import_module
from typing import Any

from balancers import Key
from tests.other_libraries.adapter import Adapter, Finding, Subject

__all__ = ["SUBJECTS", "GuardedRedisLoadBalancer", "RedisLoadBalancer"]


class RedisLoadBalancer(Adapter):
    """Passes the length of a list of nodes, as ``NodesManager.get_node_from_slot`` does."""

    def __init__(self) -> None:
        self.peer: Any = import_module("redis.cluster").LoadBalancer()
        super().__init__()

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[Any] = ()) -> Any:
        nodes = self.open()
        return self.first((nodes[self.index(len(nodes))] for _ in range(2 * len(nodes))), avoid)

    def index(self, count: int) -> int:
        index: int = self.peer.get_server_index("primary", count)
        return index


class GuardedRedisLoadBalancer(RedisLoadBalancer):
    """Takes each index modulo the number of nodes."""

    def index(self, count: int) -> int:
        return super().index(count) % count


ALONE = """
from unittest import mock

from redis.cluster import ClusterNode, LoadBalancer, LoadBalancingStrategy, NodesManager

balancer = LoadBalancer()
print([balancer.get_server_index("primary", 3) for _ in range(2)])
print("index", balancer.get_server_index("primary", 2), "of a list of 2")


class Node:  # a connection whose answer to CLUSTER SLOTS is given
    connection_pool = mock.MagicMock()

    def execute_command(self, *command):
        meanwhile()
        return [[0, 16383, ["host", 1], *replicas]]


class Manager(NodesManager):
    def create_redis_node(self, host, port, **settings):
        return Node()


def read():
    how = LoadBalancingStrategy.ROUND_ROBIN
    return manager.get_node_from_slot(0, load_balancing_strategy=how).name


def meanwhile():  # what another thread does while the answer is on its way
    pass


replicas = [["host", 2], ["host", 3]]
manager = Manager([ClusterNode("host", 1)])
print([read() for _ in range(3)])
replicas.pop()  # the second replica leaves


def meanwhile():
    read(), read()


manager.initialize()
try:
    read()
except IndexError as error:
    print("IndexError:", error)
"""
COPIED = Finding(
    title="it cannot be copied",
    verdict="contract",
    laws=(
        "copies_and_pickles_go_on_alike",
        "leaves_its_arguments_alone",
        "explains_what_acquire_does",
    ),
    reason="""\
`LoadBalancer` holds a `threading.Lock`, because threads share it. A lock can be neither copied nor
pickled. The library does not say that the object can be copied. The other two laws use
copies.""",
)
SUBJECTS = [
    Subject(
        "redis",
        "`LoadBalancer`",
        """\
Documented as "Round-Robin Load Balancing". `RedisCluster` uses it for reads, with one position
for each primary. `get_server_index(primary, list_size)` returns a position in a list of that
length.""",
        RedisLoadBalancer,
        ("rotating",),
        findings=(
            Finding(
                title="an index outside of the list",
                verdict="fault",
                laws=(
                    "refuses_in_bounded_work",
                    "is_a_balancer",
                    "touches_no_clock_and_no_global_random",
                    "same_seed_same_picks_in_another_process",
                    "put_again_changes_nothing",
                    "picks_only_eligible_backends",
                    "refuses_exactly_when_none_is_eligible",
                    "refuses_bad_weights",
                    "last_put_wins",
                    "hash_order_decides_nothing",
                    "no_backend_starves",
                    "a_flip_keeps_the_others_places",
                    "once_in_n",
                ),
                reason="""\
The next index is computed modulo the length of the list at that time. It is returned by the next
call without a comparison with the length that this call was given. When the list has become
shorter, the index can be outside of it.

In the cluster client, `NodesManager.initialize` resets the positions first, and replaces the list
of nodes after the answer of a server. A read of another thread in between stores a position of the
old list. A later read then raises `IndexError`. The second part of the program shows this.""",
                alone=ALONE,
            ),
            COPIED,
        ),
    ),
    Subject(
        "redis",
        "`LoadBalancer`, index modulo length",
        "The same, with the index modulo the length of the list, to see what other laws find.",
        GuardedRedisLoadBalancer,
        ("rotating",),
        findings=(
            COPIED,
            Finding(
                title="its place is a position",
                verdict="contract",
                laws=("a_flip_keeps_the_others_places",),
                reason="""\
The state is a position in the list. When a node joins or leaves, every node behind it has another
position, so one node is skipped and another one is picked twice. The client resets all positions
after a change of the cluster, and promises nothing about the order across changes.""",
            ),
        ),
    ),
]
