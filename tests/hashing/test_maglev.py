"""Maglev: the published tables, filling slot by slot, evenness, and the keys that move."""

from collections import Counter
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers import Maglev
from balancers.balancer import Balancer
from balancers.errors import DuplicateBackend, InvalidSetting, MissingKey, NoBackendAvailable
from balancers.hashing import maglev_table
from balancers.hashing.maglev_table import fill
from balancers.keys import Murmur3
from tests.depth import runs
from tests.hashing.evenness import HASHES
from tests.hashing.plain_maps import PlainMaglev, fill_slot_by_slot
from tests.hashing.set_laws import (
    WEIGHTS,
    SetMachine,
    assert_a_function_of_the_set,
    owner_names,
)
from tests.hashing.siphash import siphash

EVERY_SLOT = np.arange(65537, dtype=np.uint64)
PRIMES = [2, 3, 7, 13, 61, 211, 1009, 2053]


class MaglevMachine(SetMachine):
    """Compares Maglev with a table that is filled slot by slot."""

    def pair(self) -> tuple[Maglev[str], PlainMaglev]:
        return Maglev(size=61), PlainMaglev(61)


TestMaglevMachine = MaglevMachine.TestCase
TestMaglevMachine.settings = settings(max_examples=runs(60), stateful_step_count=40)


@settings(max_examples=runs(200))
@given(st.data())
def test_the_table_is_the_one_filled_slot_by_slot(data: st.DataObject) -> None:
    """With any number of last turns, and weights that differ by one rounding."""
    size = data.draw(st.sampled_from(PRIMES))
    weight = st.one_of(
        st.integers(1, 5),
        st.sampled_from([1, 1 + 2**-52, 1 - 2**-53, 0.1, 0.3, 1e9, 1e300, 5e-324]),
        st.floats(0.001, 1000),
    )
    weights = data.draw(st.lists(weight, min_size=1, max_size=min(size, 40)))
    rng = Random(data.draw(st.integers(0, 1 << 30)))
    offsets = [rng.randrange(size) for _ in weights]
    skips = [rng.randrange(1, size) for _ in weights]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(maglev_table, "_LAST_TURNS", data.draw(st.sampled_from([0, 3, 20, 256])))
        assert fill(offsets, skips, weights, size).tolist() == fill_slot_by_slot(
            offsets, skips, weights, size
        )


@pytest.mark.parametrize("members", [1, 10, 1000, 5000])
def test_a_table_of_the_default_size_is_the_one_filled_slot_by_slot(members: int) -> None:
    rng = Random(members)
    offsets = [rng.randrange(65537) for _ in range(members)]
    skips = [rng.randrange(1, 65537) for _ in range(members)]
    for weights in ([1.0] * members, [1.0 + number % 3 for number in range(members)]):
        table = fill(offsets, skips, weights, 65537)
        assert table.tolist() == fill_slot_by_slot(offsets, skips, weights, 65537)


@pytest.mark.parametrize("weights", [[0.2, 0.9], [1, 0.7, 1, 0.3], [1, 1 - 2**-53, 1 / 3]])
def test_turns_are_counted_in_doubles(weights: list[float]) -> None:
    """Weights for which a quotient and a product round to different sides of an integer.

    Every backend asks for the same slots, so the table shows which backend had which turn.
    """
    offsets, skips = [5] * len(weights), [7] * len(weights)
    assert fill(offsets, skips, weights, 2053).tolist() == fill_slot_by_slot(
        offsets, skips, weights, 2053
    )


def test_many_backends_with_the_same_sequence() -> None:
    """No backend finds a free slot among those that were searched ahead."""
    assert fill([5] * 900, [7] * 900, [1] * 900, 2053).tolist() == fill_slot_by_slot(
        [5] * 900, [7] * 900, [1] * 900, 2053
    )


def test_the_worked_example_of_the_paper() -> None:
    """NSDI 2016, table 1."""
    assert fill([3, 0, 3], [4, 2, 1], [1, 1, 1], 7).tolist() == [1, 0, 1, 0, 2, 2, 0]
    assert fill([3, 3], [4, 1], [1, 1], 7).tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_siphash_agrees_with_its_paper() -> None:
    """The vector of the paper, appendix A."""
    key = bytes(range(16))
    halves = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    assert siphash(*halves)(bytes(range(15))) == 0xA129CA6149BE45E5


def test_the_table_recorded_from_go_maglev() -> None:
    """dgryski/go-maglev: the look-ups of three backends, and of two after backend-1 is removed."""
    digests = [siphash(0xDEADBEEFCAFEBABE)(f"backend-{i}".encode()) for i in range(3)]
    offsets = [(digest >> 32) % 7 for digest in digests]
    skips = [(digest & 0xFFFFFFFF) % 6 + 1 for digest in digests]
    assert fill(offsets, skips, [1, 1, 1], 7).tolist() == [1, 2, 0, 2, 0, 1, 0]
    left = fill(offsets[::2], skips[::2], [1, 1], 7)
    assert [(0, 2)[backend] for backend in left] == [0, 2, 0, 2, 0, 2, 0]


@given(st.sampled_from([7, 61, 211]), st.integers(1, 61))
def test_of_equal_weights_slots_are_even_within_one(size: int, members: int) -> None:
    lb = Maglev([f"n{i}" for i in range(min(size, members))], size=size)
    counts = np.bincount(lb.pick_many(EVERY_SLOT[:size]), minlength=len(lb.weights))
    assert set(counts.tolist()) <= {size // len(lb.weights), -(-size // len(lb.weights))}


@given(WEIGHTS, st.floats(1e-12, 1e12))
def test_slots_are_shares_rounded_to_a_neighbour(weights: dict[str, float], scale: float) -> None:
    """Every positive weight has a slot; each count is near the exact share."""
    lb = Maglev({**weights, "heavy": scale}, size=2053)
    counts: Counter[str] = Counter(owner_names(lb, EVERY_SLOT[:2053]).tolist())
    total = sum(lb.weights.values())
    for backend, weight in lb.weights.items():
        if weight:
            assert counts[backend] >= 1
            assert abs(counts[backend] - 2053 * weight / total) <= len(weights) + 1


@given(WEIGHTS, st.randoms(use_true_random=False))
def test_the_map_is_a_function_of_the_set(weights: dict[str, float], rng: Random) -> None:
    """Of the set of open members: a closed one keeps its slots."""
    opened = {backend: weight for backend, weight in weights.items() if weight}
    assert_a_function_of_the_set(lambda members: Maglev(members, size=211), opened, rng)


def slots(lb: Maglev[Any], size: int = 65537) -> np.typing.NDArray[Any]:
    return np.array(list(lb.weights))[lb.pick_many(EVERY_SLOT[:size])]


@pytest.mark.parametrize(
    ("members", "others"), [(3, 0.00022), (5, 0.00117), (10, 0.0025), (100, 0.00556)]
)
def test_removing_a_backend_moves_few_keys_of_others(members: int, others: float) -> None:
    """Means of 20 hash functions.  For 3 and 5 they vary widely: half of the value is allowed."""
    extra: list[float] = []
    for seed in range(20):
        lb = Maglev([f"n{i}" for i in range(members)], hasher=Murmur3(seed))
        before = slots(lb)
        lb.discard("n0")
        moved = before != slots(lb)
        extra.append(float((moved & (before != "n0")).mean()))
        if members == 100:
            assert 0.010 <= moved.mean() <= 0.022
    assert float(np.mean(extra)) == pytest.approx(others, rel=0.5 if members < 10 else 0.1)


@pytest.mark.parametrize(("failures", "changed"), [(1, 0.0067), (10, 0.0331), (100, 0.136)])
def test_failures_change_as_much_of_the_table_as_published(failures: int, changed: float) -> None:
    """NSDI 2016, figure 12: random ones of 1000 backends fail; means of three, within a sixth."""
    members = [f"n{i}" for i in range(1000)]
    before = slots(Maglev(members))
    found: list[float] = []
    for seed in range(3):
        gone = set(Random(seed).sample(members, failures))
        found.append(float((slots(Maglev(b for b in members if b not in gone)) != before).mean()))
    assert float(np.mean(found)) == pytest.approx(changed, rel=1 / 6)


@settings(max_examples=runs(10))
@given(st.lists(st.integers(0, 1 << 30), min_size=100, max_size=120))
def test_a_flip_does_not_fill_the_table_and_moves_only_its_keys(changes: list[int]) -> None:
    lb = Maglev([f"n{i}" for i in range(8)], size=211)
    start = owner_names(lb)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("balancers.hashing.maglev.fill", None)
        for change in changes:
            before = owner_names(lb)
            backend = f"n{change % 8}"
            if lb.weights[backend]:
                if sum(lb.weights.values()) == 1:
                    continue
                lb.put(backend, 0)
                assert ((before == backend) == (before != owner_names(lb))).all()
            else:
                lb.put(backend, 1)
                after = owner_names(lb)
                assert (after[before != after] == backend).all()
        for backend in lb.weights:
            lb.put(backend)
        assert (owner_names(lb) == start).all()


def test_a_backend_that_joins_quiesced_has_no_slots_until_it_opens() -> None:
    lb = Maglev({"a": 1, "b": 1, "c": 0})
    assert (slots(lb) == slots(Maglev(["a", "b"]))).all()
    lb.put("c", 2)
    assert (slots(lb) == slots(Maglev({"a": 1, "b": 1, "c": 2}))).all()
    lb.put("c", 0)
    lb.put("c", 1)
    assert (slots(lb) == slots(Maglev(["a", "b", "c"]))).all()


def test_a_batch_picks_as_single_picks_do() -> None:
    for size in (13, 65537, 131_071):
        lb = Maglev({f"n{i}": 1 + i % 3 for i in range(13)}, size=size)
        hashes = np.append(HASHES[:40_000], np.array([0, 1, (1 << 64) - 1], dtype=np.uint64))
        for backend in (None, "n3", "n7"):
            if backend:
                lb.put(backend, 0)
            picked = owner_names(lb, hashes).tolist()
            assert [lb.pick_hashed(h) for h in hashes.tolist()] == picked
    keys = [f"user:{i}".encode() for i in range(300)]
    assert [lb.pick(key) for key in keys] == owner_names(lb, lb.hash_many(keys)).tolist()


def test_more_members_than_sixteen_bits() -> None:
    lb = Maglev(range(70_000), size=131_071)
    hashes = HASHES[:1000]
    assert [lb.pick_hashed(h) for h in hashes.tolist()] == lb.pick_many(hashes).tolist()
    assert len(np.unique(lb.pick_many(np.arange(131_071, dtype=np.uint64)))) == 70_000


@pytest.mark.parametrize("size", [0, 1, 4, 9, 65536, -7, 7.0, True, "7", (1 << 24) + 43, 1 << 200])
def test_a_size_that_is_not_a_prime_is_refused(size: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"size must be .*, not "):
        Maglev[str](size=size)


@pytest.mark.parametrize("size", [2, 3, 5, 65521, 65537, 655_373, 16_777_213])
def test_primes_are_accepted(size: int) -> None:
    assert Maglev[str](size=size).weights == {}


def test_more_members_than_slots_are_refused() -> None:
    lb = Maglev({"a": 1, "b": 0, "c": 2}, size=3)
    before = owner_names(lb).tolist()
    for weight in (0, 1):
        with pytest.raises(InvalidSetting, match="size must be above 3 to add 'd'"):
            lb.put("d", weight)
    assert dict(lb.weights) == {"a": 1, "b": 0, "c": 2}
    assert owner_names(lb).tolist() == before
    with pytest.raises(InvalidSetting, match="to add 'd'"):
        Maglev([*"abcd"], size=3)
    lb.discard("b")
    lb.put("d")
    assert set(owner_names(lb).tolist()) == {*"acd"}


def test_bad_input_is_refused() -> None:
    lb: Balancer[str] = Maglev[str]()
    with pytest.raises(NoBackendAvailable, match="empty"):
        lb.pick("key")
    lb.put("a")
    assert lb.pick("") == lb.pick(b"") == "a"
    with pytest.raises(MissingKey):
        lb.pick()
    with pytest.raises(DuplicateBackend):
        Maglev[object](["a", b"a"])
    lb.put("a", 0)
    with pytest.raises(NoBackendAvailable, match="quiesced"):
        lb.pick("key")
    with pytest.raises(TypeError, match="float64"):
        Maglev(["a"]).pick_many(np.zeros(3))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - invalid
