"""Measures what recording costs: the time and the bytes per request.

    python -m tests.testing.recording_cost

The names and keys have 20 characters.  A request is an acquire and a release; every tenth fails.
The pool has three gates.  The exit code is 1 if a bar is missed.  The time is processor time, the
least of several rounds, recorded and unrecorded ones in turn.
"""

import gc
import sys
from collections.abc import Callable
from random import Random
from time import process_time

from balancers import ConnectionLimit, Gate, HealthChecks, Lease, Pool, WeightedLeastConnections
from balancers.gates import CoolDown
from balancers.testing import Recorder

__all__ = ["BYTES", "MICROSECONDS", "main", "measured"]

MICROSECONDS, BYTES = 50.0, 150.0
NAMES = [f"10.0.0.{number:02}:8080-zone1" for number in range(10)]
KEYS = [f"customer-{number:011}" for number in range(1000)]
REQUESTS, ROUNDS, CONCURRENT = 10_000, 5, 8
START = 123456.789012345


def run(write: Callable[[str], object] | None, requests: int) -> float:
    """Return the seconds of so many requests, recorded by ``write`` unless it is None."""
    gates: list[Gate[str]] = [
        HealthChecks[str](),
        ConnectionLimit[str](100),
        CoolDown[str](rng=Random(1)),
    ]
    pool = Pool(WeightedLeastConnections(NAMES), gates=gates)
    recorder = None if write is None else Recorder(pool, write=write)
    now, leases = START, list[Lease[str]]()
    gc.collect()
    start = process_time()
    for number in range(requests):
        now += 0.00123
        leases.append(pool.acquire(now, key=KEYS[number % 1000]))
        if len(leases) == CONCURRENT:
            pool.release(leases.pop(0), now, ok=bool(number % 10))
    seconds = process_time() - start
    if recorder is not None:
        recorder.close()
    return seconds


def measured(requests: int = REQUESTS, rounds: int = ROUNDS) -> tuple[float, float]:
    """Return the microseconds and the bytes that recording costs per request."""
    sizes: list[int] = []

    def write(line: str) -> None:
        sizes.append(len(line))

    pairs = [(run(None, requests), run(write, requests)) for _ in range(rounds)]
    plain, recorded = map(min, zip(*pairs, strict=True))
    return (recorded - plain) / requests * 1e6, sum(sizes) / rounds / requests


def main() -> int:
    """Print both costs.  Return 1 if one is above its bar."""
    assert {len(text) for text in (*NAMES, *KEYS)} == {20}
    microseconds, size = measured()
    missed = microseconds > MICROSECONDS or size > BYTES
    sys.stdout.write(
        f"recording costs {microseconds:.1f} us per request, at most {MICROSECONDS:.0f}\n"
        f"it writes {size:.0f} bytes per request, at most {BYTES:.0f}\n"
        f"{'MISSED' if missed else 'both are met'}\n"
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
