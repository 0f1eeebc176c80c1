"""Sums of times on the grid are exact, so their order does not matter."""

from math import inf, isnan, nan

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from balancers.simulation._grid import LATEST, TICK, on_grid, tick

SECONDS = st.floats(0, LATEST)


@given(SECONDS)
def test_one_time_and_an_array_are_rounded_alike(seconds: float) -> None:
    rounded = tick(seconds)
    assert rounded == on_grid(np.array([seconds]))[0] == tick(rounded)
    assert abs(rounded - seconds) <= TICK / 2
    assert (rounded / TICK).is_integer()


@given(st.lists(st.floats(0, LATEST / 8), max_size=8))
def test_sums_do_not_depend_on_the_order(seconds: list[float]) -> None:
    rounded = [tick(one) for one in seconds]
    total = sum(int(one / TICK) for one in rounded) * TICK
    assert sum(rounded) == sum(reversed(rounded)) == total == np.sum(np.array(rounded))


def test_rounding_does_not_change_the_argument() -> None:
    given_times = np.array([0.1])
    on_grid(given_times)
    assert given_times[0] == 0.1


def test_a_time_without_limit_stays() -> None:
    assert tick(inf) == inf
    assert isnan(tick(nan))
