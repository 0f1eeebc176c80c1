"""Which part is called, and with what, when a balancer or gate raises at each place in turn."""

from collections.abc import Callable, Iterable
from math import inf, nan
from typing import Any

import pytest

from balancers import NoBackendAvailable, Outcome, Pool, RoundRobin, WeightedRoundRobin
from balancers.errors import IncompatibleGate, InvalidSetting
from balancers.gate import Gate
from balancers.outcome import FAILURE, SUCCESS, UNKNOWN

Call = tuple[object, ...]
PLACES = ["balancer", "gate 0", "gate 1", "gate 2"]


class Parts:
    """A log of calls, and the calls that raise."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.failing: dict[tuple[str, str], BaseException] = {}

    def call(self, part: str, method: str, *arguments: object) -> None:
        self.calls.append((part, method, *arguments))
        if (part, method) in self.failing:
            raise self.failing[part, method]


class LoggedBalancer(RoundRobin[str]):
    def __init__(self, parts: Parts) -> None:
        super().__init__(["a", "b"])
        self._parts = parts

    def started(self, backend: str, now: float = 0.0, bound: bool = False) -> None:
        self._parts.call("balancer", "started", backend, now, bound)

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        self._parts.call("balancer", "finished", backend, outcome, now)


class LoggedGate(Gate[str]):
    def __init__(self, parts: Parts, name: str) -> None:
        self.reason = self._name = name
        self._parts = parts

    def factor(self, backend: str, now: float) -> float:
        del backend, now
        return 1

    def changes(self, now: float) -> Iterable[str]:
        del now
        return ()

    def started(self, backend: str, in_flight: int, now: float) -> None:
        self._parts.call(self._name, "started", backend, in_flight, now)

    def finished(
        self, backend: str, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        self._parts.call(self._name, "finished", backend, outcome, in_flight, started_at, now)

    def removed(self, backend: str, now: float) -> None:
        self._parts.call(self._name, "removed", backend, now)


class SilentGate(Gate[str]):
    """A gate between the others that has the defaults of the protocol."""

    reason = "silent"

    def factor(self, backend: str, now: float) -> float:
        del backend, now
        return 1

    def changes(self, now: float) -> Iterable[str]:
        del now
        return ()


class BareGate:
    """A gate from scratch: it has no other members than these."""

    reason = "bare"
    soft = spares_bound = fractional = False
    due = inf

    def attach(self, in_flight: object, events: object) -> None:
        pass

    def added(self, backend: str, now: float) -> None:
        pass

    removed = added

    def factor(self, backend: str, now: float) -> float:
        del backend, now
        return 1

    def changes(self, now: float) -> Iterable[str]:
        del now
        return ()


def logged_pool() -> tuple[Pool[str], Parts]:
    parts = Parts()
    gates: list[Any] = [LoggedGate(parts, name) for name in PLACES[1:]]
    gates[1:1] = [SilentGate(), BareGate()]
    pool = Pool(LoggedBalancer(parts), gates)
    pool.acquire(1.0, prefer="a")
    parts.calls.clear()
    return pool, parts


def started(place: str, number: int) -> Call:
    if place == "balancer":
        return (place, "started", "a", 2.0, True)
    return (place, "started", "a", number, 2.0)


def undone(place: str) -> Call:
    if place == "balancer":
        return (place, "finished", "a", UNKNOWN, 2.0)
    return (place, "finished", "a", UNKNOWN, 1, 2.0, 2.0)


@pytest.mark.parametrize("error", [ArithmeticError("first"), KeyboardInterrupt("first")])
@pytest.mark.parametrize("second", [None, *PLACES])
@pytest.mark.parametrize("first", PLACES)
def test_a_start_that_raises_is_undone_where_it_was_counted(
    first: str, second: str | None, error: BaseException
) -> None:
    """A second error, in the undoing, does not hide the first."""
    pool, parts = logged_pool()
    parts.failing[first, "started"] = error
    if second is not None:
        parts.failing[second, "finished"] = LookupError("second")
    before = pool.snapshot()
    with pytest.raises(type(error), match="first"):
        pool.acquire(2.0, prefer="a")
    at = PLACES.index(first)
    calls = [started(place, 2) for place in PLACES[: at + 1]]
    assert parts.calls == [*calls, *(undone(place) for place in PLACES[:at])]
    assert pool.snapshot() == before._replace(at=2.0)
    parts.failing.clear()
    assert pool.acquire(3.0, prefer="a").backend == "a"
    assert pool.in_flight("a") == 2


@pytest.mark.parametrize("ok", [True, False, None])
@pytest.mark.parametrize("second", [None, *PLACES])
@pytest.mark.parametrize("first", [None, *PLACES])
def test_an_end_is_reported_to_every_part_whichever_raises(
    first: str | None, second: str | None, ok: bool | None
) -> None:
    pool, parts = logged_pool()
    lease = pool.acquire(2.0, prefer="a")
    parts.calls.clear()
    failing = [place for place in PLACES if place in (first, second)]
    for place in failing:
        parts.failing[place, "finished"] = ArithmeticError(place)
    if failing:
        with pytest.raises(ArithmeticError, match=failing[0]):
            pool.release(lease, 5.0, ok)
    else:
        pool.release(lease, 5.0, ok)
    outcome = {True: SUCCESS, False: FAILURE, None: UNKNOWN}[ok]
    assert parts.calls == [
        ("balancer", "finished", "a", outcome, 5.0),
        *((place, "finished", "a", outcome, 1, 2.0, 5.0) for place in PLACES[1:]),
    ]
    assert lease.released
    assert pool.in_flight("a") == 1
    assert pool.snapshot().failures == (ok is False)


@pytest.mark.parametrize("failing", [("gate 0",), ("gate 1", "gate 2"), tuple(PLACES[1:])])
@pytest.mark.parametrize("way", ["remove", "update", "expiry", "expiry of two"])
def test_a_removal_is_reported_to_every_gate_and_the_first_error_is_raised(
    way: str, failing: tuple[str, ...]
) -> None:
    """It is too late to undo the removal then."""
    pool, parts = logged_pool()
    for backend in "cd":
        pool.add(backend)
    parts.calls.clear()
    gone = {"expiry of two": "dc", "update": "cd"}.get(way, "c")  # the last joined leaves first
    kept, now = [backend for backend in "abcd" if backend not in gone], 4.0
    if way.startswith("expiry"):
        pool.update(kept, 3.0, keep=1.0)
    for place in failing:
        parts.failing[place, "removed"] = ArithmeticError(place)
    changes: dict[str, Callable[[], object]] = {
        "remove": lambda: pool.remove("c", now),
        "update": lambda: pool.update(kept, now),
    }
    with pytest.raises(ArithmeticError, match=failing[0]):
        changes.get(way, lambda: pool.acquire(now))()
    assert parts.calls == [
        (place, "removed", backend, now) for backend in gone for place in PLACES[1:]
    ]
    assert [*pool.backends] == kept
    parts.failing.clear()
    assert pool.due == inf
    assert pool.acquire(5.0).backend in kept


class Steps(Gate[str]):
    """Gives the factors that it is told."""

    reason = "steps"

    def __init__(self, *, soft: bool = False, fractional: bool = True) -> None:
        self.soft, self.fractional = soft, fractional
        self.factors: dict[str, float] = {}
        self.changed: list[str] = []
        self.told: list[str] = []

    def set(self, **factors: float) -> None:
        self.factors.update(factors)
        self.changed += factors
        self.due = -inf

    def factor(self, backend: str, now: float) -> float:
        del now
        factor = self.factors.get(backend, 1)
        if factor == -inf:
            raise ArithmeticError(backend)
        return factor

    def changes(self, now: float) -> Iterable[str]:
        del now
        self.due = inf
        changed, self.changed = self.changed, []
        return changed

    def recovered(self, backend: str, now: float) -> None:
        del now
        self.told.append(backend)


@pytest.mark.parametrize("factor", [-5e-324, 1.0000000000000002, nan, inf])
def test_a_factor_that_becomes_invalid_is_named_with_its_gate_and_backend(factor: float) -> None:

    gate = Steps()
    pool = Pool(WeightedRoundRobin(["left", "right"]), [gate])
    pool.acquire(0.0)
    gate.set(right=factor)
    with pytest.raises(InvalidSetting) as refused:
        pool.acquire(1.0)
    assert str(refused.value) == f"Steps factor of 'right' must be 0 to 1, not {factor!r}"


def test_a_change_of_a_backend_that_is_no_member_is_dropped() -> None:
    gate = Steps(fractional=False)
    pool = Pool(RoundRobin(["a", "b"]), [gate])
    gate.set(gone=0, a=0)
    assert pool.acquire(1.0).backend == "b"
    assert pool.due == inf


def test_changes_before_an_error_are_applied_once() -> None:
    """A recovery that was applied before another backend's factor raised is not reported twice."""
    gate = Steps(soft=True, fractional=False)
    pool = Pool(RoundRobin(["a", "b"]), [gate])
    pool.acquire(0.0)
    gate.set(a=1, b=-inf)
    with pytest.raises(ArithmeticError, match="b"):
        pool.acquire(1.0)
    gate.set(b=1)
    pool.acquire(2.0)
    pool.acquire(3.0)
    assert gate.told.count("a") == 1
    assert gate.told.count("b") == 1


@pytest.mark.parametrize("wrong", [7, Gate, None])
def test_what_is_no_gate_is_named(wrong: Any) -> None:
    with pytest.raises(TypeError) as refused:
        Pool(RoundRobin(["a"]), [wrong])
    assert str(refused.value) == f"gates must be gate objects, not {wrong!r}"


@pytest.mark.parametrize("wrong", [7, None, Steps()])
def test_what_is_no_list_of_gates_is_named(wrong: Any) -> None:
    with pytest.raises(TypeError) as refused:
        Pool(RoundRobin(["a"]), wrong)
    assert str(refused.value) == f"gates must be a list of gates, not {wrong!r}"


@pytest.mark.parametrize("wrong", [7, RoundRobin, None, object()])
def test_what_is_no_balancer_is_named(wrong: Any) -> None:
    with pytest.raises(TypeError) as refused:
        Pool(wrong)
    assert str(refused.value) == f"balancer must be a balancer object, not {wrong!r}"


def test_a_soft_gate_of_last_resort_is_named() -> None:
    gate: Any = Steps(soft=True, fractional=False)
    gate.last_resort = True
    with pytest.raises(IncompatibleGate) as refused:
        Pool(RoundRobin(["a"]), [gate])
    assert str(refused.value) == f"a gate with last_resort must not be soft: {gate!r}"


def test_a_fractional_gate_is_named_with_the_balancer() -> None:
    with pytest.raises(IncompatibleGate, match="Steps has fractions, which RoundRobin ignores"):
        Pool(RoundRobin(["a"]), [Steps()])


def test_a_refused_request_reaches_no_part() -> None:
    pool, parts = logged_pool()
    with pytest.raises(NoBackendAvailable):
        pool.acquire(2.0, avoid=("a", "b"))
    assert parts.calls == []
