"""The ends of requests in arrays are those of a loop over the requests, bit for bit."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from balancers.simulation._engines.lindley import Lines
from tests.depth import runs

TICK = 2.0**-30


class Loop:
    """The same servers, one request after the other."""

    def __init__(self, count: int) -> None:
        self.free = [0.0] * count

    def ends(self, places: list[int], arrivals: list[float], works: list[float]) -> list[float]:
        ends: list[float] = []
        for place, arrival, work in zip(places, arrivals, works, strict=True):
            self.free[place] = max(self.free[place], arrival) + work
            ends.append(self.free[place])
        return ends


def check(
    count: int, places: list[int], arrivals: list[float], works: list[float], cuts: list[int]
) -> None:
    lines = Lines(count)
    cuts = sorted({0, len(places), *(cut % (len(places) + 1) for cut in cuts)})
    found: list[float] = []
    for start, stop in pairwise(cuts):
        found += lines.ends(
            np.array(places[start:stop], dtype=np.intp),
            np.array(arrivals[start:stop]),
            np.array(works[start:stop]),
        ).tolist()
    assert found == Loop(count).ends(places, arrivals, works)


@st.composite
def traffic(draw: st.DrawFn) -> tuple[int, list[int], list[float], list[float], list[int]]:
    count = draw(st.integers(1, 6))
    unit = draw(st.sampled_from([TICK, 0.125, 1.0, 4096.0]))
    length = draw(st.integers(1, 60))
    numbers = st.integers(0, draw(st.sampled_from([0, 1, 3, 1000])))
    gaps = draw(st.lists(numbers, min_size=length, max_size=length))
    works = draw(st.lists(numbers, min_size=length, max_size=length))
    lap = draw(st.integers(0, 7))
    some = st.integers(0, count - 1)
    if lap:
        turn = draw(st.lists(some, min_size=lap, max_size=lap))
        places = [turn[number % lap] for number in range(length)]
    else:
        places = draw(st.lists(some, min_size=length, max_size=length))
    arrivals = np.cumsum(np.array(gaps) * unit).tolist()
    cuts = draw(st.lists(st.integers(0, 60), max_size=4))
    return count, places, arrivals, [work * unit for work in works], cuts


@settings(max_examples=runs(1500))
@given(traffic())
def test_arrays_of_any_length_agree_with_a_loop(
    drawn: tuple[int, list[int], list[float], list[float], list[int]],
) -> None:
    check(*drawn)


@pytest.mark.parametrize("count", [1, 2, 30, 300, 1000])
@pytest.mark.parametrize("turns", [False, True])
@pytest.mark.parametrize("mean", [1e-6, 1.0, 200.0])
def test_large_fleets(count: int, turns: bool, mean: float) -> None:
    rng = np.random.Generator(np.random.PCG64(count))

    def on_grid(scale: float) -> NDArray[np.float64]:
        return np.rint(-np.log1p(-rng.random(5000)) * scale / TICK) * TICK

    arrivals, works = np.cumsum(on_grid(mean / count / 0.9)), on_grid(mean)
    places = np.arange(5000) % count if turns else rng.integers(0, count, 5000)
    check(count, places.tolist(), arrivals.tolist(), works.tolist(), [7, 2500])


def test_a_backlog_of_days_is_exact() -> None:
    """One running maximum for all servers would need more than 53 bits."""
    count = 300
    places = [*(number * 7 % 300 for number in reversed(range(900))), 5, 5, 3]
    works = [200_000.0 + TICK * number for number in range(len(places))]
    check(count, places, [TICK * number for number in range(len(places))], works, [450])
