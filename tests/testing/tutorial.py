"""Runs the programs of the pages about testing, and writes their outputs, which the pages show.

python -m tests.testing.tutorial
"""

import subprocess
import sys
from pathlib import Path

__all__ = ["FOLDER", "STEPS", "output"]

FOLDER = Path(__file__).parents[2] / "docs" / "testing"
STEPS = {
    "first_draft": ["check.py", "first_draft"],
    "second_draft": ["check.py", "second_draft"],
    "tree_choice": ["check.py", "tree_choice"],
    "excuse": ["excuse.py"],
    "turns": ["turns.py"],
}
"""The arguments of Python for each output."""
BROKEN = "balancers.testing.report.LawBroken"


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run Python in the folder of the pages."""
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=FOLDER, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def output(name: str) -> str:
    """Return what a step prints: its report, or its error without the lines of the traceback."""
    done = run(STEPS[name])
    _, broken, message = done.stderr.partition(BROKEN)
    text = f"{broken}{message}" if done.returncode else done.stdout
    return text.rstrip() + "\n"


def main() -> None:
    for name in STEPS:
        (FOLDER / f"{name}.txt").write_text(output(name), encoding="utf-8")


if __name__ == "__main__":
    main()
