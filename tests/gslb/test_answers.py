"""The time to live and the order of an answer."""

from fractions import Fraction
from itertools import product
from math import inf, nan
from random import Random
from typing import Any

import pytest

from balancers.errors import InvalidSetting
from balancers.gslb import TimeToLive, rotated
from tests.hostile.shown import shown


def test_the_ttl_is_within_its_limits_and_shortest_while_degraded() -> None:
    for maximum in (0, 1, 2, 7, 300, (1 << 31) - 1):
        for minimum in {0, maximum // 2, maximum}:
            ttl = TimeToLive(maximum, minimum)
            assert ttl.seconds() == maximum
            last = minimum
            for holds in (-inf, -5, 0, 0.5, 1, 1.999, 6.5, 150, 299.999, 300, 1e18, 10**300, inf):
                seconds = ttl.seconds(holds)
                assert type(seconds) is int
                assert minimum <= seconds <= maximum
                assert seconds >= last, "longer if the answer holds longer"
                assert seconds <= max(holds, minimum)
                assert seconds > min(holds, maximum) - 1
                assert ttl.seconds(holds, degraded=True) == minimum
                last = seconds


def test_what_gdnsd_answers() -> None:
    ttl = TimeToLive(maximum=300, minimum=150)
    assert [ttl.seconds(holds) for holds in (120, 200, 300, 400, inf)] == [150, 200, 300, 300, 300]


@pytest.mark.parametrize(
    ("maximum", "minimum"),
    [
        *((300, 301), (-1, -1), (300, -1), (1 << 31, 0), (300.0, 150), (300, 150.0), (inf, 0)),
        *((nan, 0), (True, False), ("300", 150), (None, 0), (300, None)),
        (10**5000, 10**5000),
    ],
    ids=shown,
)
def test_invalid_limits(maximum: Any, minimum: Any) -> None:
    with pytest.raises(InvalidSetting):
        TimeToLive(maximum, minimum)


@pytest.mark.parametrize("holds", [nan, None, "5", True, 10**400, [1]], ids=shown)
def test_invalid_times(holds: Any) -> None:
    with pytest.raises(InvalidSetting):
        TimeToLive(300, 150).seconds(holds)


def test_other_times() -> None:
    assert TimeToLive(300, 150).seconds(Fraction(401, 2)) == 200  # type: ignore[arg-type]  # works
    with pytest.raises(InvalidSetting):
        TimeToLive(300, 150).seconds(degraded=1)  # type: ignore[arg-type]  # invalid


def test_a_rotation_keeps_the_circular_order_and_each_answer_is_first_equally_often() -> None:
    rng = Random(1)
    for n, turn in product(range(9), (*range(-20, 20), 10**30, rng.getrandbits(64))):
        answers = [*range(n)]
        found = rotated(answers, turn)
        assert sorted(found) == answers
        assert all((found[i] + 1) % n == found[(i + 1) % n] for i in range(n))
        assert not n or found[0] == turn % n
        firsts = [rotated(answers, turn + step)[0] for step in range(n)]
        assert sorted(firsts) == answers
        assert answers == [*range(n)]


@pytest.mark.parametrize("turn", [1.0, None, True, "1", nan])
def test_a_turn_is_an_int(turn: Any) -> None:
    with pytest.raises(InvalidSetting):
        rotated(["a"], turn)


@pytest.mark.parametrize("answers", ["ab", b"ab", None, 5, {"a", "b"}, iter(["a"]), {"a": 1}])
def test_answers_are_a_sequence(answers: Any) -> None:
    with pytest.raises(TypeError, match="answers"):
        rotated(answers, 1)
