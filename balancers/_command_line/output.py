"""Formats results as tables for people and as JSON for programs, and writes them."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TextIO

__all__ = ["Report", "as_json", "one_line", "percent", "printable", "table", "write"]

_LONGEST = 480
"""The largest number of characters of an error message.  A longer one is cut."""


class Report(NamedTuple):
    """Contains the result of a command in three forms."""

    text: str
    """Tables for people."""
    data: dict[str, Any]
    """What is written with ``--json``: dicts with str keys, lists, texts, numbers and None."""
    draw: Callable[[Any], object]
    """Draws the result.  The argument is an ``Axes`` of matplotlib."""


def table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1, last_texts: int = 0
) -> str:
    """Return a table.  The first and the last columns of texts are aligned left, others right."""
    lines = [[printable(cell) for cell in row] for row in (titles, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligns = "<" * texts + ">" * (len(widths) - texts - last_texts) + "<" * last_texts
    formats = [f"{{:{align}{width}}}" for align, width in zip(aligns, widths, strict=True)]
    return "\n".join("  ".join(formats).format(*line).rstrip() for line in lines)


def percent(share: float | None, digits: int = 2) -> str:
    """Return a share as a percentage.

    >>> percent(0.25), percent(None)
    ('25.00 %', '-')
    """
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def printable(text: str) -> str:
    r"""Return a text in which line breaks, control characters and lone surrogates are escaped.

    >>> printable("a\x1b[31m")
    'a\\x1b[31m'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def one_line(message: str) -> str:
    """Return a message as one line that is not too long."""
    line = printable(" ".join(message.split()))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."


def as_json(data: dict[str, Any]) -> str:
    """Return one JSON document in ASCII.  A number that is infinite or NaN becomes null.

    >>> print(as_json({"growth": float("inf")}))
    {
      "growth": null
    }
    """
    finite = json.loads(json.dumps(data), parse_constant=lambda _: None)
    return json.dumps(finite, indent=2, allow_nan=False)


def write(stream: TextIO | None, text: str) -> None:
    """Write a text and a line break.  What the encoding of the stream does not have is escaped."""
    if stream is not None:  # it is None if the process was started without it
        encoding = stream.encoding or "utf-8"
        stream.write(f"{text.encode(encoding, 'backslashreplace').decode(encoding)}\n")
