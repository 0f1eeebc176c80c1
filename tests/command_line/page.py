"""Writes the outputs of docs/command_line.md: ``python -m tests.command_line.page``."""

import os
import re
import shlex
import tempfile
from pathlib import Path

from balancers._command_line.methods import METHODS
from tests.command_line.command import run

__all__ = ["PAGE", "written"]

PAGE = Path(__file__).parents[2] / "docs" / "command_line.md"
_BLOCK = re.compile(r"```console\n\$ (.+)\n((?s:.*?))```\n")
_TABLE = re.compile(r"(\| method \| settings \|\n\|---\|---\|\n)(?:\|.*\n)*")


def written(page: str) -> str:
    """Return the page with the outputs of its commands and the table of methods as they are now."""
    rows = "".join(
        f"| `{name}` | {', '.join(f'`{setting}`' for setting in method.settings)} |\n"
        for name, method in METHODS.items()
    )
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            page = _BLOCK.sub(_output, page)
        finally:
            os.chdir(before)
    return _TABLE.sub(lambda match: match[1] + rows, page)


def _output(match: re.Match[str]) -> str:
    command, shown = match[1], match[2]
    words = shlex.split(command)
    if words[0] == "cat":
        Path(words[1]).write_text(shown, encoding="utf-8")
        return match[0]
    assert words[:3] == ["python", "-m", "balancers"], command
    result = run(*words[3:])
    return f"```console\n$ {command}\n{result.out}{result.err}```\n"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
