"""The table of the page ``docs/interop/vrrp.md``: which rule decided in which recordings.

``python -m tests.parity.vrrp_page`` prints the table, and fails if the page has another one.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.parity.vrrp import replay

__all__ = ["PAGE", "PATHS", "table"]

HOME = Path(__file__).parents[2]
PAGE = HOME / "docs" / "interop" / "vrrp.md"
PATHS = {
    path.stem: path
    for folder in ("vrrp", "vrrp_rules")
    for path in sorted((HOME / "tests" / "vectors" / folder).glob("*.json"))
}
"""Every recording by the name of its file."""


def table() -> Iterator[str]:
    """Yield the lines of the table."""
    kinds: dict[str, list[str]] = {}
    for path in PATHS.values():
        for tally in replay(json.loads(path.read_text(encoding="utf-8"))):
            for note in tally.notes:
                kind = re.sub(r"_v[46]\b", "", path.stem)
                found = kinds.setdefault(note.rpartition(" (")[0], [])
                if kind not in found:
                    found.append(kind)
    yield "| what the program did | recordings |"
    yield "|---|---|"
    for rule, found in sorted(kinds.items()):
        yield f"| {rule} | {', '.join(f'`{kind}`' for kind in found)} |"


def main() -> int:
    """Print the table and compare it with the page."""
    lines = "\n".join(table())
    print(lines)  # noqa: T201 - the report
    return 0 if lines in PAGE.read_text(encoding="utf-8") else 1


if __name__ == "__main__":
    sys.exit(main())
