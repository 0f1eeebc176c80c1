"""What each subset promises, for any backends, numbers and sizes."""

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from balancers import Pool
from balancers.keys import Hasher, KeyedBlake2
from balancers.subsetting import (
    aperture_subset,
    deterministic_subset,
    rendezvous_subset,
    ringsteady_subset,
)
from tests.depth import runs
from tests.kinds import KINDS, Kind, by_name
from tests.subsetting.measures import (
    SUBSETS,
    Subsets,
    aperture,
    counts,
    deterministic,
    loads,
    names,
    rendezvous,
)

METHODS = pytest.mark.parametrize("subsets", SUBSETS.values(), ids=SUBSETS)
BY_NAME = pytest.mark.parametrize(
    "subsets",
    [deterministic, rendezvous, aperture],
    ids=["deterministic", "rendezvous", "aperture"],
)
SIZES = st.tuples(st.integers(0, 40), st.integers(1, 40), st.integers(1, 45))


@METHODS
@settings(max_examples=runs(200), deadline=None)
@given(SIZES)
def test_a_subset_has_its_size_and_only_backends(
    subsets: Subsets, sizes: tuple[int, int, int]
) -> None:
    backends, balancers, size = sizes
    servers = names(backends)
    for subset in subsets(servers, balancers, size):
        assert subset.keys() <= set(servers)
        if subsets is aperture:
            assert sum(subset.values()) >= min(size, backends) * (1 - 1e-12)
            whole = sum(weight == 1 for weight in subset.values())
            assert len(subset) - whole <= 2
        else:
            assert len(subset) == min(size, backends)
            assert set(subset.values()) <= {1}


@METHODS
def test_no_backends_have_no_subset(subsets: Subsets) -> None:
    assert subsets([], 3, 5) == [{}, {}, {}]


@METHODS
def test_one_backend_is_in_every_subset(subsets: Subsets) -> None:
    assert subsets(["a"], 3, 1) == [{"a": 1}] * 3


@METHODS
@pytest.mark.parametrize("size", [7, 8, 10**30])
def test_a_large_size_takes_all(subsets: Subsets, size: int) -> None:
    assert subsets(names(7), 5, size) == [dict.fromkeys(names(7), 1)] * 5


@BY_NAME
def test_the_order_of_the_backends_has_no_effect(subsets: Subsets) -> None:
    servers = names(30)
    expected = [list(subset.items()) for subset in subsets(servers, 20, 7)]
    for seed in range(5):
        Random(seed).shuffle(servers)
        assert [list(subset.items()) for subset in subsets(servers, 20, 7)] == expected


@settings(max_examples=runs(300), deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 60))
def test_deterministic_counts_differ_by_one_if_the_size_divides(
    size: int, multiple: int, balancers: int
) -> None:
    servers = names(size * multiple)
    found = counts(deterministic(servers, balancers, size), servers)
    assert found[-1] - found[0] <= 1


@settings(max_examples=runs(200), deadline=None)
@given(st.integers(1, 60), st.integers(1, 12))
def test_deterministic_subsets_of_a_round_are_disjoint(backends: int, size: int) -> None:
    in_round = max(1, backends // size)
    subsets = deterministic(names(backends), 3 * in_round, size)
    for lap in range(3):
        of_round = subsets[lap * in_round : (lap + 1) * in_round]
        used = Counter(backend for subset in of_round for backend in subset)
        assert set(used.values()) == {1}
        assert len(used) == min(backends, size * in_round)


def test_rounds_are_shuffled_differently_and_leave_out_others() -> None:
    servers = names(35)
    rounds = [deterministic(servers, 30, 10)[lap * 3 : lap * 3 + 3] for lap in range(10)]
    left_out = [
        frozenset(servers) - frozenset().union(*(subset.keys() for subset in one)) for one in rounds
    ]
    assert {len(out) for out in left_out} == {5}
    assert len(set(left_out)) == 10
    assert len({tuple(one[0]) for one in rounds}) == 10


def test_the_order_of_a_round_is_a_uniform_permutation() -> None:
    firsts = Counter(
        next(iter(deterministic_subset(names(10), index=10 * lap, size=1))) for lap in range(4000)
    )
    chi_squared = sum((firsts[name] - 400) ** 2 / 400 for name in names(10))
    assert chi_squared < 33.7  # of 9 degrees of freedom, once in 10 000


@settings(max_examples=runs(300), deadline=None)
@given(st.integers(1, 40), st.integers(1, 45), st.integers(0, 40), st.text(max_size=5))
def test_one_backend_changes_at_most_one_member_of_a_rendezvous_subset(
    backends: int, size: int, leaving: int, name: str
) -> None:
    servers = names(backends)
    before = rendezvous_subset(servers, name=name.encode("utf-8", "replace"), size=size)
    gone = servers.pop(leaving % backends)
    after = rendezvous_subset(servers, name=name.encode("utf-8", "replace"), size=size)
    assert before.keys() - after.keys() <= {gone}
    assert len(after.keys() - before.keys()) <= 1
    stay = [backend for backend in before if backend != gone]
    assert list(after)[: len(stay)] == stay


def test_a_smaller_rendezvous_subset_is_the_beginning_of_a_larger_one() -> None:
    largest = list(rendezvous_subset(names(50), name=7, size=50))
    for size in range(1, 50):
        assert list(rendezvous_subset(names(50), name=7, size=size)) == largest[:size]


@settings(max_examples=runs(300), deadline=None)
@given(st.integers(1, 100), st.integers(0, 60), st.integers(1, 30))
def test_one_backend_at_the_end_changes_at_most_one_member_of_a_ringsteady_subset(
    backends: int, index: int, size: int
) -> None:
    before = ringsteady_subset(names(backends), index=index, size=size)
    after = ringsteady_subset(names(backends + 1), index=index, size=size)
    assert after.keys() - before.keys() <= {f"srv{backends}"}
    assert len(before.keys() - after.keys()) <= 1


def test_ringsteady_positions_are_bit_reversals() -> None:
    order = [int(name[3:]) for name in ringsteady_subset(names(8), index=0, size=8)]
    assert order == [0, 4, 2, 6, 1, 5, 3, 7]
    assert list(ringsteady_subset(names(3), index=3, size=1)) == ["srv0"]  # 3/4, past the last one


@METHODS
@pytest.mark.parametrize("subsets_of", [(300, 300, 10), (64, 64, 7)])
def test_a_balancer_that_joins_changes_no_subset_of_another(
    subsets: Subsets, subsets_of: tuple[int, int, int]
) -> None:
    backends, balancers, size = subsets_of
    before = subsets(names(backends), balancers, size)
    after = subsets(names(backends), balancers + 1, size)
    assert (before == after[:-1]) == (subsets is not aperture)


@settings(max_examples=runs(500), deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 70))
@example(4, 3, 1)
@example(1, 1, 1)
def test_aperture_gives_every_backend_exactly_its_share(
    backends: int, balancers: int, size: int
) -> None:
    subsets = aperture(names(backends), balancers, size)
    shares = loads(subsets, balancers)
    assert shares == dict.fromkeys(names(backends), Fraction(1, backends))
    floats = dict.fromkeys(shares, 0.0)
    for subset in subsets:
        total = sum(subset.values())
        for name, weight in subset.items():
            floats[name] += weight / total / balancers
    assert all(abs(share - 1 / backends) < 1e-9 for share in floats.values())


@settings(max_examples=runs(300), deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 2, 7, 0.1, 1.5, 1e-3]), max_size=12),
    st.integers(1, 12),
    st.integers(1, 15),
)
def test_aperture_shares_follow_the_weights(
    weights: list[float], balancers: int, size: int
) -> None:
    given = dict(zip(names(len(weights)), weights, strict=True))
    share: dict[str, float] = {}
    for index in range(balancers):
        subset = aperture_subset(given, index=index, balancers=balancers, size=size)
        assert all(0 < weight <= given[name] for name, weight in subset.items())
        for name, weight in subset.items():
            part = weight / sum(subset.values()) / balancers
            share[name] = share.get(name, 0.0) + part
    total = sum(given.values())
    for name, weight in given.items():
        assert share.get(name, 0.0) == pytest.approx(weight / total if total else 0, abs=1e-9)


def test_aperture_covers_no_more_than_the_least_multiple() -> None:
    for balancers, backends, size in ((3, 4, 1), (16, 40, 12), (7, 13, 5), (100, 10, 3)):
        slices = min(balancers, -(-size * balancers // backends))
        for subset in aperture(names(backends), balancers, size):
            assert sum(subset.values()) == pytest.approx(slices * backends / balancers)


class Unorderable:
    """A backend that is hashable, and has no order."""

    def __init__(self, name: str) -> None:
        self.name = name


def test_backends_need_no_order_but_a_name() -> None:
    servers = [Unorderable(name) for name in names(20)]
    expected = list(rendezvous_subset(names(20), name="é☃", size=5))
    found = rendezvous_subset(servers, name="é☃", size=5, identity=lambda one: one.name)
    assert [server.name for server in found] == expected
    assert len(ringsteady_subset(servers, index=3, size=4)) == 4
    mixed: list[Any] = ["a", b"b", 3, ("10.0.0.1", 80)]
    for size in range(1, 5):
        assert len(deterministic_subset(mixed, index=1, size=size)) == size
        assert len(aperture_subset(mixed, index=1, balancers=2, size=size)) >= size


def test_unicode_names_and_a_secret_hash() -> None:
    servers = ["ü", "☃", "\U0001f600", "", "日本"]
    secret = KeyedBlake2(b"secret")
    assert set(deterministic_subset(servers, index=0, size=9, hasher=secret)) == set(servers)
    orders = {
        tuple(rendezvous_subset(servers, name=name, size=9, hasher=secret)) for name in servers
    }
    assert len(orders) == 5


def test_a_hasher_of_few_or_many_bits_gives_the_same_order_everywhere() -> None:
    hashers: list[Hasher] = [lambda _: 0, lambda data: len(data) << 70, lambda _: -1]
    for hasher in hashers:
        found = [
            list(rendezvous_subset(order, name="x", size=3, hasher=hasher))
            for order in (["c", "a", "b"], ["b", "c", "a"])
        ]
        assert found == [["a", "b", "c"]] * 2


@METHODS
def test_a_backend_that_is_repeated_counts_once(subsets: Subsets) -> None:
    assert subsets([*names(9), *names(4)], 5, 3) == subsets(names(9), 5, 3)


def test_weights_are_kept() -> None:
    weights: Mapping[str, float] = {name: number for number, name in enumerate(names(10))}
    subset: Mapping[str, float]
    for subset in (
        deterministic_subset(weights, index=1, size=4),
        rendezvous_subset(weights, name="x", size=4),
        ringsteady_subset(weights, index=1, size=4),
    ):
        assert all(weights[name] == weight for name, weight in subset.items())


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
@METHODS
def test_every_balancer_takes_a_subset(kind: Kind, subsets: Subsets) -> None:
    before, after = subsets(names(20), 5, 6)[1], subsets(names(19), 5, 6)[1]
    balancer = kind.make(before)
    assert balancer.weights.keys() == before.keys()
    pool = Pool(kind.make())
    for subset in (before, after):
        if kind.only_last_leaves:
            pool.update([], now=0.0)
        pool.update(subset, now=0.0)
        assert set(pool.backends) == subset.keys()
        assert pool.acquire(now=0.0, key="10.0.0.7").backend in subset
