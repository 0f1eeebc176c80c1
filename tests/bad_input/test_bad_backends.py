"""Backends that are not members, duplicate, unhashable or without a name; none, one and many."""

from collections.abc import Callable
from typing import Any

import pytest

from balancers import (
    Balancer,
    ConnectionLimit,
    Drain,
    HealthChecks,
    NoBackendAvailable,
    Pool,
    RoundRobin,
    SlowStart,
    WeightedRoundRobin,
)
from balancers.errors import DuplicateBackend, InvalidKey, UnknownBackend
from tests.bad_input.samples import (
    CLIENT,
    balancer_state,
    every_kind,
    filled,
    gates_for,
    keyed_kinds,
    pool_of,
    pool_state,
)
from tests.kinds import Kind


@every_kind
def test_a_balancer_without_a_pool_ignores_backends_that_are_not_members(kind: Kind) -> None:
    lb = filled(kind)
    before = balancer_state(lb)
    lb.discard("absent")
    lb.started("absent")
    lb.finished("absent")
    lb.finished("a")
    assert balancer_state(lb) == before


@every_kind
def test_a_pool_names_a_backend_that_is_not_a_member(kind: Kind) -> None:
    pool = pool_of(kind)
    before = pool_state(pool)
    calls: list[Callable[[], object]] = [
        lambda: pool.remove("absent", 1.0),
        lambda: pool.set_weight("absent", 2, 1.0),
        lambda: pool.weight("absent"),
        lambda: pool.effective_weight("absent"),
        lambda: pool.in_flight("absent"),
        lambda: pool.state("absent"),
        lambda: pool.admits("absent"),
        lambda: pool.admits("absent", bound=True),
    ]
    for call in calls:
        with pytest.raises(UnknownBackend, match="'absent'") as error:
            call()
        assert isinstance(error.value, KeyError)
        assert error.value.backend == "absent"
    assert "absent" not in pool
    assert pool_state(pool) == before


def test_gates_name_a_backend_that_is_not_a_member() -> None:
    health, drain, limit = HealthChecks[str](), Drain[str](), ConnectionLimit[str](1)
    ramp = SlowStart[str](30.0)
    pool = Pool(WeightedRoundRobin(["a"]), [health, drain, limit, ramp])
    before = pool_state(pool, health, drain, limit, ramp)
    for call in (
        lambda: health.observe("absent", ok=False, now=1.0),
        lambda: health.healthy("absent"),
        lambda: drain.begin("absent", 1.0),
        lambda: drain.cancel("absent", 1.0),
        lambda: drain.draining("absent"),
        lambda: limit.set("absent", 2),
        lambda: ramp.begin("absent", 1.0),
        lambda: health.factor("absent", 1.0),
        lambda: drain.factor("absent", 1.0),
        lambda: limit.factor("absent", 1.0),
        lambda: ramp.factor("absent", 1.0),
    ):
        with pytest.raises(UnknownBackend, match="'absent'"):
            call()
    assert pool_state(pool, health, drain, limit, ramp) == before


@every_kind
def test_adding_a_member_twice_is_refused(kind: Kind) -> None:
    pool = pool_of(kind)
    before = pool_state(pool)
    with pytest.raises(DuplicateBackend, match="'a'"):
        pool.add("a", 5, 1.0)
    assert pool_state(pool) == before


@every_kind
def test_an_unhashable_backend_is_refused(kind: Kind) -> None:
    unhashable: Any = ["a"]
    lb = filled(kind)
    before = balancer_state(lb)
    for call in (lb.put, lb.discard):
        with pytest.raises(TypeError, match="unhashable"):
            call(unhashable)
    assert balancer_state(lb) == before
    pool = pool_of(kind)
    before_in_pool = pool_state(pool)
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
    assert pool_state(pool) == before_in_pool


@keyed_kinds
@pytest.mark.parametrize("backend", [object(), None, True, 1.5, ("h", 70000), ("h", 1, 2), (1, 2)])
def test_a_keyed_balancer_refuses_a_backend_without_a_name(kind: Kind, backend: Any) -> None:
    lb = filled(kind)
    before = balancer_state(lb)
    with pytest.raises(TypeError, match="identity="):
        lb.put(backend)
    assert balancer_state(lb) == before
    pool = pool_of(kind)
    before_in_pool = pool_state(pool)
    with pytest.raises(TypeError, match="identity="):
        pool.add(backend)
    with pytest.raises(TypeError, match=r"identity=|not a host and a port"):
        pool.update(["d", backend])
    assert pool_state(pool) == before_in_pool


@keyed_kinds
@pytest.mark.parametrize("backend", ["\ud800", 1 << 63, -(1 << 63) - 1])
def test_a_keyed_balancer_refuses_a_name_that_cannot_be_hashed(kind: Kind, backend: Any) -> None:
    lb = filled(kind)
    before = balancer_state(lb)
    with pytest.raises(InvalidKey):
        lb.put(backend)
    assert balancer_state(lb) == before


@keyed_kinds
def test_two_members_with_the_same_name_are_refused(kind: Kind) -> None:
    lb: Balancer[Any] = filled(kind)
    before = balancer_state(lb)
    with pytest.raises(DuplicateBackend, match=r"b'a'.*'a'"):
        lb.put(b"a")
    assert balancer_state(lb) == before
    pool: Pool[Any] = pool_of(kind)
    before_in_pool = pool_state(pool)
    with pytest.raises(DuplicateBackend):
        pool.add(b"a")
    with pytest.raises(DuplicateBackend):
        pool.update(["a", b"a"])
    with pytest.raises(DuplicateBackend):
        pool.update(["a", "b", "new", b"new"])
    assert pool_state(pool) == before_in_pool
    pool.update([b"a"])
    assert list(pool.backends) == [b"a"]


@every_kind
def test_any_hashable_object_is_a_backend_of_a_balancer_without_keys(kind: Kind) -> None:
    lb: Balancer[Any] = kind.make()
    if lb.keyed or kind.hashes:
        for with_name in ("a", b"b", 7, ("::1", 80)):
            lb.put(with_name)
    else:
        for without_name in (None, False, 1.5, object(), frozenset({1})):
            lb.put(without_name)
    members = list(lb.weights)
    assert all(lb.pick(CLIENT) in members for _ in range(10))


def test_none_is_a_valid_backend() -> None:
    pool: Pool[str | None] = Pool(RoundRobin([None, "a"]))
    assert [pool.acquire(0.0).backend for _ in range(4)] == [None, "a", None, "a"]


@every_kind
def test_an_empty_balancer_refuses_with_reason_empty(kind: Kind) -> None:
    for avoid in ((), ["a"]):
        with pytest.raises(NoBackendAvailable) as error:
            kind.make().pick(CLIENT, 0.0, avoid)
        assert (error.value.reason, dict(error.value.counts)) == ("empty", {})
    with pytest.raises(NoBackendAvailable) as refusal:
        Pool(kind.make(), gates_for(kind)).acquire(0.0, CLIENT)
    assert refusal.value.reason == "empty"
    assert isinstance(refusal.value, LookupError)


@every_kind
def test_an_only_backend_is_always_picked(kind: Kind) -> None:
    lb = filled(kind, {"only": 0.1})
    for _ in range(20):
        assert lb.pick(CLIENT) == "only"
        lb.started("only")


@pytest.mark.deep
@every_kind
def test_a_hundred_thousand_backends(kind: Kind) -> None:
    lb: Balancer[Any] = (kind.large or kind.make)()
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
