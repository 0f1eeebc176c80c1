"""Check every sequence of operations, and print what was checked: ``python -m tests.model``."""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from time import perf_counter

from tests.model.checker import Counterexample, Result, check_every_sequence
from tests.model.scenarios import SCENARIOS


def checked(number: int, depth: int, every: bool) -> Result | str:
    """Return the result for one scenario, or the counter-example as text."""
    scenario = SCENARIOS[number]
    try:
        return check_every_sequence(scenario.with_every_op() if every else scenario, depth)
    except Counterexample as found:
        return str(found)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--depth", type=int, default=5, help="the length of the sequences")
    parser.add_argument("--jobs", type=int, default=2, help="the number of processes")
    parser.add_argument("--all", action="store_true", help="all operations in every scenario")
    given = parser.parse_args()
    began, failed = perf_counter(), 0
    with ProcessPoolExecutor(given.jobs) as processes:
        tasks = [
            processes.submit(checked, number, given.depth, given.all)
            for number in range(len(SCENARIOS))
        ]
        results = [task.result() for task in tasks]
    for result in results:
        sys.stdout.write(f"{result}\n")
        failed += isinstance(result, str)
    done = [result for result in results if isinstance(result, Result)]
    sys.stdout.write(
        f"together: {sum(one.sequences for one in done):,} sequences, "
        f"{sum(one.states for one in done):,} states, "
        f"{sum(one.tried for one in done):,} operations compared, "
        f"{perf_counter() - began:.1f} s\n"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
