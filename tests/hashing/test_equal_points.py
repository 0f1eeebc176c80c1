"""Equal points on a circle are ordered by rank, however they were added, and may be taken away."""

from itertools import permutations

import numpy as np
import pytest

from balancers.hashing.circle import Circle

RANK = {"a": 0, "b": 1, "c": 2}
POINT = 1 << 63


def owners(circle: Circle[str], digest: int) -> list[str]:
    return [*circle.walk(digest)]


@pytest.mark.parametrize("order", [*permutations("abc")])
def test_equal_points_are_in_the_order_of_rank(order: tuple[str, ...]) -> None:
    circle = Circle[str]()
    for owner in order:
        circle.add(POINT, owner, RANK)
    assert owners(circle, 0) == owners(circle, POINT) == ["a", "b", "c"]
    for left, owner in enumerate(order, start=1):
        circle.take(POINT, owner)
        assert owners(circle, 0) == sorted({*order} - {*order[:left]})
    assert owners(circle, 5) == []


def test_a_circle_without_points() -> None:
    circle = Circle[str]()
    circle.build(np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.intp), [])
    assert owners(circle, 7) == []
    circle.add(3, "a", RANK)
    circle.build(np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.intp), ["a"])
    assert owners(circle, 7) == []
    assert circle.size == 0


def test_the_only_point_of_a_circle_of_many_cells() -> None:
    """After all other points are taken away, every empty cell leads to the last one."""
    circle = Circle[str]()
    points = (np.arange(256, dtype=np.uint64) << np.uint64(56)) + np.uint64(9)
    circle.build(points, np.arange(256, dtype=np.intp) % 3, ["a", "b", "c"])
    assert len(circle.cells) > 1
    for place, point in enumerate(points.tolist()):
        if place != 128:
            circle.take(point, "abc"[place % 3])
    owner = "abc"[128 % 3]
    assert all(owners(circle, digest) == [owner] for digest in (0, 1 << 62, 1 << 63, (1 << 64) - 1))
    circle.add(9, "a", RANK)
    assert owners(circle, 1 << 40)[0] == owner
    assert owners(circle, (1 << 64) - 1)[0] == "a"
