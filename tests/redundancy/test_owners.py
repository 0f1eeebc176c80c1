"""Owners of addresses: exhaustively for small numbers, then by properties."""

from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from itertools import chain, combinations, product
from math import ceil, inf, nan
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.errors import DuplicateBackend, InvalidWeight, UnknownBackend
from balancers.keys import KeyedBlake2, Murmur3
from balancers.redundancy import Owners
from tests.depth import DEEP, runs

BALANCERS, ADDRESSES = (7, 9) if DEEP else (6, 7)
TWO_DEAD_EXCESS = 1
"""How many addresses above ⌈m/k⌉ one balancer owned at most, with two dead balancers."""


def sets_of(members: list[str]) -> Iterator[tuple[str, ...]]:
    """Every subset, also the empty one."""
    return chain.from_iterable(combinations(members, k) for k in range(len(members) + 1))


def sites(seed: int) -> Iterator[tuple[list[str], list[str], Owners[str, str]]]:
    """Every number of balancers and addresses up to the bounds."""
    for n, m in product(range(1, BALANCERS + 1), range(ADDRESSES + 1)):
        balancers = [f"lb{seed}.{i}" for i in range(n)]
        addresses = [f"192.0.{seed}.{i}" for i in range(m)]
        yield balancers, addresses, Owners(addresses, balancers)


@pytest.mark.parametrize("seed", range(runs(20)))
def test_only_the_addresses_of_the_dead_move_and_exactly_these_return(seed: int) -> None:
    """Every set of living balancers, and every balancer that dies next."""
    for balancers, addresses, owners in sites(seed):
        assigned = {living: owners.assign(living) for living in sets_of(balancers)}
        assert assigned[()] == dict.fromkeys(addresses)
        for living, before in assigned.items():
            for dies in living:
                after = assigned[tuple(b for b in living if b != dies)]
                moved = {address for address in addresses if before[address] != after[address]}
                assert moved == {address for address in addresses if before[address] == dies}


@pytest.mark.parametrize("seed", range(runs(20)))
def test_the_shares_are_even_while_at_most_one_is_dead(seed: int) -> None:
    for balancers, addresses, owners in sites(seed):
        m = len(addresses)
        for dead in range(min(3, len(balancers))):
            k = len(balancers) - dead
            for living in combinations(balancers, k):
                most = max(Counter(owners.assign(living).values()).values(), default=0)
                assert most <= ceil(m / k) + (TWO_DEAD_EXCESS if dead == 2 else 0)


@pytest.mark.parametrize("n", [4, 5, 6, 8])
def test_two_dead_of_n_rarely_leave_more_than_a_share(n: int) -> None:
    """n addresses and n balancers: at most one of 25 pairs of dead balancers is uneven."""
    uneven = pairs = 0
    for seed in range(10):
        balancers = [f"b{seed}.{i}" for i in range(n)]
        owners = Owners([f"a{seed}.{i}" for i in range(n)], balancers)
        for living in combinations(balancers, n - 2):
            most = max(Counter(owners.assign(living).values()).values())
            uneven += most > ceil(n / (n - 2))
            pairs += 1
    assert uneven <= pairs / 25


@pytest.mark.parametrize("seed", range(runs(30)))
def test_with_weights_the_largest_load_is_the_least_possible(seed: int) -> None:
    """Compared with every other assignment of all addresses, and of those of one dead balancer."""
    rng = Random(seed)
    n, m = rng.randint(1, 4), rng.randint(1, 5)
    weights = {f"lb{i}": rng.choice([0.5, 1, 2, 3, 7]) for i in range(n)}
    addresses = [f"a{seed}.{i}" for i in range(m)]
    owners = Owners(addresses, weights)

    def worst(assigned: dict[str, str]) -> float:
        return max(count / weights[b] for b, count in Counter(assigned.values()).items())

    before: Any = owners.assign(list(weights))
    every = [dict(zip(addresses, c, strict=True)) for c in product(weights, repeat=m)]
    assert worst(before) == min(map(worst, every))
    for dead in weights:
        living = [b for b in weights if b != dead]
        if living:
            kept = {a: b for a, b in before.items() if b != dead}
            moving = [a for a in addresses if a not in kept]
            ways = product(living, repeat=len(moving))
            least = min(worst({**kept, **dict(zip(moving, way, strict=True))}) for way in ways)
            assert worst(owners.assign(living)) == least  # type: ignore[arg-type]  # any hashable


@given(
    st.integers(1, 12),
    st.integers(0, 60),
    st.randoms(use_true_random=False),
    st.sampled_from([None, KeyedBlake2(b"secret")]),
)
def test_owners_depend_on_the_configuration_and_the_living_only(
    n: int, m: int, rng: Any, hasher: Any
) -> None:
    """Two operators write the same configuration in another order, and see other deaths first."""
    weights = {f"lb{i}": rng.choice([0, 1, 1, 2.5]) for i in range(n)}
    addresses = [f"192.0.2.{i}" for i in range(m)]
    first = Owners(addresses, weights, hasher=hasher)
    other = Owners(
        rng.sample(addresses, m),
        dict(rng.sample(list(weights.items()), n)),
        hasher=hasher,
    )
    for _ in range(5):
        living = [b for b in weights if rng.random() < 0.6]
        found = first.assign(living)
        for _ in range(3):
            other.assign([b for b in weights if rng.random() < 0.5])
        assert other.assign(rng.sample(living, len(living))) == found
        assert list(found) == addresses
        able = {b for b in living if weights[b]}
        assert all(owner in able if able else owner is None for owner in found.values())
        for address in addresses[:3]:
            assert first.owner(address, living) == found[address]
            order = other.preferences(address)
            assert sorted(order) == sorted(b for b in weights if weights[b])
            assert next((b for b in order if b in able), None) == found[address]


def test_two_addresses_of_two_balancers() -> None:
    """The usual active-active pair: each has one address, and the survivor has both."""
    for seed in range(200):
        owners = Owners([f"192.0.2.{seed}", f"198.51.100.{seed}"], ["lb1", "lb2"])
        assert sorted(owners.assign(["lb1", "lb2"]).values()) == ["lb1", "lb2"]  # type: ignore[type-var]  # all have owners
        assert set(owners.assign(["lb2"]).values()) == {"lb2"}


@pytest.mark.parametrize(("n", "m"), [(16, 512), (100, 100)])
def test_many_balancers(n: int, m: int) -> None:
    balancers = [f"lb{i}" for i in range(n)]
    owners = Owners(range(m), balancers)
    for dead in range(4):
        living = balancers[dead:]
        counts = Counter(owners.assign(living).values())
        assert max(counts.values()) <= ceil(m / len(living)) + 2
    alone = owners.assign(balancers[-1:])
    assert set(alone.values()) == {balancers[-1]}


@pytest.mark.parametrize("n", [2, 4, 9])
def test_a_new_balancer_takes_its_share_and_little_else_moves(n: int) -> None:
    """The configuration changes here, and not only who is alive."""
    addresses = range(240)
    before = Owners(addresses, [f"lb{i}" for i in range(n)])
    after = Owners(addresses, [f"lb{i}" for i in range(n + 1)])
    old = before.assign(list(before.balancers))
    new = after.assign(list(after.balancers))
    moved = [address for address in addresses if old[address] != new[address]]
    assert 240 // (n + 1) <= len(moved) <= 1.5 * 240 / (n + 1)


@pytest.mark.parametrize("n", [2, 4, 8])
def test_a_new_balancer_moves_up_to_three_times_its_share_of_a_few_addresses(n: int) -> None:
    for m in (n, 2 * n, 5 * n):
        moved = 0
        for site in range(20):
            addresses = [f"{site}:{i}" for i in range(m)]
            balancers = [f"lb{site}:{i}" for i in range(n + 1)]
            old = Owners(addresses, balancers[:-1]).assign(balancers[:-1])
            new = Owners(addresses, balancers).assign(balancers)
            moved += sum(old[address] != new[address] for address in addresses)
        assert moved / 20 <= 3 * m / (n + 1)


def test_later_replacements_follow_the_scores() -> None:
    """From four dead balancers on, as in plain rendezvous hashing."""
    owners = Owners(["a", "b"], [f"lb{i}" for i in range(12)])
    for address in owners.addresses:
        later = owners.preferences(address)[4:]
        scores = [owners._score(address, balancer) for balancer in later]
        assert scores == sorted(scores, reverse=True)


def test_a_balancer_with_the_weight_0_owns_nothing() -> None:
    owners = Owners(["a", "b"], {"x": 1, "y": 0})
    assert owners.assign(["x", "y"]) == {"a": "x", "b": "x"}
    assert owners.assign(["y"]) == {"a": None, "b": None}
    assert owners.preferences("a") == ("x",)
    assert owners.balancers == {"x": 1, "y": 0}


NESTED: list[Any] = []


@pytest.mark.parametrize(
    ("addresses", "balancers", "error", "message"),
    [
        (["a", "a"], ["x"], DuplicateBackend, "address 'a' is given twice"),
        (["a", b"a"], ["x"], DuplicateBackend, "two of the address names are equal"),
        (["a"], ["x", b"x"], DuplicateBackend, "two of the balancer names are equal"),
        ("abc", ["x"], TypeError, "addresses must be an iterable"),
        (["a"], "xyz", TypeError, "backends must be an iterable"),
        (["a"], {"x": nan}, InvalidWeight, "weight of 'x'"),
        (["a"], {"x": -1}, InvalidWeight, "weight of 'x'"),
        (["a"], {"x": inf}, InvalidWeight, "weight of 'x'"),
        ([1.5], ["x"], TypeError, "must be a str, bytes, int or"),
        (["a"], [None], TypeError, "must be a str, bytes, int or"),
        ([NESTED], ["x"], TypeError, "unhashable"),
        (None, ["x"], TypeError, "not iterable"),
    ],
)
def test_bad_configurations(addresses: Any, balancers: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        Owners(addresses, balancers)


def test_bad_questions() -> None:
    owners = Owners(["a"], ["x", "y"])
    with pytest.raises(UnknownBackend):
        owners.assign(["x", "z"])
    with pytest.raises(UnknownBackend):
        owners.owner("b", ["x"])
    with pytest.raises(UnknownBackend):
        owners.preferences("b")
    with pytest.raises(TypeError, match="alive must be a collection"):
        owners.assign("x")
    assert Owners([], []).assign([]) == {}
    assert Owners(["a"], []).assign([]) == {"a": None}


def test_copies_share_addresses_and_balancers() -> None:
    x, y = object(), object()
    names = {x: "x", y: "y", "a": "a"}
    owners = Owners(["a"], [x, y], identity=names.__getitem__)
    copied = deepcopy(owners)
    assert copied.assign([x, y]) == owners.assign([x, y])
    assert repr(copied) == "<Owners: 1 addresses, 2 balancers>"


def test_extreme_weights() -> None:
    owners = Owners(range(10), {"x": 1e300, "y": 1, "z": 5e-324})
    assert set(owners.assign(["x", "y", "z"]).values()) == {"x"}
    assert set(owners.assign(["y", "z"]).values()) == {"y"}
    assert set(owners.assign(["z"]).values()) == {"z"}
    for weight in (5e-324, 1e300):
        even = Owners(range(10), {"x": weight, "y": weight})
        assert Counter(even.assign(["x", "y"]).values()) == {"x": 5, "y": 5}


@pytest.mark.parametrize("call", range(1, 13))
def test_a_hasher_that_fails_once_changes_nothing(call: int) -> None:
    """The orders have 5 places, so the places after the balanced ones are computed too."""
    addresses, balancers = ["x", "y"], ["a", "b", "c", "d", "e"]
    calls = 0

    def fails_once(key: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls == call:
            raise RuntimeError
        return Murmur3()(key)

    owners = Owners(addresses, balancers, hasher=fails_once)
    with pytest.raises(RuntimeError):
        owners.preferences("x")
    plain = Owners(addresses, balancers)
    for address in addresses:
        assert owners.preferences(address) == plain.preferences(address)
