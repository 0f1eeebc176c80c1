"""Measures how well each law sees the wrong balancers, gates and loads that are named for it.

``python -m tests.laws.shares`` prints a row for each: the law, and the share of single examples
that break it.  A check of 1000 examples must miss with a probability of at most 2·10⁻⁹, which is
a share of 2 % for most laws.  A law that tests everything in one run needs no share.  The exit
status is 1 if a share is too low.  Names given as arguments choose rows.
"""

import sys
from collections.abc import Iterator
from time import process_time
from typing import Any

from balancers.testing import balancer_checks
from tests.laws import wrong_balancers, wrong_gates, wrong_keyed, wrong_loads
from tests.laws.wrong import WRONG_BALANCERS, Wrong

__all__ = ["MISS", "main", "needed_share", "rows"]

MODULES = (wrong_balancers, wrong_keyed, wrong_gates, wrong_loads)  # each one fills the register
MISS = 2e-9
"""The highest probability with which a check of 1000 examples may miss a wrong one."""
_EXAMPLES, _ENOUGH, _SECONDS = 1000, 40, 20.0


def needed_share(law: Any) -> float:
    """Return the share of catching examples with which a check of 1000 examples misses none."""
    return float(1 - MISS ** (1 / max(1, round(1000 * law.share))))


def runner_and_law(wrong: Wrong) -> tuple[Any, Any]:
    """Return what runs the examples of one law over one wrong balancer."""
    suite = balancer_checks._suite(
        wrong.make,
        wrong.traits,
        [wrong.law],
        None,
        _EXAMPLES,
        0,
        wrong.keys,
        wrong.weights,
        wrong.max_members or 12,
        wrong.bound,
    )
    return suite._runner, suite._laws[0]


def measured(wrong: Wrong) -> tuple[str, bool]:
    """Return the share in words, and whether it is high enough."""
    runner, law = runner_and_law(wrong)
    if law.once:
        return "once", runner.share(law, 1) == 1
    found = examples = 0
    began = process_time()
    while examples < _EXAMPLES and found < _ENOUGH and process_time() - began < _SECONDS:
        found += runner.breaks(law, runner.choices(law, examples))
        examples += 1
    share = found / examples
    return f"{share:.1%} of {examples}", share >= needed_share(law)


def rows(chosen: list[str]) -> Iterator[tuple[str, str, str, bool]]:
    """Yield the name, the law, the share in words, and whether it is high enough."""
    for wrong in WRONG_BALANCERS:
        if not chosen or wrong.name in chosen or wrong.law in chosen:
            try:
                share, is_enough = measured(wrong)
            except Exception as error:  # noqa: BLE001 - a row of a table
                share, is_enough = f"{type(error).__name__}: {error}"[:60], False
            yield wrong.name, wrong.law, share, is_enough


def main(chosen: list[str]) -> int:
    """Print the table, and return the exit status."""
    misses = 0
    for name, law, share, is_enough in rows(chosen):
        misses += not is_enough
        print(f"{name:34} {law:42} {share:>16}{'' if is_enough else '  TOO FEW'}", flush=True)  # noqa: T201 - a table
    print(f"{misses} too few")  # noqa: T201 - a table
    return int(misses > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
