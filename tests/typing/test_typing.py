"""The code that the type checkers accept also runs."""

from importlib import import_module
from inspect import isfunction, signature
from random import Random

import pytest

from balancers import Balancer, LeastConnections, Outcome, Pool, PowerOfTwoChoices, RoundRobin
from tests.packages import PUBLIC
from tests.typing import unannotated
from tests.typing.own_backends import NODES, alone, every_balancer, in_a_pool, made_empty
from tests.typing.own_balancers import FirstOpen, Heaviest, WithoutInheritance, as_balancer
from tests.typing.own_gates import LoadWithoutInheritance, Maintenance, Quota, Reported


def test_user_defined_balancers() -> None:
    own = WithoutInheritance()
    assert isinstance(own, Balancer)
    balancers: list[Balancer[str]] = [FirstOpen(), Heaviest(), as_balancer(own)]
    for lb in balancers:
        pool = Pool(lb)
        pool.update({"a": 1, "b": 3})
        pool.set_weight("a", 0)
        pool.release(pool.acquire(0.0), 0.0, ok=False)
    assert own.calls == ["started b", "finished b False"]


def test_user_defined_gates() -> None:
    maintenance, quota = Maintenance[str](), Quota[str](2)
    pool = Pool(RoundRobin([*"abc"]), [maintenance, quota])
    maintenance.close("a")
    assert [pool.acquire(0.0).backend for _ in range(4)] == [*"bcbc"]
    assert [pool.state(b) for b in "abc"] == [("maintenance",), ("quota",), ("quota",)]


def test_user_defined_loads() -> None:
    for load in (Reported({"a": 2.0, "b": 1.0}), LoadWithoutInheritance()):
        lb = PowerOfTwoChoices([*"ab"], rng=Random(1), load=load)
        assert lb.pick() in {"a", "b"}
        lb.finished("a", Outcome(ok=True, elapsed=0.1))
    busier = PowerOfTwoChoices([*"ab"], rng=Random(1), load=Reported({"a": 2.0, "b": 1.0}))
    assert {busier.pick() for _ in range(30)} == {"b"}


def test_user_defined_backends() -> None:
    assert alone() == NODES[1]
    assert in_a_pool().backend == NODES[1]
    assert made_empty().acquire(0.0).backend == NODES[0]
    for lb in every_balancer():
        assert Pool(lb).acquire(0.0, "192.0.2.7").backend in NODES
    assert isinstance(LeastConnections(NODES), Balancer)


def test_objects_without_backends_work_without_annotations() -> None:
    for lb in unannotated.balancers():
        assert dict(lb.weights) == {}
        lb.put("1" if lb.keyed else "a")
    assert unannotated.pool().acquire(0.0).backend == "a"
    assert len(unannotated.queue()) == 0
    assert [len(lb.weights) for lb in unannotated.with_backends({"a": 1})] == [0, 1, 1]


PUBLIC_OBJECTS = [getattr(import_module(home), name) for home in PUBLIC for name in PUBLIC[home]]
CONSTRUCTORS: list[type] = [
    made
    for made in PUBLIC_OBJECTS
    if isinstance(made, type)
    and isfunction(vars(made).get("__init__"))
    and "backends" in signature(made).parameters
    and not hasattr(made, "__dataclass_fields__")  # a result that has backends
]


def test_most_balancers_take_backends() -> None:
    assert len(CONSTRUCTORS) >= len(unannotated.balancers())


@pytest.mark.parametrize("made", CONSTRUCTORS, ids=lambda made: made.__qualname__)
def test_the_default_of_backends_is_none(made: type) -> None:
    """From the default ``()`` pyright infers a balancer of Never."""
    assert signature(made).parameters["backends"].default is None
