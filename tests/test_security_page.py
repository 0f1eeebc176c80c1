"""Every promise of the page about attackers names a test that exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
ROWS = [
    line
    for line in PAGE.splitlines()
    if line.startswith("|") and not re.match(r"\|(?:-+\|)+$|.*\| test \|$", line)
]
NAMED = sorted(set(re.findall(r"`(tests/[^`]+)`", PAGE)))


@cache
def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", NAMED)
def test_a_named_test_exists(name: str) -> None:
    path, separator, function = name.partition("::")
    assert (ROOT / path).is_file()
    assert separator
    assert function.startswith("test_")
    assert function in functions_of(ROOT / path)


def test_every_row_names_a_test() -> None:
    assert len(ROWS) > 40
    for row in ROWS:
        *_, promise, tests, _ = row.split("|")
        assert promise.strip(), row
        assert re.fullmatch(r" `tests/[^`]+`(?:, `tests/[^`]+`)* ", tests), row


def test_each_attacker_has_a_table_and_what_is_not_defended() -> None:
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    assert len(sections) == 9
    for section in sections:
        assert "| test |" in section
        assert "Not defended:" in section, section.partition("\n")[0]


def test_the_page_is_linked() -> None:
    assert "(docs/security.md)" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "`docs/security.md`" in (ROOT / "README.md").read_text(encoding="utf-8")
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    assert "(security.md)" in index
    assert "\nsecurity\n" in index
