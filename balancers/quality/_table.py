"""Prints results as short tables of text."""

from collections.abc import Sequence
from typing import Any

from balancers._internal.checks import shown

__all__ = ["table"]

_ROWS = 20
"""The most rows that are printed."""


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return the rows as text in columns.  Numbers have three significant digits.

    Only the first 20 rows are printed, and a line says how many are left out.

    >>> print(table(("backend", "load"), [("a", 0.90212), ("b", 12)]))
    backend   load
    a        0.902
    b           12
    """
    cells = [list(head), *([cell(value) for value in row] for row in rows[:_ROWS])]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            text.rjust(width) if place else text.ljust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
    if len(rows) > _ROWS:
        lines.append(f"… and {len(rows) - _ROWS} more")
    return "\n".join(lines)


def cell(value: Any) -> str:
    """Return a value as text: a float with three significant digits, a str without quotes."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{float(value):.3g}"
    return shown(value)
