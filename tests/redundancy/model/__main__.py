"""Searches every ordering of events, does a million seeded runs, and prints what was found.

    python -m tests.redundancy.model    or    make vrrp-model

The exit code is 1 if a promise is broken.  A line for each promise has its bound and the longest
time that was seen.
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from time import perf_counter

from tests.redundancy.model.monitor import PROMISES, Monitor
from tests.redundancy.model.runs import Failed, Runs, runs
from tests.redundancy.model.scenarios import THREE, TWO, Scenario
from tests.redundancy.model.search import Counterexample, Result, search

PART = 20_000
"""Runs per task."""


def searched(scenario: Scenario, depth: int) -> Result | str:
    """Return the result of a search, or the counterexample as text."""
    try:
        return search(scenario, depth)
    except Counterexample as found:
        return str(found)


def ran(first: int, count: int) -> Runs | str:
    """Return the result of runs, or the run that failed as text."""
    try:
        return runs(first, count)
    except Failed as found:
        return str(found)


def bounds(result: Result) -> list[str]:
    """Return a line for each promise: the bound, and the longest time that the search saw."""
    monitor = Monitor(result.scenario)
    limits = {
        "two active": max(row[0] for row in monitor.two_bounds),
        "none active": max(monitor.quiet_bounds),
        "a lower one active": max(monitor.lower_bounds),
    }
    return [
        f"    {promise}: bound {limits[promise]:g} s, "
        f"longest seen {result.longest.get((promise, 0), 0.0):g} s"
        for promise in PROMISES
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.redundancy.model", description=__doc__)
    parser.add_argument("--two", type=int, default=6, help="the events of two routers")
    parser.add_argument("--three", type=int, default=5, help="the events of three routers")
    parser.add_argument("--ties", type=int, default=4, help="the same with equal priorities")
    parser.add_argument("--runs", type=int, default=1_000_000, help="the number of seeded runs")
    parser.add_argument("--jobs", type=int, default=2, help="the number of processes")
    given = parser.parse_args()
    began, failed = perf_counter(), 0
    with ProcessPoolExecutor(given.jobs) as processes:
        # The longest searches first, so that both processes end at about the same time.
        searches = [processes.submit(searched, THREE[0], given.three)]
        searches += [processes.submit(searched, one, given.ties) for one in THREE[1:]]
        searches += [processes.submit(searched, one, given.two) for one in TWO]
        parts = [
            processes.submit(ran, first, min(PART, given.runs - first))
            for first in range(0, given.runs, PART)
        ]
        for task in as_completed(searches):
            failed += report(task.result())
        total = Runs()
        for part in parts:
            done = part.result()
            if isinstance(done, str):
                sys.stdout.write(f"FAILED {done}\n")
                failed += 1
            else:
                total.add(done)
    sys.stdout.write(f"{total}\n")
    verdict = f"{failed} FAILED" if failed else "no promise is broken"
    sys.stdout.write(f"{verdict}, {perf_counter() - began:.0f} s\n")
    return 1 if failed else 0


def report(result: Result | str) -> int:
    """Print the result of a search, and return 1 if it has failed."""
    if isinstance(result, str):
        sys.stdout.write(f"FAILED {result}\n")
        return 1
    sys.stdout.write("\n".join([str(result), *bounds(result)]) + "\n")
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
