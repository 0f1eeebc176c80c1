"""Keyed tiers: which keys spill, and that a spilled key says nothing about its backend."""

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from math import inf, sqrt
from typing import Any

import pytest

from balancers import (
    ConnectionLimit,
    HashRing,
    IPHash,
    LeastConnections,
    Maglev,
    NoBackendAvailable,
    Pool,
    Rendezvous,
)
from balancers.algorithms import Tiers
from balancers.errors import InvalidKey, MissingKey
from balancers.hashing import BoundedLoad, OwnerOnly
from balancers.interop import haproxy
from tests.algorithms.tier_members import members, set_condition, tier_of

KEYS = [f"user {number}" for number in range(4000)]
METHODS: dict[str, Callable[[list[str]], Any]] = {
    "HashRing": HashRing,
    "Maglev": Maglev,
    "Rendezvous": Rendezvous,
    "BoundedLoad": lambda names: BoundedLoad(HashRing(names)),
    "haproxy": haproxy.Consistent,
}


def keyed(make: Callable[[list[str]], Any], sizes: tuple[int, ...], factor: float) -> Tiers[str]:
    inner = [make(members(tier, size)) for tier, size in enumerate(sizes)]
    return Tiers(inner, tier=tier_of, factor=factor)


@pytest.mark.parametrize("method", METHODS)
def test_growing_spill_only_adds_keys(method: str) -> None:
    lb = keyed(METHODS[method], (6, 4, 3), 1.4)
    before = {key: lb.pick(key) for key in KEYS}
    assert {backend[0] for backend in before.values()} == {"a"}
    for down, backend in enumerate((*members(0, 6), *members(1, 4)[:3]), 1):
        owner = {**before}
        set_condition(lb, backend, "down")
        before = {key: lb.pick(key) for key in KEYS}
        edge = Fraction(0)
        for tier in range(2):
            edge += lb.shares[tier]
            beyond = {key for key in KEYS if tier_of(before[key]) > tier}
            assert {key for key in KEYS if tier_of(owner[key]) > tier} <= beyond
            expected = float(len(KEYS) * (1 - edge))
            assert abs(len(beyond) - expected) <= 5 * sqrt(len(KEYS)) / 2, (down, tier)
        stayed = [key for key in KEYS if tier_of(before[key]) == tier_of(owner[key])]
        moved = [key for key in stayed if before[key] != owner[key] and owner[key] != backend]
        assert len(moved) <= (len(KEYS) / 50 if method == "Maglev" else 0), (down, moved[:3])


@pytest.mark.parametrize("method", METHODS)
def test_the_spilled_keys_are_spread_over_a_tier_as_all_keys_are(method: str) -> None:
    lb = keyed(METHODS[method], (4, 4), 1.4)
    alone = METHODS[method](members(1, 4))
    for backend in members(0, 4)[:3]:
        set_condition(lb, backend, "down")
    spilled = [key for key in KEYS if lb.pick(key)[0] == "b"]
    counts = Counter(lb.pick(key) for key in spilled)
    whole: Counter[str] = Counter(alone.pick(key) for key in KEYS)
    for backend in members(1, 4):
        expected = whole[backend] * len(spilled) / len(KEYS)
        assert abs(counts[backend] - expected) <= 5 * sqrt(expected)


def test_nested_tiers_use_independent_hashes() -> None:
    """Both levels spill 30 %: of the keys in the inner second tier, 30 % would be all or none."""

    def inner(first: str, second: str) -> Tiers[str]:
        rings = [Rendezvous([f"{first}0", f"{first}1"]), Rendezvous([f"{second}0"])]
        return Tiers(rings, tier=lambda backend: int(backend[0] == second), factor=1.4)

    lb = Tiers([inner("a", "b"), inner("c", "d")], tier=lambda name: int(name[0] in "cd"), factor=1)
    for name in ("a0", "c0"):
        set_condition(lb, name, "down")
    counts = Counter(lb.pick(key)[0] for key in KEYS)
    assert lb.shares == (Fraction(2, 3), Fraction(1, 3))
    for name, share in zip(
        "abcd", (2 / 3 * 0.7, 2 / 3 * 0.3, 1 / 3 * 0.7, 1 / 3 * 0.3), strict=True
    ):
        expected = share * len(KEYS)
        assert abs(counts[name] - expected) <= 5 * sqrt(expected), name


def test_all_addresses_of_a_client_are_in_one_tier() -> None:
    lb = keyed(IPHash, (2, 2), 1.4)
    set_condition(lb, "a0", "down")
    tiers = Counter[str]()
    for number in range(300):
        networks = {lb.pick(f"2001:db8:0:{number:x}::{host:x}") for host in range(1, 5)}
        assert len(networks) == 1
        tiers[networks.pop()[0]] += 1
    assert 60 <= tiers["b"] <= 120
    over = Tiers([IPHash(["a0"], over=haproxy.Consistent())], tier=tier_of)
    assert over.hash_key("192.0.2.1") == over.hash_key("::ffff:192.0.2.1")


def test_the_tier_of_a_key_is_the_same_in_every_process() -> None:
    lb = keyed(Rendezvous, (4, 4), 1.4)
    assert lb.hash_key("user:42") == 14109897222753054097
    assert lb.hash_key("user:42") == keyed(Maglev, (1, 1), inf).hash_key("user:42")


def test_one_keyed_balancer_makes_all_tiers_keyed() -> None:
    lb = Tiers([Rendezvous(members(0, 4)), LeastConnections(members(1, 2))], tier=tier_of)
    assert lb.keyed
    for backend in members(0, 4)[:3]:
        set_condition(lb, backend, "down")
    first = {key for key in KEYS if lb.pick(key) == "a3"}
    assert abs(len(first) - 0.35 * len(KEYS)) < 150
    assert first == {key for key in KEYS if lb.pick(key) == "a3"}


def test_a_key_is_required_and_checked_in_every_state() -> None:
    every = [*members(0, 4), *members(1, 4)]
    for down in range(9):
        lb = keyed(Rendezvous, (4, 4), 1.4)
        for backend in every[:down]:
            set_condition(lb, backend, "down")
        with pytest.raises(MissingKey):
            lb.pick()
        with pytest.raises(InvalidKey):
            lb.pick("\ud800")
        with pytest.raises(MissingKey):
            lb.hash_key(None)


@pytest.mark.parametrize("keyed_tier", [0, 1])
def test_a_key_is_checked_although_the_balancer_of_its_tier_ignores_keys(keyed_tier: int) -> None:
    inner: list[Any] = [LeastConnections(["a0"]), LeastConnections(["b0"])]
    inner[keyed_tier : keyed_tier + 1] = [Rendezvous([f"{'ab'[keyed_tier]}0"])]
    lb = Tiers(inner, tier=tier_of)
    for down in (None, "a0"):
        if down:
            set_condition(lb, down, "down")
        for _ in range(2):
            assert lb.pick("key") == ("b0" if down else "a0")
            for wrong in ("\ud800", 1 << 64):
                with pytest.raises(InvalidKey):
                    lb.pick(wrong)


def test_a_tier_without_places_passes_its_keys_on() -> None:
    lb = keyed(Rendezvous, (2, 2), inf)
    for backend in members(0, 2):
        set_condition(lb, backend, "full")
    assert {lb.pick(key)[0] for key in KEYS[:100]} == {"b"}
    lb = Tiers([Rendezvous(["a0"]), Rendezvous(["b0"])], tier=tier_of, overflow=False)
    set_condition(lb, "a0", "full")
    with pytest.raises(NoBackendAvailable, match="saturated"):
        lb.pick("key")


def test_a_retry_keeps_the_reason_of_the_balancer_that_refuses() -> None:
    inner = [OwnerOnly(HashRing(members(tier, 2))) for tier in range(2)]
    lb = Tiers(inner, tier=tier_of)
    pool = Pool(lb, [ConnectionLimit[str](1)], panic=None)
    owners = [pool.acquire(0.0, key="key").backend for _ in range(2)]
    free = [backend for backend in lb.weights if backend not in owners]
    for avoid in ([], free[:1], free):
        for refused in (pool.acquire, pool.plan):
            with pytest.raises(NoBackendAvailable, match="saturated") as caught:
                refused(0.0, key="key", avoid=avoid)
            error, avoided = caught.value, {"avoided": len(avoid)} if avoid else {}
            assert (error.reason, error.full) == ("saturated", 2)
            assert error.counts == {"saturated": 2, **avoided}
    assert pool.acquire(0.0, key="key", avoid=owners[:1]).backend[0] == owners[0][0]
