"""Adapters of uhashring: its own ring, and the one that is compatible with ketama."""

from collections.abc import Collection
from importlib import import_module
from typing import Any

from balancers import Key
from balancers.errors import MissingKey
from tests.other_libraries.adapter import Adapter, Finding, Subject

__all__ = ["SUBJECTS", "UhashringKetama", "UhashringRing"]


class UhashringRing(Adapter):
    """Adds and removes nodes, and walks along the ring past those that are avoided."""

    keyed = True
    hash_fn: str | None = None

    def __init__(self) -> None:
        self.peer: Any = import_module("uhashring").HashRing([], hash_fn=self.hash_fn)
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if new:
            self.peer.add_node(backend, {"weight": int(new)})
        elif old:
            self.peer.remove_node(backend)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[Any] = ()) -> Any:
        if key is None:
            raise MissingKey("a ring needs a key")
        return self.first(self.peer.iterate_nodes(key), avoid)


class UhashringKetama(UhashringRing):
    hash_fn = "ketama"


KEYED = ("weighted", "keyed", "minimal_disruption")
RELATIVE = Finding(
    title="weights are relative to all others",
    verdict="contract",
    laws=("only_the_keys_of_the_changed_move",),
    reason="""\
The number of points of a node is its share of all weights, rounded down. When one weight changes,
or a node with another weight joins, all other nodes lose or win points, and keys move between them.
This is the algorithm of ketama, and the library documents "a full ketama compatibility".""",
    alone="""
from uhashring import HashRing

ring = HashRing({"a": 1, "b": 1, "c": 1}, hash_fn="ketama")
keys = [f"key-{number}" for number in range(1000)]
before = {key: ring.get_node(key) for key in keys}
ring.add_node("a", {"weight": 3})
after = {key: ring.get_node(key) for key in keys}
moved = [key for key in keys if before[key] != after[key] and "a" not in (before[key], after[key])]
print(len(moved), "of 1000 keys moved between b and c")
""",
)
SUBJECTS = [
    Subject(
        "uhashring",
        "`HashRing`",
        """\
The default ring, with md5 and 160 points per unit of weight. The documentation says that
consistent hashing avoids "the total reshuffling of your key-node mappings when adding or removing
a node", and that weights are supported.""",
        UhashringRing,
        KEYED,
        {"weights": "whole"},
        findings=(
            Finding(
                title="it cannot be pickled",
                verdict="contract",
                laws=("copies_and_pickles_go_on_alike",),
                reason="""\
The default hash function is a lambda, which cannot be pickled. Deep copies work, and so do pickles
of a ring with a `hash_fn` that can be imported. The library does not say that rings can be
pickled.""",
                alone="""
import pickle

from uhashring import HashRing

try:
    pickle.dumps(HashRing(["a", "b"]))
except AttributeError as error:
    print("AttributeError:", error)
""",
            ),
        ),
    ),
    Subject(
        "uhashring",
        "`HashRing`, ketama, weights 1 to 3",
        """`HashRing(nodes, hash_fn="ketama")`: "a full ketama compatibility".""",
        UhashringKetama,
        KEYED,
        {"weights": (1, 2, 3)},
        findings=(RELATIVE,),
    ),
    Subject(
        "uhashring",
        "`HashRing`, ketama, weights 1 and 100",
        "The same, with weights that are further apart.",
        UhashringKetama,
        KEYED,
        {"weights": (1, 100)},
        findings=(
            RELATIVE,
            Finding(
                title="a light node has no point",
                verdict="contract",
                laws=(
                    "touches_no_clock_and_no_global_random",
                    "refuses_in_bounded_work",
                    "picks_only_eligible_backends",
                    "refuses_exactly_when_none_is_eligible",
                    "leaves_its_arguments_alone",
                    "refuses_bad_weights",
                    "put_again_changes_nothing",
                    "copies_and_pickles_go_on_alike",
                    "hash_order_decides_nothing",
                    "a_key_stays_put",
                    "explains_what_acquire_does",
                ),
                reason="""\
A node gets its share of 40 points per node, rounded down, four times. With two nodes, a weight of 1
beside a weight of 100 is less than one point, and the node is not on the ring. It gets no key, not
even when the other one is avoided. ketama itself rounds in the same way.""",
                alone="""
from uhashring import HashRing

ring = HashRing({"light": 1, "heavy": 100}, hash_fn="ketama")
print(dict(ring.distribution), list(ring.iterate_nodes("key")))
""",
            ),
        ),
    ),
]
