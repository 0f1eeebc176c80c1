"""Zones: the shares beside the rules of Envoy, written as fractions, and which keys move."""

import pickle
from collections import Counter
from copy import deepcopy
from fractions import Fraction
from itertools import product
from math import inf, sqrt
from random import Random
from typing import Any

import pytest

from balancers import HealthChecks, NoBackendAvailable, Pool, Rendezvous, RoundRobin
from balancers.algorithms import Tiers, Zones
from balancers.errors import AlreadyInUse, InvalidSetting, InvalidWeight
from tests.algorithms.tier_members import members, set_condition
from tests.depth import runs

KEYS = [f"user {number}" for number in range(4000)]


def zone_of(backend: str) -> str:
    return backend[0]


def zones(sizes: tuple[int, ...], **settings: Any) -> Zones[str]:
    inner = {"abcd"[zone]: RoundRobin(members(zone, size)) for zone, size in enumerate(sizes)}
    return Zones(inner, zone=zone_of, **settings)


def numbers(values: tuple[float, ...]) -> dict[str, float]:
    return dict(zip("abcd", values, strict=False))


def close(lb: Zones[str], healthy: tuple[int, ...]) -> None:
    """Let only the first members of each zone be healthy."""
    for zone, count in enumerate(healthy):
        for number in range(len(lb.balancers[zone].weights)):
            set_condition(lb, f"{'abcd'[zone]}{number}", "open" if number < count else "down")


@pytest.mark.parametrize("factor", [1.4, 1, inf])
@pytest.mark.parametrize("weights", [(1, 1, 1), (2, 1, 0), (0.1, 0.2, 3)])
def test_the_shares_of_weighted_zones(factor: float, weights: tuple[float, ...]) -> None:
    lb = zones((4, 3, 2), weights=numbers(weights), factor=factor)
    for healthy in product(range(5), range(4), range(3)):
        close(lb, healthy)
        effective: list[Fraction] = []
        for weight, count, size in zip(weights, healthy, (4, 3, 2), strict=True):
            available = Fraction(bool(count))
            if factor != inf:
                available = min(Fraction(1), Fraction(str(factor)) * Fraction(count, size))
            effective.append(Fraction(str(weight)) * available)
        total = sum(effective)
        if total:
            assert lb.shares == tuple(each / total for each in effective), healthy
        else:
            assert lb.shares == tuple(Fraction(c, sum(healthy) or 1) for c in healthy)


def share_of_local(local: Fraction, clients: Fraction) -> Fraction:
    return Fraction(1) if local >= clients else local / clients


def test_the_shares_of_a_local_zone() -> None:
    for healthy in product(range(4), repeat=3):
        for clients in product((1, 2, 5), repeat=3):
            lb = zones((3, 3, 3), local="b", clients=numbers(clients))
            close(lb, healthy)
            total = sum(healthy)
            if not total:
                assert not any(lb.shares)
                continue
            has = [Fraction(count, total) for count in healthy]
            needs = [Fraction(count, sum(clients)) for count in clients]
            local = share_of_local(has[1], needs[1])
            assert lb.shares[1] == local
            spare = [max(Fraction(0), have - need) for have, need in zip(has, needs, strict=True)]
            for zone in (0, 2):
                rest = (1 - local) * spare[zone] / sum(spare) if local < 1 else Fraction(0)
                assert lb.shares[zone] == rest


def test_all_local_zones_together_load_every_backend_alike() -> None:
    """The aim of zone-aware routing: the clients of all zones together, each with its own zone."""
    rng = Random(15)
    for _ in range(runs(500)):
        sizes = tuple(rng.randrange(1, 9) for _ in range(3))
        clients = numbers(tuple(rng.randrange(1, 9) for _ in range(3)))
        load = [Fraction(0)] * 3
        for local, count in clients.items():
            for zone, share in enumerate(zones(sizes, local=local, clients=clients).shares):
                load[zone] += Fraction(count) * share
        per_backend = {each / size for each, size in zip(load, sizes, strict=True)}
        assert len(per_backend) == 1, (sizes, clients)


def test_shares_are_served() -> None:
    lb = zones((2, 2), weights={"a": 3, "b": 1})
    assert Counter(lb.pick()[0] for _ in range(400)) == {"a": 300, "b": 100}
    lb = zones((1, 2), local="a", clients={"a": 3, "b": 3})
    assert Counter(lb.pick()[0] for _ in range(300)) == {"a": 200, "b": 100}


def test_a_zone_of_weight_0_is_a_last_resort() -> None:
    lb = zones((2, 2), weights={"a": 1, "b": 0})
    assert {lb.pick()[0] for _ in range(10)} == {"a"}
    close(lb, (0, 2))
    assert {lb.pick()[0] for _ in range(10)} == {"b"}


@pytest.mark.parametrize("panic", [None, 0.0, 0.5, 1.0])
def test_a_panic_does_not_matter_while_a_zone_of_weight_0_is_healthy(panic: float | None) -> None:
    lb, health = zones((3, 2), weights={"a": 1, "b": 0}), HealthChecks[str](unhealthy_threshold=1)
    pool = Pool(lb, [health], panic=panic)
    for backend in members(0, 3):
        health.observe(backend, ok=False, now=0.0)
    assert {pool.acquire(1.0).backend for _ in range(10)} == {"b0", "b1"}
    assert lb.shares == (Fraction(0), Fraction(1))
    health.observe("b0", ok=False, now=2.0)
    assert {pool.acquire(2.0).backend[0] for _ in range(10)} == {"b"}
    for _ in range(2):
        health.observe("a1", ok=True, now=3.0)
    assert {pool.acquire(3.0).backend[0] for _ in range(10)} == {"a"}


def test_a_full_zone_overflows_and_a_dead_one_does_not_matter() -> None:
    lb = zones((1, 1, 1), local="a", clients={"a": 1, "b": 1, "c": 1})
    set_condition(lb, "a0", "full")
    set_condition(lb, "b0", "down", usable=True)
    assert lb.pick() == "c0"
    with pytest.raises(NoBackendAvailable):
        lb.pick(avoid=["b0", "c0"])
    stays = zones((1, 1), local="a", clients={"a": 1, "b": 1}, overflow=False)
    set_condition(stays, "a0", "full")
    with pytest.raises(NoBackendAvailable, match="saturated"):
        stays.pick()


def test_new_numbers_replace_the_old_ones() -> None:
    lb = zones((2, 2), weights={"a": 3, "b": 1})
    lb.reweigh({"b": 3, "a": 1})
    assert lb.shares == (Fraction(1, 4), Fraction(3, 4))
    with pytest.raises(InvalidSetting):
        lb.reweigh({"a": 1})
    assert lb.shares == (Fraction(1, 4), Fraction(3, 4))
    local = zones((2, 2), local="a", clients={"a": 1, "b": 1})
    assert local.shares == (Fraction(1), Fraction(0))
    local.reweigh({"a": 3, "b": 1})
    assert local.shares == (Fraction(2, 3), Fraction(1, 3))
    assert (local.local, local.zones) == ("a", ("a", "b"))


def keyed(sizes: tuple[int, ...], **settings: Any) -> Zones[str]:
    inner = {"abcd"[zone]: Rendezvous(members(zone, size)) for zone, size in enumerate(sizes)}
    return Zones(inner, zone=zone_of, **settings)


@pytest.mark.parametrize("zone", "abc")
def test_only_keys_of_the_changed_zone_move(zone: str) -> None:
    lb = keyed((4, 4, 4), weights={"a": 2, "b": 1, "c": 1})
    before = {key: lb.pick(key) for key in KEYS}
    counts = Counter(backend[0] for backend in before.values())
    for name, share in zip("abc", lb.shares, strict=True):
        assert abs(counts[name] - float(share) * len(KEYS)) <= 5 * sqrt(len(KEYS)) / 2
    for number in range(4):
        set_condition(lb, f"{zone}{number}", "down")
        after = {key: lb.pick(key) for key in KEYS}
        moved = [key for key in KEYS if before[key] != after[key]]
        assert {before[key][0] for key in moved} <= {zone}
        before = after
    assert {backend[0] for backend in before.values()} == {*"abc"} - {zone}


def test_keys_leave_the_local_zone_only_as_it_shrinks() -> None:
    lb = keyed((6, 6, 6), local="a", clients={"a": 1, "b": 1, "c": 1})
    away: set[str] = set()
    for down in range(7):
        if down:
            set_condition(lb, f"a{down - 1}", "down")
        now_away = {key for key in KEYS if lb.pick(key)[0] != "a"}
        assert away <= now_away
        expected = float(1 - lb.shares[0]) * len(KEYS)
        assert abs(len(now_away) - expected) <= 5 * sqrt(len(KEYS)) / 2
        away = now_away
    assert len(away) == len(KEYS)


def test_zones_inside_of_tiers() -> None:
    first = zones((1, 1), weights={"a": 1, "b": 1})
    second = Zones({"c": RoundRobin(["c0"])}, zone=zone_of, weights={"c": 1})
    health: HealthChecks[str] = HealthChecks(unhealthy_threshold=1)
    lb = Tiers([first, second], tier=lambda backend: int(backend == "c0"), factor=inf)
    pool = Pool(lb, [health], panic=None)
    assert {pool.acquire(0.0).backend for _ in range(4)} == {"a0", "b0"}
    health.observe("a0", ok=False, now=1.0)
    assert pool.acquire(1.0).backend == "b0"
    assert first.shares == (Fraction(0), Fraction(1))
    health.observe("b0", ok=False, now=2.0)
    assert pool.acquire(2.0).backend == "c0"


def test_copies_continue_alike() -> None:
    lb = zones((3, 2), weights={"a": 0.3, "b": 0.7})
    lb.pick()
    twins = [deepcopy(lb), pickle.loads(pickle.dumps(lb))]  # noqa: S301 - own
    expected = [lb.pick() for _ in range(30)]
    assert [[twin.pick() for _ in range(30)] for twin in twins] == [expected] * 2
    assert repr(lb) == "<Zones: 'a': <RoundRobin: 3 of 3 open>, 'b': <RoundRobin: 2 of 2 open>>"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"local": "a"},
        {"clients": {"a": 1, "b": 1}},
        {"weights": {"a": 1, "b": 1}, "local": "a"},
        {"weights": {"a": 1, "b": 1}, "clients": {"a": 1, "b": 1}},
        {"weights": {"a": 1, "b": 1}, "local": "a", "clients": {"a": 1, "b": 1}},
        {"weights": {}},
        {"weights": {"a": 1}},
        {"weights": {"a": 1, "b": 1, "c": 1}},
        {"weights": {"a": 0, "b": 0}},
        {"local": "c", "clients": {"a": 1, "b": 1}},
        {"local": ["a"], "clients": {"a": 1, "b": 1}},
        {"local": "a", "clients": {"a": 0, "b": 1}},
        {"weights": {"a": 1, "b": 1}, "factor": 0},
        {"weights": {"a": 1, "b": 1}, "factor": float("nan")},
        {"weights": {"a": 1, "b": 1}, "overflow": 1},
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    inner = {"a": RoundRobin(["a0"]), "b": RoundRobin(["b0"])}
    with pytest.raises(InvalidSetting):
        Zones(inner, zone=zone_of, **settings)
    assert Zones(inner, zone=zone_of, weights={"a": 1, "b": 1}).pick() == "a0"


@pytest.mark.parametrize("weight", [-1, float("nan"), inf, "1", None, 10**400])
def test_wrong_numbers_are_refused(weight: Any) -> None:
    with pytest.raises(InvalidWeight):
        zones((1, 1), weights={"a": 1, "b": weight})


def test_wrong_zones_are_refused() -> None:
    lb = zones((1, 1), weights={"a": 1, "b": 1})
    for zone in ("c", None, ["a"]):
        odd = Zones({"a": RoundRobin[str]()}, zone=lambda _, zone=zone: zone, weights={"a": 1})  # type: ignore[misc]  # wrong on purpose
        with pytest.raises(InvalidSetting, match="zone of 'x' must be one of 'a', not"):
            odd.put("x")
        assert odd.weights == {}
    with pytest.raises(AlreadyInUse):
        Zones({"a": lb.balancers[0]}, zone=zone_of, weights={"a": 1})
    with pytest.raises(InvalidSetting, match="'b0' belongs to"):
        Zones({"a": RoundRobin(["b0"]), "b": RoundRobin(())}, zone=zone_of, weights=numbers((1, 1)))
    for balancers in ([RoundRobin()], "ab", None):
        with pytest.raises(TypeError):
            Zones(balancers, zone=zone_of, weights={})  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(TypeError):
        zones((1, 1), weights=[1, 1])
    with pytest.raises(InvalidSetting):
        Zones({}, zone=zone_of, weights={})


def test_huge_and_tiny_weights() -> None:
    lb = keyed((1, 1), weights={"a": 1e300, "b": 1e-300})
    assert {lb.pick(key) for key in KEYS[:100]} == {"a0"}
    plain = zones((1, 1), weights={"a": 1e300, "b": 1e-300})
    assert {plain.pick() for _ in range(100)} == {"a0"}
    assert sum(plain.shares) == 1
