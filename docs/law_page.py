"""Writes the page of the laws, ``docs/laws.md``, from the docstrings of the laws.

python docs/law_page.py
"""

import re
from collections.abc import Iterator
from pathlib import Path

from balancers.testing import Law, laws

__all__ = ["PAGE", "PARTS", "kinds", "page"]

PAGE = Path(__file__).with_name("laws.md")

PARTS = ("Why", "How it is tested", "What it cannot see")
"""The paragraphs of a docstring that follow the statement of the law."""

HEAD = """\
# The laws

Each law is a statement that holds for every correct balancer, gate or load, or for every one with
the named [traits](testing/index.md#traits). The name of a law is the name of its function in
`balancers.testing.laws`. Its description on this page is the docstring of that function;
`make laws` writes the page.
"""


def kinds() -> dict[str, tuple[Law, ...]]:
    """Return the laws by what they are about: "balancers", "gates", "loads"."""
    found = {name: value for name, value in vars(laws).items() if name.endswith("_LAWS")}
    return {f"{name.removesuffix('_LAWS').lower()}s": value for name, value in found.items()}


def page() -> str:
    """Return the page, in Markdown."""
    lines: list[str] = [HEAD]
    for kind, of_kind in kinds().items():
        lines += [f"## Laws of {kind}", ""]
        for law in of_kind:
            lines += [
                f"### {law.name}",
                "",
                f"*{_scope(kind, law)}*",
                "",
                _emphasized(law.page),
                "",
            ]
    return "\n".join(lines).rstrip() + "\n"


def _emphasized(description: str) -> str:
    return re.sub(rf"^({'|'.join(PARTS)}): ", r"**\1:** ", description, flags=re.MULTILINE)


def _scope(kind: str, law: Law) -> str:
    """Return the sentence that says which subjects must keep the law."""
    parts = [*_traits("with", law.needs), *_traits("without", law.without)]
    return f"For {kind} {' and '.join(parts)}." if parts else f"For all {kind}."


def _traits(word: str, traits: frozenset[str]) -> Iterator[str]:
    if traits:
        names = ", ".join(f"`{trait}`" for trait in sorted(traits))
        yield f"{word} the trait{'s' * (len(traits) > 1)} {names}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
