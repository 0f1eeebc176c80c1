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
        return self.first(
            lambda: nodes[self.peer.get_server_index("primary", len(nodes))], len(nodes), avoid
        )


SUBJECTS = [
    Subject("redis", "LoadBalancer", "", RedisLoadBalancer, ("rotating",)),
]
