"""A circle of points against a sorted list of them."""

import pickle
from bisect import bisect_left
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.hashing.circle import Circle
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
def test_it_is_a_sorted_list(
    changes: list[tuple[int, str, bool]], asked: list[int], built: int
) -> None:
    """Whether points were there from the start or came one by one, and whoever left."""
    first = sorted({(point, owner) for point, owner, _ in changes[:built]})
    circle, points = Circle(first), list(first)
    for point, owner, leaves in changes:
        if (point, owner) not in points:
            circle.add(point, owner, RANK)
            points = sorted([*points, (point, owner)])
        elif leaves:
            circle.take(point, owner)
            points.remove((point, owner))
        for digest in asked:
            check(circle, points, digest)
    for twin in (deepcopy(circle), pickle.loads(pickle.dumps(circle))):  # noqa: S301 - own
        check(twin, points, asked[0])


def test_of_equal_points_the_first_given_is_first() -> None:
    circle = Circle([(5, "b"), (5, "a"), (3, "c")])
    assert list(circle.walk(4)) == ["b", "a", "c"]


def test_a_lookup_costs_the_same_among_ten_and_ten_thousand_points() -> None:
    def lines(n: int) -> int:
        circle = Circle([(mix(i), i) for i in range(n)])
        asked = [mix(-i & BITS) for i in range(100)]
        return work_of(lambda: [(circle.at(h), circle.before(h)) for h in asked]).lines

    assert lines(10_000) <= 1.2 * lines(10)
