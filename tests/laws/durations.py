"""Measures how long the laws of one balancer take: ``python -m tests.laws.durations [NAME ...]``.

A row is printed for each balancer of the package, or for those that are named: the processor time
of a check of 1000 examples, and of one of 100.  The exit status is 1 if a check of 1000 examples
takes more than 20 s, or if those of 100 examples take more than 60 s together.
"""

import sys
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

from balancers.testing import check_balancer
from tests.kinds import KINDS, Kind

__all__ = ["ALL", "ONE", "main", "seconds"]

ONE, ALL = 20.0, 60.0
"""The most seconds of one check of 1000 examples, and of all checks of 100 examples together."""


def seconds(kind: Kind, examples: int) -> float:
    """Return the processor time of a check, that of its subprocess included."""
    before = _used()
    check_balancer(kind.make, examples=examples, **kind.check_arguments)
    return _used() - before


def _used() -> float:
    usages = [getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main(names: list[str]) -> int:
    """Print the table, and return the exit status."""
    together, slow = 0.0, 0
    for kind in KINDS:
        if names and kind.name not in names:
            continue
        few, many = seconds(kind, 100), seconds(kind, 1000)
        together += few
        slow += many > ONE
        line = f"{kind.name:32} {few:6.1f} s {many:6.1f} s{'  TOO SLOW' if many > ONE else ''}"
        print(line, flush=True)  # noqa: T201 - a table is printed
    line = f"100 examples for each law, together: {together:.1f} s of at most {ALL:g} s"
    print(line)  # noqa: T201 - a table is printed
    return int(slow > 0 or together > ALL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
