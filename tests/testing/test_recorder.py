"""A recorder misses no call, changes nothing, and writes valid, exact and short lines."""

import copy
import inspect
import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from fractions import Fraction
from math import inf, nan
from random import Random, SystemRandom
from typing import Any, NamedTuple, Self

import numpy as np
import pytest

import balancers.gates
from balancers import (
    ConnectionLimit,
    Drain,
    HashRing,
    HealthChecks,
    Key,
    LeastConnections,
    NoBackendAvailable,
    Outcome,
    Pool,
    PowerOfTwoChoices,
    RoundRobin,
)
from balancers.errors import (
    AlreadyInUse,
    AlreadyReleased,
    DuplicateBackend,
    ForeignLease,
    InvalidSetting,
    InvalidTime,
    UnknownBackend,
)
from balancers.gates import MemberGate, OutlierEjection, PassiveChecks
from balancers.keys import KeyedBlake2
from balancers.loads import InFlight
from balancers.testing import Header, Recorder, Replayed, replay
from balancers.testing._values import Codec, dumps
from tests.kinds import KINDS, Kind, by_name
from tests.testing import recording_cost
from tests.testing.histories import recorded

READS = {
    "clamp", "cost_on", "draining", "ejections", "factor", "find_state", "healthy", "in_flight_on",
    "level", "limit_at", "share", "state_of", "unproven", "until", "without_room",
}  # fmt: skip
"""The methods of the gates that change nothing.  Every other one must be recorded."""
GATES: list[type[Any]] = [
    gate
    for gate in vars(balancers.gates).values()
    if inspect.isclass(gate) and issubclass(gate, MemberGate) and gate is not MemberGate
]


def fresh(gate: type[Any]) -> Any:
    """Return a gate with any settings that are valid."""
    given = {"limit": 2, "minconn": 1, "maxconn": 3, "fullconn": 9, "window": 5.0, "rng": Random(1)}
    names = inspect.signature(gate).parameters
    return gate(**{name: value for name, value in given.items() if name in names})


class Log(list[str]):
    """The lines of a recorder."""

    def calls(self) -> list[dict[str, Any]]:
        """Return the lines after the first one."""
        return [json.loads(line) for line in self[1:]]

    def last(self) -> dict[str, Any]:
        return self.calls()[-1]


def start(*gates: Any, members: Any = ("a", "b"), **settings: Any) -> tuple[Pool[Any], Log]:
    log = Log()
    pool: Pool[Any] = Pool(LeastConnections(members), gates=gates)
    Recorder(pool, write=log.append, **settings)
    return pool, log


# nothing is missed


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.__name__)
def test_every_method_of_every_gate_that_changes_something_is_recorded(gate: type[Any]) -> None:
    made = fresh(gate)
    balancer = PowerOfTwoChoices(["a"], rng=Random(1))
    recorder = Recorder(Pool(balancer, gates=[made]), write=str)
    methods = {
        name
        for name, value in inspect.getmembers(gate, callable)
        if not name.startswith("_") and not inspect.isclass(value)
    }
    assert recorder.gate_methods[0] == methods - READS


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.__name__)
def test_what_is_not_recorded_changes_nothing(gate: type[Any]) -> None:
    made = fresh(gate)
    pool = Pool(PowerOfTwoChoices(["a", "b"], rng=Random(1)), gates=[made])
    pool.acquire(now=1.0)
    arguments: dict[str, Any] = {"backend": "a", "now": 9.0, "load": 3, "cost": 5}
    for name in sorted(READS & set(dir(gate))):
        if name == "without_room":
            made.without_room(5, 9.0)  # the first call puts the ranking in order
        before = pickle.dumps(made)
        method = getattr(made, name)
        method(*(arguments[parameter] for parameter in inspect.signature(method).parameters))
        assert pickle.dumps(made) == before, name


CALLS: list[tuple[Callable[[], Any], str, tuple[Any, ...]]] = [
    (HealthChecks, "observe", ("a", False, 1.0)),
    (lambda: fresh(balancers.gates.ActiveChecks), "probes", (9.0,)),
    (Drain, "begin", ("a", 1.0)),
    (Drain, "cancel", ("a", 1.0)),
    (Drain, "drained", (1.0,)),
    (lambda: ConnectionLimit(3), "set", ("a", 1)),
    (lambda: fresh(balancers.gates.DynamicLimit), "set_waiting", (3, 1.0)),
    (lambda: fresh(balancers.gates.WarmUp), "begin", ("a", 1.0)),
    (OutlierEjection, "restore", ("a", 1.0)),
    (OutlierEjection, "probe_passed", ("a", 1.0)),
    (OutlierEjection, "changes", (1.0,)),
    (PassiveChecks, "finished", ("a", Outcome(False), 0, 0.0, 1.0)),
    (PassiveChecks, "started", ("a", 1, 1.0)),
    (HealthChecks, "settle", (1.0,)),
    (HealthChecks, "notify_change", ("a",)),
]


@pytest.mark.parametrize(("make", "name", "arguments"), CALLS)
def test_a_call_of_the_original_gate_is_recorded_once(
    make: Callable[[], Any], name: str, arguments: tuple[Any, ...]
) -> None:
    gate = make()
    _, log = start(gate)
    getattr(gate, name)(*arguments)
    codec = Codec()
    [call] = log.calls()
    assert (call["gate"], call["call"]) == (0, name)
    assert codec.value(call["args"]) == list(arguments)


def test_a_gate_that_calls_another_gate_is_recorded_once() -> None:
    outliers: OutlierEjection[str] = OutlierEjection(1, max_ejected_share=0.5)
    health: HealthChecks[str] = HealthChecks(restores=outliers)
    pool, log = start(health, outliers)
    pool.release(pool.acquire(now=0.0), now=1.0, ok=False)
    assert outliers.ejections()
    health.observe("a", ok=True, now=2.0)
    assert not outliers.ejections()
    assert [next(iter(call)) for call in log.calls()] == ["acquire", "release", "gate"]


class Switch:
    """A gate by another author: it inherits nothing, and is set in many ways."""

    reason, soft, spares_bound, fractional, due = "switched off", False, False, False, inf
    closed: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.level = 0

        def by_function(backend: str) -> Iterator[str]:
            return self.close([backend])

        self.by_function = by_function

    def factor(self, backend: str, now: float) -> float:
        return 0 if self.is_closed(backend) else 1

    def is_closed(self, backend: str) -> bool:
        return backend in self.closed

    def changes(self, now: float) -> list[str]:
        self.due = inf
        return ["a", "b"]

    def attach(self, in_flight: Any, events: Any) -> None:
        pass

    def added(self, *_: Any) -> None:
        pass

    removed = started = finished = recovered = added

    def close(self, backends: Any, **more: Any) -> Iterator[str]:
        self.closed = frozenset(backends)
        self.due = -inf
        yield from self.closed

    def __call__(self, backend: str) -> None:
        list(self.close([backend]))

    def __setitem__(self, backend: str, closed: bool) -> None:
        list(self.close([backend] if closed else []))

    def __delitem__(self, backend: str) -> None:
        list(self.close([]))

    def __ior__(self, backends: set[str]) -> Self:
        list(self.close(backends))
        return self

    @property
    def only(self) -> str:
        return "".join(self.closed)

    @only.setter
    def only(self, backend: str) -> None:
        list(self.close([backend]))

    @classmethod
    def close_everywhere(cls, backend: str) -> None:
        cls.closed = frozenset({backend})

    @staticmethod
    def nothing(backend: str) -> str:
        return backend


def set_only(gate: Any) -> None:
    gate.only = "b"


def set_item(gate: Any) -> None:
    gate["b"] = True


def set_level(gate: Any) -> None:
    gate.level = 7


def delete_item(gate: Any) -> None:
    del gate["b"]


def close_in_place(gate: Any) -> None:
    gate |= {"b"}


WAYS: list[tuple[Callable[[Any], Any], str]] = [
    (lambda gate: gate.close(["b"], why="test"), "close"),
    (lambda gate: gate.by_function("b"), "by_function"),
    (lambda gate: gate("b"), "__call__"),
    (set_item, "__setitem__"),
    (delete_item, "__delitem__"),
    (close_in_place, "__ior__"),
    (set_only, "__setattr__"),
    (set_level, "__setattr__"),
    (lambda gate: gate.close_everywhere("b"), "close_everywhere"),
    (lambda gate: gate.nothing("b"), "nothing"),
]


@pytest.mark.parametrize(("way", "name"), WAYS)
def test_a_gate_of_another_author_is_recorded_however_it_is_called(
    way: Callable[[Any], Any], name: str
) -> None:
    class OwnSwitch(Switch):
        """So that the class attribute of Switch does not change."""

    gate: Any = OwnSwitch()
    pool, log = start(gate)
    way(gate)
    assert [call["call"] for call in log.calls()] == [name]
    assert pool.acquire(now=1.0).backend == "a"
    assert pool.state("a") == ()

    def make(header: Header) -> Pool[Any]:
        fresh_gate: Any = type("OwnSwitch", (Switch,), {})()
        return Pool(LeastConnections(header.members), gates=[fresh_gate])

    assert replay(log, make, unfinished=True).requests == 1


class Proxy:
    """A gate that passes everything on to another gate."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_inner"], name)


def test_a_gate_that_finds_its_methods_when_they_are_called_is_recorded() -> None:
    class Delegating(Proxy):
        due = property(lambda self: self._inner.due)

    gate: Any = Delegating(Switch())
    pool, log = start(gate)
    list(gate.close(["a"]))
    assert pool.acquire(now=1.0).backend == "b"
    assert gate.factor("a", 1.0) == 0
    assert [next(iter(call)) for call in log.calls()] == ["gate", "acquire"]

    def make(header: Header) -> Pool[Any]:
        fresh_gate: Any = Delegating(Switch())
        return Pool(LeastConnections(header.members), gates=[fresh_gate])

    assert replay(log, make, unfinished=True).requests == 1


def test_the_items_of_an_iterator_are_delivered_and_logged() -> None:
    gate: Any = Switch()
    pool, log = start(gate)
    closed = gate.close(name for name in ["b"])
    assert [*closed] == ["b"]
    pool.update((name for name in ["a", "c"]), now=1.0)
    assert [call["args"] for call in log.calls()] == [[["b"]], [["a", "c"]]]
    assert log.calls()[0]["gives"] == ["b"]
    assert [*pool.backends] == ["a", "c"]


class Slotted(Switch):
    __slots__ = ("extra",)


class Delegating:
    """A gate around another one: it has no methods of its own but passes them on."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_inner"], name)


def test_a_gate_around_a_gate_is_recorded_on_both_sides() -> None:
    inner: Any = HealthChecks(1)
    outer: Any = Delegating(inner)
    outer.due = -inf
    log = Log()
    pool = Pool(RoundRobin(["a", "b"]), gates=[outer])
    recorder = Recorder(pool, [inner], write=log.append)
    assert recorder.gates == (outer, inner)
    outer.observe("a", ok=False, now=1.0)
    inner.observe("b", ok=True, now=1.0)
    assert [(call["gate"], call["call"]) for call in log.calls()] == [
        (0, "observe"),
        (1, "observe"),
    ]


def test_a_load_can_be_recorded_too() -> None:
    class Reported(InFlight):
        extra = 0

        def report(self, extra: int) -> None:
            self.extra = extra

        def value(self, backend: object, now: float) -> float:
            return super().value(backend, now) + self.extra * (backend == "a")

    load, log = Reported(), Log()
    pool = Pool(PowerOfTwoChoices(["a", "b"], rng=Random(1), load=load))
    Recorder(pool, gates=[load], write=log.append)
    load.report(3)
    assert {pool.acquire(now=1.0).backend for _ in range(3)} == {"b"}
    assert log.calls()[0] == {"gate": 0, "call": "report", "args": [3]}


def test_calls_of_the_balancer_are_recorded() -> None:
    pool, log = start()
    balancer = pool._balancer
    assert balancer.pick() == "a"
    balancer.put("a", 0)
    assert log.calls() == [
        {"balancer": "pick", "args": [], "gives": "a"},
        {"balancer": "put", "args": ["a", 0], "w": [["a", 0]]},
    ]


def test_a_block_is_recorded_with_what_its_lease_reported() -> None:
    pool, log = start()
    with pool.lease(lambda: 3.0, key=b"\x00\xff") as lease:
        lease.failed(status=503, retry_after=2)
    with pytest.raises(ZeroDivisionError), pool.lease(lambda: 4.0):
        raise ZeroDivisionError
    with pytest.raises(KeyboardInterrupt), pool.lease(lambda: 5.0):
        raise KeyboardInterrupt
    assert log.calls() == [
        {"acquire": 1, "t": 3.0, "key": {"bytes": "00ff"}, "to": "a"},
        {"release": 1, "t": 3.0, "failed": {"outcome": [False, None, 2, 503]}},
        {"acquire": 2, "t": 4.0, "to": "b"},
        {"release": 2, "t": 4.0, "ok": False},
        {"acquire": 3, "t": 5.0, "to": "a"},
        {"release": 3, "t": 5.0, "ok": None},
    ]


def test_a_reading_is_recorded_if_it_may_change_something() -> None:
    health: HealthChecks[str] = HealthChecks(1)
    pool, log = start(health)
    for _ in range(2):
        health.observe("a", ok=False, now=1.0)
        assert pool.state("a") == ("unhealthy",)
        assert not pool.admits("a")
        assert not pool.panicking
        with pytest.raises(UnknownBackend):
            pool.state("unknown")
    kinds = [next(iter(call)) for call in log.calls()]
    assert kinds == ["gate", "read", "gate", "read"]
    assert log.calls()[1] == {"read": True, "w": [["a", 0, "unhealthy"]]}


def test_an_explanation_is_not_recorded() -> None:
    health, switch = HealthChecks[str](1), Switchless()
    pool, log = start(health, switch)
    health.observe("a", ok=False, now=1.0)
    assert pool.explain(2.0).backend == "b"
    assert health.factor("a", 2.0) == 0
    assert switch.factor("a", 2.0) == 1
    assert len(log.calls()) == 1
    assert pool.acquire(3.0).backend == "b"
    assert log.last()["w"] == [["a", 0, "unhealthy"]]


def test_errors_are_recorded_and_raised() -> None:
    pool, log = start(ConnectionLimit(1))
    lease, _ = pool.acquire(1.0), pool.acquire(1.0)
    other = Pool(RoundRobin(["a"])).acquire(1.0)
    everything: Any = pool
    calls: list[tuple[Callable[[], Any], type[Exception] | None]] = [
        (lambda: pool.acquire(1.0), NoBackendAvailable),
        (lambda: pool.acquire(1.0, prefer="z", strict=True), NoBackendAvailable),
        (lambda: pool.acquire(nan), InvalidTime),
        (lambda: everything.acquire("soon"), InvalidTime),
        (lambda: everything.acquire(1.0, avoid="a"), TypeError),
        (lambda: pool.release(lease, inf), InvalidTime),
        (lambda: pool.release(lease, 1.0, elapsed=-1.0), InvalidSetting),
        (lambda: pool.release(lease, 1.0), None),
        (lambda: pool.release(lease, 1.0), AlreadyReleased),
        (lambda: pool.release(other, 1.0), ForeignLease),
        (lambda: everything.release("a", 1.0), TypeError),
        (lambda: pool.add("a"), DuplicateBackend),
        (lambda: pool.remove("z"), UnknownBackend),
        (lambda: everything.update("ab"), TypeError),
    ]
    for call, error in calls:
        with pytest.raises(error) if error else nullcontext():
            call()
    raised = [call["raises"]["type"] for call in log.calls() if "raises" in call]
    assert raised == [error.__name__ for _, error in calls if error is not None]
    saturated = {"type": "NoBackendAvailable", "reason": "saturated", "counts": {"saturated": 2}}
    assert log.calls()[2] == {
        "acquire": 3,
        "t": 1.0,
        "raises": {**saturated, "retry_at": {"float": "inf"}, "full": 2},
        "w": [["b", 0, "saturated"]],
    }

    def make(header: Any) -> Pool[Any]:
        return Pool(LeastConnections(header.members), gates=[ConnectionLimit(1)])

    assert replay(log, make, unfinished=True).lines == len(log)


# nothing is changed


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_recording_changes_no_result(kind: Kind) -> None:
    lines, results = recorded(kind, 11, 400)
    none, unrecorded = recorded(kind, 11, 400, log=False)
    assert results == unrecorded
    assert len(lines) > 300
    assert not none


def test_the_objects_have_their_own_classes_again() -> None:
    health: HealthChecks[str] = HealthChecks()
    balancer = RoundRobin(["a"])
    pool = Pool(balancer, gates=[health])
    log = Log()
    recorder = Recorder(pool, write=log.append)
    assert recorder.pool is pool
    assert recorder.gates == (health,)
    assert isinstance(pool, Pool)
    assert (type(pool).__name__, type(health).__qualname__) == ("Pool", "HealthChecks")
    assert "recording" in repr(recorder)
    recorder.close()
    recorder.close()
    assert "closed" in repr(recorder)
    classes = (type(pool), type(balancer), type(health))
    assert classes == (Pool, RoundRobin, HealthChecks)
    before = len(log)
    pool.acquire(now=1.0)
    health.observe("a", ok=True, now=1.0)
    assert len(log) == before
    assert log.last()["end"] == before - 1


def unpickled(one: Any) -> Any:
    return pickle.loads(pickle.dumps(one))  # noqa: S301 - made here


@pytest.mark.parametrize("copied", [copy.deepcopy, unpickled])
def test_a_copy_is_not_recorded(copied: Callable[[Any], Any]) -> None:
    pool, log = start(HealthChecks(1), Switchless())
    twin = copied(pool)
    assert not log.calls()
    assert twin.acquire(now=1.0).backend == "a"
    twin.update(["a", "b", "c"], now=2.0)
    for gate in twin._gates:
        gate.settle(2.0)
    twin._gates[0].observe("c", ok=False, now=2.0)
    assert twin.state("c") == ("unhealthy",)
    assert not log.calls()
    assert [*pool.backends] == ["a", "b"]
    assert pool.acquire(now=1.0).backend == "a"
    assert len(log.calls()) == 1


class Switchless(MemberGate[str, None]):
    """A gate of another author, with a base class of this package."""

    reason = "nothing"

    def new_state(self, now: float) -> None:
        return

    def factor(self, backend: str, now: float) -> float:
        return 1


def test_a_copy_of_a_gate_of_another_author_has_its_class() -> None:
    gate = Slotted()
    gate.by_function = None  # type: ignore[assignment]  # a function of a test cannot be pickled
    start(gate)
    for twin in (copy.copy(gate), copy.deepcopy(gate), unpickled(gate)):
        assert type(twin) is Slotted
        twin.level = 3
    assert gate.level == 0


def test_a_write_that_fails_ends_the_log_and_not_the_traffic() -> None:
    lines: list[str] = []

    def write(line: str) -> None:
        if len(lines) == 3:
            raise OSError("the disk is full")
        lines.append(line)

    health: HealthChecks[str] = HealthChecks()
    pool = Pool(RoundRobin(["a", "b"]), gates=[health])
    recorder = Recorder(pool, write=write)
    leases = [pool.acquire(now=1.0) for _ in range(6)]
    for lease in leases:
        pool.release(lease, now=2.0)
    health.observe("a", ok=True, now=2.0)
    assert len(lines) == 3
    assert pool.snapshot().in_flight == 0
    with pytest.raises(OSError, match="full"):
        recorder.close()
    recorder.close()
    assert type(pool) is Pool
    assert replay(lines, lambda h: Pool(RoundRobin(h.members), [HealthChecks()]), unfinished=True)


class Unnamed(RuntimeError):
    """Raised by an ``identity`` that no longer knows the backend."""


def test_a_result_that_cannot_be_logged_ends_the_log_and_not_the_traffic() -> None:
    lines: list[str] = []
    known = [True]

    def identity(backend: Named) -> str:
        if not known[0]:
            raise Unnamed
        return backend.name

    hosts = [Named("a"), Named("b")]
    pool = Pool(RoundRobin(hosts))
    recorder = Recorder(pool, write=lines.append, identity=identity)
    recorder._texts._names.clear()  # as if more backends than it stores had been named
    known[0] = False
    leases = [pool.acquire(now=1.0), pool.acquire(now=2.0)]
    for lease in leases:
        pool.release(lease, now=3.0)
    assert [lease.backend for lease in leases] == hosts
    assert pool.snapshot().in_flight == 0
    pool.acquire(now=4.0, key=[object()])  # type: ignore[arg-type]  # nothing is logged any more
    assert len(lines) == 1
    with pytest.raises(Unnamed):
        recorder.close()
    assert type(pool) is Pool


def test_what_ends_after_the_recorder_adds_no_line() -> None:
    """For example a request in a block, which has stored the method of the recorded pool."""
    health: HealthChecks[str] = HealthChecks(1)
    pool, log = Pool(LeastConnections(["a", "b"]), gates=[health]), Log()
    recorder = Recorder(pool, write=log.append)
    observe, explain = health.observe, pool.explain
    with pool.lease(iter((1.0, 3.0)).__next__):
        recorder.close()
        written = len(log)
        explain(2.0)
        observe("b", ok=False, now=2.0)
    assert len(log) == written
    assert pool.snapshot().in_flight == 0
    recorder.close()
    assert repr(recorder) == "<Recorder: 3 lines, 1 requests, closed>"

    def make(header: Header) -> Pool[Any]:
        return Pool(LeastConnections(header.members), gates=[HealthChecks(1)])

    assert replay(log, make).requests == 1


def test_an_error_with_unusual_numbers_is_raised_and_logged() -> None:
    class Refuses(Switch):
        def started(self, *_: Any) -> None:
            counts: Any = {"full": np.int64(3)}
            raise NoBackendAvailable("full", counts, nan)

    pool, log = start(Refuses())
    for _ in range(2):
        with pytest.raises(NoBackendAvailable):
            pool.acquire(now=1.0)
    assert [call["acquire"] for call in log.calls()] == [1, 2]
    assert log.last()["raises"]["counts"] == {"full": 3}


def test_a_write_that_reads_the_pool_is_called_once_for_each_line() -> None:
    log = Log()
    pool = Pool(RoundRobin(["a", "b"]))

    def write(line: str) -> None:
        log.append(line)
        pool.snapshot()

    with Recorder(pool, write=write):
        pool.acquire(now=1.0)
    assert [next(iter(call)) for call in log.calls()] == ["acquire", "end"]


def test_a_value_that_cannot_be_logged_is_refused_before_the_call() -> None:
    health: Any = HealthChecks(1)
    pool, log = start(health)
    before = pickle.dumps(pool)
    anything: Any = pool
    nested: list[Any] = []
    nested.append(nested)
    calls: list[Callable[[], Any]] = [
        lambda: anything.acquire(1.0, key=object()),
        lambda: anything.acquire(1.0, key=nested),
        lambda: anything.acquire(1.0, prefer=object()),
        lambda: anything.acquire(1.0, avoid=np.arange(2)),
        lambda: anything.add(object()),
        lambda: anything.add("c", 1 << 1_000_000),
        lambda: health.observe("a", ok=object(), now=1.0),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
    assert not log.calls()
    assert pickle.dumps(pool) == before
    assert pool.acquire(1.0).backend == "a"


class Final:
    """A class without subclasses."""

    def __init_subclass__(cls) -> None:
        raise RuntimeError("this class has no subclasses")


def test_bad_arguments_are_refused_and_change_nothing() -> None:
    def pool() -> Pool[str]:
        return Pool(RoundRobin(["a"]), gates=[HealthChecks()])

    anything: Any = Recorder
    cases: list[tuple[type[Exception], dict[str, Any]]] = [
        (TypeError, {"pool": RoundRobin(["a"])}),
        (TypeError, {"write": None}),
        (TypeError, {"identity": "name"}),
        (TypeError, {"rng": SystemRandom()}),
        (TypeError, {"rng": [7]}),
        (TypeError, {"rng": 7}),
        (TypeError, {"settings": {"rule": object()}}),
        (TypeError, {"gates": [5]}),
        (TypeError, {"gates": [[]]}),
        (TypeError, {"gates": [Final()]}),
    ]
    for error, arguments in cases:
        given: dict[str, Any] = {"pool": pool(), "write": str, **arguments}
        with pytest.raises(error):
            anything(**given)
        if "pool" not in arguments:
            assert type(given["pool"]) is Pool
            assert type(given["pool"]._gates[0]) is HealthChecks
    used = pool()
    used.acquire(now=1.0)
    with pytest.raises(InvalidSetting, match="before"):
        Recorder(used, write=str)
    refused: Pool[str] = Pool(RoundRobin())
    with pytest.raises(NoBackendAvailable):
        refused.acquire(now=1.0)
    with pytest.raises(InvalidSetting, match="before"):
        Recorder(refused, write=str)
    twice = pool()
    with Recorder(twice, write=str):
        with pytest.raises(AlreadyInUse):
            Recorder(twice, write=str)
        assert type(twice) is not Pool
    Recorder(twice, write=str).close()


# the lines


class Host(NamedTuple):
    name: str
    port: int


class Named:
    def __init__(self, name: str) -> None:
        self.name = name


VALUES: list[Any] = [
    None, True, False, 0, -1, 2**63 - 1, 2**63, -(2**64), 1 << 5000, 0.1, -0.0, 1e300, 5e-324,
    inf, -inf, nan, "", "é", "\udcff", "\u2028\r\n\0", b"", b"\x00\xff", (), ("10.0.0.1", 80),
    [1, [2]], {"a": 1, 2: {"b": ()}}, {1, 2}, frozenset({"a"}), Fraction(1, 3), Host("a", 1),
    Outcome(False, 0.5, 2, 503),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
def test_a_value_is_the_same_after_it_was_read(value: Any) -> None:
    codec = Codec()
    text = dumps(codec.plain(value))
    assert text.isascii()
    assert "\n" not in text
    read = codec.value(json.loads(text))
    assert repr(read) == repr(value) or read == value
    assert isinstance(read, frozenset) or isinstance(value, read.__class__) or value == read
    assert dumps(codec.plain(read)) == text


def test_the_order_of_a_set_is_not_logged() -> None:
    """It differs between processes."""
    assert [*{8, 1}] == [8, 1]
    assert Codec().plain({8, 1}) == Codec().plain({1, 8}) == {"set": [1, 8]}


ORDERS: list[Callable[[list[str]], Any]] = [
    set, frozenset, iter, lambda names: dict.fromkeys(names, 1),
    lambda names: dict.fromkeys(names).keys(), lambda names: Pool(RoundRobin(names)).backends,
]  # fmt: skip


@pytest.mark.parametrize("collection", ORDERS)
def test_members_join_in_the_order_of_the_collection(collection: Callable[[Any], Any]) -> None:
    log = Log()
    pool = Pool(RoundRobin(["a"]))
    with Recorder(pool, write=log.append):
        pool.update(collection(["z", "b", "m", "q", "k"]), now=1.0)
        for now in range(5):
            pool.acquire(now=float(now))
    assert replay(log, lambda header: Pool(RoundRobin(header.members))).requests == 5


def test_a_gate_gets_a_set_that_it_can_change() -> None:
    read = Codec().value(Codec().plain([{1}, frozenset({1})]))
    assert [type(each) for each in read] == [set, frozenset]


def test_the_fields_of_a_named_tuple_are_attributes() -> None:
    codec = Codec()
    read = codec.value(codec.plain(Host("a", 80)))
    assert (read.name, read.port, read) == ("a", 80, Host("a", 80))
    assert codec.plain(read) == codec.plain(Host("a", 80))
    with pytest.raises(AttributeError):
        _ = read.missing
    assert copy.copy(read) == read


def test_numbers_of_numpy_are_logged_as_numbers() -> None:
    codec = Codec()
    assert codec.plain(np.int64(7)) == 7
    assert repr(codec.plain(np.float64(0.1))) == "0.1"
    assert codec.plain(np.bool_(True)) is True
    assert repr(codec.plain(np.float32(0.5))) == "0.5"


@pytest.mark.parametrize(
    "backend", ["é\udcff", b"\xff", 7, -(2**70), ("10.0.0.1", 80), Host("a", 1)]
)
def test_backends_of_the_usual_types_need_no_identity(backend: Any) -> None:
    log = Log()
    pool: Pool[Any] = Pool(LeastConnections([backend]), gates=[HealthChecks(1)])
    with Recorder(pool, write=log.append):
        health: Any = pool._gates[0]
        health.observe(backend, ok=False, now=1.0)
        assert pool.acquire(2.0, prefer=backend, avoid=["x"]).backend == backend
        pool.set_weight(backend, Fraction(1, 3), now=2.0)  # type: ignore[arg-type]  # documented
        pool.remove(backend, now=3.0)

    def make(header: Any) -> Pool[Any]:
        return Pool(LeastConnections(header.members), gates=[HealthChecks(1)])

    assert replay(log, make) == Replayed(len(log), 1)


KEYS: list[Key] = [b"\x00\xff", "é", "\udc80", 0, -5, 2**63, 1 << 5000, ""]


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_keys_are_logged_exactly(key: Key) -> None:
    log = Log()
    pool = Pool(HashRing(["a", "b", "c"]))
    with Recorder(pool, write=log.append):
        for _ in range(2):
            try:
                pool.acquire(1.0, key)
            except ValueError as error:
                assert log.last()["raises"]["type"] == type(error).__name__  # noqa: PT017 - all kinds
    assert repr(Codec().value(log.calls()[0]["key"])) == repr(key)
    assert replay(log, lambda header: Pool(HashRing(header.members))).requests == 2


def test_backends_of_a_class_are_logged_by_their_names() -> None:
    hosts = {name: Named(name) for name in ("a", "b", "c")}
    log = Log()
    health: HealthChecks[Named] = HealthChecks(1)
    pool = Pool(LeastConnections([hosts["a"], hosts["b"]]), gates=[health])
    with Recorder(pool, write=log.append, identity=lambda host: host.name):
        health.observe(hosts["a"], ok=False, now=1.0)
        with pytest.raises(UnknownBackend):
            health.observe(hosts["c"], ok=False, now=1.0)
        lease = pool.acquire(2.0, prefer=hosts["a"], avoid=[hosts["a"]])
        assert lease.backend is hosts["b"]
        pool.update({hosts["b"]: 1, hosts["c"]: 2}, now=3.0)
        with pytest.raises(DuplicateBackend):
            pool.add(Named("c"), now=3.0)
    assert log.calls()[2] == {
        "acquire": 1,
        "t": 2.0,
        "prefer": {"backend": "a"},
        "avoid": [{"backend": "a"}],
        "to": {"backend": "b"},
        "w": [[{"backend": "a"}, 0, "unhealthy"]],
    }
    others = {name: Named(name) for name in hosts}

    def make(header: Any) -> Pool[Any]:
        assert [*header.members] == [others["a"], others["b"]]
        return Pool(LeastConnections(header.members), gates=[HealthChecks(1)])

    assert replay(log, make, resolve=others.__getitem__).requests == 1


def test_identity_must_return_a_str() -> None:
    anything: Any = Recorder
    with pytest.raises(TypeError, match="str"):
        anything(Pool(RoundRobin([Named("a")])), write=str, identity=id)


def test_a_key_with_a_secret_and_the_hasher_are_not_in_the_log() -> None:
    secret = b"do not reveal this"
    log = Log()
    pool = Pool(HashRing(["a", "b"], hasher=KeyedBlake2(secret)))
    with Recorder(pool, write=log.append):
        pool.acquire(1.0, key="user:7")
    text = "".join(log)
    assert secret.decode() not in text
    assert secret.hex() not in text


def test_the_first_line_describes_the_pool() -> None:
    rng = Random(3)
    log = Log()
    pool = Pool(PowerOfTwoChoices({"a": 1, "b": 0.5}, rng=rng), gates=[HealthChecks()], now=7.5)
    Recorder(pool, write=log.append, rng=rng, settings={"seed": 3, "panic": None})
    header = json.loads(log[0])
    assert header["log"] == 1
    assert header["members"] == [["a", 1], ["b", 0.5]]
    assert header["now"] == 7.5
    assert header["gates"] == ["HealthChecks"]
    assert header["balancers"] == balancers.__version__
    assert Codec().value(header["settings"]) == {"seed": 3, "panic": None}
    [state] = Codec().value(header["rng"])
    assert state == rng.getstate()


def test_the_checksum_of_the_state_has_weights_and_requests_in_flight() -> None:
    states: list[int] = []
    for weight, released in ((1, True), (1, False), (2, True)):
        log = Log()
        pool = Pool(LeastConnections({"a": weight}))
        with Recorder(pool, write=log.append):
            lease = pool.acquire(now=1.0)
            if released:
                pool.release(lease, now=1.0)
        states.append(log.last()["state"])
    assert len({*states}) == 3


def test_a_request_needs_few_bytes() -> None:
    _, size = recording_cost.measured(requests=300, rounds=1)
    assert 120 < size <= recording_cost.BYTES + 10  # the first line, of a few requests


def test_leases_that_were_released_are_not_kept() -> None:
    log = Log()
    pool = Pool(LeastConnections(["a"]))
    recorder = Recorder(pool, write=log.append)
    leases = [pool.acquire(float(number)) for number in range(300)]
    assert len(recorder._recording._numbers) == 300
    for lease in leases:
        pool.release(lease, 300.0)
    assert not recorder._recording._numbers
    assert len(log.calls()) == 606  # one after each hundred is a line of checksums


def test_names_that_left_are_not_kept() -> None:
    pool = Pool(LeastConnections[str]())
    recorder = Recorder(pool, write=str, identity=str.upper)
    for number in range(3000):
        pool.update([f"a{number}", f"a{number + 1}"], now=float(number))
        pool.release(pool.acquire(float(number)), float(number))
    assert len(recorder._texts._names) < 5
    assert len(recorder._recording.weights._weights) == 2
