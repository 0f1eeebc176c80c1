"""Memento: a reference implementation, the keys that move, evenness, and the map of Jump."""

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
from balancers.errors import DuplicateBackend, MissingKey
from balancers.hashing import Jump, Memento
from tests.depth import runs
from tests.hashing.evenness import HASHES, is_even
from tests.hashing.histories import assert_each_change_moves_only_its_keys, owner_names
from tests.hashing.snapshots import Snapshots, first_jump_bucket

NAMES = [f"n{i}" for i in range(9)]


class MementoMachine(RuleBasedStateMachine):
    """Compares Memento with an implementation that stores a list per released bucket."""

    def __init__(self) -> None:
        super().__init__()
        self.lb = Memento[str]()
        self.reference = Snapshots(first_jump_bucket)

    @rule(backend=st.sampled_from(NAMES), weight=st.sampled_from([0, 0.5, 1, 7]))
    def put(self, backend: str, weight: float) -> None:
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
            members = list(self.lb.weights)
            assert [members[place] for place in self.lb.pick_many(hashes)] == firsts


def test_it_agrees_with_the_reference_implementation() -> None:
    run_state_machine_as_test(
        MementoMachine, settings=settings(max_examples=runs(60), stateful_step_count=40)
    )


@settings(max_examples=runs(15))
@given(st.lists(st.integers(0, 1 << 30), min_size=100, max_size=120))
def test_a_long_history_moves_only_the_keys_that_must_move(changes: list[int]) -> None:
    lb = Memento(["n0", "n1", "n2"])
    assert_each_change_moves_only_its_keys(
        lb, changes, lambda rng: rng.choice(list(lb.weights)), 30
    )


@given(st.lists(st.booleans(), max_size=60))
def test_the_map_is_that_of_jump_while_only_last_members_leave(joins: list[bool]) -> None:
    lb, jump = Memento[str](), Jump[str]()
    for number, joining in enumerate([True, *joins, True]):
        for each in (lb, jump):
            if joining:
                each.put(f"n{number}")
            elif each.weights:
                each.discard(list(each.weights)[-1])
    assert (owner_names(lb) == owner_names(jump)).all()


def test_adding_removed_backends_again_in_reverse_order_restores_the_map() -> None:
    lb = Memento([f"n{i}" for i in range(60)])
    maps: list[tuple[str, Any]] = []
    for backend in Random(2).sample(list(lb.weights), 60):
        maps.append((backend, owner_names(lb, HASHES)))
        lb.discard(backend)
    for backend, before in reversed(maps):
        lb.put(backend)
        assert (owner_names(lb, HASHES) == before).all()
    assert (maps[0][1] == owner_names(Jump([f"n{i}" for i in range(60)]), HASHES)).all()


def after_random_removals(before: int, after: int) -> Memento[int]:
    """Add ``before`` backends, and remove random ones until ``after`` are left."""
    lb = Memento(range(before))
    for backend in Random(after).sample(range(before), before - after):
        lb.discard(backend)
    return lb


@pytest.mark.parametrize(
    ("before", "after"), [(10, 10), (60, 10), (110, 100), (200, 100), (1100, 1000), (3000, 1000)]
)
def test_shares_are_even(before: int, after: int) -> None:
    counts = np.bincount(after_random_removals(before, after).pick_many(HASHES), minlength=after)
    assert len(counts) == after
    assert is_even(counts)


def test_the_keys_of_a_removed_backend_spread_evenly_and_so_do_those_it_took_over() -> None:
    """A key that maps to two released buckets is hashed twice: the results must be independent."""
    hashes = np.random.default_rng(6).integers(0, 1 << 64, 1_000_000, dtype=np.uint64)
    lb = Memento(range(12))
    owned = lb.pick_many(hashes)
    lb.discard(3)
    after_first = np.array(list(lb.weights))[lb.pick_many(hashes)]
    lb.discard(7)
    after_second = np.array(list(lb.weights))[lb.pick_many(hashes)]
    for moved in (owned == 7, (owned == 3) & (after_first == 7)):
        assert is_even([np.sum(after_second[moved] == backend) for backend in lb.weights])


def test_shares_are_even_with_a_tenth_quiesced() -> None:
    lb = after_random_removals(130, 110)
    for backend in list(lb.weights)[3::11]:
        lb.put(backend, 0)
    counts = np.bincount(lb.pick_many(HASHES), minlength=110)
    assert not counts[3::11].any()
    assert is_even([count for count in counts if count])


def test_a_batch_picks_as_a_loop_does_with_closed_members() -> None:
    keys = [f"user:{i}" for i in range(2000)]
    for closed in (0, 1, 9, 19):
        lb = after_random_removals(40, 20)
        for backend in list(lb.weights)[:closed]:
            lb.put(backend, 0)
        members = list(lb.weights)
        picked = lb.pick_many(lb.hash_many(keys))
        assert [members[place] for place in picked] == [lb.pick(key) for key in keys]


def test_the_same_history_gives_the_same_map_and_another_does_not() -> None:
    one, other, third = (Memento(NAMES) for _ in range(3))
    for backend in ("n2", "n5"):
        one.discard(backend)
        other.discard(backend)
    assert (owner_names(one) == owner_names(other)).all()
    for backend in ("n5", "n2"):
        third.discard(backend)
    assert (owner_names(third) != owner_names(one)).any()


def test_a_new_backend_gets_the_bucket_released_last() -> None:
    lb, renamed = Memento(NAMES), Memento([*NAMES[:4], "z", *NAMES[5:]])
    lb.discard("n4")
    lb.put("z")
    assert (owner_names(lb) == owner_names(renamed)).all()


def test_all_positive_weights_are_equivalent() -> None:
    one, other = Memento(NAMES), Memento(dict.fromkeys(NAMES, 0.25))
    assert (owner_names(one) == owner_names(other)).all()
    assert not one.fractional
    assert isinstance(one, Balancer)


def test_pickles_pick_the_same() -> None:
    lb = after_random_removals(40, 20)
    clone: Memento[int] = pickle.loads(pickle.dumps(lb))  # noqa: S301 - own
    assert (clone.pick_many(HASHES) == lb.pick_many(HASHES)).all()


def test_bad_input_is_refused_and_changes_nothing() -> None:
    lb = Memento[Any](["a"])
    listed: Any = [1, 2]
    with pytest.raises(DuplicateBackend):
        lb.put(b"a")
    with pytest.raises(MissingKey):
        lb.pick()
    with pytest.raises(TypeError, match="uint64"):
        lb.pick_many(listed)
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
