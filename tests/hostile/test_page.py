"""The page on hostile input names every battery and every fuzz target, and nothing else."""

import re
from pathlib import Path

from tests.fuzz import TARGETS

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "hostile_input.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[str]:
    """Return the first cells of the tables below a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([a-z_.]+)` \|", section, re.MULTILINE)


def test_every_battery_is_on_the_page() -> None:
    files = {path.name for path in HERE.glob("test_*.py")} - {Path(__file__).name}
    named = [*rows("Parsers"), *rows("Running programs")]
    assert sorted(named) == sorted(files)


def test_every_fuzz_target_is_on_the_page() -> None:
    assert sorted(rows("Fuzzing")) == sorted(TARGETS)
