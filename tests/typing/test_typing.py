"""What the type checkers accept also runs."""

from random import Random

from balancers import Balancer, LeastConnections, Outcome, Pool, PowerOfTwoChoices, RoundRobin
from tests.typing.own_backends import NODES, alone, every_balancer, in_a_pool, made_empty
from tests.typing.own_balancers import Duck, FirstOpen, Heaviest, as_balancer
from tests.typing.own_gates import LoadDuck, Maintenance, Quota, Reported


def test_balancers_of_ones_own() -> None:
    duck = Duck()
    assert isinstance(duck, Balancer)
    own: list[Balancer[str]] = [FirstOpen(), Heaviest(), as_balancer(duck)]
    for lb in own:
        pool = Pool(lb)
        pool.update({"a": 1, "b": 3})
        pool.set_weight("a", 0)
        pool.release(pool.acquire(0.0), 0.0, ok=False)
    assert duck.heard == ["started b", "finished b False"]


def test_gates_of_ones_own() -> None:
    maintenance, quota = Maintenance[str](), Quota[str](2)
    pool = Pool(RoundRobin([*"abc"]), [maintenance, quota])
    maintenance.close("a")
    assert [pool.acquire(0.0).backend for _ in range(4)] == [*"bcbc"]
    assert [pool.state(b) for b in "abc"] == [("maintenance",), ("quota",), ("quota",)]


def test_loads_of_ones_own() -> None:
    for load in (Reported({"a": 2.0, "b": 1.0}), LoadDuck()):
        lb = PowerOfTwoChoices([*"ab"], rng=Random(1), load=load)
        assert lb.pick() in {"a", "b"}
        lb.finished("a", Outcome(ok=True, elapsed=0.1))
    busier = PowerOfTwoChoices([*"ab"], rng=Random(1), load=Reported({"a": 2.0, "b": 1.0}))
    assert {busier.pick() for _ in range(30)} == {"b"}


def test_backends_of_ones_own() -> None:
    assert alone() == NODES[1]
    assert in_a_pool().backend == NODES[1]
    assert made_empty().acquire(0.0).backend == NODES[0]
    for lb in every_balancer():
        assert Pool(lb).acquire(0.0, "192.0.2.7").backend in NODES
    assert isinstance(LeastConnections(NODES), Balancer)
