"""Ten cells of ``docs/validation.md`` with fewer requests; ``make validation`` simulates all."""

from dataclasses import replace
from functools import partial

import pytest

from balancers import RandomChoice
from tests.validation.cells import RUNS
from tests.validation.measure import ERRORS, holds, measured, tolerance
from tests.validation.model import REPLICATIONS, Run

TEN = [
    ("supermarket", "1 choice, load 0.5", 250_000, 0.01),
    ("supermarket", "1 choice, load 0.9", 1_000_000, 0.04),
    ("supermarket", "2 choices, load 0.5", 50_000, 0.01),
    ("supermarket", "2 choices, load 0.9", 100_000, 0.015),
    ("round robin", "100 servers, load 0.7", 250_000, 0.01),
    ("round robin", "100 servers, load 0.9", 500_000, 0.02),
    ("slots", "2 slots, load 0.5", 25_000, 0.02),
    ("two servers", "least connections, load 0.5", 25_000, 0.02),
    ("stale", "2 choices, T = 1", 20_000, 0.03),
    ("stale", "2 choices, T = 10", 20_000, 0.05),
]
"""Table, name, requests of each replication, and the widest tolerance: no cell holds by chance."""


def run_of(table: str, name: str) -> Run:
    (found,) = (run for run in RUNS if (run.table, run.name) == (table, name))
    return found


@pytest.mark.parametrize(("table", "name", "requests", "widest"), TEN)
def test_a_cell_agrees_with_theory(table: str, name: str, requests: int, widest: float) -> None:
    run = replace(run_of(table, name), requests=requests)
    for figure, found in zip(run.figures, measured(run), strict=True):
        if figure.measure == "mean":
            assert tolerance(figure, found) <= widest, "too few requests"
            assert holds(figure, found), (figure, found)


def test_a_wrong_policy_does_not_hold() -> None:
    two = run_of("supermarket", "2 choices, load 0.5")
    wrong = replace(two, make=partial(RandomChoice, range(100)), requests=20_000)
    (found,) = measured(wrong)
    assert not holds(two.figures[0], found)


def test_every_run_has_seeds_and_a_name_of_its_own() -> None:
    seeds = [seed for run in RUNS for seed in run.seeds]
    assert len({*seeds}) == len(seeds)
    cells = [cell for run in RUNS for cell in run.cells]
    assert len({*cells}) == len(cells)
    assert all(len(run.seeds) in {8, REPLICATIONS} for run in RUNS)


def test_only_the_cells_that_no_run_can_hold_are_accepted_by_their_interval() -> None:
    """Load 0.99, the shares that wait, two servers at load 0.9, and the herd with old boards."""
    assert [
        name
        for run in RUNS
        for (_, name), figure in zip(run.cells, run.figures, strict=True)
        if figure.share == 0
    ] == [
        "1 choice, load 0.99", "2 choices, load 0.99", "3 choices, load 0.99",
        "5 choices, load 0.99", "least connections, load 0.9", "2 choices, load 0.9",
        "100 slots, load 0.99", "100 slots, load 0.95: waiting share",
        "100 slots, load 0.9: waiting share", "least of all, T = 10", "least of all, T = 25",
    ]  # fmt: skip
    assert ERRORS == 4
