"""Measure the memory of a long simulation: ``python -m tests.benchmarks.simulated_memory``.

A process of its own simulates 10⁸ requests over 100 servers with ``RandomChoice``, and keeps only
summaries.  Its peak of resident memory includes Python, numpy and the package.  The exit code is 1
if the peak is too high.
"""

import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from random import Random
from time import process_time

from balancers import RandomChoice
from balancers.simulation import Exponential, Poisson, simulate

REQUESTS, MOST = 100_000_000, 100
"""The number of requests, and the greatest peak in units of 10⁶ bytes."""


def main() -> None:
    """Simulate in a new process, and compare its peak with the limit."""
    parser = ArgumentParser(prog="python -m tests.benchmarks.simulated_memory", description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--here", action="store_true", help="simulate in this process")
    options = parser.parse_args()
    if options.here:
        _simulate(options.requests)
        return
    command = [sys.executable, "-m", "tests.benchmarks.simulated_memory", "--here"]
    command += ["--requests", str(options.requests)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, seconds = map(float, run.stdout.split())
    verdict = "met" if peak <= MOST else "missed"
    print(
        f"{options.requests:,} random requests: {seconds:.0f} s of processor time, "
        f"peak {peak:.0f} MB <= {MOST} {verdict}"
    )
    sys.exit(verdict != "met")


def _simulate(requests: int) -> None:
    """Print the peak of resident memory in units of 10⁶ bytes, and the processor time."""
    balancer = RandomChoice(range(100), rng=Random(1))
    found = simulate(balancer, Poisson(90.0), Exponential(1.0), requests=requests, seed=1)
    assert found.engine == "vectorised"
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kibibytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    print(int(kibibytes) * 1024 / 1e6, process_time())


if __name__ == "__main__":
    main()
