"""What a contract asks for stays what it is: what later work adds is optional.

Each structural type below has exactly the members that its protocol had when this test was written,
and each subclass defines only what must be defined.  Both must keep working in a pool.
"""

import copy
import pickle
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from math import inf
from random import Random
from typing import Any

import pytest

from balancers import (
    SUCCESS,
    Balancer,
    Drain,
    Event,
    Gate,
    Key,
    Load,
    NoBackendAvailable,
    Outcome,
    Pool,
    PowerOfTwoChoices,
    RoundRobin,
)
from balancers.errors import AlreadyInUse, InvalidPick


class StructuralBalancer:
    """Every member of the protocol, and nothing inherited."""

    keyed = False
    fractional = True

    def __init__(self) -> None:
        self._weights: dict[str, float] = {}
        self._in_flight = 0

    @property
    def weights(self) -> Mapping[str, float]:
        return self._weights

    def put(self, backend: str, weight: float = 1) -> None:
        self._weights[backend] = weight

    def discard(self, backend: str) -> None:
        self._weights.pop(backend, None)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        for backend, weight in self._weights.items():
            if weight and backend not in avoid:
                return backend
        raise NoBackendAvailable("empty")

    def started(self, backend: str, now: float = 0.0, bound: bool = False) -> None:
        self._in_flight += 1

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        self._in_flight -= 1


class MinimalBalancer(Balancer[str]):
    """Only what must be defined."""

    def __init__(self) -> None:
        self._weights: dict[str, float] = {}

    @property
    def weights(self) -> Mapping[str, float]:
        return self._weights

    def put(self, backend: str, weight: float = 1) -> None:
        self._weights[backend] = weight

    def discard(self, backend: str) -> None:
        self._weights.pop(backend, None)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        for backend, weight in self._weights.items():
            if weight and backend not in avoid:
                return backend
        raise NoBackendAvailable("empty")


class StructuralGate:
    """Every member of the protocol, and nothing inherited: it closes one backend."""

    reason = "closed by hand"
    soft = False
    spares_bound = False
    fractional = False
    due = inf

    def __init__(self) -> None:
        self._calls: list[str] = []

    def attach(self, in_flight: Callable[[str], int], events: deque[Event] | None) -> None:
        self._calls.append("attach")

    def factor(self, backend: str, now: float) -> float:
        return 0 if backend == "b" else 1

    def changes(self, now: float) -> Iterable[str]:
        return []

    def added(self, backend: str, now: float) -> None:
        self._calls.append("added")

    def removed(self, backend: str, now: float) -> None:
        self._calls.append("removed")

    def recovered(self, backend: str, now: float) -> None:
        self._calls.append("recovered")

    def started(self, backend: str, in_flight: int, now: float) -> None:
        self._calls.append("started")

    def finished(
        self, backend: str, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        self._calls.append("finished")


class MinimalGate(Gate[str]):
    """Only what must be defined."""

    reason = "closed by hand"

    def factor(self, backend: str, now: float) -> float:
        return 0 if backend == "b" else 1

    def changes(self, now: float) -> Iterable[str]:
        return []


class StructuralLoad:
    """Every member of the protocol, and nothing inherited."""

    def value(self, backend: str, now: float) -> float:
        return 1.0 if backend == "b" else 0.0

    def started(self, backend: str, now: float = 0.0) -> None:
        return

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        return

    def removed(self, backend: str) -> None:
        return


class MinimalLoad(Load[str]):
    """Only what must be defined."""

    def value(self, backend: str, now: float) -> float:
        return 1.0 if backend == "b" else 0.0


MEMBERS: dict[type, set[str]] = {
    StructuralBalancer: {
        "keyed", "fractional", "weights", "put", "discard", "pick", "started", "finished",
    },
    MinimalBalancer: {"weights", "put", "discard", "pick"},
    StructuralGate: {
        "reason", "soft", "spares_bound", "fractional", "due", "attach", "factor", "changes",
        "added", "removed", "recovered", "started", "finished",
    },
    MinimalGate: {"reason", "factor", "changes"},
    StructuralLoad: {"value", "started", "finished", "removed"},
    MinimalLoad: {"value"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "members"), MEMBERS.items(), ids=lambda x: getattr(x, "__name__", "")
)
def test_these_have_the_members_that_they_had(kind: type, members: set[str]) -> None:
    assert {name for name in vars(kind) if not name.startswith("_")} == members


@pytest.mark.parametrize(
    ("protocol", "structural"),
    [(Balancer, StructuralBalancer), (Gate, StructuralGate), (Load, StructuralLoad)],
)
def test_a_protocol_has_no_other_members(protocol: type, structural: type) -> None:
    names = {*vars(protocol), *vars(protocol).get("__annotations__", {})}
    assert {name for name in names if not name.startswith("_")} == MEMBERS[structural]


@pytest.mark.parametrize(
    ("protocol", "missing"), [(Balancer, "pick"), (Gate, "factor"), (Load, "value")]
)
def test_a_subclass_that_lacks_a_member_is_not_made(protocol: Any, missing: str) -> None:
    with pytest.raises(TypeError, match=missing):
        type("Incomplete", (protocol,), {})()


def test_a_structural_balancer_is_a_balancer() -> None:
    assert isinstance(StructuralBalancer(), Balancer)


@pytest.mark.parametrize("balancer", [StructuralBalancer, MinimalBalancer])
@pytest.mark.parametrize("gate", [StructuralGate, MinimalGate])
def test_each_works_in_a_pool(balancer: Callable[[], Any], gate: Callable[[], Any]) -> None:
    pool: Pool[str] = Pool(balancer(), [gate()], events=deque(maxlen=9))
    pool.update(["b", "a"])
    with pool.lease(lambda: 1.0) as lease:
        assert lease.backend == "a"
    pool.remove("a", now=2.0)
    with pytest.raises(NoBackendAvailable, match="closed by hand"):
        pool.acquire(3.0)


@pytest.mark.parametrize("load", [StructuralLoad(), MinimalLoad()])
def test_each_load_works(load: Load[str]) -> None:
    lb = PowerOfTwoChoices(["a", "b"], rng=Random(1), load=load)
    lb.started("a")
    lb.finished("a")
    assert {lb.pick() for _ in range(20)} == {"a"}
    lb.discard("a")


@pytest.mark.parametrize("kind", [StructuralBalancer, MinimalBalancer])
def test_a_balancer_belongs_to_one_pool(kind: Callable[[], Any]) -> None:
    balancer = kind()
    Pool(balancer)
    with pytest.raises(AlreadyInUse, match=type(balancer).__name__):
        Pool(balancer)


def test_a_balancer_of_a_refused_pool_is_free_again() -> None:
    balancer, gate = RoundRobin(["a"]), MinimalGate()
    Pool(RoundRobin(["a"]), [gate])
    with pytest.raises(AlreadyInUse, match="MinimalGate"):
        Pool(balancer, [gate])
    assert Pool(balancer).acquire(0.0).backend == "a"


class Slotted(StructuralGate):
    """It cannot have attributes that it does not name."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        if name == "taken":
            raise AttributeError(name)
        super().__setattr__(name, value)


def pickled(part: Any) -> Any:
    return pickle.loads(pickle.dumps(part))  # noqa: S301 - own


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_a_copy_of_a_part_is_free_and_a_copy_of_a_pool_keeps_its_parts(copied: Any) -> None:
    balancer, gate = RoundRobin(["a"]), Drain[str]()
    pool = Pool(balancer, [gate])
    assert Pool(copied(balancer), [Drain()]).acquire(0.0).backend == "a"
    twin = copied(pool)
    with pytest.raises(AlreadyInUse):
        Pool(twin._balancer)
    with pytest.raises(AlreadyInUse):
        Pool(RoundRobin(["a"]), twin._gates)


def test_another_attribute_of_that_name_is_left_alone() -> None:
    balancer: Any = RoundRobin(["a"])
    balancer.taken = "by the author"
    assert Pool(balancer).acquire(0.0).backend == "a"
    assert balancer.taken == "by the author"


def test_an_object_that_cannot_be_marked_is_not_protected() -> None:
    gate: Any = Slotted()
    assert [len(Pool(RoundRobin(["a"]), [gate])) for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("picked", ["z", None, ["a"]])
def test_a_pick_of_what_is_no_member_is_an_invalid_pick(picked: Any) -> None:
    class Wrong(MinimalBalancer):
        def pick(
            self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()
        ) -> str:
            wrong: str = picked
            return wrong

    pool: Pool[str] = Pool(Wrong())
    pool.add("a")
    with pytest.raises(InvalidPick, match="Wrong") as error:
        pool.acquire(0.0)
    assert not isinstance(error.value, LookupError)
    assert pool.in_flight("a") == 0


def test_nothing_leads_from_the_backends_to_the_accounting() -> None:
    pool = Pool(RoundRobin(["a", "b"]))
    backends = pool.backends
    assert [*backends] == ["a", "b"]
    assert [*reversed(backends)] == ["b", "a"]
    as_object: object = backends
    assert as_object == {"a", "b"}
    assert backends & {"a"} == {"a"}
    assert not {name for name in dir(backends) if not name.startswith("_")} - {"isdisjoint"}
    pool.add("c")
    assert "c" in backends
    assert len(backends) == 3
    assert repr(backends) == "<Backends: ['a', 'b', 'c']>"


def test_a_generation_is_one_membership() -> None:
    pool, other = Pool(RoundRobin(["a"])), Pool(RoundRobin(["a"]))
    lease = pool.acquire(0.0)
    assert lease.generation == pool.generation("a")
    pool.remove("a")
    pool.add("a")
    assert lease.generation < pool.generation("a")
    assert pool.owns(lease)
    assert not other.owns(lease)
    pool.release(lease, 1.0)
    assert pool.owns(lease)
