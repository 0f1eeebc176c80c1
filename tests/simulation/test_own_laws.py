"""The laws of the example are laws, and the example prints what its page says."""

from functools import partial
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest

from balancers import HashRing, RoundRobin
from balancers.errors import InvalidSetting
from balancers.simulation import replicate, simulate

ROOT = Path(__file__).parents[2]
EXAMPLE = run_path(str(ROOT / "docs/examples/own_laws.py"))
ARRIVALS: Any = EXAMPLE["DayAndNight"](rate=6.0, period=100)
SERVICE: Any = EXAMPLE["ReadsAndWrites"](read=0.1, write=0.8, writes=0.25)


@pytest.mark.parametrize("law", [ARRIVALS, SERVICE])
def test_the_mean_is_that_of_what_is_drawn(law: Any) -> None:
    drawn = law.draw(np.random.default_rng(1), 0, 100_000)
    assert drawn.mean() == pytest.approx(law.mean, rel=0.02)


@pytest.mark.parametrize("law", [ARRIVALS, SERVICE])
def test_what_is_drawn_does_not_depend_on_chunks(law: Any) -> None:
    whole, parts = np.random.default_rng(1), np.random.default_rng(1)
    sizes = [1, 99, 7, 250]
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    drawn = [law.draw(parts, start, size) for start, size in zip(starts, sizes, strict=True)]
    assert np.concatenate(drawn).tolist() == law.draw(whole, 0, sum(sizes)).tolist()


def test_a_simulation_takes_them() -> None:
    run = simulate(RoundRobin(["a", "b"]), ARRIVALS, SERVICE, requests=2000, seed=1)
    assert run.steady
    assert run.answered == 1500


class Drawing:
    """A law without a mean and without shares."""

    def __init__(self, drawn: Any) -> None:
        self.drawn = drawn

    def draw(self, *_: object) -> Any:
        return self.drawn


@pytest.mark.parametrize("drawn", [None, 1.0, {1: 2}, iter([1, 2, 3])])
def test_keys_that_are_no_array(drawn: Any) -> None:
    law: Any = Drawing(drawn)
    with pytest.raises(InvalidSetting, match="keys must draw an array or a list, not"):
        simulate(HashRing(["a"]), ARRIVALS, SERVICE, keys=law, requests=3, seed=1)


def test_a_law_that_only_draws() -> None:
    keys: Any = Drawing(["x", "y", "z"])
    gaps: Any = Drawing([1.0, 1.0, 1.0])
    works: Any = Drawing([0.5, 0.25, 0.5])
    run = simulate(HashRing(["a"]), gaps, works, keys=keys, requests=3, seed=1, warm_up=0.0)
    assert run.response.total_ticks == 1.25 * 2**30
    runs = replicate(partial(HashRing, ["a"]), gaps, works, keys=keys, requests=3, seeds=[1, 2])
    assert runs.controlled().half_width == 0.0


def test_the_page_shows_what_the_example_prints(capsys: pytest.CaptureFixture[str]) -> None:
    EXAMPLE["main"]()
    page = (ROOT / "docs/simulation.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out in page
