"""Prints the figures of the scenarios, each beside its bar.

    python -m tests.scenarios [NAME...]    or    make scenarios NAME=ties

Without names, all scenarios run.  The lines are those of docs/scenarios.md.  The exit code is 1 if
a value misses its bar, or if a line is not on the page.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import cast

from tests.scenarios.scenario import Scenario

__all__ = ["NAMES", "PAGE", "find", "main"]

PAGE = Path(__file__).parents[2] / "docs" / "scenarios.md"

NAMES: tuple[str, ...] = ("ties", "owners", "latency", "slow", "prompts", "hot-prefix", "mooncake")
"""The scenarios, in the order of the page.  Each is a module of this package."""


def find(name: str) -> Scenario:
    """Return a scenario by its name.  Raises SystemExit for an unknown name."""
    if name not in NAMES:
        sys.exit(f"no scenario {name!r}; the scenarios are {', '.join(NAMES)}")
    return cast("Scenario", import_module(f"tests.scenarios.{name.replace('-', '_')}"))


def main(names: list[str]) -> None:
    """Run the scenarios and print their rows.  Exit with 1 if a bar is missed, or the page."""
    page = PAGE.read_text(encoding="utf-8").splitlines()
    missed = 0
    for scenario in map(find, names or NAMES):
        print(f"{scenario.NAME}: {scenario.WHAT}\n")  # noqa: T201 - the table is the output
        print("| figure | value | bar | |\n|---|---|---|---|")  # noqa: T201 - as above
        for row in scenario.rows():
            known = str(row) in page
            missed += not (row.met and known)
            print(row, "" if known else "  <- not on the page", flush=True)  # noqa: T201 - as above
        print()  # noqa: T201 - as above
    sys.exit(missed > 0)


if __name__ == "__main__":
    main(sys.argv[1:])
