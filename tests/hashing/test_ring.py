"""HashRing: a reference implementation, batches, memory, and limits."""

import gc
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers import HashRing, NoBackendAvailable
from balancers.errors import InvalidKey, RingTooLarge
from balancers.hashing.hashed_balancer import BITS, GOLDEN, mix
from balancers.keys import Murmur3
from tests.depth import runs
from tests.hashing.evenness import HASHES, chi_square, is_even
from tests.hashing.plain_maps import PlainMap
from tests.hashing.set_laws import (
    WEIGHTS,
    SetMachine,
    assert_each_change_moves_only_its_keys,
    owner_names,
)


class PlainRing(PlainMap):
    """Sorts every point at every look-up."""

    def succession(self, digest: int) -> list[str]:
        points = sorted(
            (mix(Murmur3()(name.encode()) + (i + 1) * GOLDEN & BITS), name.encode(), name)
            for name in self.opened
            for i in range(max(1, int(8 * self.weights[name] + 0.5)))
        )
        after = [name for point, _, name in points if point >= digest]
        return [*dict.fromkeys([*after, *(name for _, _, name in points)])]


class RingMachine(SetMachine):
    """Compares HashRing with a sorted list of every point."""

    def pair(self) -> tuple[HashRing[str], PlainRing]:
        return HashRing(points=8), PlainRing()


TestRing = RingMachine.TestCase
TestRing.settings = settings(max_examples=runs(40), stateful_step_count=40, deadline=None)


@given(WEIGHTS, st.sampled_from([1, 8, 160]))
@settings(deadline=None)
def test_a_batch_picks_as_a_loop_does(weights: dict[str, float], points: int) -> None:
    """For both ways to look up a batch: few hashes per point, and many."""
    ring = HashRing(weights, points=points)
    if not any(weights.values()):
        with pytest.raises(NoBackendAvailable):
            ring.pick_many(HASHES[:1])
        return
    for hashes in (HASHES[:40], HASHES):
        picked = owner_names(ring, hashes)
        assert [ring.pick_hashed(digest) for digest in hashes[:40].tolist()] == picked[:40].tolist()
    whole = owner_names(ring, HASHES)
    parts = [owner_names(ring, part) for part in np.split(HASHES, 100)]
    assert (whole == np.concatenate(parts)).all()


def test_hashes_on_a_point_and_at_the_ends_belong_to_the_first_at_or_after() -> None:
    ring = HashRing([*"abc"], points=20)
    ring.pick(b"")
    points = [point for cell in ring._circle.cells for point in cell]
    asked = [h for point in points for h in (point - 1, point, point + 1)] + [0, 1, BITS]
    hashes = np.array(asked, dtype=np.uint64)
    loop = [ring.pick_hashed(digest) for digest in asked]
    assert owner_names(ring, hashes).tolist() == loop
    assert owner_names(ring, np.tile(hashes, 50)).tolist() == loop * 50
    assert ring.pick_hashed(BITS) == ring.pick_hashed(0)


@settings(max_examples=runs(20), deadline=None)
@given(st.lists(st.integers(0, 1 << 30), min_size=100, max_size=120))
def test_a_long_history_moves_only_the_keys_that_must_move(changes: list[int]) -> None:
    ring = HashRing([f"b{i}" for i in range(12)], points=16)
    assert_each_change_moves_only_its_keys(ring, changes, (0.5, 1, 3))


def allocated(make: Callable[[], object]) -> int:
    """Return the bytes that a new object takes."""
    gc.collect()
    tracemalloc.start()
    made = make()
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert made
    return size


def test_the_memory_of_a_ring() -> None:
    """Per backend of 160 points: 15 000 bytes for single picks, 2200 bytes for batches only."""
    names = [f"10.0.{i >> 8}.{i & 255}:80" for i in range(1000)]

    def single_picks() -> HashRing[str]:
        ring = HashRing(names)
        ring.pick(b"key")
        return ring

    def batches() -> HashRing[str]:
        ring = HashRing(names)
        ring.pick_many(HASHES)
        return ring

    single_picks()
    assert allocated(single_picks) <= 15_000 * len(names)
    assert allocated(batches) <= 2200 * len(names)


def test_a_flip_sorts_no_points_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = HashRing([f"b{i}" for i in range(50)], points=16)
    before = owner_names(ring)
    monkeypatch.setattr(ring, "_points_of", None)
    ring.put("b7", 0)
    assert "b7" not in owner_names(ring)
    ring.put("b7", 1)
    assert (owner_names(ring) == before).all()
    monkeypatch.undo()
    for weights in ({"b7": 3}, {"b7": None}, {"z": 1}):
        for backend, weight in weights.items():
            ring.discard(backend) if weight is None else ring.put(backend, weight)
        loop = [ring.pick_hashed(digest) for digest in HASHES[:300].tolist()]
        assert owner_names(ring)[:300].tolist() == loop


def test_a_batch_does_not_change_the_ring() -> None:
    ring = HashRing([f"b{i}" for i in range(50)])
    ring.pick_many(HASHES)
    assert ring._circle.size == 0, "batches alone place no points on the circle"
    picked = ring.pick(b"key")
    ring.put("b7", 0)
    ring.pick_many(HASHES)
    assert ring._circle.size == 50 * 160
    assert picked == "b7" or ring.pick(b"key") == picked


@pytest.mark.parametrize("digest", [-1, 1 << 64, 1.0, True, None, b"x"])
def test_a_hash_must_be_an_int_of_64_bits(digest: object) -> None:
    ring = HashRing([*"abc"])
    with pytest.raises(InvalidKey, match="64 bits"):
        ring.pick_hashed(digest)  # type: ignore[arg-type] # invalid


def test_chi_square_rejects_every_ring() -> None:
    """Shares are arcs of unequal length: χ² is about (n - 1) + (N - 1)(n·Σp² - 1).

    For 10 backends of 100 points and N = 100 000 it is 908 on average over rings; with 9 degrees of
    freedom chance exceeds 44.8 once in a million.  The mean of 30 rings has a standard deviation of
    63; 4.5 of them are allowed.
    """
    found: list[float] = []
    for seed in range(30):
        ring = HashRing([f"{seed}/{i}" for i in range(10)], points=100)
        counts = np.bincount(ring.pick_many(HASHES), minlength=10)
        found.append(chi_square(counts))
        assert not is_even(counts)
    assert np.mean(found) == pytest.approx(908, abs=4.5 * 63)


def test_a_ring_that_is_too_large_is_refused_with_its_size() -> None:
    with pytest.raises(RingTooLarge, match="needs 16000000 points"):
        HashRing(range(100_000))
    assert len(HashRing(range(52_428)).weights) == 52_428
    with pytest.raises(RingTooLarge, match="needs 16000161 points"):
        HashRing({"a": 1, "b": 40_000.0, "c": 59_999.999, "d": 0, "e": 0.0001})


def test_a_pick_agrees_with_a_batch_while_the_ring_empties() -> None:
    """When few points are left in many cells, each change concerns several empty cells in a row."""
    ring = HashRing([f"b{i}" for i in range(300)], points=1)
    hashes = ring.hash_many(range(300))
    for i in range(240):
        ring.pick(0)
        ring.discard(f"b{i}")
        if i % 8 == 0:
            assert owner_names(ring, hashes).tolist() == [ring.pick(key) for key in range(300)]
