"""``full`` of a refusal says whether it helps to wait, also with a list of backends."""

from inspect import signature
from random import Random
from typing import Any

import pytest

from balancers import ConnectionLimit, Drain, Gate, Lease, NoBackendAvailable, Pool, RoundRobin
from balancers.gates import CostLimit, CostRateLimit
from balancers.hashing import OwnerOnly, Rendezvous
from balancers.pool._refusals import Refusals


def refusal(pool: Pool[str], **request: Any) -> NoBackendAvailable:
    explained = pool.explain(pool.snapshot().at, **request).error
    with pytest.raises(NoBackendAvailable) as refused:
        pool.acquire(pool.snapshot().at, **request)
    assert repr(explained) == repr(refused.value)
    return refused.value


def random_request(rng: Random) -> dict[str, Any]:
    names = [*"abcd"]
    request: dict[str, Any] = {"cost": rng.choice([0, 1, 4, 9])}
    if rng.random() < 0.6:
        request["among"] = rng.sample(names, rng.randint(0, 3))
    if rng.random() < 0.4:
        request["prefer"] = rng.choice(names)
        request["strict"] = rng.random() < 0.2
    if rng.random() < 0.3:
        request["avoid"] = rng.sample(names, rng.randint(1, 3))
    return request


@pytest.mark.parametrize("seed", range(40))
def test_it_helps_to_wait_if_and_only_if_the_refusal_says_so(seed: int) -> None:
    rng = Random(seed)
    drain, limit = Drain[str](), rng.choice([None, 3])
    gates: list[Gate[str]] = [ConnectionLimit[str](2), CostLimit[str](8), drain]
    pool = Pool(RoundRobin([*"abc"]), gates, limit=limit)
    leases: list[Lease[str]] = []
    for _ in range(60):
        request = random_request(rng)
        if rng.random() < 0.05:
            rng.choice([drain.begin, drain.cancel])(rng.choice("abc"), 0.0)
        try:
            leases.append(pool.acquire(0.0, **request))
            continue
        except NoBackendAvailable as refused:
            full = refused.full
        assert refusal(pool, **request).full == full
        while leases:
            pool.release(leases.pop(), 0.0)
        if full:
            leases.append(pool.acquire(0.0, **request))
        else:
            assert refusal(pool, **request).full == 0


def test_a_preferred_backend_that_is_full_is_worth_waiting_for_whatever_the_list_contains() -> None:
    pool = Pool(RoundRobin(["a", "b"]), [ConnectionLimit[str](1)])
    lease = pool.acquire(0.0, among=["a"])
    refused = refusal(pool, prefer="a", among=["gone"])
    assert (refused.reason, refused.counts, refused.full) == ("unknown", {"unknown": 1}, 1)
    assert refusal(pool, prefer="a", among=["gone"], avoid=["a"]).full == 0
    assert refusal(pool, prefer="a", among=["a"]).full == 1
    pool.release(lease, 1.0)
    assert pool.acquire(1.0, prefer="a", among=["gone"]).bound


def test_the_time_to_try_again_counts_the_preferred_backend() -> None:
    pool = Pool(RoundRobin(["a", "b"]), [CostRateLimit[str](10, period=10.0)])
    pool.acquire(0.0, prefer="a", cost=8)
    refused = refusal(pool, prefer="a", among=[], cost=4)
    assert (refused.full, refused.retry_at) == (0, 2.0)
    assert pool.acquire(2.0, prefer="a", among=[], cost=4).backend == "a"


def test_the_time_to_try_again_counts_the_backends_of_the_list() -> None:
    pool = Pool(RoundRobin(["a", "b", "c"]), [CostRateLimit[str](10, period=10.0)])
    for backend, cost in (("a", 6), ("b", 9), ("c", 5)):
        pool.acquire(0.0, among=[backend], cost=cost)
    assert refusal(pool, among=["b", "a"], cost=6).retry_at == 2.0
    assert refusal(pool, among=["b"], cost=6).retry_at == 5.0


def test_a_preferred_backend_of_the_list_counts_as_a_bound_request_finds_it() -> None:
    drain = Drain[str]()
    pool = Pool(RoundRobin(["a", "b"]), [ConnectionLimit[str](1), drain], limit=2)
    lease = pool.acquire(0.0, among=["a"])
    drain.begin("a", 0.0)
    assert refusal(pool, among=["a"]).full == 0
    assert refusal(pool, among=["a"], prefer="a").full == 1
    pool.acquire(0.0, among=["b"])
    pool.release(lease, 0.0)
    pool.acquire(0.0, prefer="a")
    other = Drain[str]()
    full = Pool(RoundRobin(["a", "b"]), [other], limit=1)
    full.acquire(0.0, among=["b"])
    other.begin("a", 0.0)
    assert refusal(full, among=["a"]).full == 0
    assert refusal(full, among=["a"], prefer="a").full == 1
    assert refusal(full, among=["gone"], prefer="a", strict=True).reason == "saturated"


def test_the_limit_of_the_pool_refuses_the_backends_of_the_list_only() -> None:
    pool = Pool(RoundRobin(["a", "b", "c"]), [CostLimit[str](5)], limit=1)
    lease = pool.acquire(0.0)
    gone = refusal(pool, among=["gone"])
    assert (gone.reason, gone.counts, gone.full) == ("unknown", {"unknown": 1}, 0)
    assert refusal(pool, among=[]).full == 0
    avoided = refusal(pool, among=["a"], avoid=["a"])
    assert (avoided.reason, avoided.full) == ("avoided", 0)
    one = refusal(pool, among=["b", "gone"])
    assert (one.reason, one.counts, one.full) == ("mixed", {"saturated": 1, "unknown": 1}, 1)
    large = refusal(pool, among=["b"], cost=6)
    assert (large.reason, large.counts, large.full) == (
        "too large",
        {"too large": 1, "saturated": 1},
        0,
    )
    assert refusal(pool, among=["gone"], prefer="b").full == 1
    assert refusal(pool, among=["gone"], prefer="b", cost=6).full == 0
    pool.release(lease, 1.0)
    assert pool.acquire(1.0, among=["b", "gone"]).backend == "b"


def test_a_reason_of_the_balancer_counts_every_avoided_member() -> None:
    owners = OwnerOnly(Rendezvous([*"abcdef"]))
    pool = Pool(owners, [CostLimit[str](10)])
    first, *rest = Rendezvous([*"abcdef"]).replicas("key", 6)
    pool.acquire(0.0, "key", cost=6)
    pool.acquire(0.0, among=rest[3:], cost=6)
    refused = refusal(pool, key="key", cost=5, avoid=rest[:3])
    assert (refused.reason, refused.full, owners.owner("key")) == ("saturated", 2, first)
    assert refused.counts == {"saturated": 2, "avoided": 3}


def test_members_without_room_for_the_same_reason_are_decided_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [f"b{number}" for number in range(60)]
    drain = Drain[str]()
    gates: list[Gate[str]] = [CostLimit(10), drain, CostRateLimit(100, period=10.0)]
    pool = Pool(RoundRobin(names), gates)
    for number, name in enumerate(names):
        pool.acquire(number / 8, prefer=name, cost=8 if number % 2 else 3)
        if number < 40:
            pool.release(pool.acquire(number / 8, prefer=name, cost=2), number / 8)
    for name in names[:10]:
        drain.begin(name, 8.0)
    asked: list[str] = []
    original = Refusals[str]._fits_later

    def noted(self: Any, rooms: Any, member: Any, prefer: Any) -> bool:
        asked.append(member.backend)
        return original(self, rooms, member, prefer)

    monkeypatch.setattr(Refusals, "_fits_later", noted)
    with pytest.raises(NoBackendAvailable) as refused:
        pool.acquire(8.0, cost=10, avoid=names[20:30])
    assert refused.value.full == 40
    assert refused.value.counts == {"saturated": 50, "draining": 10, "avoided": 10}
    assert len(asked) <= 4
    with pytest.raises(NoBackendAvailable) as refused:
        pool.acquire(8.0, cost=10, prefer=names[0])
    assert refused.value.full == 51
    assert refused.value.counts == {"saturated": 60, "draining": 10}


@pytest.mark.parametrize("among", ["a", b"a", 5, {"a"}, {"a": 1}, iter("a"), float("nan")])
@pytest.mark.parametrize("prefer", [None, "a", "gone"])
def test_an_invalid_list_is_refused_by_acquire_and_explain(among: Any, prefer: str | None) -> None:
    for pool in (Pool(RoundRobin(["a"])), Pool(RoundRobin(["a"]), limit=1)):
        pool.acquire(0.0)
        for method in (pool.acquire, pool.explain):
            with pytest.raises(TypeError, match="among must be a list of backends"):
                method(0.0, prefer=prefer, among=among)
            with pytest.raises(TypeError, match="among must be a list of backends"):
                method(0.0, prefer=prefer, among=among, strict=True)
        assert pool.in_flight("a") == 1
        assert pool.snapshot().refusals == {}


def test_acquire_explain_and_lease_have_their_parameters_in_one_order() -> None:
    acquire = [*signature(Pool.acquire).parameters]
    assert [*signature(Pool.explain).parameters] == acquire
    assert [*signature(Pool.lease).parameters][2:] == acquire[2:]
