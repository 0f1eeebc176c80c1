"""Strangers, duplicates, the unhashable and the unnameable; none, one, and too many."""

from collections.abc import Callable
from typing import Any

import pytest

from balancers import (
    Balancer,
    ConnectionLimit,
    Drain,
    HashRing,
    HealthChecks,
    IPHash,
    Maglev,
    NoBackendAvailable,
    Pool,
    RoundRobin,
    SlowStart,
    WeightedRoundRobin,
)
from balancers.errors import DuplicateBackend, InvalidKey, UnknownBackend
from balancers.hashing import BoundedLoad
from tests.bad_input.samples import (
    CLIENT,
    books,
    every_kind,
    filled,
    future,
    gates_for,
    named_kinds,
    pool_of,
)
from tests.kinds import Kind


@every_kind
def test_strangers_to_a_lone_balancer_are_ignored(kind: Kind) -> None:
    lb = filled(kind)
    before = future(lb)
    lb.discard("stranger")
    lb.started("stranger")
    lb.finished("stranger")
    lb.finished("a")
    assert future(lb) == before


@every_kind
def test_a_pool_names_the_stranger(kind: Kind) -> None:
    pool = pool_of(kind)
    before = books(pool)
    calls: list[Callable[[], object]] = [
        lambda: pool.remove("stranger", 1.0),
        lambda: pool.set_weight("stranger", 2, 1.0),
        lambda: pool.weight("stranger"),
        lambda: pool.effective_weight("stranger"),
        lambda: pool.in_flight("stranger"),
        lambda: pool.state("stranger"),
        lambda: pool.admits("stranger"),
        lambda: pool.admits("stranger", bound=True),
    ]
    for call in calls:
        with pytest.raises(UnknownBackend, match="'stranger'") as error:
            call()
        assert isinstance(error.value, KeyError)
        assert error.value.backend == "stranger"
    assert "stranger" not in pool
    assert books(pool) == before


def test_gates_name_the_stranger() -> None:
    health, drain, limit = HealthChecks[str](), Drain[str](), ConnectionLimit[str](1)
    ramp = SlowStart[str](30.0)
    pool = Pool(WeightedRoundRobin(["a"]), [health, drain, limit, ramp])
    before = books(pool, health, drain, limit, ramp)
    for call in (
        lambda: health.observe("stranger", ok=False, now=1.0),
        lambda: health.healthy("stranger"),
        lambda: drain.begin("stranger", 1.0),
        lambda: drain.cancel("stranger", 1.0),
        lambda: drain.draining("stranger"),
        lambda: limit.set("stranger", 2),
        lambda: ramp.begin("stranger", 1.0),
        lambda: health.factor("stranger", 1.0),
        lambda: drain.factor("stranger", 1.0),
        lambda: limit.factor("stranger", 1.0),
        lambda: ramp.factor("stranger", 1.0),
    ):
        with pytest.raises(UnknownBackend, match="'stranger'"):
            call()
    assert books(pool, health, drain, limit, ramp) == before


@every_kind
def test_a_member_is_not_added_twice(kind: Kind) -> None:
    pool = pool_of(kind)
    before = books(pool)
    with pytest.raises(DuplicateBackend, match="'a'"):
        pool.add("a", 5, 1.0)
    assert books(pool) == before


@every_kind
def test_a_backend_is_hashable(kind: Kind) -> None:
    unhashable: Any = ["a"]
    lb = filled(kind)
    before = future(lb)
    for call in (lb.put, lb.discard):
        with pytest.raises(TypeError, match="unhashable"):
            call(unhashable)
    assert future(lb) == before
    pool = pool_of(kind)
    known = books(pool)
    for change in (
        lambda: pool.add(unhashable),
        lambda: pool.remove(unhashable),
        lambda: pool.set_weight(unhashable, 2),
        lambda: pool.update([unhashable]),
        lambda: pool.state(unhashable),
        lambda: pool.acquire(0.0, CLIENT, prefer=unhashable),
    ):
        with pytest.raises(TypeError, match="unhashable"):
            change()
    assert books(pool) == known


@named_kinds
@pytest.mark.parametrize("backend", [object(), None, True, 1.5, ("h", 70000), ("h", 1, 2), (1, 2)])
def test_a_keyed_balancer_asks_how_to_name_a_backend(kind: Kind, backend: Any) -> None:
    lb = filled(kind)
    before = future(lb)
    with pytest.raises(TypeError, match="identity="):
        lb.put(backend)
    assert future(lb) == before
    pool = pool_of(kind)
    known = books(pool)
    with pytest.raises(TypeError, match="identity="):
        pool.add(backend)
    with pytest.raises(TypeError, match="identity="):
        pool.update(["d", backend])
    assert books(pool) == known


@named_kinds
@pytest.mark.parametrize("backend", ["\ud800", 1 << 63, -(1 << 63) - 1])
def test_a_keyed_balancer_refuses_a_name_that_cannot_be_hashed(kind: Kind, backend: Any) -> None:
    lb = filled(kind)
    before = future(lb)
    with pytest.raises(InvalidKey):
        lb.put(backend)
    assert future(lb) == before


@named_kinds
def test_two_members_with_one_name(kind: Kind) -> None:
    lb: Balancer[Any] = filled(kind)
    before = future(lb)
    with pytest.raises(DuplicateBackend, match=r"b'a'.*'a'"):
        lb.put(b"a")
    assert future(lb) == before
    pool: Pool[Any] = pool_of(kind)
    known = books(pool)
    with pytest.raises(DuplicateBackend):
        pool.add(b"a")
    with pytest.raises(DuplicateBackend):
        pool.update(["a", b"a"])
    with pytest.raises(DuplicateBackend):
        pool.update(["new", b"new", "b"])
    assert books(pool) == known
    pool.update([b"a"])
    assert list(pool.backends) == [b"a"]


@every_kind
def test_any_hashable_is_a_backend_where_no_name_is_needed(kind: Kind) -> None:
    lb: Balancer[Any] = kind.make()
    if lb.keyed:
        for named in ("a", b"b", 7, ("::1", 80)):
            lb.put(named)
    else:
        for unnamed in (None, False, 1.5, object(), frozenset({1})):
            lb.put(unnamed)
    members = list(lb.weights)
    assert all(lb.pick(CLIENT) in members for _ in range(10))


def test_none_is_a_backend_like_any_other() -> None:
    pool: Pool[str | None] = Pool(RoundRobin([None, "a"]))
    assert [pool.acquire(0.0).backend for _ in range(4)] == [None, "a", None, "a"]


@every_kind
def test_an_empty_balancer_says_so(kind: Kind) -> None:
    for avoid in ((), ["a"]):
        with pytest.raises(NoBackendAvailable) as error:
            kind.make().pick(CLIENT, 0.0, avoid)
        assert (error.value.reason, dict(error.value.counts)) == ("empty", {})
    with pytest.raises(NoBackendAvailable) as refusal:
        Pool(kind.make(), gates_for(kind)).acquire(0.0, CLIENT)
    assert refusal.value.reason == "empty"
    assert isinstance(refusal.value, LookupError)


@every_kind
def test_one_backend_is_always_picked(kind: Kind) -> None:
    lb = filled(kind, {"only": 0.1})
    for _ in range(20):
        assert lb.pick(CLIENT) == "only"
        lb.started("only")


@every_kind
def test_a_hundred_thousand_backends(kind: Kind) -> None:
    sparse: dict[str, Balancer[Any]] = {
        "HashRing": HashRing(points=1),
        "IPHash-over-HashRing": IPHash(over=HashRing(points=1)),
        "BoundedLoad-over-HashRing": BoundedLoad(HashRing(points=1)),
        "Maglev": Maglev(size=200_003),
    }
    lb: Balancer[Any] = sparse.get(kind.name) or kind.make()
    pool: Pool[int] = Pool(lb)
    pool.update(range(100_000))
    assert len(pool) == len(lb.weights) == 100_000
    for step in range(3):
        lease = pool.acquire(float(step), CLIENT)
        chosen = lease.backend
        assert pool.acquire(float(step), CLIENT, avoid={chosen}).backend != chosen
        pool.set_weight(chosen, 0)
        assert pool.acquire(float(step), CLIENT).backend != chosen
        pool.release(lease, float(step))
        pool.set_weight(chosen, 1)
