"""Adapters of uhashring: its own ring, and the one that is compatible with ketama."""

from collections.abc import Collection
from importlib import import_module
from typing import Any, ClassVar

from balancers import Key
from balancers.errors import MissingKey
from tests.other_libraries.adapter import Adapter, Finding, Subject

__all__ = ["SUBJECTS", "UhashringKetama", "UhashringRing"]


class UhashringRing(Adapter):
    """Adds and removes nodes, and walks the ring past those that are avoided."""

    keyed = True
    options: ClassVar[dict[str, str]] = {}

    def __init__(self) -> None:
        self.peer: Any = import_module("uhashring").HashRing([], **self.options)
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if new:
            self.peer.add_node(backend, {"weight": int(new)})
        elif old:
            self.peer.remove_node(backend)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[Any] = ()) -> Any:
        if key is None:
            raise MissingKey("a ring needs a key")
        nodes = self.peer.iterate_nodes(key)
        return self.first(lambda: next(nodes), len(self.open()), avoid)


class UhashringKetama(UhashringRing):
    options: ClassVar[dict[str, str]] = {"hash_fn": "ketama"}


KEYED = ("weighted", "keyed", "minimal_disruption")
SUBJECTS = [
    Subject("uhashring", "HashRing", "", UhashringRing, KEYED, {"weights": "whole"}),
    Subject("uhashring", "HashRing, ketama", "", UhashringKetama, KEYED, {"weights": (1, 2, 3)}),
    Subject(
        "uhashring", "HashRing, ketama, light nodes", "", UhashringKetama, KEYED,
        {"weights": "whole"},
    ),
]  # fmt: skip
