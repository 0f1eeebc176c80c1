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
        return self.first((self.peer.select(nodes) for _ in nodes), avoid)


class ElasticRandom(ElasticRoundRobin):
    """Leaves out the avoided nodes before the draw, because draws may repeat without end."""

    selector = "RandomSelector"

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[Any] = ()) -> Any:
        nodes = [node for node in self.open() if node not in avoid]
        return self.first((self.peer.select(nodes) for _ in nodes), avoid)


SUBJECTS = [
    Subject(
        "elastic-transport",
        "`RoundRobinSelector`",
        """\
`NodePool.get` filters the live nodes for each request, and passes the list to its selector, which
is documented as "Select a node using round-robin". It is the default.""",
        ElasticRoundRobin,
        ("rotating",),
        findings=(
            Finding(
                title="its place is a position",
                verdict="contract",
                laws=("a_flip_keeps_the_others_places",),
                reason="""\
The state is a position in the list of live nodes, and this list is different when a node was marked
as dead or live. A node that is alive all the time can be skipped, in the worst case for as long as
another one alternates. The documentation promises round robin over the given list, and says
nothing about changes of the list.""",
                alone="""
from elastic_transport import RoundRobinSelector

selector = RoundRobinSelector([])
print(*(selector.select(nodes) for nodes in ["abc", "ab"] * 6))
""",
            ),
            Finding(
                title="it cannot be copied",
                verdict="contract",
                laws=(
                    "copies_and_pickles_go_on_alike",
                    "leaves_its_arguments_alone",
                    "explains_what_acquire_does",
                ),
                reason="""\
Each thread has a position of its own, in a `threading.local`, which can be neither copied nor
pickled. The library does not say that the object can be copied. The other two laws use
copies. The positions per thread also mean that threads do not take turns with each other.""",
            ),
        ),
    ),
    Subject(
        "elastic-transport",
        "`RandomSelector`",
        """Documented as "Randomly select a node".""",
        ElasticRandom,
        ("random",),
        findings=(
            Finding(
                title="it draws from the global generator",
                verdict="contract",
                laws=(
                    "touches_no_clock_and_no_global_random",
                    "same_seed_same_picks_in_another_process",
                    "leaves_its_arguments_alone",
                    "refuses_bad_weights",
                    "put_again_changes_nothing",
                    "copies_and_pickles_go_on_alike",
                    "hash_order_decides_nothing",
                    "explains_what_acquire_does",
                ),
                reason="""\
`select` calls `random.choice`, and a generator cannot be passed. The picks of two selectors can
therefore not be repeated or compared, and all laws that compare twins do not hold. The
distribution is right: the laws about shares and independence hold.""",
            ),
        ),
    ),
]
