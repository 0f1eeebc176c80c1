"""A change that fails has no effect, not even in part."""

from typing import Any

import pytest

from balancers import (
    BalancersError,
    ConnectionLimit,
    Drain,
    HashRing,
    LeastConnections,
    NoBackendAvailable,
    Pool,
)
from balancers.errors import (
    AlreadyInUse,
    AlreadyReleased,
    DuplicateBackend,
    ForeignLease,
    IncompatibleGate,
    InvalidKey,
    InvalidSetting,
    InvalidTime,
    InvalidWeight,
    MissingKey,
    RingTooLarge,
    UnknownBackend,
)
from tests.bad_input.samples import CLIENT, every_kind, filled, gates_for, pool_state
from tests.kinds import Kind


@pytest.mark.parametrize(
    ("update", "error"),
    [
        ({"b": 5, "new": 1, object(): 1}, TypeError),
        ({"b": 5, "new": 1, "huge": 10**9}, RingTooLarge),
        ({"a": 10**9, "b": 5}, RingTooLarge),
        ({"b": 5, "new": 2, b"new": 1}, DuplicateBackend),
        ({"b": 5, b"b": 1}, DuplicateBackend),
        ({"new": 1, "\ud800": 1}, InvalidKey),
        ({"new": 1, "b": -1}, InvalidWeight),
    ],
)
def test_an_update_that_fails_midway_changes_nothing(
    update: dict[Any, Any], error: type[Exception]
) -> None:
    drain, limit = Drain[Any](), ConnectionLimit[Any](3)
    ring = HashRing[Any]({"a": 1, "b": 2, "c": 0, "d": 1}, points=8, max_points=1000)
    pool = Pool(ring, [drain, limit])
    leases = [pool.acquire(1.0, key, prefer="a") for key in range(3)]
    drain.begin("d", 1.0)
    pool.acquire(1.0, "any key")
    before = (
        pool_state(pool, drain, limit),
        dict(ring.weights),
        [ring.pick(key) for key in range(99)],
    )
    with pytest.raises(error):
        pool.update(update, 2.0)
    assert pool_state(pool, drain, limit) == before[0]
    assert (dict(ring.weights), [ring.pick(key) for key in range(99)]) == before[1:]
    for lease in leases:
        pool.release(lease, 3.0)
    assert pool.in_flight("a") == 0


def test_a_failed_update_restores_the_counts_of_a_removed_backend() -> None:
    class RefusesOne(LeastConnections[str]):
        def put(self, backend: str, weight: float = 1) -> None:
            if backend == "refused":
                raise ArithmeticError(backend)
            super().put(backend, weight)

    pool = Pool(RefusesOne(["a", "b"]))
    leases = [pool.acquire(0.0, prefer="a") for _ in range(3)]
    with pytest.raises(ArithmeticError):
        pool.update(["b", "refused"], 1.0)
    assert pool.in_flight("a") == 3
    assert [pool.acquire(1.0).backend for _ in range(3)] == ["b", "b", "b"]
    for lease in leases:
        pool.release(lease, 2.0)
    assert [pool.acquire(2.0).backend for _ in range(3)] == ["a", "a", "a"]


def test_an_update_is_checked_by_its_final_state() -> None:
    ring = HashRing[str](points=10, max_points=100)
    pool = Pool(ring)
    pool.update({"a": 1, "b": 9})
    pool.update({"a": 9, "b": 1})
    assert dict(ring.weights) == {"a": 9, "b": 1}


def test_a_closed_backend_cannot_get_more_points_than_the_ring_allows() -> None:
    drain = Drain[str]()
    pool = Pool(HashRing(["a", "b"], points=10, max_points=100), [drain])
    drain.begin("a", 1.0)
    assert pool.acquire(1.0, "key").backend == "b"
    with pytest.raises(RingTooLarge, match="'a'"):
        pool.set_weight("a", 1000, 1.0)
    assert pool.weight("a") == 1
    drain.cancel("a", 2.0)
    assert pool.acquire(2.0, "key").backend in {"a", "b"}


@every_kind
def test_a_pool_takes_over_the_members_of_its_balancer(kind: Kind) -> None:
    lb = filled(kind)
    pool = Pool(lb, gates_for(kind)[:3], now=7.0)
    assert list(pool.backends) == ["a", "b", "c"]
    assert [pool.weight(b) for b in pool.backends] == [2, 1, 0]
    assert pool.state("c") == ("quiesced",)
    lease = pool.acquire(1.0, CLIENT)
    assert lease.acquired_at == 7.0
    assert pool.in_flight(lease.backend) == 1


def test_every_error_is_a_balancers_error_and_the_matching_builtin() -> None:
    expected: dict[type[Exception], type[Exception]] = {
        NoBackendAvailable: LookupError, UnknownBackend: KeyError, DuplicateBackend: ValueError,
        InvalidWeight: ValueError, InvalidKey: ValueError, InvalidTime: ValueError,
        InvalidSetting: ValueError, RingTooLarge: ValueError, IncompatibleGate: ValueError,
        AlreadyInUse: RuntimeError, AlreadyReleased: RuntimeError, ForeignLease: ValueError,
        MissingKey: TypeError,
    }  # fmt: skip
    for error, builtin in expected.items():
        assert issubclass(error, BalancersError)
        assert issubclass(error, builtin)
