"""Simulates every cell of validation, and writes ``docs/validation.md``.

    python -m tests.validation

``--only TEXT`` simulates the runs with this text in their name, prints their cells, and writes no
page.  The exit code is 1, and the page stays as it was, if a cell, an order or a crossing does not
hold.
"""

import platform
from argparse import ArgumentParser
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from balancers import __version__
from tests.validation.cells import RUNS
from tests.validation.comparisons import CROSSINGS, ORDERS
from tests.validation.measure import Results, crosses, holds, measured, ordered
from tests.validation.model import Run
from tests.validation.page import PAGE, page, row

ROOT = Path(__file__).parents[2]


def simulated(executor: Executor, runs: list[Run]) -> tuple[Results, list[str]]:
    """Return the figures of some runs, and the cells that do not hold; print all cells."""
    results: Results = {}
    missed: list[str] = []
    started = {executor.submit(measured, run): run for run in runs}
    for future in as_completed(started):
        run = started[future]
        for cell, figure, found in zip(run.cells, run.figures, future.result(), strict=True):
            results[cell] = found
            print(row(": ".join(cell), figure, found), flush=True)
            if not holds(figure, found):
                missed.append(": ".join(cell))
    return results, missed


def main() -> int:
    parser = ArgumentParser(prog="python -m tests.validation")
    parser.add_argument("--only", default="", metavar="TEXT", help="runs with this text")
    only = parser.parse_args().only
    runs = [run for run in RUNS if only in f"{run.table}: {run.name}"]
    with ProcessPoolExecutor(2) as executor:
        results, missed = simulated(executor, runs)
    if not only:
        missed += [order.name for order in ORDERS if not ordered(order, results)]
        missed += [crossing.name for crossing in CROSSINGS if not crosses(crossing, results)]
    if missed:
        print("missed:", *missed, sep="\n")
        return 1
    if not only:
        written = page(
            results, date=f"{datetime.now(tz=UTC):%Y-%m-%d}", version=__version__,
            python=platform.python_version(), numpy=np.__version__,
        )  # fmt: skip
        PAGE.write_text(written, encoding="utf-8")
        print(f"{PAGE.relative_to(ROOT)} is written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
