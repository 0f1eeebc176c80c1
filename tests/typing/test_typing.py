"""The code that the type checkers accept also runs."""

from random import Random

from balancers import Balancer, LeastConnections, Outcome, Pool, PowerOfTwoChoices, RoundRobin
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
