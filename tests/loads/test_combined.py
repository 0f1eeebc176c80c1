"""The load that combines other loads."""

import copy
import operator
import pickle
from random import Random
from typing import Any

import pytest

from balancers import SUCCESS, Outcome, PowerOfTwoChoices
from balancers.algorithms import LeastLoaded
from balancers.errors import AlreadyInUse
from balancers.loads import Combined, InFlight, PeakEwma


class Log:
    """A load that is none of ours, with every optional method; it logs its calls."""

    def __init__(self, timed: bool = False) -> None:
        self.timed = timed
        self.calls: list[tuple[Any, ...]] = []
        self.read: tuple[Any, ...] = ()

    def value(self, backend: str, now: float) -> float:
        self.read = backend, now
        return len(self.calls)

    def started(self, backend: str, now: float = 0.0) -> None:
        self.calls.append(("started", backend, now))

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        self.calls.append(("finished", backend, outcome, now))

    def charged(self, backend: str, change: int, now: float) -> None:
        self.calls.append(("charged", backend, change, now))

    def progressed(self, backend: str, elapsed: float, now: float) -> None:
        self.calls.append(("progressed", backend, elapsed, now))

    def removed(self, backend: str) -> None:
        self.calls.append(("removed", backend))


CALLS: list[tuple[Any, ...]] = [
    ("started", "a", 1.0),
    ("charged", "a", 5, 1.0),
    ("progressed", "a", 0.5, 1.5),
    ("finished", "a", Outcome(elapsed=1.0), 2.0),
    ("removed", "a"),
]


def test_every_call_is_forwarded_to_every_load() -> None:
    logs = [Log(), Log()]
    load = Combined(max, logs[0], InFlight[str](), logs[1])
    for name, *arguments in CALLS:
        getattr(load, name)(*arguments)
    assert [log.calls for log in logs] == [CALLS, CALLS]
    assert load.value("a", 2.0) == len(CALLS)
    assert [log.read for log in logs] == [("a", 2.0)] * 2


@pytest.mark.parametrize("make", ["two", "all"])
def test_balancers_forward_the_optional_calls_of_members(make: str) -> None:
    log = Log(timed=True)
    lb: Any
    if make == "two":
        lb = PowerOfTwoChoices(["a", "b"], rng=Random(1), load=Combined(max, log))
    else:
        lb = LeastLoaded(["a", "b"], load=Combined(max, log))
    assert lb.timed is True
    for name, *arguments in CALLS[:-1]:
        getattr(lb, name)(*arguments)
        getattr(lb, name)("nobody", *arguments[1:])
    lb.discard("a")
    assert log.calls == CALLS


@pytest.mark.parametrize("load", [None, InFlight[str]()])
def test_a_balancer_without_such_a_load_ignores_them(load: Any) -> None:
    lb: PowerOfTwoChoices[str] = PowerOfTwoChoices(["a", "b"], rng=Random(1), load=load)
    lb.charged("a", 5, 1.0)
    lb.progressed("a", 5.0, 1.0)
    assert lb.timed is False
    assert lb.load_of("a") == 0


def test_it_is_timed_if_one_of_the_loads_is() -> None:
    assert Combined(max, InFlight[str]()).timed is False
    assert Combined(max, InFlight[str](), PeakEwma[str]()).timed is True
    assert Combined(max, InFlight[str](), PeakEwma[str](first=True)).timed is False


def test_the_function_gets_the_values_in_their_order() -> None:
    first, second = InFlight[str](), InFlight[str]()
    load = Combined(operator.sub, first, second)
    load.started("a")
    second.finished("a")
    assert load.value("a", 0.0) == 1
    assert repr(load) == "<Combined: <InFlight: total 1>, <InFlight: total 0>>"


def test_a_load_belongs_to_one_combination_only() -> None:
    mine = InFlight[str]()
    free = InFlight[str]()
    combined = Combined(max, mine, InFlight[str]())
    with pytest.raises(AlreadyInUse):
        Combined(max, free, mine)
    with pytest.raises(AlreadyInUse):
        LeastLoaded(["a"], load=mine)
    both: Any = Combined
    with pytest.raises(AlreadyInUse):
        both(max, free, free)
    LeastLoaded(["a"], load=free)  # it was released after each error
    lb = LeastLoaded(["a"], load=combined)
    with pytest.raises(AlreadyInUse):
        PowerOfTwoChoices(["b"], rng=Random(1), load=combined)
    assert lb.pick() == "a"


def test_copies_have_loads_of_their_own_that_are_in_use() -> None:
    combined = Combined(operator.add, InFlight[str](), PeakEwma[str]())
    combined.started("a", 0.0)
    for twin in (copy.deepcopy(combined), pickle.loads(pickle.dumps(combined))):  # noqa: S301 - own
        before = combined.value("a", 0.0)
        assert twin.value("a", 0.0) == before
        twin.removed("a")
        assert (combined.value("a", 0.0), twin.value("a", 0.0)) == (before, 0)
        with pytest.raises(AlreadyInUse):
            LeastLoaded(["a"], load=twin._loads[0])
        LeastLoaded(["a"], load=twin)


BAD: list[tuple[Any, ...]] = [(), (None,), (1,), (InFlight,), ("load",), (InFlight(), 5)]


@pytest.mark.parametrize("loads", BAD, ids=str)
def test_bad_loads(loads: Any) -> None:
    with pytest.raises(TypeError, match="load"):
        Combined(max, *loads)


@pytest.mark.parametrize("by", [None, 1, "max"])
def test_bad_functions(by: Any) -> None:
    with pytest.raises(TypeError, match="by"):
        Combined(by, InFlight())
