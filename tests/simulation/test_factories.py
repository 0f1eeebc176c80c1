"""Factories make new objects: an object with a state is refused wherever a factory contains it."""

from collections.abc import Callable
from functools import partial
from random import Random, SystemRandom
from typing import Any

import numpy as np
import pytest

from balancers import ConnectionLimit, HashRing, Pool, PowerOfTwoChoices, RandomChoice, RoundRobin
from balancers.errors import InvalidSetting
from balancers.loads import InFlight
from balancers.simulation import Exponential, Poisson, Sweep, replicate
from balancers.simulation._factories import check_factory, made

NAMES = ("a", "b")
shared = RoundRobin(NAMES)
generator = Random(1)


class Picks:
    """A balancer of a user, which inherits from nothing."""

    def pick(self, *_: object) -> str:
        return "a"

    def finished(self, *_: object) -> None:
        pass

    def make(self) -> RoundRobin[str]:
        return RoundRobin(NAMES)


def of_global() -> object:
    return shared


def of_default(balancer: object = shared) -> object:
    return balancer


def of_keyword(*, rng: object = generator) -> object:
    return rng


def enclosing(value: object) -> Callable[[], object]:
    return lambda: value


class Factory:
    """A factory with an attribute."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __call__(self) -> object:
        return self.value


REFUSED: dict[str, Any] = {
    "balancer": shared,
    "pool": Pool(RoundRobin(NAMES)),
    "balancer of a user": Picks(),
    "generator": generator,
    "generator of the system": SystemRandom(),
    "generator of numpy": np.random.default_rng(1),
    "iterator": iter([1]),
    "partial": partial(Pool, shared),
    "keyword": partial(RandomChoice, NAMES, rng=generator),
    "partial of a partial": partial(partial(PowerOfTwoChoices, load=InFlight[str]()), NAMES),
    "gate in a list": partial(Pool, gates=[ConnectionLimit[str](3)]),
    "value of a dict": partial(dict, policies={"x": shared}),
    "names of an iterator": partial(RoundRobin, iter(NAMES)),
    "method": Picks().make,
    "method of a generator": generator.random,
    "method of a generator of numpy": partial(map, np.random.default_rng(1).random),
    "attribute": Factory(shared),
    "attribute of an attribute": partial(Factory(Factory([generator]))),
    "global": of_global,
    "default": of_default,
    "keyword default": of_keyword,
    "enclosed": enclosing(shared),
    "enclosed in a tuple": enclosing((1, shared)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_object_with_a_state_is_refused(name: str) -> None:
    with pytest.raises(InvalidSetting, match=r"make (is|contains) .*partial"):
        check_factory("make", REFUSED[name])
    with pytest.raises(InvalidSetting, match=r"cell 'x' (is|contains) .*partial"):
        Sweep({"x": REFUSED[name]})
    with pytest.raises(InvalidSetting, match=r"make (is|contains) .*partial"):
        replicate(REFUSED[name], Poisson(1.0), Exponential(0.5), requests=10)


def test_a_generator_is_not_needed() -> None:
    with pytest.raises(InvalidSetting, match=r"contains a random generator, .* passes rng itself"):
        check_factory("make", partial(RandomChoice, NAMES, rng=generator))


def of_nothing() -> RoundRobin[str]:
    return RoundRobin(NAMES)


ACCEPTED: dict[str, Any] = {
    "class": RoundRobin,
    "partial": partial(RoundRobin, NAMES),
    "function": of_nothing,
    "lambda": lambda: Pool(RoundRobin(NAMES), [ConnectionLimit(3)]),
    "enclosed names": enclosing(NAMES),
    "enclosed class": enclosing(HashRing),
    "partial of weights": partial(RoundRobin, {"a": 2, ("b", 80): 1}),
    "builtin": partial(max, 1, 2),
    "attribute": Factory(NAMES),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_factory_is_accepted(name: str) -> None:
    check_factory("make", ACCEPTED[name])
    Sweep({name: ACCEPTED[name]})


@pytest.mark.parametrize("value", [None, 5, "RoundRobin", NAMES, {"a": RoundRobin}])
def test_what_cannot_be_called_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"make must be a class, a function or a functools.partial"):
        check_factory("make", value)


def test_a_list_that_contains_itself_is_searched_once() -> None:
    endless: list[object] = []
    endless.append(endless)
    check_factory("make", partial(RoundRobin, endless))


def test_a_list_that_is_contained_often_is_searched_once() -> None:
    nested: list[object] = []
    for _ in range(60):
        nested = [nested, nested]
    check_factory("make", partial(RoundRobin, nested))


def test_an_iterator_can_be_replaced_by_a_list() -> None:
    with pytest.raises(InvalidSetting, match=r"contains an iterator, .* or pass a list instead"):
        check_factory("make", partial(RoundRobin, iter(NAMES)))


def test_a_factory_gets_a_generator_if_it_asks_for_one() -> None:
    rng = Random(7)
    seen: list[Random] = []

    def with_rng(rng: Random) -> object:
        seen.append(rng)
        return RandomChoice(NAMES, rng=rng)

    assert isinstance(made(partial(RandomChoice, NAMES), rng), RandomChoice)
    assert isinstance(made(with_rng, rng), RandomChoice)
    assert seen == [rng]
    assert isinstance(made(of_nothing, rng), RoundRobin)
    assert made(dict, rng) == {}
