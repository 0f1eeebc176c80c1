"""Anchor: a reference implementation, the keys that move, evenness, and the capacity."""

import pickle
from copy import deepcopy
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from balancers import Balancer, NoBackendAvailable
from balancers.errors import DuplicateBackend, InvalidSetting, MissingKey
from balancers.hashing import Anchor
from tests.depth import runs
from tests.hashing.evenness import HASHES, is_even
from tests.hashing.histories import assert_each_change_moves_only_its_keys, owner_names
from tests.hashing.snapshots import Snapshots, first_anchor_bucket

NAMES = [f"n{i}" for i in range(9)]
CAPACITY = 7


class AnchorMachine(RuleBasedStateMachine):
    """Compares Anchor with an implementation that stores a list per released bucket."""

    def __init__(self) -> None:
        super().__init__()
        self.lb = Anchor[str](capacity=CAPACITY)
        self.reference = Snapshots(first_anchor_bucket, CAPACITY)

    @rule(backend=st.sampled_from(NAMES), weight=st.sampled_from([0, 0.5, 1, 7]))
    def put(self, backend: str, weight: float) -> None:
        if self.reference.full and backend not in self.reference.weights:
            with pytest.raises(InvalidSetting, match="capacity must be above 7"):
                self.lb.put(backend, weight)
        else:
            self.lb.put(backend, weight)
            self.reference.put(backend, weight)

    @rule(backend=st.sampled_from(NAMES))
    def discard(self, backend: str) -> None:
        self.lb.discard(backend)
        self.reference.discard(backend)

    @rule(avoid=st.sets(st.sampled_from(NAMES), max_size=8), at=st.integers(0, 1000))
    def avoid(self, avoid: set[str], at: int) -> None:
        for digest in HASHES[at : at + 10].tolist():
            expected = [b for b in self.reference.succession(digest) if b not in avoid]
            if expected:
                assert self.lb.pick_hashed(digest, avoid) == expected[0]
            else:
                with pytest.raises(NoBackendAvailable):
                    self.lb.pick_hashed(digest, avoid)

    @rule()
    def copy(self) -> None:
        self.lb = deepcopy(self.lb)

    @invariant()
    def they_agree(self) -> None:
        assert dict(self.lb.weights) == self.reference.weights
        hashes = HASHES[:16]
        succession = [self.reference.succession(digest) for digest in hashes.tolist()]
        assert [list(self.lb.succession(digest)) for digest in hashes.tolist()] == succession
        if any(self.reference.weights.values()):
            firsts = [order[0] for order in succession]
            assert [self.lb.pick_hashed(digest) for digest in hashes.tolist()] == firsts
            members = list(self.lb.weights)
            assert [members[place] for place in self.lb.pick_many(hashes)] == firsts


def test_it_agrees_with_the_reference_implementation() -> None:
    run_state_machine_as_test(
        AnchorMachine, settings=settings(max_examples=runs(60), stateful_step_count=40)
    )


@settings(max_examples=runs(15))
@given(st.lists(st.integers(0, 1 << 30), min_size=100, max_size=120), st.sampled_from([9, 32]))
def test_a_long_history_moves_only_the_keys_that_must_move(
    changes: list[int], capacity: int
) -> None:
    lb = Anchor(["n0", "n1", "n2"], capacity=capacity)
    assert_each_change_moves_only_its_keys(
        lb, changes, lambda rng: rng.choice(list(lb.weights)), capacity
    )


def test_adding_removed_backends_again_in_reverse_order_restores_the_map() -> None:
    lb = Anchor([f"n{i}" for i in range(60)], capacity=64)
    maps: list[tuple[str, Any]] = []
    for backend in Random(2).sample(list(lb.weights), 60):
        maps.append((backend, owner_names(lb, HASHES)))
        lb.discard(backend)
    for backend, before in reversed(maps):
        lb.put(backend)
        assert (owner_names(lb, HASHES) == before).all()


def after_random_removals(before: int, after: int, capacity: int) -> Anchor[int]:
    """Add ``before`` backends, and remove random ones until ``after`` are left."""
    lb = Anchor(range(before), capacity=capacity)
    for backend in Random(after).sample(range(before), before - after):
        lb.discard(backend)
    return lb


@pytest.mark.parametrize(
    ("before", "after", "capacity"),
    [(10, 10, 10), (100, 100, 128), (60, 10, 60), (200, 100, 200), (1000, 1000, 1024),
     (1100, 1000, 1100), (100, 100, 1000)],
)  # fmt: skip
def test_shares_are_even(before: int, after: int, capacity: int) -> None:
    counts = np.bincount(
        after_random_removals(before, after, capacity).pick_many(HASHES), minlength=after
    )
    assert len(counts) == after
    assert is_even(counts)


@pytest.mark.parametrize("capacity", [12, 16])
def test_the_keys_of_a_removed_backend_spread_evenly_and_so_do_those_it_took_over(
    capacity: int,
) -> None:
    """A key that maps to two released buckets is hashed twice: the results must be independent."""
    hashes = np.random.default_rng(6).integers(0, 1 << 64, 1_000_000, dtype=np.uint64)
    lb = Anchor(range(12), capacity=capacity)
    owned = lb.pick_many(hashes)
    lb.discard(3)
    after_first = np.array(list(lb.weights))[lb.pick_many(hashes)]
    lb.discard(7)
    after_second = np.array(list(lb.weights))[lb.pick_many(hashes)]
    for moved in (owned == 7, (owned == 3) & (after_first == 7)):
        assert is_even([np.sum(after_second[moved] == backend) for backend in lb.weights])


def test_shares_are_even_with_a_tenth_quiesced() -> None:
    lb = after_random_removals(130, 110, 160)
    closed = list(lb.weights)[3::11]
    for backend in closed:
        lb.put(backend, 0)
    counts = np.bincount(lb.pick_many(HASHES), minlength=110)
    assert not counts[3::11].any()
    assert is_even([count for count in counts if count])


def test_a_batch_picks_as_a_loop_does_with_closed_members() -> None:
    keys = [f"user:{i}" for i in range(2000)]
    for closed in (0, 1, 9, 19):
        lb = after_random_removals(40, 20, 50)
        for backend in list(lb.weights)[:closed]:
            lb.put(backend, 0)
        members = list(lb.weights)
        picked = lb.pick_many(lb.hash_many(keys))
        assert [members[place] for place in picked] == [lb.pick(key) for key in keys]


def test_the_same_history_gives_the_same_map_and_another_does_not() -> None:
    one, other = (Anchor(NAMES, capacity=12) for _ in range(2))
    for backend in ("n2", "n5"):
        one.discard(backend)
        other.discard(backend)
    assert (owner_names(one) == owner_names(other)).all()
    third = Anchor(NAMES, capacity=12)
    for backend in ("n5", "n2"):
        third.discard(backend)
    assert (owner_names(third) != owner_names(one)).any()


def test_a_new_backend_gets_the_bucket_released_last() -> None:
    lb, renamed = Anchor(NAMES, capacity=9), Anchor([*NAMES[:-1], "z"], capacity=9)
    lb.discard("n8")
    lb.put("z")
    assert (owner_names(lb) == owner_names(renamed)).all()


def test_a_backend_beyond_the_capacity_is_refused_and_changes_nothing() -> None:
    lb = Anchor(["a", "b"], capacity=2)
    before = owner_names(lb)
    with pytest.raises(InvalidSetting, match="capacity must be above 2 to add 'c'"):
        lb.put("c")
    with pytest.raises(InvalidSetting, match="capacity must be above 2"):
        lb.put("c", 0)
    with pytest.raises(InvalidSetting, match="capacity must be above 2"):
        Anchor(["a", "b", "c"], capacity=2)
    assert list(lb.weights) == ["a", "b"]
    assert (owner_names(lb) == before).all()
    lb.put("b", 5)
    lb.discard("a")
    lb.put("c")
    assert set(owner_names(lb)) == {"b", "c"}
    assert lb.capacity == 2


@pytest.mark.parametrize("capacity", [0, -1, 1.0, True, None, "8", 1 << 25])
def test_a_capacity_must_be_a_positive_int(capacity: Any) -> None:
    with pytest.raises(InvalidSetting, match="capacity must be"):
        Anchor(["a"], capacity=capacity)


def test_all_positive_weights_are_equivalent() -> None:
    one, other = Anchor(NAMES, capacity=12), Anchor(dict.fromkeys(NAMES, 0.25), capacity=12)
    assert (owner_names(one) == owner_names(other)).all()
    assert not one.fractional
    assert isinstance(one, Balancer)


def test_pickles_pick_the_same() -> None:
    lb = after_random_removals(40, 20, 50)
    clone: Anchor[int] = pickle.loads(pickle.dumps(lb))  # noqa: S301 - own
    assert (clone.pick_many(HASHES) == lb.pick_many(HASHES)).all()


def test_bad_input_is_refused_and_changes_nothing() -> None:
    lb = Anchor[Any](["a"], capacity=3)
    signed: Any = np.arange(3)
    with pytest.raises(DuplicateBackend):
        lb.put(b"a")
    with pytest.raises(MissingKey):
        lb.pick()
    with pytest.raises(TypeError, match="uint64"):
        lb.pick_many(signed)
    lb.put("b")
    assert list(lb.weights) == ["a", "b"]
    assert lb.pick(b"") == lb.pick("")
    for backend in "ab":
        lb.discard(backend)
    with pytest.raises(NoBackendAvailable, match="empty"):
        lb.pick("k")
    lb.put("z", 0)
    with pytest.raises(NoBackendAvailable, match="quiesced"):
        lb.pick("k")
    assert lb.replicas("k", 3) == []
