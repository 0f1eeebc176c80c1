"""A faster engine is chosen only for what it is known to simulate correctly."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import pytest

from balancers import HashRing, LeastConnections, Pool, PowerOfTwoChoices, RandomChoice, RoundRobin
from balancers.loads import InFlight
from balancers.simulation import (
    Constant,
    Every,
    Exponential,
    Poisson,
    Retries,
    Server,
    Slow,
    Stale,
    UniformKeys,
    simulate,
)


def engine_of(balancer: Any, **options: Any) -> str:
    traffic: dict[str, Any] = {"requests": 50, "seed": 1, **options}
    return simulate(balancer, Poisson(1.0), Exponential(1.0), **traffic).engine


class Duck:
    """A balancer that does not inherit."""

    keyed = fractional = False
    weights: Mapping[str, float] = {"a": 1, "b": 1}

    def put(self, backend: str, weight: float = 1) -> None:
        raise AssertionError

    def discard(self, backend: str) -> None:
        raise AssertionError

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> str:
        return "a" if now % 2 else "b"

    def started(self, backend: str, now: float = 0.0, bound: bool = False) -> None:
        pass

    def finished(self, backend: str, outcome: Any = None, now: float = 0.0) -> None:
        pass

    def picks_ahead(self, count: int) -> Any:
        raise AssertionError


class ByTime(RoundRobin[str]):
    """A subclass that picks by the time."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> str:
        return "a" if now < 10 else "b"


def two(weights: Any, **options: Any) -> PowerOfTwoChoices[Any]:
    return PowerOfTwoChoices(weights, rng=Random(1), **options)


@pytest.mark.parametrize(
    "make",
    [
        Duck,
        lambda: ByTime(["a", "b"]),
        lambda: two(["a", "b", "c"], choices=3),
        lambda: two(["a", "b", "c"], choices=1),
        lambda: two(["a", "b"], load=InFlight()),
        lambda: two({"a": 1, "b": 2}),
        lambda: two({"a": 1, "b": 0}),
        lambda: two(["a"]),
        lambda: [RoundRobin(["a", "b"]), RoundRobin(["a", "b"])],
        lambda: Pool(RoundRobin(["a", "b"])),
        lambda: Stale(RoundRobin(["a", "b"]), every=1.0),
    ],
)
def test_everything_else_goes_through_its_methods(make: Callable[[], Any]) -> None:
    assert engine_of(make()) == "general"


@pytest.mark.parametrize(
    "options",
    [
        {"servers": Server(slots=2)},
        {"servers": {"a": Server(), "b": Server(discipline="shared")}},
        {"servers": Server(room=100)},
        {"timeout": 1000.0},
        {"retries": Retries(tries=2)},
        {"faults": [Slow("a", 1e5, 2e5, 2)]},
        {"script": [(1e5, float)]},
    ],
)
@pytest.mark.parametrize("make", [lambda: RoundRobin(["a", "b"]), lambda: two(["a", "b"])])
def test_only_plain_servers_are_computed_ahead(
    make: Callable[[], Any], options: dict[str, Any]
) -> None:
    assert engine_of(make(), **options) == "general"
    assert engine_of(make()) != "general"


def test_each_engine_tells_itself() -> None:
    assert engine_of(RoundRobin(["a", "b"])) == "vectorised"
    assert engine_of(RandomChoice(["a"], rng=Random(1))) == "vectorised"
    assert engine_of(HashRing(["a", "b"]), keys=UniformKeys(10)) == "vectorised"
    assert engine_of(two(["a", "b"]), servers={"a": Server(2.0), "b": Server()}) == "sampled"
    assert engine_of(two({"a": 1, "b": 0, "c": 1})) == "sampled"


@pytest.mark.parametrize("name", ["pick", "started", "finished"])
def test_a_method_that_is_replaced_on_the_object_is_called(name: str) -> None:
    calls: list[tuple[Any, ...]] = []
    makes: list[Callable[[], Any]] = [
        lambda: RoundRobin(["a", "b"]),
        lambda: PowerOfTwoChoices(["a", "b"], rng=Random(1)),
        lambda: LeastConnections(["a", "b"]),
    ]
    for make in makes:
        balancer = make()
        method = getattr(balancer, name)

        def spy(*arguments: Any, method: Any = method) -> Any:
            calls.append(arguments)
            return method(*arguments)

        setattr(balancer, name, spy)
        calls.clear()
        result = simulate(balancer, Every(1.0), Constant(0.5), requests=10, seed=1)
        assert (result.engine, len(calls)) == ("general", 10)
        assert result == simulate(make(), Every(1.0), Constant(0.5), requests=10, seed=1)
        if name == "finished":
            assert {outcome.elapsed for _, outcome, _ in calls} == {0.5}
