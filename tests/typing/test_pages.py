"""Every block of Python in the pages is found, whatever its fence, and keeps its lines."""

import re
from pathlib import Path

import pytest

from tests.typing.pages import ROOT, blocks, pages, program, write

PAGES = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in pages()}
OTHERS = {"", "text", "console", "sh", "json", "yaml", "nginx"}
"""Languages of blocks that are not Python.  Blocks in them have no prompts."""
DIRECTIVES = {"{eval-rst}", "{glossary}", "{toctree}", "{image}", "{figure}", "{literalinclude}"}


def test_the_pages_are_those_of_the_project() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/index.md", "docs/gates.md"} <= set(PAGES)
    built = ("docs/_build/", "docs/generated/")
    every = [path for path in (ROOT / "docs").rglob("*.md") if path.is_file()]
    names = {str(path.relative_to(ROOT)) for path in every}
    assert {name for name in PAGES if name.startswith("docs/")} == {
        name for name in names if not name.startswith((*built, "docs/other_libraries.md"))
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_line_of_python_is_found(page: str) -> None:
    """Counted without the extractor: by prompts, and by the lines between fences."""
    written, code = PAGES[page].splitlines(), program(PAGES[page]).splitlines()
    fence = ""
    for line, found in zip(written, code, strict=True):
        prompt = re.match(r" *(?:>>>|\.\.\.)(?: (.*)|$)", line)
        if line.lstrip().startswith("```"):
            fence = "" if fence else line.strip()
            assert found == ""
        elif fence in {"```python", "```{testcode}"}:
            assert found == line
        elif prompt:
            assert found.replace("print(", "").replace(")", "") == (
                (prompt[1] or "").replace("print(", "").replace(")", "")
            )
        else:
            assert found == "", line


@pytest.mark.parametrize("page", PAGES)
def test_every_block_has_a_known_language(page: str) -> None:
    for block in blocks(PAGES[page].splitlines()):
        language = block.language.split()[0] if block.language else ""
        assert block.is_python or language in OTHERS | DIRECTIVES, block
        if language == "{eval-rst}":
            assert not re.search(r":: *(py|doctest|testcode|code)", "\n".join(block.lines))


def test_every_page_with_python_is_written_as_a_file_that_compiles(tmp_path: Path) -> None:
    names = write(tmp_path)
    with_python = {
        page for page, text in PAGES.items() if re.search(r"^ *>>> |```python", text, re.MULTILINE)
    }
    assert set(names.values()) == with_python
    assert {"README.md", "docs/index.md", "docs/pool.md"} <= with_python
    for name in names:
        compile((tmp_path / name).read_text(encoding="utf-8"), name, "exec")


def test_included_programs_are_checked_as_files_of_the_project() -> None:
    checked = re.findall(r'"(docs/[^"]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for page, text in PAGES.items():
        for name in re.findall(r"\{literalinclude\} *(\S+)", text):
            path = str((ROOT / page).parent.joinpath(name).resolve().relative_to(ROOT))
            assert any(path.startswith(folder) for folder in checked), path


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("```python\nx = 1\n```", "\nx = 1\n\n"),
        ("~~~python\nx = 1\n~~~", "\nx = 1\n\n"),
        ("````py\nx = '```'\n````", "\nx = '```'\n\n"),
        (
            "* a list\n\n  ```python\n  if True:\n      x = 1\n  ```",
            "\n\n\nif True:\n    x = 1\n\n",
        ),
        ("```{code-block} python\n:linenos:\n\nx = 1\n```", "\n\n\nx = 1\n\n"),
        (":::{testcode}\nx = 1\n:::", "\nx = 1\n\n"),
        ("```{doctest}\n>>> x = 1\n>>> x\n1\n```", "\nx = 1\nprint(x)\n\n\n"),
        ("```\n>>> x = 1\n```", "\nx = 1\n\n"),
        ("```pycon\n>>> x = 1\n```", "\nx = 1\n\n"),
        ("````{note}\n```python\nx = 1\n```\n````", "\n\nx = 1\n\n\n"),
        (":::{note}\nText.\n```{doctest}\n>>> x = 1\n```\n:::", "\n\n\nx = 1\n\n\n"),
        ("```python\nx = 1", "\nx = 1\n"),
        ("```json\n{}\n```\n```python\nx = 1\n```", "\n\n\n\nx = 1\n\n"),
        ("No code.", "\n"),
        ("", "\n"),
    ],
)
def test_blocks_of_every_kind_are_found(page: str, expected: str) -> None:
    assert program(page) == expected


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        (">>> f(1,\n...   2)  # (why)\n3", "print(f(1,\n  2))  # (why)"),
        (">>> 'ü', f('ü')\n3", "print('ü', f('ü'))"),
        (">>> f(1)", "f(1)"),
        (">>> f(1)\nTraceback (most recent call last):\nValueError: no", "f(1)"),
        (">>> for x in y:\n...     f(x)\n1", "for x in y:\n    f(x)"),
    ],
)
def test_what_a_prompt_displays_is_printed(prompts: str, expected: str) -> None:
    assert program(f"```{{doctest}}\n{prompts}\n```").strip() == expected


@pytest.mark.parametrize(
    "page",
    [
        "Text.\n\n    >>> x = 1\n",
        "```text\nfrom balancers import Pool\n```",
        "```{eval-rst}\n.. code-block:: python\n\n   import balancers\n```",
        "```{eval-rst}\n.. doctest::\n\n   >>> x = 1\n```",
    ],
)
def test_python_outside_of_blocks_is_an_error(page: str) -> None:
    with pytest.raises(ValueError, match="is Python in no block of Python"):
        program(page)
