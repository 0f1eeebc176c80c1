"""Adapters of elastic-transport, the transport of the clients of Elasticsearch."""

from collections.abc import Collection
from importlib import import_module
from typing import Any

from balancers import Key
from tests.other_libraries.adapter import Adapter, Finding, Subject

__all__ = ["SUBJECTS", "ElasticRandom", "ElasticRoundRobin"]


class ElasticRoundRobin(Adapter):
    """Passes the list of live nodes, as ``NodePool.get`` does."""

    selector = "RoundRobinSelector"

    def __init__(self) -> None:
        self.peer: Any = getattr(import_module("elastic_transport"), self.selector)([])
        super().__init__()

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[Any] = ()) -> Any:
        nodes = self.open()
        return self.first(lambda: self.peer.select(nodes), len(nodes), avoid)


class ElasticRandom(ElasticRoundRobin):
    """Also leaves out avoided nodes before the draw: a draw at random may repeat for ever."""

    selector = "RandomSelector"

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[Any] = ()) -> Any:
        nodes = [node for node in self.open() if node not in avoid]
        return self.first(lambda: self.peer.select(nodes), 1, avoid)


SUBJECTS = [
    Subject("elastic-transport", "RoundRobinSelector", "", ElasticRoundRobin, ("rotating",)),
    Subject("elastic-transport", "RandomSelector", "", ElasticRandom, ("random",)),
]
