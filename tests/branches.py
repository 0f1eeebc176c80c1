"""Measure which lines and branches of the package the tests run: ``python -m tests.branches``.

All tests run in the quick profile, under coverage.py.  The programs that tests start are measured
too, and so are the processes of pytest-xdist.  For each file, the number of lines and branches, and
the number of those that do not run, are printed.

The exit code is 1 if a test fails, or if less than 97 % of the whole package runs.  A file below
97 % needs a reason for each line that does not run completely.  The reasons are in
``tests/uncovered.txt``, one per line: the file, the text of the line, and the reason, separated by
`` | ``.  The exit code is also 1 if such a line runs completely or does not exist.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

__all__ = ["BAR", "EXCUSES", "File", "files", "problems"]

ROOT = Path(__file__).parents[1]
EXCUSES = ROOT / "tests" / "uncovered.txt"
BAR = 97.0
"""The least share of the lines and branches that run, in per cent."""
DESELECTED = (
    "tests/flows/test_flow_table.py::test_a_table_imports_no_heavy_module",
    "tests/test_purity.py::test_import_balancers_loads_few_modules",
)
"""Tests that list the modules of an interpreter.  Coverage.py loads modules of its own."""
COVERAGE = (sys.executable, "-m", "coverage")


@dataclass(frozen=True)
class File:
    """What the tests run of one file."""

    path: str
    lines: int
    """The number of lines and of branches."""
    missed: int
    """The number of lines and of branches that do not run."""
    gaps: frozenset[str]
    """The texts of the lines that do not run, or from which a branch does not run."""

    @property
    def share(self) -> float:
        """The share that runs, in per cent."""
        return 100 * (1 - self.missed / self.lines) if self.lines else 100.0


def files(report: Mapping[str, Any], root: Path = ROOT) -> list[File]:
    """Return the files of a report of ``coverage json``."""
    found: list[File] = []
    for path, measured in sorted(report["files"].items()):
        summary = measured["summary"]
        source = (root / path).read_text(encoding="utf-8").splitlines()
        branches = measured["missing_branches"]
        numbers = {*measured["missing_lines"], *(start for start, _ in branches)}
        found.append(
            File(
                path,
                summary["num_statements"] + summary["num_branches"],
                summary["missing_lines"] + len(branches),
                frozenset(source[number - 1].strip() for number in numbers),
            )
        )
    return found


def problems(measured: Iterable[File], excuses: str) -> list[str]:
    """Return what is wrong: a low share, a line without a reason, a reason that is not needed."""
    found: list[str] = []
    reasons: dict[str, set[str]] = {}
    for entry in excuses.splitlines():
        if entry and not entry.startswith("#"):
            path, text, reason = (*entry.split(" | "), "", "")[:3]
            if not reason.strip():
                found.append(f"not a file, a line and a reason: {entry!r}")
            reasons.setdefault(path, set()).add(text)
    measured = [*measured]
    lines, missed = sum(each.lines for each in measured), sum(each.missed for each in measured)
    whole = File("the package", lines, missed, frozenset())
    if whole.share < BAR:
        found.append(f"{whole.share:.2f} % of the package run, less than {BAR} %")
    for each in measured:
        excused = reasons.pop(each.path, set())
        found += [f"{each.path}: runs completely, or is gone: {t}" for t in excused - each.gaps]
        if each.share < BAR:
            found += [
                f"{each.path}: does not run, without a reason: {t}" for t in each.gaps - excused
            ]
    return found + [f"{path}: not measured, but it has a reason" for path in reasons]


def show(measured: Iterable[File]) -> None:
    """Print a table."""
    measured = [*measured]
    lines, missed = sum(each.lines for each in measured), sum(each.missed for each in measured)
    for each in [*measured, File("the package", lines, missed, frozenset())]:
        print(f"{each.path:56} {each.lines:6} {each.missed:4} missed {each.share:7.2f} %")
    for each in measured:
        for text in sorted(each.gaps):
            print(f"{each.path}: {text}")


def measure(processes: int) -> bool:
    """Run all tests, and return whether they pass."""
    subprocess.run([*COVERAGE, "erase"], cwd=ROOT, check=True)
    tests = [*COVERAGE, "run", "-m", "pytest", "-q", "-n", str(processes), "--dist", "worksteal"]
    tests += [argument for name in DESELECTED for argument in ("--deselect", name)]
    passed = subprocess.run(tests, cwd=ROOT, check=False).returncode == 0
    subprocess.run([*COVERAGE, "combine", "-q"], cwd=ROOT, check=True)
    return passed


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.branches", description=__doc__)
    options.add_argument("--processes", type=int, default=4, help="for pytest-xdist")
    options.add_argument("--report", action="store_true", help="evaluate the last measurement")
    given = options.parse_args()
    passed = given.report or measure(given.processes)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        subprocess.run([*COVERAGE, "json", "-q", "-o", str(path)], cwd=ROOT, check=True)
        measured = files(json.loads(path.read_text(encoding="utf-8")))
    show(measured)
    wrong = problems(measured, EXCUSES.read_text(encoding="utf-8"))
    print(*wrong, sep="\n")
    return 0 if passed and measured and not wrong else 1


if __name__ == "__main__":
    raise SystemExit(main())
