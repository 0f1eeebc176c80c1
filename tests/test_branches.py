"""The evaluation of measured lines and branches, and the reasons for those that do not run."""

from pathlib import Path
from typing import Any

import pytest

from tests.branches import DESELECTED, EXCUSES, ROOT, File, files, problems

GAPS = frozenset({"return 1", "if rare:"})
HIGH, LOW = File("a.py", 1000, 10, GAPS), File("b.py", 100, 10, GAPS)
REASON = "{} | {} | it is rare"


def test_a_report_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("if rare:\n    x = 1\n    y = 2\n", encoding="utf-8")
    measured: dict[str, Any] = {
        "summary": {"num_statements": 3, "num_branches": 2, "missing_lines": 1},
        "missing_lines": [3],
        "missing_branches": [[1, 2]],
    }
    [found] = files({"files": {"a.py": measured}}, tmp_path)
    assert found == File("a.py", 5, 2, frozenset({"if rare:", "y = 2"}))
    assert found.share == 60
    assert File("empty.py", 0, 0, frozenset()).share == 100


def test_a_file_above_the_bar_needs_no_reason() -> None:
    assert problems([HIGH], "") == []
    assert problems([HIGH], REASON.format("a.py", "return 1")) == []


def test_every_line_of_a_file_below_the_bar_needs_a_reason() -> None:
    both = [REASON.format("b.py", gap) for gap in GAPS]
    assert problems([HIGH, LOW], "\n".join(["# a comment", "", *both])) == []
    for entry in both:
        [problem] = problems([HIGH, LOW], entry)
        assert "without a reason" in problem
    assert len(problems([HIGH, LOW], "")) == 2


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (REASON.format("a.py", "return 2"), "runs completely"),
        (REASON.format("c.py", "return 1"), "not measured"),
        ("a.py | return 1", "not a file"),
        ("a.py | return 1 | ", "not a file"),
        ("return 1", "not a file"),
    ],
)
def test_a_reason_that_is_not_needed_or_not_complete(entry: str, problem: str) -> None:
    assert any(problem in found for found in problems([HIGH], entry))


def test_the_whole_package_must_be_above_the_bar() -> None:
    reasons = "\n".join(REASON.format("b.py", gap) for gap in GAPS)
    [problem] = problems([LOW], reasons)
    assert "90.00 % of the package" in problem


def test_each_entry_names_a_line_that_exists() -> None:
    for entry in EXCUSES.read_text(encoding="utf-8").splitlines():
        if not entry.startswith("#"):
            path, text, reason = entry.split(" | ")
            lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
            assert text in {line.strip() for line in lines}, entry
            assert reason


def test_the_tests_that_are_not_measured_exist() -> None:
    for name in DESELECTED:
        path, _, test = name.partition("::")
        assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8")
