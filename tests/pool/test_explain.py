"""``Pool.explain``: it says what ``acquire`` does then, for every balancer, and changes nothing."""

import json
import pickle
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from fractions import Fraction
from html.parser import HTMLParser
from itertools import count
from math import inf, nan
from random import Random, SystemRandom
from threading import Lock
from typing import Any

import pytest

from balancers import (
    ConnectionLimit,
    Drain,
    Event,
    HealthChecks,
    LeastConnections,
    NoBackendAvailable,
    Pool,
    PowerOfTwoChoices,
    RandomChoice,
    RoundRobin,
    SlowStart,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from balancers.errors import (
    InvalidPick,
    InvalidTime,
    MissingKey,
    NotCopyable,
    UnknownBackend,
)
from balancers.gates import (
    ActiveChecks,
    CoolDown,
    DynamicLimit,
    FailurePercentage,
    OutlierEjection,
    PassiveChecks,
    WarmUp,
)
from balancers.hashing import Anchor, BoundedLoad, HashRing, OwnerOnly
from balancers.interop import caddy, envoy, haproxy, ketama, nginx
from balancers.pool import Explanation
from tests.depth import DEEP
from tests.kinds import KINDS

NAMES = [f"10.0.0.{number}:80" for number in range(1, 7)]
KEYS = [f"192.0.2.{number}" for number in range(1, 9)]
GATES = [
    "health",
    "active",
    "passive",
    "outliers",
    "cool",
    "drain",
    "limit",
    "dynamic",
    "ramp",
    "flaky",
]
ACTIONS = ["request", "request", "request", "end", "gate", "gate", "members", "read"]
STEPS = 30


class Dealer:
    """A duck-typed balancer: it deals the open backends from a shuffled pack, and counts picks."""

    keyed = False
    fractional = True
    slots = 0

    def __init__(self) -> None:
        self.weights: dict[Any, float] = {}
        self.pack: list[Any] = []
        self.dealt = 0
        self.rng = Random(5)

    def put(self, backend: Any, weight: float = 1) -> None:
        self.weights[backend] = weight

    def discard(self, backend: Any) -> None:
        self.weights.pop(backend, None)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Collection[Any] = ()) -> Any:
        self.dealt += 1
        opened = [b for b, weight in self.weights.items() if weight and b not in avoid]
        if not opened:
            raise NoBackendAvailable("quiesced")
        self.pack = [backend for backend in self.pack if backend in opened]
        if not self.pack:
            self.pack = opened
            self.rng.shuffle(self.pack)
        return self.pack.pop()

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        self.dealt += 2

    def finished(self, backend: Any, outcome: Any = None, now: float = 0.0) -> None:
        self.rng.random()


class Sticky(Dealer):
    """A keyed balancer with a memory: a key keeps the backend of its first pick while it can."""

    keyed = True

    def __init__(self) -> None:
        super().__init__()
        self.homes: dict[Any, Any] = {}

    def pick(self, key: Any = None, now: float = 0.0, avoid: Collection[Any] = ()) -> Any:
        if key is None:
            raise MissingKey("no key")
        home = self.homes.get(key)
        if home is None or home in avoid or not self.weights.get(home):
            home = self.homes[key] = super().pick(key, now, avoid)
        return home


class Faulty(Dealer):
    """A balancer that sometimes picks a backend that is not a member, or fails."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Collection[Any] = ()) -> Any:
        picked = super().pick(key, now, avoid)
        fault = self.rng.choice(["", "", "none", "list", "other", "error"])
        if fault == "error":
            raise ZeroDivisionError("broken")
        wrong: dict[str, Any] = {"none": None, "list": [], "other": "other"}
        return wrong.get(fault, picked)


class Hesitant(Dealer):
    """A balancer that refuses, although backends are open."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Collection[Any] = ()) -> Any:
        if self.rng.random() < 0.3:
            raise NoBackendAvailable("not today")
        return super().pick(key, now, avoid)


class CountingRing(HashRing[Any]):
    """A subclass of a balancer without state that has one: every third pick is another one."""

    def __init__(self) -> None:
        super().__init__(points=4)
        self.picks = 0

    def pick(self, key: Any = None, now: float = 0.0, avoid: Collection[Any] = ()) -> Any:
        self.picks += 1
        return super().pick(f"{key}{self.picks // 3}", now, avoid)


MAKERS: dict[str, Callable[[], Any]] = {
    **{kind.name: kind.make for kind in KINDS},
    "BoundedLoad-over-Anchor": lambda: BoundedLoad(Anchor(capacity=9), slack=1),
    "Dealer": Dealer,
    "Sticky": Sticky,
    "Faulty": Faulty,
    "Hesitant": Hesitant,
    "CountingRing": CountingRing,
    "nginx-LeastConn": nginx.LeastConn,
    "nginx-Hash": nginx.Hash,
    "nginx-ConsistentHash": nginx.ConsistentHash,
    "haproxy-RoundRobin": haproxy.RoundRobin,
    "haproxy-LeastConn": haproxy.LeastConn,
    "haproxy-Consistent": haproxy.Consistent,
    "envoy-RoundRobin": envoy.RoundRobin,
    "envoy-LeastRequest": lambda: envoy.LeastRequest(rng=Random(4)),
    "envoy-RingHash": lambda: envoy.RingHash(minimum_ring_size=64, hash_balance_factor=120),
    "envoy-Maglev": lambda: envoy.Maglev(table_size=53),
    "caddy-Rendezvous": lambda: caddy.Rendezvous(fallback=caddy.RoundRobin()),
    "ketama-LibmemcachedKetama": ketama.LibmemcachedKetama,
}


OWN_RULES = (
    Hesitant,
    OwnerOnly,
    nginx.LeastConn,
    nginx.Hash,
    nginx.ConsistentHash,
    envoy.RoundRobin,
    envoy.LeastRequest,
    envoy.RingHash,
    envoy.Maglev,
)
"""They also refuse for reasons of their own, or pick backends of weight 0."""


class Flaky(Drain[Any]):
    """A gate that cannot be asked for a factor while it is broken."""

    reason = "flaky"
    broken = False

    def call(self, backend: Any, ok: bool, number: int, now: float) -> None:
        if number == 1:
            self.broken = not self.broken
        else:
            (self.cancel if ok else self.begin)(backend, now)

    def factor(self, backend: Any, now: float) -> float:
        if self.broken:
            raise OSError("no answer")
        return super().factor(backend, now)


@dataclass
class Side:
    """One of two pools that get the same calls."""

    pool: Pool[Any]
    gates: dict[str, Any]
    leases: list[Any] = field(default_factory=list[Any])
    probes: list[Any] = field(default_factory=list[Any])


def gates_of(chosen: Collection[str], fractional: bool, flag: bool) -> dict[str, Any]:
    ramp: Any = SlowStart(8.0, 4) if fractional else WarmUp(8.0, 4)
    every = {
        "health": HealthChecks(2, 2, 7.0, initial="down" if flag else "up"),
        "active": ActiveChecks(2, 2, rng=Random(1), slow_after=20.0),
        "passive": PassiveChecks(max_fails=2, fail_timeout=5.0, max_trials=2),
        "outliers": OutlierEjection(
            3,
            [FailurePercentage(minimum_hosts=2, request_volume=2)],
            interval=4.0,
            base_ejection_time=6.0,
            jitter=0.5,
            rng=Random(2),
        ),
        "cool": CoolDown(consecutive_failures=2, max_time=30.0, rng=Random(3)),
        "drain": Drain(timeout=10.0, last_resort=flag),
        "limit": ConnectionLimit(3),
        "dynamic": DynamicLimit(minconn=2, maxconn=5, fullconn=12),
        "ramp": ramp,
        "flaky": Flaky(),
    }
    return {name: gate for name, gate in every.items() if name in chosen}


class Twins:
    """Two equal pools.  Only the first one explains requests."""

    def __init__(self, name: str, seed: int) -> None:
        self.rng = rng = Random(f"{name} {seed}")
        chosen = {name for name in GATES if rng.random() < 0.35}
        panic = rng.choice([None, 0.0, 0.0, 0.5])
        options: dict[str, Any] = {
            "panic": panic,
            "calm": 0.8 if panic and rng.random() < 0.5 else None,
            "limit": rng.choice([None, None, 5]),
        }
        flag = rng.random() < 0.3
        members = {b: rng.choice([1, 1, 2, 3]) for b in NAMES[: rng.choice([0, 1, 3, 4, 5, 6])]}
        self.sides: list[Side] = []
        for _ in range(2):
            balancer = MAKERS[name]()
            gates = gates_of(chosen, balancer.fractional, flag)
            events: deque[Event] = deque(maxlen=20)
            pool: Pool[Any] = Pool(balancer, gates.values(), events=events, **options)
            self.sides.append(Side(pool, gates))
        self.now = 0.0
        self.both(lambda side: side.pool.update(members, self.now))

    @property
    def pool(self) -> Pool[Any]:
        return self.sides[0].pool

    def both(self, call: Callable[[Side], Any]) -> list[Any]:
        """Make a call on both sides.  Return the two results; an exception is a result too."""
        results: list[Any] = []
        for side in self.sides:
            try:
                results.append(call(side))
            except Exception as error:  # noqa: BLE001 - compared
                results.append(error)
        return results

    def step(self) -> str:
        rng = self.rng
        self.now += rng.choice([0.0, 0.0, 0.25, 1.0, 3.0, 8.0])
        backend = rng.choice(NAMES)
        action = rng.choice(ACTIONS)
        if action == "request":
            return self.request(backend)
        if action == "end" and self.sides[0].leases:
            place = rng.randrange(len(self.sides[0].leases))
            ok, later = rng.choice([True, True, False, False, None]), rng.choice([None, None, 4.0])
            self.both(
                lambda side: side.pool.release(
                    side.leases.pop(place), self.now, ok, retry_after=later
                )
            )
        if action == "gate":
            self.gate_event(backend)
        if action == "read":
            self.both(lambda side: side.pool.snapshot())
        if action == "members":
            weight = rng.choice([0, 1, 2, 3])
            chosen = {b: rng.choice([1, 2]) for b in NAMES if rng.random() < 0.6}
            change: Callable[[Pool[Any]], Any] = rng.choice(
                [
                    lambda pool: pool.add(backend, weight or 1, self.now),
                    lambda pool: pool.remove(backend, self.now),
                    lambda pool: pool.set_weight(backend, weight, self.now),
                    lambda pool: pool.update(chosen, self.now, keep=5.0),
                ]
            )
            self.both(lambda side: change(side.pool))
        return action

    def gate_event(self, backend: str) -> None:
        rng = self.rng
        if not self.sides[0].gates:
            return
        name, ok, number = rng.choice([*self.sides[0].gates]), rng.random() < 0.4, rng.randint(1, 4)

        events: dict[str, Callable[[Any], object]] = {
            "health": lambda gate: gate.observe(backend, ok, self.now),
            "active": lambda gate: [
                gate.answer(probe, ok, self.now) for probe in gate.probes(self.now)
            ],
            "drain": lambda gate: (gate.cancel if ok else gate.begin)(backend, self.now),
            "flaky": lambda gate: gate.call(backend, ok, number, self.now),
            "limit": lambda gate: gate.set(backend, number),
            "dynamic": lambda gate: gate.set_waiting(number, self.now),
            "ramp": lambda gate: gate.begin(backend, self.now),
        }
        if name in events:
            self.both(lambda side: events[name](side.gates[name]))

    def request(self, backend: str) -> str:
        rng = self.rng
        asked = self.now - 20.0 if rng.random() < 0.1 else self.now
        avoid: Any = rng.choice([(), (), (), (), (), [], {backend}, [*NAMES[:5]], "a"])
        options: dict[str, Any] = {
            "key": rng.choice([*KEYS, *KEYS, None]),
            "prefer": rng.choice([None, None, None, backend, backend, "other", []]),
            "strict": rng.random() < 0.4,
            "avoid": avoid,
        }
        before = pickle.dumps(self.pool)
        invalid: Exception | None = None
        explanation: Any = None
        try:
            explanation = self.pool.explain(asked, **options)
        except TypeError as error:
            invalid = error
        assert pickle.dumps(self.pool) == before
        got, expected = self.both(lambda side: side.pool.acquire(asked, **options))
        assert described(got) == described(expected)
        if invalid is not None:
            assert described(got) == described(invalid)
            return "invalid"
        reader = pickle.loads(pickle.dumps(self.pool))  # noqa: S301 - our own pickle
        check(explanation, got, reader, options)  # to read a pool applies what is due
        if isinstance(got, Exception):
            return type(got).__name__
        for side, lease in zip(self.sides, (got, expected), strict=True):
            side.leases.append(lease)
        return "bound" if got.bound else "panic" if got.panic else "picked"


def described(result: Any) -> Any:
    """Return what of a lease or an exception can be compared."""
    if isinstance(result, NoBackendAvailable):
        return str(result), result.reason, result.counts, result.retry_at, result.full
    if isinstance(result, Exception):
        return type(result), str(result).split(" object at ", 1)[0]
    return result.backend, result.bound, result.panic, result.acquired_at


def check(explained: Explanation[Any], got: Any, pool: Pool[Any], options: Any) -> None:
    """Compare an explanation with the result of ``acquire``, and with the pool after it."""
    served = not isinstance(got, Exception)
    rows = {member.backend: member for member in explained.members}
    assert (explained.error is None) is served
    if served:
        assert (explained.backend, explained.bound) == (got.backend, got.bound)
        assert explained.panicking is got.panic
        assert rows[got.backend].excluded == () or isinstance(pool._balancer, OWN_RULES)
    else:
        assert (explained.backend, explained.bound) == (None, False)
        assert described(explained.error) == described(got)
    if any(getattr(gate, "broken", False) for gate in pool._gates):
        return  # the pool cannot be read
    assert explained.at == pool.snapshot().at
    assert list(rows) == list(pool.backends)
    for backend, row in rows.items():
        assert row.weight == pool.weight(backend)
        assert row.in_flight == pool.in_flight(backend) - (served and got.backend == backend)
        if not served:
            assert row.effective_weight == pool.effective_weight(backend)
    if isinstance(got, NoBackendAvailable):
        check_reasons(got, rows, pool, options)
    json.loads(json.dumps(explained.as_dict(), allow_nan=False))


def check_reasons(got: NoBackendAvailable, rows: Any, pool: Pool[Any], options: Any) -> None:
    """The reasons of the rows are those that the error counts."""
    if isinstance(pool._balancer, OWN_RULES):
        return
    if options["strict"] and options["prefer"] is not None:
        home = rows.get(options["prefer"])
        if got.reason != "saturated":
            assert set(got.counts) <= ({"unknown"} if home is None else {*home.excluded})
        for backend, row in rows.items():
            assert ("not preferred" in row.excluded) is (backend != options["prefer"])
        return
    counts: Counter[str] = Counter()
    for row in rows.values():
        assert row.excluded
        counts.update([each for each in row.excluded if each != "avoided"] or ["avoided"])
    if "saturated" not in counts:
        assert counts == Counter(got.counts)


def run(name: str, seed: int) -> Counter[str]:
    twins = Twins(name, seed)
    results = Counter(twins.step() for _ in range(STEPS))
    first, second = (pickle.dumps(side.pool) for side in twins.sides)
    assert first == second
    return results


@pytest.mark.parametrize("name", MAKERS)
def test_it_says_what_acquire_does_and_changes_nothing(name: str) -> None:
    results: Counter[str] = Counter()
    for seed in range(36 if DEEP else 5):
        results += run(name, seed)
    assert results["picked"] > 2
    assert results["NoBackendAvailable"] > 2


def test_the_histories_contain_every_kind_of_request() -> None:
    results = sum((run("Sticky", seed) for seed in range(15)), Counter[str]())
    results += sum((run("Dealer", seed) for seed in range(15)), Counter[str]())
    wanted = [
        "picked",
        "bound",
        "panic",
        "NoBackendAvailable",
        "MissingKey",
        "TypeError",
        "invalid",
    ]
    assert not [each for each in wanted if results[each] < 3], results
    assert sum((run("Faulty", seed) for seed in range(10)), Counter[str]())["InvalidPick"] > 5


def served(pool: Pool[Any], **request: Any) -> tuple[Any, bool]:
    explained = pool.explain(5.0, **request)
    assert explained.error is None
    return explained.backend, explained.bound


def refused(pool: Pool[Any], **request: Any) -> NoBackendAvailable:
    error = pool.explain(5.0, **request).error
    assert isinstance(error, NoBackendAvailable)
    with pytest.raises(NoBackendAvailable) as raised:
        pool.acquire(5.0, **request)
    assert described(raised.value) == described(error)
    return error


def test_a_pool_without_members() -> None:
    pool: Pool[str] = Pool(RoundRobin())
    assert refused(pool).reason == "empty"
    assert refused(pool, prefer="a", strict=True).reason == "unknown"
    assert str(pool.explain(5)) == (
        "at 5: NoBackendAvailable: no backend available: empty\n"
        "  backend  weight  effective  load  in flight  excluded by"
    )


def test_the_latest_time_seen_replaces_an_earlier_time_and_stays() -> None:
    pool = Pool(RoundRobin(["a"]), now=7.0)
    assert pool.explain(3.0).at == 7.0
    assert pool.explain(9.0).at == 9.0
    assert pool.snapshot().at == 7.0


@pytest.mark.parametrize("now", [nan, inf, -inf, None, True, "1", 1e301])
def test_an_invalid_time_is_refused_as_by_acquire(now: Any) -> None:
    pool = Pool(RoundRobin(["a"]))
    with pytest.raises(InvalidTime) as raised:
        pool.explain(now)
    with pytest.raises(InvalidTime, match="finite seconds") as expected:
        pool.acquire(now)
    assert str(raised.value) == str(expected.value)


@pytest.mark.parametrize("avoid", ["a", b"a", 5, None, iter("a")])
def test_an_invalid_avoid_is_refused_as_by_acquire(avoid: Any) -> None:
    pool = Pool(RoundRobin(["a"]))
    with pytest.raises(TypeError) as raised:
        pool.explain(0.0, avoid=avoid)
    with pytest.raises(TypeError, match="avoid must be") as expected:
        pool.acquire(0.0, avoid=avoid)
    assert str(raised.value) == str(expected.value)


def test_a_missing_key_is_explained_with_the_table() -> None:
    explained = Pool(HashRing({"a": 1, "b": 0})).explain(0.0)
    assert isinstance(explained.error, MissingKey)
    assert [member.excluded for member in explained.members] == [(), ("quiesced",)]
    assert explained.as_dict()["error"]["type"] == "MissingKey"


def test_a_pick_that_is_not_a_member() -> None:
    balancer = RoundRobin(["a"])
    pool = Pool(balancer)
    balancer.put("b")
    balancer.discard("a")
    error = pool.explain(0.0).error
    with pytest.raises(InvalidPick) as raised:
        pool.acquire(0.0)
    assert str(error) == str(raised.value)


def test_a_gate_that_fails_is_explained_with_what_is_known() -> None:
    class Broken(Drain[str]):
        def changes(self, now: float) -> list[str]:
            raise OSError("no answer")

    gate = Broken()
    pool = Pool(RoundRobin(["a", "b"]), [gate])
    assert pool.explain(0.0).backend == "a"
    gate.begin("a", 1.0)
    explained = pool.explain(1.0)
    assert isinstance(explained.error, OSError)
    assert [member.backend for member in explained.members] == ["a", "b"]


def test_what_is_ignored_in_a_panic_excludes_no_backend() -> None:
    health, drain = HealthChecks[str](1, 1), Drain[str]()
    pool = Pool(RoundRobin(["a", "b", "c"]), [health, drain])
    health.observe("a", ok=False, now=1.0)
    assert pool.explain(1.0).members[0].excluded == ("unhealthy",)
    assert pool.explain(1.0).ignored == ()
    health.observe("b", ok=False, now=1.0)
    drain.begin("c", 1.0)
    explained = pool.explain(1.0)
    assert (explained.panicking, explained.ignored) == (True, ("unhealthy",))
    assert [member.excluded for member in explained.members] == [(), (), ("draining",)]
    assert [member.factors["unhealthy"] for member in explained.members] == [0, 0, 1]
    assert [member.effective_weight for member in explained.members] == [1, 1, 0]
    assert not pool._census.panicking
    assert "panic: ignored: unhealthy" in str(explained)


def test_a_last_resort_is_ignored_without_a_panic() -> None:
    drain = Drain[str](last_resort=True)
    pool = Pool(RoundRobin(["a"]), [drain])
    drain.begin("a", 1.0)
    explained = pool.explain(1.0)
    assert (explained.backend, explained.panicking) == ("a", False)
    assert explained.ignored == ("draining",)
    assert "\nignored: draining\n" in str(explained)


def test_a_backend_that_recovers_is_explained_as_warming_up() -> None:
    health = HealthChecks[str](1, 1, recovery_time=5.0)
    pool = Pool(WeightedRoundRobin({"a": 100, "b": 100}), [health, SlowStart(10.0)])
    health.observe("a", ok=False, now=1.0)
    assert pool.acquire(1.0).backend == "b"
    health.observe("a", ok=True, now=3.0)
    row = pool.explain(3.0).members[0]
    assert 0 < row.factors["slow start"] < 1
    assert 0 < row.effective_weight < 100
    pool.acquire(3.0)
    assert row.effective_weight == pool.effective_weight("a")


@pytest.mark.parametrize("avoid", [[], ["other"]])
def test_a_balancer_that_picks_closed_backends_is_asked_when_acquire_asks_it(
    avoid: list[str],
) -> None:
    class Careless(Dealer):
        def pick(self, key: Any = None, now: float = 0.0, avoid: Collection[Any] = ()) -> Any:
            return next(iter(self.weights))

    pool: Pool[Any] = Pool(Careless())
    pool.update({"a": 0})
    if avoid:
        assert served(pool, avoid=avoid) == ("a", False)
        assert pool.acquire(5.0, avoid=avoid).backend == "a"
    else:
        assert refused(pool).reason == "quiesced"


def test_changes_that_a_failing_gate_left_are_foreseen() -> None:
    gate = Flaky()
    pool = Pool(RoundRobin(["a", "b"]), [gate])
    gate.begin("a", 1.0)
    gate.broken = True
    with pytest.raises(OSError, match="no answer"):
        pool.acquire(1.0)
    gate.broken = False
    assert gate.due > 1.0
    explained = pool.explain(1.0)
    assert (explained.backend, explained.members[0].excluded) == ("b", ("flaky",))


def test_a_recovery_that_was_read_before_is_foreseen_at_the_time_of_the_request() -> None:
    class ClosesOnSecondRecovery(Flaky):
        recoveries = 0

        def recovered(self, backend: Any, now: float) -> None:
            self.recoveries += 1
            if self.recoveries == 2:
                self.begin(backend, now)

    health, gate = HealthChecks[Any](1, 1), ClosesOnSecondRecovery()
    pool = Pool(RoundRobin(["a", "b"]), [health, gate])
    health.observe("a", ok=False, now=1.0)
    assert pool.acquire(1.0).backend == "b"
    health.observe("a", ok=True, now=1.0)
    assert pool.state("a") == ()  # this reading calls ``recovered``, and the next request again
    assert pool.due > 2.0
    explained = pool.explain(2.0)
    assert explained.members[0].excluded == ("flaky",)
    assert explained.backend == pool.acquire(2.0).backend == "b"
    assert pool.state("a") == ("flaky",)


def test_a_kept_member_that_leaves_at_this_moment_is_no_longer_listed() -> None:
    pool = Pool(RoundRobin(["a", "b"]))
    pool.update(["b"], now=1.0, keep=4.0)
    assert [(each.backend, each.excluded) for each in pool.explain(4.0).members] == [
        ("a", ("leaving",)),
        ("b", ()),
    ]
    assert [each.backend for each in pool.explain(5.0, prefer="a").members] == ["b"]
    assert [*pool.backends] == ["a", "b"]


def test_bound_requests() -> None:
    drain = Drain[str]()
    pool = Pool(RoundRobin(["a", "b", "c"]), [drain])
    drain.begin("b", 1.0)
    assert served(pool, prefer="b") == ("b", True)
    assert served(pool, prefer="b", avoid=["b"]) == ("a", False)
    assert served(pool, prefer="other") == ("a", False)
    explained = pool.explain(5.0, prefer="b", strict=True)
    assert [member.excluded for member in explained.members] == [
        ("not preferred",),
        (),
        ("not preferred",),
    ]
    assert "at 5.0: b is used, because it is preferred" in str(explained)
    assert refused(pool, prefer="b", strict=True, avoid=["b"]).reason == "avoided"
    assert pool.explain(5.0, prefer="b", avoid=["a"]).members[0].excluded == ("avoided",)


def test_a_strict_request_is_refused_for_the_reasons_that_refuse_bound_requests() -> None:
    drain, limit = Drain[str](), ConnectionLimit[str](1)
    pool = Pool(RoundRobin(["a", "b"]), [drain, limit])
    pool.acquire(1.0)
    drain.begin("a", 1.0)
    assert dict(refused(pool, prefer="a", strict=True).counts) == {"saturated": 1}
    strict = pool.explain(5.0, prefer="a", strict=True)
    assert strict.members[0].excluded == ("saturated",)
    assert pool.explain(5.0, prefer="a").members[0].excluded == ("draining", "saturated")


def test_a_leaving_member_stays_one_when_a_gate_changes() -> None:
    drain = Drain[str]()
    pool = Pool(RoundRobin(["a", "b"]), [drain])
    drain.begin("a", 1.0)
    pool.acquire(1.0)
    pool.update(["b"], now=1.0, keep=9.0)
    drain.cancel("a", 2.0)
    assert pool.explain(2.0).members[0].excluded == ("leaving",)


@pytest.mark.parametrize("make", [kind.make for kind in KINDS], ids=[kind.name for kind in KINDS])
def test_a_changed_copy_leaves_the_balancer_as_it_is(make: Callable[[], Any]) -> None:
    balancer = make()
    for name in NAMES[:4]:
        balancer.put(name)
        balancer.pick(key=KEYS[0])
    before = pickle.dumps(balancer)
    copied = deepcopy(balancer)
    for name in NAMES[4:]:
        copied.put(name)
        copied.started(copied.pick(key=KEYS[0]))
    copied.put(NAMES[0], 0)
    copied.put(NAMES[1], 2)
    copied.discard(NAMES[5])
    copied.pick(key=KEYS[0])
    assert pickle.dumps(balancer) == before


def test_the_limit_of_the_pool_excludes_every_backend() -> None:
    pool = Pool(RoundRobin({"a": 1, "b": 0}), limit=1)
    pool.acquire(0.0)
    assert refused(pool).full == 1
    rows = pool.explain(5.0, prefer="a").members
    assert [row.excluded for row in rows] == [("saturated",), ("quiesced", "saturated")]


def test_refusals_are_not_counted() -> None:
    pool = Pool(RoundRobin(["a"]))
    for _ in range(3):
        pool.explain(0.0, avoid=["a"])
        pool.explain(0.0, prefer="b", strict=True)
    assert pool.snapshot().refusals == {}


def test_no_event_is_recorded_and_the_events_are_not_copied() -> None:
    class Uncopied(deque[Event]):
        def __deepcopy__(self, memo: Any) -> Any:
            raise AssertionError

    events, health = Uncopied(maxlen=9), HealthChecks[str](1, 1)
    pool = Pool(RoundRobin(["a"]), [health], events=events)
    health.observe("a", ok=False, now=1.0)
    before = [*events]
    assert pool.explain(1.0).panicking
    assert [*events] == before


def test_two_gates_with_the_same_reason_are_told_apart() -> None:
    first, second = Drain[str](), Drain[str]()
    pool = Pool(RoundRobin(["a"]), [first, second])
    second.begin("a", 1.0)
    row = pool.explain(1.0).members[0]
    assert row.factors == {"draining": 1, "draining #2": 0}
    assert row.excluded == ("draining",)


def test_reasons_that_look_numbered_are_told_apart() -> None:
    gates: list[Any] = [Drain() for _ in range(4)]
    for gate, reason in zip(gates, ("x #2", "x", "x", "x #2"), strict=True):
        gate.reason = reason
    pool = Pool(RoundRobin(["a"]), gates=gates)
    gates[2].begin("a", now=0.0)
    member = pool.explain(1.0).members[0]
    assert member.factors == {"x #2": 1, "x": 1, "x #3": 0, "x #2 #2": 1}


class Remembering(Dealer):
    """Its load counts the readings."""

    readings = 0

    def load_of(self, backend: Any, now: float) -> float:
        self.readings += 1
        return self.readings


def test_the_loads_are_those_of_a_copy_also_for_a_bound_request() -> None:
    balancer = Remembering()
    balancer.put("a", 1)
    pool: Pool[Any] = Pool(balancer)
    requests: list[dict[str, Any]] = [{"prefer": "a"}, {}, {"prefer": "b", "strict": True}]
    for request in requests:
        assert pool.explain(1.0, **request).members[0].load == 1
    assert balancer.readings == 0


class Wordless(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def test_an_error_without_a_text_is_shown() -> None:
    class Failing(Dealer):
        def pick(self, *_: Any, **__: Any) -> Any:
            raise Wordless

    balancer = Failing()
    balancer.put("a", 1)
    explained = Pool(balancer).explain(1.0)
    assert "Wordless: Wordless()" in str(explained)
    assert "Wordless()" in explained._repr_html_()
    assert explained.as_dict()["error"]["message"] == "Wordless()"


def test_long_weights_are_rounded_in_the_table() -> None:
    pool = Pool(WeightedRoundRobin({"a": 10**300, "b": 10**15, "c": 10**15 + 1}))
    rows = [line.split()[-4] for line in str(pool.explain(1.0)).splitlines()[2:]]
    assert rows == ["1e+300", "1000000000000000", "1e+15"]


class Milliseconds:
    """A load that is not an int."""

    def __init__(self, value: Any) -> None:
        self.given = value

    def value(self, backend: str, now: float) -> Any:
        return self.given

    def started(self, backend: str, now: float = 0.0) -> None: ...
    def finished(self, backend: str, outcome: Any = None, now: float = 0.0) -> None: ...
    def removed(self, backend: str) -> None: ...


LOADED: list[tuple[Callable[[], Any], Any]] = [
    (lambda: LeastConnections(["a", "b"]), 2),
    (lambda: WeightedLeastConnections({"a": 5, "b": 5}), 2),
    (lambda: WeightedLeastConnections({"a": 5, "b": 5}, rule="sed"), 2),
    (lambda: PowerOfTwoChoices({"a": 0.3, "b": 1}, rng=Random(1)), 2),
    (lambda: PowerOfTwoChoices(["a"], rng=Random(1), load=Milliseconds(Fraction(1, 2))), 0.5),
    (lambda: PowerOfTwoChoices(["a"], rng=Random(1), load=Milliseconds(inf)), inf),
    (lambda: BoundedLoad(HashRing(["a", "b"]), slack=9), 2),
    (lambda: nginx.LeastConn(["a:80", "a"]), 2),
    (lambda: haproxy.LeastConn(["a", "b"]), 2),
    (lambda: envoy.LeastRequest(["a", "b"], rng=Random(1)), 2),
    (lambda: RoundRobin(["a"]), None),
    (lambda: HashRing(["a"]), None),
]


@pytest.mark.parametrize(("make", "load"), LOADED)
def test_the_load_is_the_number_of_the_balancer(make: Callable[[], Any], load: Any) -> None:
    balancer = make()
    pool: Pool[Any] = Pool(balancer)
    for _ in range(2):
        pool.acquire(0.0, key="k", prefer="a")
    explained = pool.explain(0.0, key="k")
    row = {member.backend: member for member in explained.members}["a"]
    assert row.load == load
    json.dumps(explained.as_dict(), allow_nan=False)
    if load is not None:
        with pytest.raises(UnknownBackend):
            balancer.load_of("other", 0.0)


def test_a_load_that_cannot_be_computed_is_shown_as_none() -> None:
    pool = Pool(PowerOfTwoChoices(["a", "b"], rng=Random(1), load=Milliseconds("1 ms")))
    explained = pool.explain(0.0)
    assert isinstance(explained.error, TypeError)
    assert "1 ms" in str(explained)


def test_an_attribute_that_is_no_method_is_no_load() -> None:
    class Mine(RoundRobin[str]):
        load_of = "a text"

    assert Pool(Mine(["a"])).explain(0.0).members[0].load is None


class Slotted(Dealer):
    """A balancer whose attributes are slots, and with a backend that is equal only to itself."""

    __slots__ = ("extra",)


def test_backends_that_are_equal_only_to_themselves_are_shared_with_the_copy() -> None:
    class Host:
        pass

    hosts = [Host(), Host(), Host()]
    pool: Pool[Any] = Pool(Slotted())
    pool.update(hosts)
    for _ in range(20):
        explained = pool.explain(0.0)
        assert explained.backend is pool.acquire(0.0).backend
        assert explained.backend in hosts


class Locked(Dealer):
    def __init__(self) -> None:
        super().__init__()
        self.lock = Lock()


class Generating(Dealer):
    def __init__(self) -> None:
        super().__init__()
        self.numbers: Iterator[int] = (number for number in count())


class Shared(Dealer):
    def __deepcopy__(self, memo: Any) -> Any:
        return self


@pytest.mark.parametrize(
    "make",
    [Locked, Generating, Shared, lambda: RandomChoice[str]((), rng=SystemRandom())],
)
def test_a_balancer_that_cannot_be_copied_is_named(make: Callable[[], Any]) -> None:
    balancer = make()
    pool: Pool[Any] = Pool(balancer, limit=1)
    pool.update(["a", "b"])
    with pytest.raises(NotCopyable, match=type(balancer).__name__):
        pool.explain(0.0)
    assert served(pool, prefer="a") == ("a", True)  # the balancer is not asked
    lease = pool.acquire(0.0, prefer="a")
    assert refused(pool).reason == "saturated"
    pool.release(lease, 6.0)
    pool.update(["a"], now=6.0, keep=1.0)
    with pytest.raises(NotCopyable, match=type(balancer).__name__):
        pool.explain(7.0, prefer="a")


def test_a_gate_that_cannot_be_copied_is_named_when_its_changes_are_due() -> None:
    class LockedDrain(Drain[str]):
        def __init__(self) -> None:
            super().__init__()
            self.lock = Lock()

    gate = LockedDrain()
    pool = Pool(RoundRobin(["a", "b"]), [gate])
    assert pool.explain(0.0).backend == "a"
    gate.begin("a", 1.0)
    with pytest.raises(NotCopyable, match=r"^<Drain: .* cannot be copied, .*lock"):
        pool.explain(1.0)
    pool.acquire(1.0)
    assert pool.explain(1.0).backend == "b"


def test_the_table_is_aligned() -> None:
    pool = Pool(WeightedLeastConnections({"a": 1, "漢字": 30, "b" * 70: 0.25}), [Drain()])
    pool.acquire(0.0)
    lines = str(pool.explain(1.5)).splitlines()
    assert lines[0].startswith("at 1.5: ")
    starts = [
        line.index(" 1  ") if "漢字" not in line else line.index(" 1  ") + 2 for line in lines[2:]
    ]
    assert lines[1] == (
        "  backend" + " " * 53 + "  weight  draining  effective  load  in flight  excluded by"
    )
    assert "…" in lines[4]
    assert len(set(starts)) <= 3
    ends = {line.rstrip()[-1] for line in lines[2:]}
    assert ends <= {"0", "1"}
    assert len({len(line) + line.count("漢字") * 2 for line in lines[2:]}) == 1


HOSTILE = [
    "<script>alert(1)</script>",
    "a\nb",
    "\x1b[31mred",
    "\u202eevil",
    "\ud800",
    "",
    "  ",
    "&amp;",
    "'\"><img src=x onerror=alert(1)>",
    ("<b>", 80),
    b"<i>",
    None,
    -(10**5000),
]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert not attrs
        self.seen.add(tag)
        if tag == "tr":
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += f"|{data}"


def test_hostile_names_reasons_and_messages_stay_text() -> None:
    class Hostile(Drain[Any]):
        reason = "<u>\n</u>"

    class Failing(Dealer):
        def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
            raise ValueError("<h1>\n\x07")

    gate = Hostile()
    pool: Pool[Any] = Pool(Failing(), [gate])
    pool.update(dict.fromkeys(HOSTILE, 1))
    for name in HOSTILE:
        gate.begin(name, 1.0)
    for avoid in ([], HOSTILE[:2]):
        explained = pool.explain(1.0, avoid=avoid)
        html = explained._repr_html_()
        tags = Tags()
        tags.feed(html)
        wanted = {"table", "caption", "thead", "tbody", "tr", "th", "td", "span"}
        assert tags.seen <= {*wanted, "br", "strong"}
        assert len(tags.cells) == 1 + len(HOSTILE)
        text = str(explained)
        assert len(text.splitlines()) == 2 + len(HOSTILE)
        assert all(line.isprintable() for line in text.splitlines())
        text.encode()
        assert "  ''  " in text
        assert "  '  '  " in text
        parsed = json.loads(json.dumps(explained.as_dict(), allow_nan=False))
        assert [each["backend"] for each in parsed["members"][:3]] == HOSTILE[:3]
    gate.cancel(HOSTILE[0], 1.0)
    assert "<h1>" not in pool.explain(1.0)._repr_html_()
    assert "ValueError: <h1>" in str(pool.explain(1.0))


def test_as_dict_is_plain_data() -> None:
    health = HealthChecks[str](1, 1, recovery_time=8.0)
    pool = Pool(WeightedLeastConnections({"a": 1, "b": 2.5}), [health, SlowStart(10.0)], panic=None)
    pool.acquire(0.0)
    health.observe("a", ok=False, now=1.0)
    health.observe("b", ok=False, now=1.0)
    explained = pool.explain(2.0, avoid=["b"])
    assert explained.as_dict() == {
        "at": 2.0,
        "backend": None,
        "bound": False,
        "error": {
            "type": "NoBackendAvailable",
            "message": str(explained.error),
            "reason": "unhealthy",
            "counts": {"unhealthy": 2},
            "retry_at": None,
            "full": 0,
        },
        "panicking": False,
        "ignored": [],
        "members": [
            {
                "backend": "a",
                "weight": 1,
                "factors": {"unhealthy": 0, "slow start": 1},
                "effective_weight": 0,
                "load": 0,
                "in_flight": 0,
                "excluded": ["unhealthy"],
            },
            {
                "backend": "b",
                "weight": 2.5,
                "factors": {"unhealthy": 0, "slow start": 1},
                "effective_weight": 0,
                "load": 1,
                "in_flight": 1,
                "excluded": ["unhealthy", "avoided"],
            },
        ],
    }
    drain = Drain[str](timeout=3.0)
    draining = Pool(RoundRobin(["a"]), [drain])
    drain.begin("a", 1.0)
    error = draining.explain(1.0).as_dict()["error"]
    assert error["retry_at"] is None or isinstance(error["retry_at"], float)
    assert draining.explain(0.0, prefer="a").as_dict()["backend"] == "a"


def test_an_explanation_can_be_pickled_and_does_not_keep_the_copies() -> None:
    pool = Pool(RoundRobin(["a"]))
    avoided: list[list[str]] = [[], ["a"]]
    for avoid in avoided:
        explained = pool.explain(1.0, avoid=avoid)
        loaded = pickle.loads(pickle.dumps(explained))  # noqa: S301 - our own pickle
        assert str(loaded) == str(explained)
        assert loaded._repr_html_() == explained._repr_html_()
        error = explained.error
        assert error is None or (error.__traceback__, error.__context__) == (None, None)


def test_kept_members_return_in_the_order_in_which_they_joined() -> None:
    """The order of the events does not depend on where the members are in memory."""
    names = [f"host-{number}" for number in range(40)]
    events: deque[Event] = deque(maxlen=100)
    pool = Pool(RoundRobin(names), events=events)
    pool.update([], now=1.0, keep=9.0)
    events.clear()
    pool.update(names, now=2.0)
    assert [event.backend for event in events] == names
