"""Bad numbers, weights, names and functions raise typed errors that show the value."""

from collections.abc import Callable
from functools import partial
from math import inf, nan
from typing import Any

import pytest

from balancers.errors import DuplicateBackend, InvalidKey, InvalidSetting, InvalidWeight, MissingKey
from balancers.subsetting import (
    aperture_subset,
    deterministic_subset,
    rendezvous_subset,
    ringsteady_subset,
)

CALLS: dict[str, Callable[..., Any]] = {
    "deterministic": partial(deterministic_subset, index=0, size=2),
    "rendezvous": partial(rendezvous_subset, name="edge", size=2),
    "ringsteady": partial(ringsteady_subset, index=0, size=2),
    "aperture": partial(aperture_subset, index=0, balancers=3, size=2),
}
EACH = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
INDEXED = pytest.mark.parametrize(
    "call", [one for name, one in CALLS.items() if name != "rendezvous"]
)
NAMED = pytest.mark.parametrize(
    "call", [one for name, one in CALLS.items() if name != "ringsteady"]
)
NO_INT: list[Any] = [None, "1", 1.0, nan, inf, True, -1, -(10**5000), [1]]


@EACH
@pytest.mark.parametrize("size", [*NO_INT, 0], ids=lambda value: str(type(value).__name__))
def test_a_size_is_an_int_of_one_or_more(call: Callable[..., Any], size: Any) -> None:
    with pytest.raises(InvalidSetting, match="size must be an int, 1 or more"):
        call(["a"], size=size)


@INDEXED
@pytest.mark.parametrize("index", NO_INT, ids=lambda value: str(type(value).__name__))
def test_an_index_is_an_int_of_zero_or_more(call: Callable[..., Any], index: Any) -> None:
    with pytest.raises(InvalidSetting, match="index must be an int, 0 "):
        call(["a"], index=index)


@pytest.mark.parametrize("index", [3, 4, 10**5000], ids=["3", "4", "huge"])
def test_an_index_is_below_the_number_of_balancers(index: int) -> None:
    with pytest.raises(InvalidSetting, match="index must be an int, 0 to 3 - 1"):
        aperture_subset(["a"], index=index, balancers=3)


@pytest.mark.parametrize("balancers", [*NO_INT, 0], ids=lambda value: str(type(value).__name__))
def test_a_number_of_balancers_is_an_int_of_one_or_more(balancers: Any) -> None:
    with pytest.raises(InvalidSetting, match="balancers must be an int, 1 or more"):
        aperture_subset(["a"], index=0, balancers=balancers)


def test_huge_numbers_are_computed() -> None:
    huge = 10**5000
    servers = ["a", "b", "c"]
    assert len(deterministic_subset(servers, index=huge, size=2)) == 2
    assert len(ringsteady_subset(servers, index=huge, size=2)) == 2
    assert sum(aperture_subset(servers, index=huge - 1, balancers=huge, size=2).values()) == 2
    assert len(aperture_subset(servers, index=7, balancers=8, size=huge)) == 3


@EACH
@pytest.mark.parametrize("weight", [-1, nan, inf, 1e301, "1", None, True])
def test_a_weight_is_a_number(call: Callable[..., Any], weight: Any) -> None:
    with pytest.raises(InvalidWeight, match="weight of 'a'"):
        call({"a": weight})


@EACH
@pytest.mark.parametrize("backends", ["abc", b"abc", None, 7, [["a"]], [("a", 0.5)]])
def test_backends_are_hashable_and_in_an_iterable(call: Callable[..., Any], backends: Any) -> None:
    with pytest.raises(TypeError):
        call(backends)


@NAMED
def test_two_backends_have_different_names(call: Callable[..., Any]) -> None:
    with pytest.raises(DuplicateBackend, match="have the same name, b'a'"):
        call(["a", b"a"])
    with pytest.raises(DuplicateBackend):
        call(["a", "b"], identity=lambda _: "x")  # pyright: ignore[reportUnknownLambdaType]  # a backend


@NAMED
def test_backends_have_names(call: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="identity"):
        call([object()])
    with pytest.raises(InvalidKey):
        call(["\ud800"])


@NAMED
@pytest.mark.parametrize("argument", ["identity", "hasher"])
def test_functions_can_be_called(call: Callable[..., Any], argument: str) -> None:
    with pytest.raises(TypeError, match=f"{argument} must be a function"):
        call(["a"], **{argument: "x"})


def test_the_name_of_a_balancer_is_a_key() -> None:
    with pytest.raises(MissingKey):
        rendezvous_subset(["a"], name=None, size=1)  # type: ignore[arg-type]  # invalid
    with pytest.raises(InvalidKey):
        rendezvous_subset(["a"], name=1 << 64, size=1)
    with pytest.raises(TypeError):
        rendezvous_subset(["a"], name=1.5, size=1)  # type: ignore[arg-type]  # invalid


def test_the_least_and_the_greatest_weights_are_exact() -> None:
    weights = {"a": 1e300, "b": 5e-324, "c": 1e-300, "d": 0.0}
    for index in range(3):
        subset = aperture_subset(weights, index=index, balancers=3, size=1)
        assert subset["a"] == pytest.approx(1e300 / 3)
