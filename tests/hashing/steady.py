"""Measures how often BoundedLoad sends a request to the first choice of its key in steady traffic.

The number of requests in flight stays constant: whenever a random request ends, a new one with a
new random key starts.  The backends were filled long before.  This differs from filling idle
backends once, which leaves more requests with their first choice.

Run it with ``python -m tests.hashing.steady`` or ``make steady``.  It prints one line per setting,
and exits with 1 if a figure of ``docs/algorithms/bounded_load.md`` is missed.
"""

import sys
from random import Random
from typing import NamedTuple

from balancers import HashRing
from balancers.hashing import BoundedLoad

__all__ = ["DOCUMENTED", "Row", "measure"]

BACKENDS = 100
POINTS = 100
WITHIN = 0.01
"""How far a measured share may be from the documented one."""
PEAK_WITHIN = 0.02
"""How far a measured peak may be from the documented one, as a share of it."""


class Row(NamedTuple):
    """One setting, and its documented share of requests with their first choice, and peak."""

    c: float
    slack: int
    in_flight: int
    share: float
    peak: float


DOCUMENTED = [
    Row(1.01, 0, 10_000, 0.51, 1.01), Row(1.05, 0, 10_000, 0.85, 1.05),
    Row(1.25, 0, 10_000, 0.99, 1.24), Row(2, 0, 10_000, 1.00, 1.34),
    Row(1.25, 0, 400, 0.59, 1.25), Row(1.25, 1, 400, 0.81, 1.50), Row(1.25, 2, 400, 0.91, 1.75),
    Row(1.25, 4, 400, 0.98, 2.21),
    Row(1.25, 0, 100, 0.71, 2.00), Row(1.25, 1, 100, 0.93, 3.00), Row(1.25, 2, 100, 0.98, 3.80),
    Row(1.25, 0, 25, 0.76, 4.00), Row(1.25, 1, 25, 0.98, 7.81), Row(1.25, 2, 25, 1.00, 8.53),
]  # fmt: skip


def measure(row: Row, requests: int = 40_000, seed: int = 1) -> tuple[float, float]:
    """Return the share of requests with their first choice, and the mean peak in fair shares.

    Ten times as many requests as are in flight, and ``requests`` at least, come before the
    measured ones.
    """
    lb = BoundedLoad(HashRing(range(BACKENDS), points=POINTS), c=row.c, slack=row.slack)
    rng = Random(seed)
    busy: list[int] = []
    held = [0] * BACKENDS
    first_choices = peaks = 0
    warm_up = max(10 * row.in_flight, requests)
    for number in range(warm_up + requests):
        if len(busy) == row.in_flight:
            place = rng.randrange(row.in_flight)
            busy[place], busy[-1] = busy[-1], busy[place]
            ended = busy.pop()
            lb.finished(ended)
            held[ended] -= 1
        digest = rng.getrandbits(64)
        backend = lb.pick_hashed(digest)
        lb.started(backend)
        busy.append(backend)
        held[backend] += 1
        if number >= warm_up:
            first_choices += backend == lb.over.pick_hashed(digest)
            peaks += max(held)
    return first_choices / requests, peaks / requests * BACKENDS / row.in_flight


def main() -> int:
    """Print one line per setting.  Return 1 if a documented share is missed."""
    header = f"{'c':>5} {'slack':>6} {'in flight':>10} {'documented':>11} {'first choice':>13}"
    lines = [
        f"{BACKENDS} backends, {POINTS} points each",
        f"a share may be missed by {WITHIN:.0%}, a peak by {PEAK_WITHIN:.0%} of it",
        f"{header} {'documented':>11} peak",
    ]
    missed = 0
    for row in DOCUMENTED:
        share, peak = measure(row)
        wrong = abs(share - row.share) > WITHIN or abs(peak / row.peak - 1) > PEAK_WITHIN
        missed += wrong
        lines.append(
            f"{row.c:>5} {row.slack:>6} {row.in_flight:>10} {row.share:>11.0%} {share:>13.1%} "
            f"{row.peak:>11.2f} {peak:>4.2f}{'  MISSED' if wrong else ''}"
        )
    lines.append(f"{missed} of {len(DOCUMENTED)} missed")
    print("\n".join(lines))  # noqa: T201 - the report
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
