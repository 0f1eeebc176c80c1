"""Tiers behind the gates of a pool: health, drains, limits, panics, refusals."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from math import inf
from random import Random
from typing import Any

import pytest

from balancers import (
    ConnectionLimit,
    Drain,
    HealthChecks,
    LeastConnections,
    NoBackendAvailable,
    Pool,
    Rendezvous,
    RoundRobin,
    SlowStart,
    WeightedRoundRobin,
)
from balancers.algorithms import Tiers
from balancers.errors import IncompatibleGate, UnknownBackend
from balancers.gates import CostLimit
from balancers.interop import envoy
from balancers.overload import AdmissionQueue
from balancers.pool import Lease
from tests.algorithms.tier_members import State, expected_shares, members, tier_of, tiers
from tests.depth import runs

WHOLE, NONE = Fraction(1), Fraction(0)


def checks() -> HealthChecks[str]:
    return HealthChecks(unhealthy_threshold=1, healthy_threshold=1)


def fail(health: HealthChecks[str], backends: list[str], now: float) -> None:
    for backend in backends:
        health.observe(backend, ok=False, now=now)


def share_of_first(pool: Pool[str], now: float, requests: int = 100) -> int:
    counts: Counter[str] = Counter()
    for _ in range(requests):
        lease = pool.acquire(now)
        counts[lease.backend[0]] += 1
        pool.release(lease, now)
    return counts["a"]


@pytest.mark.parametrize(
    ("factor", "expected"), [(1.4, [100, 100, 70, 35, 0]), (inf, [100, 100, 100, 100, 0])]
)
def test_primaries_that_fail_one_by_one(factor: float, expected: list[int]) -> None:
    health = checks()
    pool = Pool(tiers((4, 4), factor), [health], panic=None)
    found: list[int] = []
    for down in range(5):
        fail(health, members(0, 4)[:down], float(down))
        found.append(share_of_first(pool, float(down)))
    assert found == expected


def test_dead_primaries_and_a_panic_leave_all_to_the_backup() -> None:
    health = checks()
    for factor in (1.4, inf):
        lb = tiers((4, 1), factor)
        pool = Pool(lb, [health := checks()], panic=0.5)
        fail(health, members(0, 4), 1.0)
        picked = [pool.acquire(2.0).backend for _ in range(50)]
        assert pool.panicking
        assert picked == ["b0"] * 50


def test_all_dead_and_the_pool_fails_open_by_numbers() -> None:
    health = checks()
    pool = Pool(tiers((4, 1)), [health], panic=0.0)
    fail(health, [*members(0, 4), "b0"], 1.0)
    assert share_of_first(pool, 2.0) == 80
    pool = Pool(tiers((4, 1)), [health := checks()], panic=None)
    fail(health, [*members(0, 4), "b0"], 1.0)
    with pytest.raises(NoBackendAvailable, match=r"unhealthy \(5 unhealthy\)"):
        pool.acquire(2.0)


def test_full_primaries_overflow_and_come_back() -> None:
    lb = tiers((4, 4))
    pool = Pool(lb, [ConnectionLimit[str](5)])
    leases = [pool.acquire(0.0) for _ in range(26)]
    assert [lease.backend[0] for lease in leases] == ["a"] * 20 + ["b"] * 6
    assert lb.shares == (WHOLE, NONE)
    pool.release(leases[3], 1.0)
    assert pool.acquire(1.0).backend == leases[3].backend


def test_without_overflow_the_refusal_keeps_its_words() -> None:
    pool = Pool(tiers((2, 2), overflow=False), [ConnectionLimit[str](1)])
    leases = [pool.acquire(0.0) for _ in range(2)]
    with pytest.raises(NoBackendAvailable, match=r"saturated \(2 saturated\)") as refused:
        pool.acquire(0.0)
    assert (refused.value.reason, refused.value.full) == ("saturated", 2)
    assert pool.explain(0.0).backend is None
    pool.release(leases[0], 1.0)
    assert pool.acquire(1.0).backend == leases[0].backend


def test_without_overflow_a_large_request_waits_for_room() -> None:
    """The members of the first tier are open, but have no room for this cost."""
    pool = Pool(tiers((2, 1), overflow=False), [CostLimit[str](10)])
    leases = [pool.acquire(0.0, cost=5) for _ in range(2)]
    with pytest.raises(NoBackendAvailable) as refused:
        pool.acquire(0.0, cost=8)
    assert (refused.value.reason, refused.value.full) == ("saturated", 2)
    assert pool.acquire(0.0, cost=8, avoid=["a0", "a1"]).backend == "b0"
    assert pool.acquire(0.0, cost=1).backend[0] == "a"
    pool.release(leases[0], 1.0)
    assert pool.acquire(1.0, cost=8).backend == leases[0].backend
    with pytest.raises(NoBackendAvailable, match="too large"):
        pool.acquire(1.0, cost=11)
    overflowing = Pool(tiers((2, 1)), [CostLimit[str](10)])
    for _ in range(2):
        overflowing.acquire(0.0, cost=5)
    assert overflowing.acquire(0.0, cost=8).backend == "b0"
    assert tiers((1, 1), overflow=False).pick(avoid={"a0": (1,)}) == "b0"


def test_keyed_and_all_down_the_refusal_is_that_of_the_pool() -> None:
    health = checks()
    inner = [Rendezvous(members(tier, 2)) for tier in range(2)]
    pool = Pool(Tiers(inner, tier=tier_of), [health, ConnectionLimit[str](1)], panic=None)
    pool.acquire(0.0, prefer="a0")
    fail(health, ["a1", "b0", "b1"], 1.0)
    with pytest.raises(NoBackendAvailable, match=r"mixed \(1 saturated, 3 unhealthy\)"):
        pool.acquire(1.0, key="k")
    fail(health, ["a0"], 2.0)
    with pytest.raises(NoBackendAvailable, match="unhealthy"):
        pool.acquire(2.0, key="k")


def test_a_queue_waits_for_a_place_of_the_first_tier() -> None:
    pool = Pool(tiers((1, 1), overflow=False), [ConnectionLimit[str](1)])
    queue: AdmissionQueue[str] = AdmissionQueue(4)
    lease = pool.acquire(0.0)
    queue.join("waiting", 0.0)
    with pytest.raises(NoBackendAvailable) as refused:
        pool.acquire(0.0)
    assert refused.value.full == 1
    pool.release(lease, 1.0)
    woken = queue.wake(1.0)
    assert woken is not None
    assert pool.acquire(1.0).backend == "a0"


def test_draining_primaries_do_not_spill() -> None:
    drain, health = Drain[str](), checks()
    lb = tiers((4, 2))
    pool = Pool(lb, [drain, health])
    for backend in members(0, 4)[1:]:
        drain.begin(backend, 1.0)
    fail(health, ["a1"], 1.0)
    assert share_of_first(pool, 1.0) == 100
    assert lb.shares == (WHOLE, NONE)


def test_a_slow_start_needs_fractions_in_each_tier() -> None:
    fractional = Tiers([WeightedRoundRobin[str](["a0"]), WeightedRoundRobin[str]()], tier=tier_of)
    assert Pool(fractional, [SlowStart[str](30)]).acquire(0.0).backend == "a0"
    mixed = Tiers([WeightedRoundRobin[str](), LeastConnections[str]()], tier=tier_of)
    with pytest.raises(IncompatibleGate):
        Pool(mixed, [SlowStart[str](30)])


def test_presets_of_envoy_in_tiers() -> None:
    """Envoy's ROUND_ROBIN in two priorities, with its shares in turns and not at random."""
    health = checks()
    inner = [envoy.RoundRobin(members(tier, 4), healthy_panic_threshold=0) for tier in range(2)]
    pool = Pool(Tiers(inner, tier=tier_of), [health], panic=None)
    fail(health, members(0, 4)[:2], 1.0)
    counts = Counter(pool.acquire(1.0).backend for _ in range(200))
    assert counts == {"a2": 70, "a3": 70, "b0": 15, "b1": 15, "b2": 15, "b3": 15}


def test_a_session_stays_in_its_tier() -> None:
    health = checks()
    pool = Pool(tiers((2, 2), inf), [health])
    fail(health, members(0, 2), 1.0)
    lease = pool.acquire(1.0)
    for backend in members(0, 2):
        health.observe(backend, ok=True, now=2.0)
    assert pool.acquire(2.0, prefer=lease.backend).backend == lease.backend
    assert pool.acquire(2.0).backend[0] == "a"


def test_members_join_and_leave_their_tiers() -> None:
    lb = tiers((0, 0))
    pool = Pool(lb)
    pool.update(["b0", "b1"])
    assert pool.acquire(0.0).backend[0] == "b"
    pool.add("a0", 1, 1.0)
    assert [each.weights for each in lb.balancers] == [{"a0": 1}, {"b0": 1, "b1": 1}]
    lease = pool.acquire(1.0)
    assert lease.backend == "a0"
    pool.release(lease, 1.0)
    pool.update(["b0"], 2.0, keep=10.0)
    assert lb.shares == (NONE, WHOLE)
    pool.acquire(20.0)
    assert [each.weights for each in lb.balancers] == [{}, {"b0": 1}]


class Site:
    """A pool of tiers with random events, and the conditions of its members by its reasons."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        self.factor = rng.choice([1.4, inf, 1, 0.5])
        self.overflow = rng.random() < 0.7
        self.sizes = [rng.randrange(1, 4) for _ in range(rng.randrange(1, 4))]
        self.lb = tiers(self.sizes, self.factor, overflow=self.overflow)
        self.health, self.drain = checks(), Drain[str](timeout=5.0)
        gates: list[Any] = [self.health, self.drain, ConnectionLimit[str](2)]
        rng.shuffle(gates)
        self.pool = Pool(self.lb, gates, panic=rng.choice([None, 0.0, 0.5]))
        self.now = 0.0
        self.leases: list[Lease[str]] = []

    def event(self) -> None:
        rng, names = self.rng, [*self.pool.backends]
        self.now += rng.choice([0.0, 0.0, 1.0, 7.0])
        backend = rng.choice(names)
        match rng.randrange(7):
            case 0:
                self.health.observe(backend, ok=False, now=self.now)
            case 1:
                self.health.observe(backend, ok=True, now=self.now)
            case 2:
                self.drain.begin(backend, self.now)
            case 3:
                self.pool.set_weight(backend, rng.choice([0, 1, 2]), self.now)
            case 4:
                keep = rng.choice([None, 3.0])
                tier, number = rng.randrange(len(self.sizes)), rng.randrange(4)
                wanted = {*rng.sample(names, rng.randrange(len(names) + 1))}
                self.pool.update({*wanted, f"{'abc'[tier]}{number}"}, self.now, keep)
            case _ if self.leases:
                lease = self.leases.pop(rng.randrange(len(self.leases)))
                self.pool.release(lease, self.now)
            case _:
                pass

    def condition(self, backend: str) -> str:
        reasons = {*self.pool.state(backend)}
        if not reasons:
            return "open"
        if reasons & {"quiesced", "leaving", "draining"}:
            return "leaving"
        return "full" if reasons == {"saturated"} else "down"

    def states(self) -> list[State]:
        names = [*self.pool.backends]
        return [
            tuple(self.condition(each) for each in names if tier_of(each) == tier)
            for tier in range(len(self.sizes))
        ]

    def check(self) -> None:
        """Acquire, and compare with what the description says about these conditions."""
        with suppress(NoBackendAvailable):  # applies what is due, and asks no balancer
            self.pool.acquire(self.now, among=[])
        states = self.states()
        shares = expected_shares(states, self.factor)
        if any(shares):
            assert self.lb.shares == shares
        usable = [{b for b, w in each.weights.items() if w} for each in self.lb.balancers]
        able = [tier for tier, share in enumerate(shares) if share]
        try:
            lease = self.pool.acquire(self.now)
        except NoBackendAvailable:
            stopped = [t for t in able if not usable[t] and "full" in states[t]]
            assert not any(usable) or (not self.overflow and stopped)
            return
        self.leases.append(lease)
        tier = tier_of(lease.backend)
        assert lease.backend in usable[tier]
        if tier not in able and any(usable[each] for each in able):
            assert self.overflow or any(not usable[each] for each in able)
            assert any(not usable[each] and "full" in states[each] for each in able)


@pytest.mark.parametrize("seed", range(runs(300)))
def test_random_events_in_a_pool(seed: int) -> None:
    site = Site(seed)
    for _ in range(40):
        with suppress(UnknownBackend):  # a kept member has left meanwhile
            site.event()
        site.check()


@pytest.mark.parametrize("factor", [inf, 0.5])
def test_an_inner_balancer_with_reasons_of_its_own(factor: float) -> None:
    """Tiers in tiers: the inner ones refuse, although a member is open."""

    def zone(backend: str) -> int:
        return int(backend[1])

    def nested() -> Iterator[Tiers[str]]:
        for name in "ab":
            inner = [RoundRobin([f"{name}0"]), RoundRobin([f"{name}1"])]
            yield Tiers(inner, tier=zone, factor=inf, overflow=False)

    pool = Pool(Tiers(nested(), tier=tier_of, factor=factor), [ConnectionLimit[str](1)])
    assert [pool.acquire(0.0).backend for _ in range(2)] == ["a0", "b0"]
    with pytest.raises(NoBackendAvailable, match="saturated"):
        pool.acquire(0.0)
