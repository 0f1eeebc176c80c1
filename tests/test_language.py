"""Docstrings, messages, comments and pages are in plain English that is read once."""

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packages import HOME

ROOT = HOME.parent
CODE = sorted([*HOME.rglob("*.py"), *ROOT.glob("docs/*.py"), *ROOT.glob("docs/*/*.py")])
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md")
    for path in ROOT.glob(pattern)
    if not {"_build", "generated"}.intersection(path.parts)
)
WORDS = """
    told hear hears heard whom nobody somebody anybody everybody whoever whomever stranger strangers
    newcomer newcomers roster hence thereof wherefrom unseat unseats mend mends mended nowhere
"""
PHRASES = ("the books", "is fine", "be told", "has news", "no news", "who is next", "made out")
PER = """
    bytes seconds request requests point points hash hashes token tokens key keys weight weights
    lookup lookups step steps entry entries instant instants factor factors slot slots probe probes
    time times list put once room
"""
UNIT = """
    backend member request point unit key pick hash token second minute interval gate lap period
    process day session entry flow moved different
"""
IDIOM = re.compile(
    rf"\b(?:{'|'.join([*WORDS.split(), *PHRASES])})\b"
    rf"|(?<!to )\b(?:{'|'.join(PER.split())}) an? (?:{'|'.join(UNIT.split())})\b",
    re.IGNORECASE,
)
"""Words of a private idiom, and "a" in the sense of "per": "bytes a backend"."""
OPENING = re.compile(r"^(?:Hear|Give|Say|Tell|Be |Who |Whom |Whose |So many|As many)\b")
RETURNS = "a docstring says what is returned: 'Return ...', or when it is called: 'Called when ...'"


def docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The docstrings, and the strings that stand below an attribute."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for statement in node.body:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield statement.lineno, value.value


def strings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def comments(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def found(path: Path, texts: Iterator[tuple[int, str]]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line}: {match.group()!r}"
        for line, text in texts
        for match in IDIOM.finditer(re.sub(r"\s+", " ", text))
    ]


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_speaks_plainly(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    idiom = found(path, strings(tree)) + found(path, comments(path))
    assert not idiom, "\n".join(idiom)


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_open_as_usual(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    odd = [(line, text[:50]) for line, text in docstrings(tree) if OPENING.match(text.lstrip())]
    assert not odd, f"{RETURNS}\n{odd}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_speak_plainly(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    paragraphs = [
        (text[: m.start()].count("\n") + 1, m.group())
        for m in re.finditer(r"(?s).+?(?:\n\n|\Z)", text)
    ]
    idiom = found(path, iter(paragraphs))
    assert not idiom, "\n".join(idiom)
