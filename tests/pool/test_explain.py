"""``Pool.explain``: it says what ``acquire`` does then, for every balancer, and changes nothing."""

import copy
import json
import pickle
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
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
from balancers.errors import InvalidPick, InvalidTime, MissingKey, NotCopyable, UnknownBackend
from balancers.gates import (
    ActiveChecks,
    CoolDown,
    DynamicLimit,
    FailurePercentage,
    OutlierEjection,
    PassiveChecks,
    WarmUp,
)
from balancers.hashing import Anchor, BoundedLoad, HashRing, Maglev
from balancers.interop import caddy, envoy, haproxy, ketama, nginx
from balancers.pool import Explanation
from tests.depth import runs
from tests.kinds import KINDS

NAMES = [f"10.0.0.{number}:80" for number in range(1, 7)]
KEYS = [f"192.0.2.{number}" for number in range(1, 9)]
GATES = "health active passive outliers cool drain limit dynamic ramp".split()
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
        return {"none": None, "list": [], "other": "other"}.get(fault, picked)


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
    nginx.LeastConn,
    nginx.Hash,
    nginx.ConsistentHash,
    envoy.RoundRobin,
    envoy.LeastRequest,
    envoy.RingHash,
    envoy.Maglev,
)
"""They also refuse for reasons of their own, or pick backends of weight 0."""


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
    }
    return {name: gate for name, gate in every.items() if name in chosen}


class Twins:
    """Two equal pools.  Only the first one explains requests."""

    def __init__(self, name: str, seed: int) -> None:
        self.rng = rng = Random(f"{name} {seed}")
        chosen = {name for name in GATES if rng.random() < 0.5}
        panic = rng.choice([None, 0.0, 0.0, 0.5])
        options = {
            "panic": panic,
            "calm": 0.8 if panic and rng.random() < 0.5 else None,
            "limit": rng.choice([None, None, 5]),
        }
        flag = rng.random() < 0.5
        members = {b: rng.choice([1, 1, 2, 3]) for b in NAMES[: rng.randint(0, len(NAMES))]}
        self.sides: list[Side] = []
        for _ in range(2):
            balancer = MAKERS[name]()
            gates = gates_of(chosen, balancer.fractional, flag)
            events: deque[Event] = deque(maxlen=20)
            pool: Pool[Any] = Pool(balancer, gates.values(), events=events, **options)
            self.sides.append(Side(pool, gates))
        self.events = events
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
        action = rng.choice(["request", "request", "request", "end", "gate", "gate", "members"])
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
        name, ok, number = rng.choice([*self.sides[0].gates]), rng.random() < 0.3, rng.randint(1, 4)

        def happen(side: Side) -> None:
            gate = side.gates[name]
            if name == "health":
                gate.observe(backend, ok, self.now)
            elif name == "active":
                for probe in gate.probes(self.now):
                    gate.answer(probe, ok, self.now)
            elif name == "drain":
                (gate.cancel if ok else gate.begin)(backend, self.now)
            elif name == "limit":
                gate.set(backend, number)
            elif name == "dynamic":
                gate.set_waiting(number, self.now)
            elif name == "ramp":
                gate.begin(backend, self.now)

        self.both(happen)

    def request(self, backend: str) -> str:
        rng = self.rng
        asked = self.now - 20.0 if rng.random() < 0.1 else self.now
        avoid: Any = rng.choice([(), (), (), (), (), [], {backend}, [*NAMES[:5]], "a"])
        options = {
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
        check(explanation, got, copy.deepcopy(self.pool), options)  # to read settles a pool
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
    first, second = (side.pool for side in twins.sides)
    assert pickle.dumps(first) == pickle.dumps(second)
    assert repr(first.snapshot()) == repr(second.snapshot())
    return results


@pytest.mark.parametrize("name", MAKERS)
def test_it_says_what_acquire_does_and_changes_nothing(name: str) -> None:
    results: Counter[str] = Counter()
    for seed in range(runs(60)):
        results += run(name, seed)
    assert results["picked"] > 5
    assert results["NoBackendAvailable"] > 5


def test_the_histories_contain_every_kind_of_request() -> None:
    results = sum((run("Sticky", seed) for seed in range(30)), Counter[str]())
    results += sum((run("Dealer", seed) for seed in range(30)), Counter[str]())
    wanted = "picked bound panic NoBackendAvailable MissingKey TypeError invalid".split()
    assert not [each for each in wanted if results[each] < 5], results
    assert sum((run("Faulty", seed) for seed in range(10)), Counter[str]())["InvalidPick"] > 5
