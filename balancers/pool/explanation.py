"""Defines what a pool answers when it is asked what a request would find."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import isfinite
from typing import Any, Generic, NamedTuple
from unicodedata import combining, east_asian_width

from balancers._internal.checks import shown
from balancers._internal.types import B
from balancers.errors import NoBackendAvailable

__all__ = ["Explanation", "MemberExplanation"]

_LARGEST = 1.7976931348623157e308
"""The largest finite float."""
_MAX_WHOLE = 10**15
"""The largest int that the table shows with all its digits."""
_MAX_NAME = 60
"""The largest number of characters of a name in the table.  A longer name is cut."""


class MemberExplanation(NamedTuple, Generic[B]):
    """Describes one member in an :class:`Explanation`.

    >>> from balancers import Drain, LeastConnections, Pool
    >>> drain = Drain()
    >>> pool = Pool(LeastConnections({"a": 2}), gates=[drain])
    >>> drain.begin("a", now=1.0)
    >>> member = pool.explain(now=1.0).members[0]
    >>> member.weight, member.factors, member.effective_weight, member.load, member.excluded
    (2, {'draining': 0}, 0, 0, ('draining',))
    """

    backend: B
    weight: float
    """The weight that was set."""
    factors: Mapping[str, float]
    """The factor of each gate, by the reason of the gate.  If two gates have the same reason, the
    second one is called "reason #2"."""
    effective_weight: float
    """The weight that the balancer uses: the weight times the factors that are not ignored."""
    load: float | None
    """The load by which the balancer compares the backend.  It is None if the balancer compares no
    loads, that is, if it has no method ``load_of`` or if this method raises an exception.  It is
    also None if the balancer cannot be copied."""
    in_flight: int
    """The number of leases that are not released."""
    excluded: tuple[str, ...]
    """The reasons for which the backend cannot serve the request.  Reasons that are ignored are not
    among them.

    Besides the reasons of gates, they are "quiesced" (the weight is 0), "leaving" (an update no
    longer contains the backend), "avoided", "saturated" (the limit of the pool is reached), "not
    preferred" (the request is strict, and prefers another backend) and "not listed" (``among`` does
    not contain the backend)."""


class Explanation(NamedTuple, Generic[B]):
    """Describes what a request would find in a pool.  :meth:`Pool.explain` returns it.

    As text, it is a table.  In a notebook, it is shown as a table too.

    >>> from balancers import Pool, WeightedLeastConnections
    >>> pool = Pool(WeightedLeastConnections({"10.0.0.1:80": 1, "10.0.0.2:80": 3}))
    >>> explanation = pool.explain(now=5.0, avoid=["10.0.0.2:80"])
    >>> explanation.backend, explanation.error
    ('10.0.0.1:80', None)
    >>> print(explanation)
    at 5.0: 10.0.0.1:80 is picked
      backend      weight  effective  load  in flight  excluded by
    > 10.0.0.1:80       1          1     0          0
      10.0.0.2:80       3          3     0          0  avoided
    """

    at: float
    """The time in seconds."""
    backend: B | None
    """The backend that ``acquire`` would return.  It is None if ``acquire`` would raise
    :attr:`error`."""
    bound: bool
    """Whether this backend is used because the request prefers it."""
    error: Exception | None
    """The exception that ``acquire`` would raise, or None.  It is usually a
    :class:`~balancers.NoBackendAvailable` with the reason, the counts and the time to retry."""
    panicking: bool
    """Whether soft gates are ignored (a panic)."""
    ignored: tuple[str, ...]
    """The reasons of the gates that are ignored, soft ones or those with ``last_resort``."""
    members: tuple[MemberExplanation[B], ...]
    """The members in the order in which they joined."""

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as dicts, lists, texts and numbers, for example for JSON; O(n).

        A backend that is not a str is converted to its ``repr``.  A number that is infinite or NaN
        becomes None, for example ``retry_at`` if no change is announced.
        """
        return {
            "at": _plain(self.at),
            "backend": None if self.error is not None else _key(self.backend),
            "bound": self.bound,
            "error": None if self.error is None else self._error_as_dict(self.error),
            "panicking": self.panicking,
            "ignored": [*self.ignored],
            "members": [
                {
                    "backend": _key(member.backend),
                    "weight": _plain(member.weight),
                    "factors": {reason: _plain(each) for reason, each in member.factors.items()},
                    "effective_weight": _plain(member.effective_weight),
                    "load": _plain(member.load),
                    "in_flight": member.in_flight,
                    "excluded": [*member.excluded],
                }
                for member in self.members
            ],
        }

    def __str__(self) -> str:
        rows = [(" ", *self._titles()), *self._rows()]
        last = len(rows[0]) - 1
        widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
        lines = [*self._summary()]
        for row in rows:
            cells = [
                text + pad if left else pad + text
                for place, (text, width) in enumerate(zip(row, widths, strict=True))
                for pad, left in ((" " * (width - _width(text)), place in {0, 1, last}),)
            ]
            lines.append(f"{cells[0]} {'  '.join(cells[1:])}".rstrip())
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return the table as HTML.  Names and messages are escaped."""
        head = "".join(f"<th>{escape(title)}</th>" for title in self._titles())
        body = "".join(
            f"<tr>{''.join(self._html_cells(mark, cells))}</tr>" for mark, *cells in self._rows()
        )
        caption = "<br>".join(escape(line) for line in self._summary())
        return (
            f"<table><caption>{caption}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

    @staticmethod
    def _html_cells(mark: str, cells: Sequence[str]) -> Iterable[str]:
        tag = "strong" if mark else "span"
        for cell in cells:
            yield f"<td><{tag}>{escape(cell)}</{tag}></td>"

    def _summary(self) -> Iterable[str]:
        """Yield the lines above the table."""
        if self.error is None:
            used = "is used, because it is preferred" if self.bound else "is picked"
            yield f"at {self.at!r}: {_name(self.backend)} {used}"
        else:
            yield f"at {self.at!r}: {type(self.error).__name__}: {_line(_message(self.error))}"
        if self.ignored:
            panic = "panic: " if self.panicking else ""
            yield f"{panic}ignored: {', '.join(map(_line, self.ignored))}"

    def _titles(self) -> list[str]:
        gates = [_line(reason) for reason in self.members[0].factors] if self.members else []
        return ["backend", "weight", *gates, "effective", "load", "in flight", "excluded by"]

    def _rows(self) -> Iterable[tuple[str, ...]]:
        for member in self.members:
            yield (
                ">" if self.error is None and member.backend is self.backend else "",
                _name(member.backend),
                _figure(member.weight),
                *map(_figure, member.factors.values()),
                _figure(member.effective_weight),
                _figure(member.load),
                str(member.in_flight),
                ", ".join(map(_line, member.excluded)),
            )

    @staticmethod
    def _error_as_dict(error: Exception) -> dict[str, Any]:
        described: dict[str, Any] = {"type": type(error).__name__, "message": _message(error)}
        if isinstance(error, NoBackendAvailable):
            described |= {
                "reason": error.reason,
                "counts": {**error.counts},
                "retry_at": _plain(error.retry_at),
                "full": error.full,
            }
        return described


def _message(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an error of another author may have no text
        return shown(error)


def _key(backend: object) -> str:
    return str.__str__(backend) if isinstance(backend, str) else shown(backend)


def _plain(number: Any) -> float | None:
    """Return a number as an int or a float, or None if it is infinite or NaN."""
    if number is None:
        return None
    if isinstance(number, int):
        return int(number)
    try:
        converted = float(number)
    except (TypeError, ValueError, OverflowError):
        return None
    return converted if isfinite(converted) else None


def _figure(number: Any) -> str:
    if number is None:
        return "-"
    plain: Any = _plain(number)
    long = isinstance(plain, int) and _MAX_WHOLE < abs(plain) <= _LARGEST
    return f"{plain:.6g}" if isinstance(plain, float) or long else shown(number)


def _name(backend: object) -> str:
    """Return the text of a backend.  It has no line breaks and no invisible characters."""
    name = _key(backend)
    if (isinstance(backend, str) and name.strip() != name) or not name:
        name = repr(name)
    name = _line(name)
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"


def _line(text: str) -> str:
    """Return a text in which line breaks and invisible characters are escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _width(text: str) -> int:
    """Return the number of columns of a text in a terminal."""
    if text.isascii():
        return len(text)
    return sum(not combining(c) and 1 + (east_asian_width(c) in "FW") for c in text)
