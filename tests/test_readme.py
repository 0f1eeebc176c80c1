"""The examples of the README run and print what their comments say."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from tests.packages import PUBLIC

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_there_are_two_examples() -> None:
    assert len(BLOCKS) == 2


@pytest.mark.parametrize("block", BLOCKS)
def test_each_example_runs_unchanged(block: str) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block, "README.md", "exec"), {})  # noqa: S102 - the lines under test
    expected = re.findall(r"print\(.*\)  # (.*)", block)
    assert printed.getvalue().splitlines() == expected
    assert expected
    code = [line for line in block.splitlines() if line and not line.startswith("#")]
    assert len(code) <= 10


def test_no_link_is_relative_because_an_index_shows_the_page_alone() -> None:
    links = re.findall(
        r"\]\(([^)]*)\)|^\[[^]]+\]: *(\S+)|(?:href|src)=\W?(\S+)", README, re.MULTILINE
    )
    targets = ["".join(link) for link in links]
    assert [target for target in targets if not target.startswith("https://")] == []


def test_every_file_that_is_named_exists() -> None:
    root = Path(__file__).parents[1]
    named = re.findall(r"`([\w/]+\.(?:md|py)|[\w/]+/)`", README)
    assert {"docs/choosing.md", "docs/security.md", "CONTRIBUTING.md", "SECURITY.md"} <= set(named)
    assert [name for name in named if not (root / name).exists()] == []


def test_every_algorithm_of_the_table_exists() -> None:
    cells = re.findall(r"^\| (`\w+`[^|]*) \|", README, re.MULTILINE)
    named = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert len(named) >= 15
    assert set(named) <= {name for names in PUBLIC.values() for name in names}
