"""The Python of README.md, CONTRIBUTING.md and docs/, as files that type checkers read.

    python -m tests.typing.pages

One file for each page, with the code of the page in its own lines: line 12 of the file is line 12
of the page.  So an error names the line of the page, and later blocks know the names of earlier
ones, as they do for a reader.  mypy and pyright check the files, both strict and without settings
of this project.  The exit code is 1 if one of them reports an error.
"""

import ast
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from doctest import DocTestParser, Example
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
BUILT = {"_build", "generated"}
WRITTEN = {"other_libraries.md"}
"""Pages that a command writes, which runs their programs.  The libraries in them have no types."""
CODE = {
    *("python", "python3", "py", "{doctest}", "{testcode}", "{testsetup}", "{testcleanup}"),
    *(f"{{{name}}} python" for name in ("code", "code-block", "code-cell", "sourcecode")),
}
_OPENED = re.compile(r"^( *)(`{3,}|~{3,}|:{3,}) *(\{[^}`]*\} *\w*|[^\s`]*)")
_OPTION = re.compile(r"^:[\w-]+:")
_PROMPT = re.compile(r"^ *>>>( |$)")
_IMPORT = re.compile(r"^ *(from balancers[\w.]* import |import balancers\b)")


class Block(NamedTuple):
    """The lines between two fences; the first of them is line ``first`` of the page, from 0."""

    language: str
    first: int
    lines: list[str]

    @property
    def has_prompts(self) -> bool:
        return any(map(_PROMPT.match, self.lines))

    @property
    def is_python(self) -> bool:
        """Whether the block is Python, by its language or by its prompts."""
        directive = self.language.startswith("{")
        return self.language in CODE or (self.has_prompts and not directive)


def pages() -> list[Path]:
    """Return every page that is written by hand."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path for path in found if not (BUILT | WRITTEN) & {*path.relative_to(ROOT).parts}]


def blocks(lines: list[str], first: int = 0) -> Iterator[Block]:
    """Yield the fenced blocks of a page, and those that are inside of a directive."""
    number = 0
    while number < len(lines):
        opened = _OPENED.match(lines[number])
        number += 1
        if not opened:
            continue
        indent, fence, language = opened.groups()
        closed = re.compile(rf" *{fence[0]}{{{len(fence)},}} *$")
        start = number
        while number < len(lines) and not closed.match(lines[number]):
            number += 1
        inside = [line.removeprefix(indent) for line in lines[start:number]]
        block = Block(language.strip(), first + start, inside)
        yield block
        if block.language.startswith("{") and not block.is_python:
            yield from blocks(inside, first + start)
        number += 1


def program(text: str) -> str:
    """Return the Python of a page, each line in its place.

    What a prompt displays is printed, so that no expression is without use.  Raises ValueError if
    Python is left: prompts or imports of the package that are in no block of Python.
    """
    lines = text.splitlines()
    result = [""] * len(lines)
    of_blocks: set[int] = set()
    for block in blocks(lines):
        if block.is_python:
            of_blocks.update(range(block.first, block.first + len(block.lines)))
            for offset, line in _statements(block):
                result[block.first + offset] = line
    for number, line in enumerate(lines):
        if number not in of_blocks and (_PROMPT.match(line) or _IMPORT.match(line)):
            raise ValueError(f"line {number + 1} is Python in no block of Python: {line}")
    return "\n".join(result) + "\n"


def _statements(block: Block) -> Iterator[tuple[int, str]]:
    """Yield the lines of code, each with its number in the block."""
    if block.has_prompts:
        for example in DocTestParser().get_examples("\n".join(block.lines)):
            yield from enumerate(_shown(example).splitlines(), example.lineno)
        return
    options = True
    for offset, line in enumerate(block.lines):
        options = options and bool(_OPTION.match(line))
        if not options:
            yield offset, line


def _shown(example: Example) -> str:
    """Return the code of a prompt; if it displays a value, this value is printed."""
    [*_, last] = ast.parse(example.source).body
    if not example.want or example.exc_msg is not None or not isinstance(last, ast.Expr):
        return example.source
    lines = example.source.encode().splitlines()  # positions are in bytes
    start, end = last.lineno - 1, (last.end_lineno or last.lineno) - 1
    for number, column, added in (
        (end, last.end_col_offset or 0, b")"),
        (start, last.col_offset, b"print("),
    ):
        lines[number] = lines[number][:column] + added + lines[number][column:]
    return b"\n".join(lines).decode()


def write(folder: Path) -> dict[str, str]:
    """Write a file for each page with Python; return the names of the files, and the pages."""
    names: dict[str, str] = {}
    for page in pages():
        path = str(page.relative_to(ROOT))
        code = program(page.read_text(encoding="utf-8"))
        if code.strip():
            name = re.sub(r"\W", "_", path) + ".py"
            names[name] = path
            (folder / name).write_text(code, encoding="utf-8")
    return names


def main() -> int:
    """Check every page with both type checkers, and print their reports."""
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        names = write(folder)
        (folder / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict"}))
        for checker in (
            ["mypy", "--strict", "--config-file=", *names],
            ["pyright", "--pythonpath", sys.executable],
        ):
            run = subprocess.run(
                [sys.executable, "-m", *checker],
                cwd=folder,
                env={**os.environ, "MYPYPATH": str(ROOT), "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                text=True,
                check=False,
            )
            failed |= run.returncode != 0
            report = run.stdout.replace(f"{folder}/", "")
            for name, page in names.items():
                report = report.replace(name, page)
            print(f"{len(names)} pages, {checker[0]}: {report.strip()}")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
