"""The drills on a busy machine: the honest balancers pass, and the sabotaged ones do not.

    python -m tests.system.drills [--runs 20]

One busy loop per core runs all the time, two at least.  The drill in ``docs/examples/drill.py`` is
repeated with the honest balancer, and run with each sabotaged one and each other algorithm.  The
HTTP drill is run too.  Each run prints whether its result is the expected one, and what was
measured.  The exit code is 1 if a result is not the expected one.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
SABOTAGED = [("ignore-drain", "RoundRobin"), ("leak-counts", "LeastConnections")]
OTHERS = [
    *("RoundRobin", "WeightedRoundRobin", "RandomChoice", "LeastConnections", "PowerOfTwoChoices"),
    *("IPHash", "HashRing"),
]


@contextmanager
def busy_cores() -> Generator[int]:
    """Keep each core busy with an endless loop, until the end of the block."""
    program = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
    command = [sys.executable, "-c", program]
    loops = [subprocess.Popen(command) for _ in range(max(2, os.cpu_count() or 2))]
    try:
        yield len(loops)
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def run(script: str, *arguments: str) -> bool:
    """Run a drill and print what it measured; return whether it ended as expected."""
    fails = "--sabotage" in arguments
    command = [sys.executable, str(EXAMPLES / script), "--quiet", *arguments]
    started = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    expected = done.returncode == int(fails)
    lines = [line.strip() for line in done.stdout.splitlines()]
    print(
        f"{'ok' if expected else 'MISSED'}: {' '.join([script, *arguments])}, expected to "
        f"{'fail' if fails else 'pass'}, {time.monotonic() - started:.0f} s"
    )
    for line in lines:
        if not expected or "FAILED" in line or line.startswith(("before: ", "after: ")):
            print(f"    {line}")
    sys.stdout.flush()
    return expected


def main() -> int:
    """Run all drills and print how many ended as expected."""
    parser = argparse.ArgumentParser(description="The drills on a busy machine.")
    parser.add_argument("--runs", type=int, default=20, help="runs with the honest balancer")
    runs = parser.parse_args().runs
    with busy_cores() as loops:
        print(f"{loops} busy loops on {os.cpu_count()} cores")
        ended = [run("drill.py") for _ in range(runs)]
        for sabotage, algorithm in SABOTAGED:
            ended.append(run("drill.py", "--sabotage", sabotage, "--algorithm", algorithm))
        ended += [run("drill.py", "--algorithm", algorithm) for algorithm in OTHERS]
        ended.append(run("http_drill.py"))
    print(f"{sum(ended)} of {len(ended)} drills ended as expected")
    return int(not all(ended))


if __name__ == "__main__":
    raise SystemExit(main())
