"""Bad input: a typed error that names the value, and nothing changed."""

from collections.abc import Iterable
from copy import deepcopy
from math import inf, nan
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import (
    AlreadyReleased,
    ConnectionLimit,
    Drain,
    DuplicateBackend,
    ForeignLease,
    Gate,
    GateInUse,
    HashRing,
    HealthChecks,
    HealthStateMachine,
    IncompatibleGate,
    InvalidKey,
    InvalidSetting,
    InvalidTime,
    InvalidWeight,
    IPHash,
    LeastConnections,
    MissingKey,
    NoBackendAvailable,
    Outcome,
    Pool,
    PowerOfTwoChoices,
    RandomChoice,
    RingTooLarge,
    RoundRobin,
    SlowStart,
    UnknownBackend,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from tests.kinds import KINDS, Kind, by_name

KEY = "192.0.2.7"
every_kind = pytest.mark.parametrize("kind", KINDS, ids=by_name)


def picks(lb: Any, n: int = 12) -> list[str]:
    return [lb.pick(KEY) for _ in range(n)]


@every_kind
@pytest.mark.parametrize("weight", [-1, -0.5, nan, inf, -inf, True, "1", None, 1e301, 10**400])
def test_a_bad_weight_is_named_and_changes_nothing(kind: Kind, weight: Any) -> None:
    lb = kind.make()
    lb.put("a", 2)
    twin = deepcopy(lb)
    for backend in ("a", "new"):
        with pytest.raises(InvalidWeight, match=f"'{backend}'"):
            lb.put(backend, weight)
    assert dict(lb.weights) == {"a": 2}
    assert picks(lb) == picks(twin)
    pool = Pool(kind.make())
    pool.add("a")
    with pytest.raises(InvalidWeight):
        pool.update({"b": 1, "c": weight})
    with pytest.raises(InvalidWeight):
        pool.set_weight("a", weight)
    assert list(pool.backends) == ["a"]
    assert pool.weight("a") == 1


@every_kind
@pytest.mark.parametrize("backend", [["list"], {}, set()])
def test_an_unhashable_backend_is_a_type_error(kind: Kind, backend: Any) -> None:
    lb: Any = kind.make()
    with pytest.raises(TypeError):
        lb.put(backend)
    with pytest.raises(TypeError):
        Pool(lb).add(backend)
    assert not lb.weights


@pytest.mark.parametrize("make", [HashRing, IPHash, lambda: IPHash(over=HashRing())])
@pytest.mark.parametrize("backend", [object(), 1.5, True, ("h", "80"), ("h", -1), ("h",), None])
def test_an_unnameable_backend_must_be_named(make: Any, backend: Any) -> None:
    lb = make()
    lb.put("fine")
    with pytest.raises(TypeError, match="identity"):
        lb.put(backend)
    assert dict(lb.weights) == {"fine": 1}
    assert lb.pick(KEY) == "fine"


@pytest.mark.parametrize("make", [HashRing, IPHash])
@pytest.mark.parametrize(("first", "second"), [("a", b"a"), (("h", 1), "h:1"), (("::1", 1), "[::1]:1")])
def test_two_backends_of_one_name_are_duplicates(make: Any, first: Any, second: Any) -> None:
    lb = make([first])
    with pytest.raises(DuplicateBackend, match="both"):
        lb.put(second)
    assert list(lb.weights) == [first]


@pytest.mark.parametrize(
    "make",
    [
        lambda: HealthChecks(unhealthy_threshold=0),
        lambda: HealthChecks(healthy_threshold=0),
        lambda: HealthChecks(recovery_time=0),
        lambda: HealthStateMachine(-1, 1),
        lambda: HealthStateMachine(1, True),
        lambda: Drain(timeout=0),
        lambda: Drain(timeout=nan),
        lambda: ConnectionLimit(0),
        lambda: ConnectionLimit(True),
        lambda: SlowStart(0.0),
        lambda: SlowStart(inf),
        lambda: SlowStart(1.0, steps=1),
        lambda: RoundRobin(offset=-1),
        lambda: WeightedRoundRobin(offset=-1),
        lambda: PowerOfTwoChoices(rng=Random(1), choices=0),
        lambda: HashRing(points=0),
        lambda: HashRing(max_points=0),
        lambda: IPHash(ipv4_prefix=33),
        lambda: IPHash(ipv6_prefix=-1),
        lambda: IPHash(over=RoundRobin()),
        lambda: WeightedLeastConnections(rule="least"),  # type: ignore[arg-type]  # - meant
        lambda: Pool(RoundRobin(), panic=1.5),
        lambda: Pool(RoundRobin(), panic=0.5, calm=0.4),
        lambda: Outcome(elapsed=-1.0),
        lambda: Outcome(retry_after=nan),
    ],
)
def test_a_setting_out_of_range_is_refused(make: Any) -> None:
    with pytest.raises(InvalidSetting):
        make()


@pytest.mark.parametrize("make", [RandomChoice, PowerOfTwoChoices])
@pytest.mark.parametrize("rng", [None, 7, "seed"])
def test_rng_must_be_a_generator(make: Any, rng: Any) -> None:
    with pytest.raises(TypeError, match="rng"):
        make(rng=rng)


def test_strangers_are_unknown() -> None:
    health, drain, limit = HealthChecks[str](), Drain[str](), ConnectionLimit[str](1)
    ramp: SlowStart[str] = SlowStart(1.0)
    pool = Pool(WeightedRoundRobin(["a"]), [health, drain, limit, ramp])
    calls: list[Any] = [
        lambda: pool.remove("x"),
        lambda: pool.set_weight("x", 1),
        lambda: pool.weight("x"),
        lambda: pool.effective_weight("x"),
        lambda: pool.in_flight("x"),
        lambda: pool.state("x"),
        lambda: pool.admits("x"),
        lambda: pool.admits("x", bound=True),
        lambda: health.observe("x", True, 0.0),
        lambda: drain.begin("x", 0.0),
        lambda: drain.cancel("x", 0.0),
        lambda: limit.set("x", 2),
        lambda: ramp.begin("x", 0.0),
    ]
    for call in calls:
        with pytest.raises(UnknownBackend, match="'x'"):
            call()
    assert list(pool.backends) == ["a"]


@every_kind
def test_strangers_to_a_lone_balancer_are_ignored(kind: Kind) -> None:
    lb = kind.make()
    lb.put("a")
    lb.started("x")
    lb.finished("x")
    lb.finished("a")
    lb.discard("x")
    assert picks(lb) == ["a"] * 12


def test_a_lease_is_released_once_and_at_home() -> None:
    pool, other = Pool(RoundRobin(["a"])), Pool(RoundRobin(["a"]))
    lease = pool.acquire(0.0)
    with pytest.raises(ForeignLease):
        other.release(lease, 0.0)
    for now in (nan, inf):
        with pytest.raises(InvalidTime):
            pool.release(lease, now)
    with pytest.raises(InvalidSetting):
        pool.release(lease, 0.0, elapsed=-1.0)
    assert (pool.in_flight("a"), lease.released) == (1, False)
    pool.release(lease, 0.0)
    with pytest.raises(AlreadyReleased, match="'a'"):
        pool.release(lease, 0.0)
    assert (pool.in_flight("a"), other.in_flight("a")) == (0, 0)


def test_the_lease_of_a_removed_backend_counts_nowhere() -> None:
    lb: LeastConnections[str] = LeastConnections()
    pool = Pool(lb)
    pool.add("a")
    old = pool.acquire(0.0)
    pool.remove("a")
    pool.add("a")
    new = pool.acquire(0.0)
    pool.release(old, 1.0)
    assert pool.in_flight("a") == 1
    with pytest.raises(AlreadyReleased):
        pool.release(old, 1.0)
    pool.release(new, 1.0)
    assert pool.in_flight("a") == 0
    assert lb._counts == {"a": 0}


def test_a_member_cannot_be_added_twice() -> None:
    pool = Pool(RoundRobin(["a"]))
    with pytest.raises(DuplicateBackend, match="'a'"):
        pool.add("a", 5)
    assert pool.weight("a") == 1


@pytest.mark.parametrize(
    "key", [b"", "", "k" * 1_000_000, b"k" * 1_000_000, "ключ 🔑", 0, -(2**63)]
)
def test_any_key_will_do(key: Any) -> None:
    ring = HashRing(["a", "b", "c"])
    assert ring.pick(key) == ring.pick(key)


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.binary() | st.integers(0, 2**63 - 1))
def test_a_key_and_its_bytes_are_one(key: Any) -> None:
    ring = HashRing(["a", "b", "c"], points=8)
    raw = key.encode() if isinstance(key, str) else key
    raw = raw.to_bytes(8, "little") if isinstance(raw, int) else raw
    assert ring.pick(key) == ring.pick(raw)


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("\ud800", InvalidKey),
        (2**63, InvalidKey),
        (-(2**63) - 1, InvalidKey),
        (None, MissingKey),
        (True, TypeError),
        (1.5, TypeError),
        (bytearray(b"k"), TypeError),
    ],
)
def test_what_is_no_key(key: Any, error: type[Exception]) -> None:
    ring: Any = HashRing(["a"])
    with pytest.raises(error):
        ring.pick(key)
    if key is not None:
        with pytest.raises(error):
            ring.replicas(key, 1)


@pytest.mark.parametrize(
    "key", ["", "host", "1.2.3", "1.2.3.4:80", "[::1]", b"1.2.3.4", b"", 7, 1.5]
)
def test_what_is_no_address(key: Any) -> None:
    lb: Any = IPHash(["a"])
    with pytest.raises(InvalidKey, match="no IP address"):
        lb.pick(key)
    with pytest.raises(MissingKey):
        lb.pick()


@every_kind
def test_time_that_is_no_time(kind: Kind) -> None:
    drain: Drain[str] = Drain()
    pool = Pool(kind.make(), [drain])
    pool.add("a", now=10.0)
    calls: list[Any] = [
        lambda now: pool.acquire(now, KEY),
        lambda now: pool.add("b", 1, now),
        lambda now: pool.remove("a", now),
        lambda now: pool.update(["b"], now),
        lambda now: drain.begin("a", now),
    ]
    for call in calls:
        for now in (nan, inf, -inf):
            with pytest.raises(InvalidTime):
                call(now)
    assert list(pool.backends) == ["a"]
    assert pool.in_flight("a") == 0
    assert pool.acquire(3.0, KEY).acquired_at == 10.0


@every_kind
def test_none_one_and_all_quiesced(kind: Kind) -> None:
    lb = kind.make()
    for pool in (lb, Pool(kind.make())):
        ask = pool.pick if pool is lb else lambda _: pool.acquire(0.0, KEY)  # noqa: B023 - at once
        with pytest.raises(NoBackendAvailable, match="empty"):
            ask(KEY)
    lb.put("a")
    assert lb.pick(KEY) == "a"
    lb.put("a", 0)
    with pytest.raises(NoBackendAvailable) as refusal:
        lb.pick(KEY)
    assert (refusal.value.reason, refusal.value.counts) == ("quiesced", {"quiesced": 1})


@every_kind
@pytest.mark.parametrize("avoid", ["a", b"a", 7])
def test_avoid_is_a_collection_of_backends(kind: Kind, avoid: Any) -> None:
    lb: Any = kind.make()
    lb.put("a")
    with pytest.raises(TypeError, match="avoid"):
        lb.pick(KEY, 0.0, avoid)
    pool = Pool(lb)
    for prefer in (None, "a"):
        with pytest.raises(TypeError, match="avoid"):
            pool.acquire(0.0, KEY, prefer, avoid=avoid)
    assert pool.in_flight("a") == 0


@every_kind
def test_everyone_avoided(kind: Kind) -> None:
    lb = kind.make()
    for backend in "abc":
        lb.put(backend)
    twin = deepcopy(lb)
    with pytest.raises(NoBackendAvailable) as refusal:
        lb.pick(KEY, avoid={"a", "b", "c"})
    assert (refusal.value.reason, refusal.value.counts) == ("avoided", {"avoided": 3})
    if not isinstance(lb, RandomChoice | PowerOfTwoChoices):
        assert picks(lb) == picks(twin)


@every_kind
def test_a_hundred_thousand_backends(kind: Kind) -> None:
    lb = kind.make()
    for number in range(100_000):
        lb.put(f"10.0.0.0:{number}")
    chosen = lb.pick(KEY)
    lb.put(chosen, 0)
    assert lb.pick(KEY) != chosen
    assert lb.pick(KEY, avoid=[chosen]) != chosen
    assert len(lb.weights) == 100_000


@every_kind
@pytest.mark.parametrize(("heavy", "light"), [(1e300, 5e-324), (10**18, 1), (1e300, 1e300)])
def test_weights_at_the_edges(kind: Kind, heavy: float, light: float) -> None:
    lb = kind.make()
    if lb.keyed and heavy > 1:
        try:
            lb.put("a", heavy)
        except RingTooLarge:
            lb.put("a", 1)
    else:
        lb.put("a", heavy)
    lb.put("b", min(light, 1) if lb.keyed else light)
    assert set(picks(lb)) <= {"a", "b"}
    lb.put("a", 0)
    assert set(picks(lb)) == {"b"}


def test_a_ring_too_large_says_what_it_needs() -> None:
    ring = HashRing({"a": 2}, points=100, max_points=300)
    with pytest.raises(RingTooLarge, match="500 points"):
        ring.put("b", 3)
    assert dict(ring.weights) == {"a": 2}
    ring.put("b", 1)


def test_a_gate_serves_one_pool() -> None:
    shared, free = HealthChecks[str](), HealthChecks[str]()
    Pool(RoundRobin(["a"]), [shared])
    with pytest.raises(GateInUse, match="HealthChecks"):
        Pool(RoundRobin(["a"]), [free, shared])
    Pool(RoundRobin(["a"]), [free])
    with pytest.raises(GateInUse):
        Pool(RoundRobin(["a"]), [twice := Drain[str](), twice])


@pytest.mark.parametrize("make", [RoundRobin, LeastConnections, HashRing, IPHash])
def test_a_ramp_over_a_balancer_without_fractions_is_refused(make: Any) -> None:
    with pytest.raises(IncompatibleGate, match=f"SlowStart.*{make.__name__}"):
        Pool(make(), [SlowStart(30.0)])


class Faulty(Gate[str]):
    """Raises where it is told to, once."""

    reason = "faulty"

    def __init__(self) -> None:
        self.where = ""
        self.closed: set[str] = set()
        self.news: set[str] = set()

    def trip(self, where: str) -> None:
        if self.where == where:
            self.where = ""
            raise RuntimeError(where)

    def close(self, backend: str) -> None:
        self.closed.add(backend)
        self.news.add(backend)
        self.due = -inf

    def factor(self, backend: str, now: float) -> float:
        self.trip("factor")
        return 0 if backend in self.closed else 1

    def moved(self, now: float) -> Iterable[str]:
        self.trip("moved")
        self.due = inf
        news, self.news = self.news, set()
        return news

    def added(self, backend: str, now: float) -> None:
        self.trip("added")

    def started(self, backend: str, in_flight: int, now: float) -> None:
        self.trip("started")


@pytest.mark.parametrize("where", ["factor", "moved", "started"])
def test_a_gate_that_raises_is_asked_again(where: str) -> None:
    lb: LeastConnections[str] = LeastConnections(["a", "b"])
    gate, limit = Faulty(), ConnectionLimit[str](1)
    pool = Pool(lb, [limit, gate])
    gate.close("a")
    gate.where = where
    with pytest.raises(RuntimeError, match=where):
        pool.acquire(0.0)
    assert [pool.in_flight(b) for b in "ab"] == [0, 0]
    assert lb._counts == {"a": 0, "b": 0}
    assert pool.acquire(0.0).backend == "b"
    with pytest.raises(NoBackendAvailable) as refusal:
        pool.acquire(0.0)
    assert refusal.value.counts == {"faulty": 1, "saturated": 1}


@pytest.mark.parametrize("where", ["added", "factor"])
def test_a_gate_that_raises_keeps_a_newcomer_out_whole(where: str) -> None:
    gate, drain = Faulty(), Drain[str]()
    pool = Pool(LeastConnections(["a"]), [drain, gate])
    gate.where = where
    with pytest.raises(RuntimeError, match=where):
        pool.update({"a": 3, "b": 1, "c": 1})
    assert list(pool.backends) == ["a"]
    assert pool.weight("a") == 1
    with pytest.raises(UnknownBackend):
        drain.begin("b", 0.0)
    pool.update({"a": 3, "b": 1, "c": 1})
    assert list(pool.backends) == ["a", "b", "c"]


def test_an_update_that_fails_half_way_changes_nothing() -> None:
    ring: HashRing[Any] = HashRing(max_points=1000)
    pool = Pool(ring, [Drain()])
    pool.update({"a": 1, "b": 2, "c": 1})
    leases = [pool.acquire(0.0, f"key {i}") for i in range(20)]
    before = [pool.in_flight(backend) for backend in "abc"]
    owners = [ring.pick(f"key {i}") for i in range(50)]
    for bad in ({"a": 1, object(): 1}, {"b": 1, "d": 9}, {"a": 5, "d": 1, b"d": 1}, {"d": -1}):
        with pytest.raises((TypeError, ValueError)):
            pool.update(bad)
        assert {b: pool.weight(b) for b in pool.backends} == {"a": 1, "b": 2, "c": 1}
        assert [pool.in_flight(backend) for backend in "abc"] == before
        assert [ring.pick(f"key {i}") for i in range(50)] == owners
    for lease in leases:
        pool.release(lease, 1.0)
    assert [pool.in_flight(backend) for backend in "abc"] == [0, 0, 0]


def test_a_populated_balancer_brings_its_members() -> None:
    lb = WeightedRoundRobin({"a": 2, "b": 0})
    pool = Pool(lb, [SlowStart(10.0)], now=5.0)
    assert {b: pool.weight(b) for b in pool.backends} == {"a": 2, "b": 0}
    assert pool.effective_weight("a") == 2 / 16
    assert pool.acquire(15.0).backend == "a"
    assert dict(lb.weights) == {"a": 2, "b": 0}
