"""What a request says in headers, cookies and query, each read once and only when asked for."""

import re
from typing import Literal

from balancers.http.cookies import cookies
from balancers.http.request import Request
from balancers.http.targets import unquoted

__all__ = ["Facts", "Kind", "Values", "parameters"]

_BAD = re.compile("%(?![0-9A-Fa-f]{2})")

Kind = Literal["header", "cookie", "query"]
Values = dict[str, list[str | None]]
"""Every value of each name, in order; None is one that cannot be read, and equals nothing."""


class Facts:
    """A request's method, and the values of its headers, cookies and query parameters."""

    __slots__ = ("_read", "_request", "method", "query")

    def __init__(
        self, request: Request, query: str, read: dict[Kind, Values] | None = None
    ) -> None:
        self.method = request.method
        self.query = query
        self._request = request
        self._read: dict[Kind, Values] = {} if read is None else read

    def values(self, kind: Kind, name: str) -> list[str | None]:
        """Give every value of a name; O(1), after one pass over all of that kind."""
        return self.named(kind).get(name, [])

    def named(self, kind: Kind) -> Values:
        """Give every value of every name; O(1), after one pass over all of that kind."""
        read = self._read.get(kind)
        if read is None:
            read = self._read[kind] = self._all(kind)
        return read

    def _all(self, kind: Kind) -> Values:
        if kind == "query":
            return parameters(self.query)
        found: Values = {}
        if kind == "header":
            for name, value in self._request.headers:
                found.setdefault(name.lower(), []).append(value)
        else:
            for header in self._request.header("cookie"):
                for pair in header.split(";"):
                    for name, value in cookies(pair).items():
                        found.setdefault(name, []).append(value)
        return found


def parameters(query: str) -> Values:
    """Read a query as a form: pairs between ``&``, ``+`` for a blank, percent-encoded UTF-8.

    What has no ``=`` has an empty value; ``;`` separates nothing.  O(characters).

    >>> parameters("a=1&b=x+y%21&a=2&c&d=%FF")
    {'a': ['1', '2'], 'b': ['x y!'], 'c': [''], 'd': [None]}
    """
    found: Values = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        known = _meant(name)
        if known:
            found.setdefault(known, []).append(_meant(value))
    return found


def _meant(text: str) -> str | None:
    """Decode a part of a form; None for what is no percent-encoded UTF-8."""
    text = text.replace("+", " ")
    try:
        return None if _BAD.search(text) else unquoted(text)
    except UnicodeDecodeError:
        return None
