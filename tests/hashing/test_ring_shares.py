"""``HashRing.shares`` returns the exact arcs: compared with owners of hashes, and by hand."""

import pickle
from collections.abc import Iterator
from copy import deepcopy
from fractions import Fraction
from itertools import islice
from math import fsum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import HashRing
from balancers.hashing.circle import arc_lengths
from balancers.keys import key_bytes

NAMES = st.sampled_from([*"abcdefgh", "1", "11", "é", "10.0.0.1:80"])
WEIGHTS = st.sampled_from([0, 0.01, 0.5, 1, 1, 1.7, 3])
TOP = 1 << 64


def lengths(ring: HashRing[str]) -> dict[str, int]:
    """Return the number of hashes of each backend, from all points of open backends in pure Python.

    The points are found by looking up: a point is where the owner of a hash may change.
    """
    points: dict[int, str] = {}
    for backend in sorted(ring.weights, key=key_bytes, reverse=True):  # the lesser name is kept
        if ring.weights[backend]:
            count = ring._wanted[backend]
            points.update(dict.fromkeys(islice(sequence(ring, backend), count), backend))
    found = dict.fromkeys(ring.weights, 0)
    ascending = sorted(points)
    for before, point in zip([ascending[-1] - TOP, *ascending], ascending, strict=False):
        assert ring.pick_hashed(point) == points[point]
        assert ring.pick_hashed((before + 1) % TOP) == points[point]
        found[points[point]] += point - before
    return found


def sequence(ring: HashRing[str], backend: str) -> Iterator[int]:
    """Yield the numbers of the SplitMix64 sequence of a name."""
    state = ring._hasher(key_bytes(backend)) % TOP
    while True:
        state = (state + 0x9E3779B97F4A7C15) % TOP
        z = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % TOP
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % TOP
        yield z ^ (z >> 31)


@given(
    weights=st.dictionaries(NAMES, WEIGHTS, max_size=8),
    changes=st.lists(st.tuples(NAMES, st.one_of(st.none(), WEIGHTS)), max_size=8),
    points=st.integers(1, 40),
    looks=st.booleans(),
)
def test_they_are_the_arcs_between_the_points(
    weights: dict[str, float],
    changes: list[tuple[str, float | None]],
    points: int,
    looks: bool,
) -> None:
    ring = HashRing(weights, points=points)
    for backend, weight in changes:
        if looks:
            ring.shares()
        ring.discard(backend) if weight is None else ring.put(backend, weight)
    shares = ring.shares()
    assert list(shares) == list(ring.weights)
    assert {type(share) for share in shares.values()} <= {float}
    if not any(ring.weights.values()):
        assert set(shares.values()) <= {0.0}
        return
    found = lengths(ring)
    assert sum(found.values()) == TOP
    assert shares == {backend: length / TOP for backend, length in found.items()}
    assert fsum(shares.values()) == pytest.approx(1, abs=1e-15)
    for backend, weight in ring.weights.items():
        assert weight or not shares[backend]


def test_a_fine_grid_of_hashes_has_the_same_owners() -> None:
    """Each arc contains its part of a million equidistant hashes, rounded up or down."""
    ring = HashRing({f"10.0.0.{i}": 1 + i % 3 for i in range(30)}, points=40)
    ring.put("10.0.0.7", 0)
    hashes = 1 << 20
    grid = np.arange(hashes, dtype=np.uint64) << np.uint64(44)
    counts = np.bincount(ring.pick_many(grid), minlength=30)
    for (backend, share), count in zip(ring.shares().items(), counts, strict=True):
        assert abs(count - share * hashes) <= 40 * 3, backend
        assert (count == 0) == (share == 0)
    assert sum(map(Fraction, ring.shares().values())) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("points", [1, 3])
@pytest.mark.parametrize("digest", [0, TOP - 1, 0x61C8864680B583EB, 12345])
def test_all_points_in_one_place_belong_to_the_lesser_name(points: int, digest: int) -> None:
    """A hash function that is constant puts the points of all backends in the same places.

    With the third digest, the state of the first point is 0, and so is the point.
    """
    ring = HashRing(["b", "a", "c"], points=points, hasher=lambda _: digest)
    assert ring.shares() == {"b": 0.0, "a": 1.0, "c": 0.0}
    ring.put("a", 0)
    assert ring.shares() == {"b": 1.0, "a": 0.0, "c": 0.0}


@pytest.mark.parametrize(
    ("points", "owners", "expected"),
    [
        ([0], [1, 1], [0, TOP]),
        ([0, TOP - 2], [1, 0, 1], [TOP - 2, 2]),
        ([5, 5, 8], [0, 1, 1, 0], [TOP - 3, 3]),
        ([TOP - 1], [0, 0], [TOP, 0]),
        ([TOP - 2, TOP - 1], [0, 1, 0], [TOP - 1, 1]),
    ],
)
def test_every_hash_is_counted_once(
    points: list[int], owners: list[int], expected: list[int]
) -> None:
    """An error of one hash is too small to change a float."""
    ascending = np.array([*points, TOP - 1], dtype=np.uint64)
    assert arc_lengths(ascending, np.array(owners), 2) == expected


def test_rings_that_are_empty_closed_or_of_one_backend() -> None:
    assert HashRing[str]().shares() == {}
    assert HashRing({"a": 0, "b": 0}).shares() == {"a": 0.0, "b": 0.0}
    assert HashRing({"a": 0, "b": 2}, points=1).shares() == {"a": 0.0, "b": 1.0}
    assert HashRing({"a": 1e-300}, points=1).shares() == {"a": 1.0}


def test_the_result_is_a_new_dict_and_copies_have_the_same_shares() -> None:
    ring = HashRing({"a": 1, "b": 2})
    before = dict(ring.shares())
    for copied in (deepcopy(ring), pickle.loads(pickle.dumps(ring))):  # noqa: S301 - own
        copied.put("a", 5)
        copied.put("c", 1)
        assert copied.shares() != before
    ring.put("c", 0)
    assert ring.shares() == {**before, "c": 0.0}
    ring.discard("a")
    assert ring.shares() == {"b": 1.0, "c": 0.0}
    assert before == HashRing({"a": 1, "b": 2}).shares()
