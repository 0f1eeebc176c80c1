"""The example of the README runs and prints what its comments say."""

import contextlib
import io
import re
from pathlib import Path

from tests.packages import PUBLIC

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_example_runs_unchanged() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 1
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(blocks[0], "README.md", "exec"), {})  # noqa: S102 - the lines under test
    expected = re.findall(r"print\(.*\)  # (.*)", blocks[0])
    assert printed.getvalue().splitlines() == expected
    assert expected
    code = [line for line in blocks[0].splitlines() if line and not line.startswith("#")]
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
