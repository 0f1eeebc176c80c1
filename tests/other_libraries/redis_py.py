"""An adapter of redis-py, whose cluster client spreads reads over the nodes of a shard."""

from collections.abc import Collection
from importlib import import_module
from typing import Any

from balancers import Key
from tests.other_libraries.adapter import Adapter, Finding, Subject

__all__ = ["SUBJECTS", "RedisLoadBalancer"]


class RedisLoadBalancer(Adapter):
    """Uses ``LoadBalancer`` as ``NodesManager.get_node_from_slot`` does."""

    def __init__(self) -> None:
        self.peer: Any = import_module("redis.cluster").LoadBalancer()
        super().__init__()

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[Any] = ()) -> Any:
        nodes = self.open()
        return self.first(lambda: nodes[self.index(len(nodes))], 2 * len(nodes), avoid)

    def index(self, count: int) -> int:
        index: int = self.peer.get_server_index("primary", count)
        return index



class GuardedRedisLoadBalancer(RedisLoadBalancer):
    """Takes each index modulo the number of nodes, so that no index is out of range."""

    def index(self, count: int) -> int:
        return super().index(count) % count


SUBJECTS = [
    Subject("redis", "LoadBalancer", "", RedisLoadBalancer, ("rotating",)),
    Subject("redis", "LoadBalancer, guarded", "", GuardedRedisLoadBalancer, ("rotating",)),
]
