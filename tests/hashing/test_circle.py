"""Circles and tables of points, compared with sorted lists."""

import pickle
from bisect import bisect_left
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.hashing.circle import Circle, PointTable
from balancers.hashing.hashed_balancer import BITS, mix
from tests.work import work_of

POINTS = st.integers(0, 40).map(lambda n: n << 58) | st.sampled_from([0, 1, BITS, BITS - 1])
RANK = {owner: place for place, owner in enumerate("abcdefgh")}


def walked(points: list[tuple[int, str]], digest: int) -> list[str]:
    place = bisect_left([point for point, _ in points], digest)
    return [owner for _, owner in points[place:] + points[:place]]


def check(circle: Circle[str], points: list[tuple[int, str]], digest: int) -> None:
    assert circle.size == len(points)
    assert list(circle.walk(digest)) == walked(points, digest)
    if not points:
        for ask in (circle.at, circle.before):
            with pytest.raises(KeyError):
                ask(digest)
        return
    place = bisect_left([point for point, _ in points], digest)
    assert circle.at(digest) == points[place % len(points)]
    assert circle.before(digest) == points[place - 1]


@given(
    st.lists(st.tuples(POINTS, st.sampled_from("abcdefgh"), st.booleans()), max_size=60),
    st.lists(POINTS, min_size=1, max_size=5),
    st.integers(0, 60),
)
def test_a_circle_agrees_with_a_sorted_list(
    changes: list[tuple[int, str, bool]], asked: list[int], built: int
) -> None:
    """Points are there from the start or are added one by one; some are removed."""
    first = sorted({(point, owner) for point, owner, _ in changes[:built]})
    circle, points = Circle(first), list(first)
    for point, owner, removed in changes:
        if (point, owner) not in points:
            circle.add(point, owner, RANK)
            points = sorted([*points, (point, owner)])
        elif removed:
            circle.take(point, owner)
            points.remove((point, owner))
        for digest in asked:
            check(circle, points, digest)
    for clone in (deepcopy(circle), pickle.loads(pickle.dumps(circle))):  # noqa: S301 - own
        check(clone, points, asked[0])


@given(
    st.lists(st.tuples(POINTS, st.sampled_from("abc")), min_size=1, max_size=60, unique=True),
    st.lists(POINTS, max_size=20),
)
def test_flat_points_and_a_table_agree_with_single_look_ups(
    points: list[tuple[int, str]], asked: list[int]
) -> None:
    circle = Circle(points)
    hashes = np.array([*asked, *(point for point, _ in points)], dtype=np.uint64)
    ascending, owners = circle.flat("abc")
    found = np.searchsorted(ascending, hashes)
    assert ["abc"[owners[place]] for place in found] == [
        circle.at(digest)[1] for digest in hashes.tolist()
    ]
    for dtype in (np.intp, np.int32):
        table = PointTable(np.append(ascending, np.uint64(BITS)), max_bits=10, dtype=dtype)
        assert table.search(hashes, table.cells(hashes)).tolist() == found.tolist()
        assert np.repeat(np.arange(len(table.points)), table.repeats).tolist() == (
            table.firsts.tolist()
        )
    assert repr(circle) == f"<Circle: {len(points)} points>"
    assert repr(table).startswith(f"<PointTable: {len(points) + 1} points, ")


def test_of_equal_points_the_first_given_is_first() -> None:
    circle = Circle([(5, "b"), (5, "a"), (3, "c")])
    assert list(circle.walk(4)) == ["b", "a", "c"]


def test_a_lookup_costs_the_same_among_ten_and_ten_thousand_points() -> None:
    def lines_run(n: int) -> int:
        circle = Circle([(mix(i), i) for i in range(n)])
        asked = [mix(-i & BITS) for i in range(100)]
        return work_of(lambda: [(circle.at(h), circle.before(h)) for h in asked]).lines

    assert lines_run(10_000) <= 1.2 * lines_run(10)
