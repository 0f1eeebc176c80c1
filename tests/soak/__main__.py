"""Run ten million random operations on sites, and check every invariant at intervals.

    python -m tests.soak [--operations 10000000] [--seed 1] [balancer ...]

An operation is one event: a request starts or ends, a probe is answered, a backend joins or leaves,
a session or a flow is looked up, time passes.  Every balancer gets an equal part of the operations,
on a site of its own.  One line per balancer is printed.  The exit code is 1 if an invariant does
not hold, if a name is left over, or if memory grows.
"""

import argparse
import sys
import time

from tests.kinds import KINDS
from tests.soak.memory import peak_megabytes
from tests.soak.run import MEGABYTES, Report, soak


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    options.add_argument("--operations", type=int, default=10_000_000, help="of all balancers")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("balancers", nargs="*", metavar="balancer", help="default: every one")
    given = options.parse_args()
    names: list[str] = given.balancers or [kind.name for kind in KINDS]
    if unknown := set(names) - {kind.name for kind in KINDS}:
        options.error(f"unknown balancer: {', '.join(sorted(unknown))}")
    kinds = [kind for kind in KINDS if kind.name in names]
    total, first = Report(), 0.0
    started = time.monotonic()
    for kind in kinds:
        try:
            report = soak(kind, given.operations // len(kinds), given.seed)
        except AssertionError as error:
            print(f"{kind.name}, seed {given.seed}: {error}", file=sys.stderr)
            return 1
        total = total + report
        first = first or peak_megabytes()
        print(f"{kind.name:28} {report}", flush=True)
    grown = peak_megabytes() - first
    print(f"{'all':28} {total}")
    print(
        f"{time.monotonic() - started:.0f} s; the memory of the process grew by {grown:.1f} MiB "
        f"after the first balancer, {MEGABYTES} are allowed"
    )
    return 1 if grown > MEGABYTES else 0


if __name__ == "__main__":
    raise SystemExit(main())
