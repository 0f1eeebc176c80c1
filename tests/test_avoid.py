"""``avoid`` is any collection of backends, for every balancer; anything else is a TypeError."""

from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from balancers import Balancer, NoBackendAvailable
from tests.kinds import KINDS, PRESETS
from tests.work import work_of

CLIENT = "192.0.2.7"
SIZES = (8, 64)
"""Eight times as many backends: 8 times the work is linear, and 64 times would be quadratic."""


class Name(str):
    """A backend that counts how often it is compared."""

    __slots__ = ()
    comparisons = 0

    def __eq__(self, other: object) -> bool:
        Name.comparisons += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


MAKERS = {kind.name: kind.make for kind in [*KINDS, *PRESETS]}
every_balancer = pytest.mark.parametrize("name", MAKERS)


def of_size(name: str, n: int) -> Balancer[Any]:
    return MAKERS[name]([Name(f"10.0.0.{i}:80") for i in range(n)])


def picks(lb: Balancer[Any]) -> list[Callable[[Any], Any]]:
    """Return the ways to pick, as functions of ``avoid``."""
    ways: list[Callable[[Any], Any]] = [lambda avoid: lb.pick(CLIENT, 0.0, avoid)]
    if hasattr(lb, "pick_hashed"):
        hashed: Any = lb
        ways.append(lambda avoid: hashed.pick_hashed(77, avoid))
    return ways


@contextmanager
def refused(shown: str) -> Generator[None]:
    with pytest.raises(TypeError) as raised:
        yield
    assert "avoid" in str(raised.value)
    assert shown in str(raised.value)


NOT_COLLECTIONS: list[tuple[Callable[[], Any], str]] = [
    (lambda: None, "None"),
    (lambda: 0, "0"),
    (lambda: False, "False"),
    (lambda: "", "''"),
    (lambda: "10.0.0.1:80", "10.0.0.1:80"),
    (lambda: b"a", "b'a'"),
    (lambda: b"", "b''"),
    (lambda: bytearray(b""), "bytearray"),
    (lambda: (backend for backend in ["10.0.0.1:80"]), "generator"),
    (lambda: iter([]), "iterator"),
    (lambda: np.array([]), "array([]"),
    (lambda: np.array(["10.0.0.1:80"]), "array"),
    (lambda: np.array(["10.0.0.1:80", "10.0.0.2:80"]), "array"),
    (lambda: np.float64(0), "0"),
    (lambda: set, "set"),
]


@every_balancer
def test_what_is_not_a_collection_of_backends_is_refused(name: str) -> None:
    lb = of_size(name, 3)
    for make, shown in NOT_COLLECTIONS:
        for pick in picks(lb):
            for _ in range(2):  # before and after the first pick
                with refused(shown):
                    pick(make())
                pick(())
    for backend in list(lb.weights):
        lb.put(backend, 0)
    for pick in picks(lb):
        with pytest.raises((TypeError, NoBackendAvailable)):
            pick(None)


@every_balancer
def test_every_kind_of_empty_collection_avoids_nothing(name: str) -> None:
    empty: list[Any] = [(), [], set(), frozenset(), {}, {}.keys(), {}.values(), deque()]
    given, plain = of_size(name, 5), of_size(name, 5)
    for avoid in empty * 3:
        assert given.pick(CLIENT, 0.0, avoid) == plain.pick(CLIENT)


@every_balancer
def test_every_kind_of_collection_avoids_the_same(name: str) -> None:
    some = [Name("10.0.0.1:80"), Name("10.0.0.3:80"), Name("no member:80")]
    by_name = dict.fromkeys(some, 1)
    kinds: list[Any] = [
        some, tuple(some), set(some), frozenset(some), by_name, by_name.keys(), deque(some),
        dict(enumerate(some)).values(), some * 3,
    ]  # fmt: skip
    alike = [of_size(name, 5) for _ in kinds]
    for _ in range(12):
        found = {lb.pick(CLIENT, 0.0, avoid) for lb, avoid in zip(alike, kinds, strict=True)}
        assert len(found) == 1
        assert not found & set(some)


@every_balancer
def test_avoid_as_a_long_list_is_not_scanned_for_each_member(name: str) -> None:
    """With a list of nearly all members, a pick costs as many comparisons as with a set."""

    def comparisons(n: int, kind: Callable[..., Any]) -> int:
        lb = of_size(name, n)
        avoid = kind(list(lb.weights)[1:])
        Name.comparisons = 0
        for pick in picks(lb):
            for _ in range(3):
                assert pick(avoid) == "10.0.0.0:80"
        return Name.comparisons

    for n in SIZES:
        assert comparisons(n, list) <= comparisons(n, set) + 40


@every_balancer
def test_the_cost_of_avoid_is_linear(name: str) -> None:
    def lines(n: int) -> int:
        lb = of_size(name, n)
        avoid = list(lb.weights)[1:]
        lb.pick(CLIENT, 0.0, avoid)
        return work_of(lambda: [lb.pick(CLIENT, 0.0, avoid) for _ in range(3)]).lines

    small, large = (lines(n) for n in SIZES)
    growth = SIZES[1] / SIZES[0]
    assert large <= 2 * growth * small
