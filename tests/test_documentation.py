"""The documentation contains every public name and every algorithm."""

import re
from pathlib import Path

from tests.packages import PUBLIC, reference

DOCS = Path(__file__).parents[1] / "docs"
PACKAGES = ("balancers.algorithms", "balancers.hashing")
PAGES = 15
"""The least number of algorithms that have a page."""


def text(path: str) -> str:
    return (DOCS / path).read_text(encoding="utf-8")


def test_the_reference_has_every_public_name_once() -> None:
    named = re.findall(r"^\.\. auto\w+:: (\w+)$", reference.page(), re.MULTILINE)
    own = [name for home, names in PUBLIC.items() if "interop" not in home for name in names]
    assert sorted(named) == sorted(own)


def test_every_algorithm_has_a_page_with_all_sections() -> None:
    pages = {
        path.stem: path.read_text(encoding="utf-8")
        for path in (DOCS / "algorithms").glob("*.md")
        if path.stem != "index"
    }
    found = {
        match.group(1): page
        for page in pages.values()
        if (match := re.search(r"autoclass:: balancers\.(?:algorithms\.|hashing\.)?(\w+)", page))
    }
    assert len(found) == len(pages) >= PAGES
    assert set(found) <= {name for package in PACKAGES for name in PUBLIC[package]}
    for name, page in found.items():
        picture = re.search(r"generated/(\w+)\.svg", page)
        assert picture, name
        assert f"def {picture.group(1)}(" in text("pictures.py"), name
        for heading in ("Weights", "Keys", "Ties", "Cost", "Source"):
            assert re.search(rf"^{heading}$", page, re.MULTILINE), f"{name}: {heading}"
        assert re.search(r"^When one (leaves|is quiesced)$", page, re.MULTILINE), name
        assert "{doctest}" in page, name


def test_choosing_compares_every_algorithm() -> None:
    rows = re.findall(r"^\| \[\]\(algorithms/(\w+)\.md\) \|", text("choosing.md"), re.MULTILINE)
    pages = {path.stem for path in (DOCS / "algorithms").glob("*.md")} - {"index"}
    assert set(rows) == pages


def test_the_glossary_is_sorted_and_has_synonyms() -> None:
    terms = re.findall(r"^(\w[^\n]*)\n  \S", text("glossary.md"), re.MULTILINE)
    assert terms == sorted(terms, key=str.lower)
    assert {"backend", "balancer", "drain", "gate", "in-flight", "lease", "pool"} <= set(terms)
    for synonym in ("upstream", "endpoint", "target", "affinity", "persistence", "outstanding"):
        assert synonym in text("glossary.md"), synonym
