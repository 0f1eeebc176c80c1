"""No view, snapshot, result or error hands out what an object keeps.

For each sample, two equal objects get the same calls: every public property, and every public
method whose arguments are known.  What the first object returns is changed in every possible way.
Then the two objects must still be equal in all that they keep.
"""

import copy
import inspect
import pickle
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial
from operator import attrgetter
from random import Random
from types import FunctionType, MappingProxyType, MethodType
from typing import Any

import numpy as np
import pytest

from balancers import (
    Balancer,
    ConnectionLimit,
    Event,
    HashRing,
    LeastConnections,
    Maglev,
    NoBackendAvailable,
    Outcome,
    Pool,
    RoundRobin,
    WeightedLeastConnections,
)
from balancers.errors import InvalidWeight
from balancers.flows import FlowKey, FlowTable
from balancers.gates import (
    FailurePercentage,
    OutlierEjection,
)
from balancers.http import HealthReport, Networks, Request, TrustedProxies
from balancers.loads import InFlight
from balancers.overload import AdmissionQueue, RetryBudget
from balancers.routing import Route, Router, Split
from balancers.sessions import (
    AddressSessions,
    CookieSessions,
    HeaderSessions,
    LearnedSessions,
)
from tests.kinds import KINDS, PLAIN_GATES, PRESETS
from tests.sessions.samples import tokens

WEIGHTS = {"a": 2, "b": 1, "c": 0}
FLOW = FlowKey("tcp", "192.0.2.1", 1, "198.51.100.7", 443)
GATES = {kind.name: kind.make for kind in PLAIN_GATES.values()}


def is_a(value: Any, kind: Any) -> bool:
    """Return whether the value has this type.  To the type checker, the value stays Any."""
    return isinstance(value, kind)


def balancer_in_use(make: Callable[..., Balancer[Any]], names: Iterable[str]) -> Balancer[Any]:
    """Return a balancer that has picked, counted, closed and re-weighed."""
    lb = make()
    for name, weight in zip(names, WEIGHTS.values(), strict=True):
        try:
            lb.put(name, weight)
        except InvalidWeight:  # all weights of some presets are equal
            lb.put(name, 2)
    for key in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        lb.started(lb.pick(key))
    with suppress(InvalidWeight):
        lb.put(next(iter(lb.weights)), 1)
    lb.pick("192.0.2.9")
    return lb


def pool_in_use(gate: Any = None) -> Pool[str]:
    gates = [make() for name, make in GATES.items() if name != "SlowStart"]
    pool = Pool(
        LeastConnections(WEIGHTS), gates if gate is None else [gate], events=deque(maxlen=50)
    )
    for now in range(4):
        with suppress(NoBackendAvailable):
            lease = pool.acquire(float(now), prefer="a" if now % 2 else None)
            pool.release(lease, now + 0.5, ok=False, retry_after=1.0)
            pool.acquire(now + 0.5)
    return pool


def gate_in_use(name: str) -> Any:
    gate = GATES[name]()
    pool: Any
    if gate.fractional:
        pool = Pool(WeightedLeastConnections(WEIGHTS), [gate], events=deque(maxlen=50))
        pool.acquire(0.0)
    else:
        pool = pool_in_use(gate)
    if name in {"HealthChecks", "ActiveChecks"}:
        gate.observe("b", False, 5.0)
    if name == "Drain":
        gate.begin("b", 5.0)
    return gate


def sessions_in_use(make: Callable[..., Any]) -> Any:
    pool = Pool(RoundRobin(WEIGHTS))
    sticky = make(pool)
    if is_a(sticky, LearnedSessions):
        for number in range(4):
            sticky.learn(f"192.0.2.{number}", pool.acquire(0.0), 0.0)
    return sticky


def flows_in_use() -> FlowTable[str]:
    table = FlowTable[str](max_flows=9)
    ring = HashRing([*"abc"])
    for port in range(12):
        table.route(bytes([port]), ring.pick, float(port), "established" if port % 2 else "new")
    table.keep(FLOW, "a", 12.0, "new")
    table.retire("a")
    table.retire("z")
    return table


def queue_in_use() -> AdmissionQueue[str]:
    queue = AdmissionQueue[str](limit=9)
    for number in range(5):
        queue.join(f"ticket {number}", float(number))
    queue.wake(5.0)
    return queue


def budget_in_use() -> RetryBudget:
    budget = RetryBudget()
    budget.begin(50)
    return budget


def router_in_use() -> Router[str]:
    return Router([
        Route("web"),
        Route("api", prefix="/api/{id}", methods=["GET", "PUT"], headers={"X-Api": True}),
        Route("user", host="*.example.com", path="/u/{name}", cookies={"beta": "1"}),
    ])  # fmt: skip


SAMPLES: dict[str, Callable[[], Any]] = {
    **{kind.name: partial(balancer_in_use, kind.make, "abc") for kind in KINDS},
    **{
        kind.name: partial(
            balancer_in_use, kind.make, ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]
        )
        for kind in PRESETS
    },
    "Maglev-of-10": lambda: balancer_in_use(partial(Maglev, size=11), "abc"),
    **{name: partial(gate_in_use, name) for name in GATES},
    "Pool": pool_in_use,
    "CookieSessions": partial(sessions_in_use, partial(CookieSessions, tokens=tokens())),
    "HeaderSessions": partial(sessions_in_use, partial(HeaderSessions, trusted=True)),
    "LearnedSessions": partial(sessions_in_use, LearnedSessions),
    "AddressSessions": partial(sessions_in_use, AddressSessions),
    "SessionTokens": tokens,
    "FlowTable": flows_in_use,
    "FlowKey": lambda: FLOW,
    "AdmissionQueue": queue_in_use,
    "RetryBudget": budget_in_use,
    "Router": router_in_use,
    "Route": lambda: next(iter(router_in_use())),
    "Split": lambda: Split({"a": 1, "b": 0.5, "c": 0}),
    "InFlight": lambda: started(InFlight()),
    "Networks": lambda: Networks(["10.0.0.0/8", "2001:db8::/32"]),
    "TrustedProxies": lambda: TrustedProxies(["10.0.0.0/8"], header="x-forwarded-for"),
    "HealthReport": lambda: HealthReport(uptime=5.0, version="1"),
}


def started(load: InFlight[str]) -> InFlight[str]:
    load.started("a")
    return load


ARGUMENTS: dict[str, Callable[[Any], Any]] = {
    "backend": lambda _: "a",
    "key": lambda _: "192.0.2.7",
    "digest": lambda _: 12345,
    "now": lambda _: 50.0,
    "k": lambda _: 2,
    "keys": lambda _: ["x", "y"],
    "hashes": lambda _: np.arange(5, dtype=np.uint64) << np.uint64(60),
    "count": lambda _: 5,
    "rng": lambda _: Random(4),
    "in_flight": lambda _: 1,
    "outcome": lambda _: Outcome(ok=False),
    "started_at": lambda _: 40.0,
    "flow": lambda _: FLOW,
    "request": lambda _: Request("GET", "/api/7?x=1", "a.example.com", [("X-Api", "1")]),
    "session": lambda _: "192.0.2.1",
    "weight": lambda _: 3,
    "wall": lambda _: 1e9,
    "segments": lambda _: ["api", "7"],
}
"""The arguments of methods, by the names of the parameters."""
GIVEN = {"balancers", "over", "state_of", "find_state"}
"""The inner balancer, which the caller has made; and what the author of a gate stores in it."""
CHANGES = {"put", "discard", "remove", "removed", "update", "clear", "reweigh", "forget"}


def calls(sample: Any) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Every public member that can be read or called, by name, as a function of the object."""
    for name in sorted(set(dir(sample)) - CHANGES - GIVEN):
        if name.startswith("_"):
            continue
        if not callable(getattr(sample, name)):
            yield name, attrgetter(name)
            continue
        try:
            parameters = inspect.signature(getattr(sample, name)).parameters.values()
        except (TypeError, ValueError):
            continue
        needed = [p.name for p in parameters if p.default is p.empty and p.kind != p.VAR_KEYWORD]
        if all(each in ARGUMENTS for each in needed):
            yield name, partial(call, name=name, needed=needed)
    if is_a(sample, Iterable):
        yield "iteration", list


def call(sample: Any, name: str, needed: list[str]) -> Any:
    return getattr(sample, name)(**{each: ARGUMENTS[each](sample) for each in needed})


def outcome_of(function: Callable[[Any], Any], sample: Any) -> Any:
    """Return the result, or the exception, which may hand something out too."""
    try:
        result = function(sample)
    except Exception as error:  # noqa: BLE001 - any error is a result here
        return error
    return list(result) if is_a(result, Iterator) else result


def spoil(value: Any, seen: dict[int, Any]) -> None:  # noqa: C901, PLR0912 - one branch per type
    """Change everything that can be changed in a value, through every public way."""
    if id(value) in seen or is_a(value, str | bytes | int | float | type | None | Event):
        return
    seen[id(value)] = value  # kept alive, so that no other object gets its id
    if hasattr(value, "mapping"):  # a view of a dict, which names the dict
        owner = value.mapping
        spoil([*owner.values()] if is_a(owner, MappingProxyType) else owner, seen)
    if is_a(value, np.ndarray):
        if value.flags.writeable:
            value[...] = 0
        spoil(value.base, seen)
    elif is_a(value, Mapping):
        for each in [*value.values()]:
            spoil(each, seen)
        for view in (value.keys(), value.values(), value.items()):
            spoil(view, seen)
        if not is_a(value, MappingProxyType) and hasattr(value, "clear"):
            value.clear()
            value["spoilt"] = 99
    elif is_a(value, Collection):
        for each in [*value]:
            spoil(each, seen)
    if is_a(value, list | deque | bytearray):
        value.clear()
    if is_a(value, set):
        value.clear()
        value.add("spoilt")
    if is_a(value, BaseException):
        spoil(value.args, seen)
        spoil(vars(value), seen)
    if type(value).__module__.startswith("balancers") and not is_a(value, FunctionType):
        names = [name for name in dir(value) if not name.startswith("_")]
        attributes = {name: getattr(value, name) for name in names}
        for name, each in attributes.items():
            if not callable(each):
                spoil(each, seen)
                with suppress(AttributeError, TypeError):
                    setattr(value, name, 99)


def kept(value: Any, seen: dict[int, tuple[int, Any]]) -> Any:  # noqa: PLR0911 - one return per type
    """Return all that an object keeps, as tuples that can be compared."""
    if value is None or is_a(value, str | bytes | int | float | type):
        return (type(value).__name__, repr(value))
    if id(value) in seen:
        return ("seen", seen[id(value)][0])
    seen[id(value)] = len(seen), value  # kept alive, so that no other object gets its id
    if is_a(value, np.ndarray):
        return ("array", value.dtype.str, value.shape, value.tobytes())
    if is_a(value, Mapping):
        pairs = tuple((kept(key, seen), kept(each, seen)) for key, each in value.items())
        return (type(value).__name__, pairs)
    if is_a(value, AbstractSet):
        return (type(value).__name__, tuple(sorted(map(repr, value))))
    if is_a(value, list | tuple | deque):
        return (type(value).__name__, tuple(kept(each, seen) for each in value))
    if is_a(value, Random):
        return ("Random", value.getstate())
    if is_a(value, MethodType):
        return ("method", value.__name__, kept(value.__self__, seen))
    if is_a(value, Iterator):
        return (type(value).__name__, tuple(kept(each, seen) for each in copy.copy(value)))
    slots = [
        name
        for each in type(value).__mro__
        for name in getattr(each, "__slots__", ())
        if hasattr(value, name)
    ]
    names = sorted({*slots, *getattr(value, "__dict__", {})})
    return (
        type(value).__name__,
        tuple((name, kept(getattr(value, name), seen)) for name in names),
    )


@pytest.mark.parametrize("make", SAMPLES.values(), ids=SAMPLES)
def test_nothing_that_is_kept_is_handed_out(make: Callable[[], Any]) -> None:
    sample, twin = make(), make()
    assert kept(sample, {}) == kept(twin, {}), "the sample is not the same each time"
    for name, function in calls(sample):
        returned, expected = outcome_of(function, sample), outcome_of(function, twin)
        assert kept(returned, {}) == kept(expected, {}), f"spoilt before {name}"
        spoil(returned, {id(sample): sample, id(FLOW): FLOW})
    assert kept(sample, {}) == kept(twin, {})


def router_of(routes: list[Route[str]]) -> Router[str]:
    return Router(routes)


GIVEN_BY_THE_CALLER: dict[str, tuple[Callable[[Any], Any], Callable[[], Any]]] = {
    **{
        f"{kind.name} {name}": (kind.make, make)
        for kind in KINDS
        for name, make in {
            "mapping": lambda: {"a": 2, "b": 1},
            "list": lambda: ["a", "b"],
        }.items()
    },
    "Split": (Split, lambda: {"a": 1, "b": 2}),
    "Router": (router_of, lambda: [*router_in_use()]),
    "Route": (lambda headers: Route("x", headers=headers), lambda: {"X-Api": "1"}),
    "Route methods": (lambda methods: Route("x", methods=methods), lambda: ["GET"]),
    "Pool": (lambda gates: Pool(RoundRobin(["a"]), gates), lambda: [ConnectionLimit(1)]),
    "OutlierEjection": (
        lambda rules: OutlierEjection[str](1, rules, rng=Random(1)),
        lambda: [FailurePercentage()],
    ),
    "SessionTokens": (tokens, lambda: [b"a key of thirty-two bytes, new.!"]),
    "TrustedProxies": (
        lambda networks: TrustedProxies(networks, header="x-forwarded-for"),
        lambda: ["10.0.0.0/8"],
    ),
    "Networks": (Networks, lambda: ["10.0.0.0/8"]),
}


@pytest.mark.parametrize(("build", "make"), GIVEN_BY_THE_CALLER.values(), ids=GIVEN_BY_THE_CALLER)
def test_what_the_caller_gave_is_not_kept(
    build: Callable[[Any], Any], make: Callable[[], Any]
) -> None:
    given = make()
    sample, twin = build(given), build(make())
    given.clear()
    assert kept(sample, {}) == kept(twin, {})


def test_the_arguments_of_calls_are_not_kept() -> None:
    split, weights = Split({"a": 1}), {"a": 1.0, "b": 2.0}
    split.reweigh(weights)
    weights.clear()
    assert dict(split.weights) == {"a": 1, "b": 2}
    pool, wanted = Pool(RoundRobin(["a"])), {"a": 1, "b": 1}
    pool.update(wanted)
    wanted.clear()
    assert len(pool) == 2
    assert pool.acquire(0.0).backend == "a"


class Leak(Balancer[str]):
    """It hands out its weights, so that the test above must fail for it."""

    def __init__(self) -> None:
        self.kept: dict[str, float] = {"a": 1}

    @property
    def weights(self) -> dict[str, float]:
        return self.kept

    def put(self, backend: str, weight: float = 1) -> None:
        self.kept[backend] = weight

    def discard(self, backend: str) -> None:
        self.kept.pop(backend, None)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        raise NoBackendAvailable("", {"a": 1})


class LeakOfError(Leak):
    """It keeps the counts of its errors."""

    counts: dict[str, int]

    def __init__(self) -> None:
        super().__init__()
        self._counts = {"quiesced": 1}

    @property
    def weights(self) -> Any:
        return MappingProxyType(self.kept)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        raise NoBackendAvailable("quiesced", self._counts)


class LeakOfView(Leak):
    """It hands out a view of a dict with values that can be changed."""

    def __init__(self) -> None:
        self._backends: dict[str, list[int]] = {"a": [1]}

    @property
    def weights(self) -> Any:
        return self._backends.keys()


class LeakOfArray(Leak):
    """It hands out a cached array."""

    def __init__(self) -> None:
        self._table = np.ones(4)

    @property
    def weights(self) -> Any:
        return self._table[1:].view()


@pytest.mark.parametrize("make", [Leak, LeakOfError, LeakOfView, LeakOfArray])
def test_a_leak_is_found(make: Callable[[], Any]) -> None:
    with pytest.raises(AssertionError):
        test_nothing_that_is_kept_is_handed_out(make)


def test_a_route_of_a_router_cannot_be_changed() -> None:
    router = router_in_use()
    route = router.match(Request("GET", "/api/7", headers=[("X-Api", "1")])).route
    assert route is not None
    for name in ("value", "host", "segments", "checks", "methods", "anything"):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(route, name, None)
    twin = pickle.loads(pickle.dumps(route))  # noqa: S301 - own
    assert repr(twin) == repr(route)
    with pytest.raises(AttributeError, match="immutable"):
        twin.value = 1
