"""The ring as one of its kind: beside its plain twin, in batches, and at its edges."""

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
    everyones_keys,
)


class PlainRing(PlainMap):
    """Sort all points at every question."""

    def succession(self, digest: int) -> list[str]:
        points = sorted(
            (mix(Murmur3()(name.encode()) + (i + 1) * GOLDEN & BITS), name.encode(), name)
            for name in self.opened
            for i in range(max(1, int(8 * self.weights[name] + 0.5)))
        )
        after = [name for point, _, name in points if point >= digest]
        return [*dict.fromkeys([*after, *(name for _, _, name in points)])]


class RingMachine(SetMachine):
    """Beside all points, sorted."""

    def pair(self) -> tuple[HashRing[str], PlainRing]:
        return HashRing(points=8), PlainRing()


TestRing = RingMachine.TestCase
TestRing.settings = settings(max_examples=runs(40), stateful_step_count=40, deadline=None)


@given(WEIGHTS, st.sampled_from([1, 8, 160]))
@settings(deadline=None)
def test_a_batch_is_a_loop_of_picks(weights: dict[str, float], points: int) -> None:
    """Both ways to look up a batch: a few hashes a point, and many."""
    ring = HashRing(weights, points=points)
    if not any(weights.values()):
        with pytest.raises(NoBackendAvailable):
            ring.pick_many(HASHES[:1])
        return
    for hashes in (HASHES[:40], HASHES):
        picked = everyones_keys(ring, hashes)
        assert [ring.pick_hashed(digest) for digest in hashes[:40].tolist()] == picked[:40].tolist()
    whole = everyones_keys(ring, HASHES)
    parts = [everyones_keys(ring, part) for part in np.split(HASHES, 100)]
    assert (whole == np.concatenate(parts)).all()


def test_hashes_on_a_point_and_at_the_ends_belong_to_the_first_at_or_after() -> None:
    ring = HashRing([*"abc"], points=20)
    ring.pick(b"")
    points = [point for cell in ring._circle.cells for point in cell]
    asked = [h for point in points for h in (point - 1, point, point + 1)] + [0, 1, BITS]
    hashes = np.array(asked, dtype=np.uint64)
    loop = [ring.pick_hashed(digest) for digest in asked]
    assert everyones_keys(ring, hashes).tolist() == loop
    assert everyones_keys(ring, np.tile(hashes, 50)).tolist() == loop * 50
    assert ring.pick_hashed(BITS) == ring.pick_hashed(0)


@settings(max_examples=runs(20), deadline=None)
@given(st.lists(st.integers(0, 1 << 30), min_size=100, max_size=120))
def test_a_long_history_moves_only_what_it_must(changes: list[int]) -> None:
    ring = HashRing([f"b{i}" for i in range(12)], points=16)
    assert_each_change_moves_only_its_keys(ring, changes, (0.5, 1, 3))


def held(make: Callable[[], object]) -> int:
    """Give the bytes that what is made holds."""
    gc.collect()
    tracemalloc.start()
    made = make()
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert made
    return size


def test_what_a_ring_holds() -> None:
    """Bytes a backend of 160 points: 15 000 to pick one by one, 2200 for batches only."""
    names = [f"10.0.{i >> 8}.{i & 255}:80" for i in range(1000)]

    def one_by_one() -> HashRing[str]:
        ring = HashRing(names)
        ring.pick(b"key")
        return ring

    def batches() -> HashRing[str]:
        ring = HashRing(names)
        ring.pick_many(HASHES)
        return ring

    one_by_one()
    assert held(one_by_one) <= 15_000 * len(names)
    assert held(batches) <= 2200 * len(names)


def test_a_flip_sorts_no_points_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = HashRing([f"b{i}" for i in range(50)], points=16)
    before = everyones_keys(ring)
    monkeypatch.setattr(ring, "_points", None)
    ring.put("b7", 0)
    assert "b7" not in everyones_keys(ring)
    ring.put("b7", 1)
    assert (everyones_keys(ring) == before).all()
    monkeypatch.undo()
    for weights in ({"b7": 3}, {"b7": None}, {"z": 1}):
        for backend, weight in weights.items():
            ring.discard(backend) if weight is None else ring.put(backend, weight)
        loop = [ring.pick_hashed(digest) for digest in HASHES[:300].tolist()]
        assert everyones_keys(ring)[:300].tolist() == loop


def test_a_batch_leaves_the_ring_as_it_was() -> None:
    ring = HashRing([f"b{i}" for i in range(50)])
    ring.pick_many(HASHES)
    assert ring._circle.size == 0, "only batches: no points are placed to be picked from"
    picked = ring.pick(b"key")
    ring.put("b7", 0)
    ring.pick_many(HASHES)
    assert ring._circle.size == 50 * 160
    assert picked == "b7" or ring.pick(b"key") == picked


@pytest.mark.parametrize("digest", [-1, 1 << 64, 1.0, True, None, b"x"])
def test_a_hash_is_64_bits(digest: object) -> None:
    ring = HashRing([*"abc"])
    with pytest.raises(InvalidKey, match="64 bits"):
        ring.pick_hashed(digest)  # type: ignore[arg-type] # what is refused


def test_chi_square_is_no_test_of_a_ring() -> None:
    """Shares are arcs, not chances: χ² is about (n - 1) + (N - 1)(n·Σp² - 1), whoever hashes.

    Ten backends of 100 points, N = 100 000: 908 on average over rings (9 degrees of freedom, where
    44.8 comes once in a million).  The mean of 30 rings has a deviation of 63; 4.5 of them.
    """
    found: list[float] = []
    for seed in range(30):
        ring = HashRing([f"{seed}/{i}" for i in range(10)], points=100)
        counts = np.bincount(ring.pick_many(HASHES), minlength=10)
        found.append(chi_square(counts))
        assert not is_even(counts)
    assert np.mean(found) == pytest.approx(908, abs=4.5 * 63)


def test_a_ring_too_large_says_how_large() -> None:
    with pytest.raises(RingTooLarge, match="needs 16000000 points"):
        HashRing(range(100_000))
    assert len(HashRing(range(52_428)).weights) == 52_428
    with pytest.raises(RingTooLarge, match="needs 16000161 points"):
        HashRing({"a": 1, "b": 40_000.0, "c": 59_999.999, "d": 0, "e": 0.0001})
