"""Parses the headers, the cookies and the query of a request into values by name.

Each of these three kinds is parsed when it is first needed, and only once.
"""

import re
from typing import Literal

from balancers.http.cookies import cookies
from balancers.http.request import Request
from balancers.http.targets import unquoted

__all__ = ["Kind", "RequestFields", "Values", "Wanted", "parameters"]

_BAD_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")

Kind = Literal["header", "cookie", "query"]
Wanted = str | re.Pattern[str] | None
"""What a condition requires: a value, a pattern that matches the whole value, or any value."""
Values = dict[str, list[Wanted]]
"""All values of each name, in order.

A value that cannot be decoded is None.  None does not match any value of a condition.  The values
of a real request contain no pattern.  In a sample request, a pattern stands for the values that it
matches.
"""


class RequestFields:
    """Provides a request's method and the values of its headers, cookies and query parameters.

    ``parsed`` contains values by kind.  A kind that is in ``parsed`` is not parsed from the
    request.
    """

    __slots__ = ("_parsed", "_request", "method", "query")

    def __init__(
        self, request: Request, query: str, parsed: dict[Kind, Values] | None = None
    ) -> None:
        self.method: str = request.method
        self.query: str = query
        self._request = request
        self._parsed: dict[Kind, Values] = {} if parsed is None else parsed

    def values(self, kind: Kind, name: str) -> list[Wanted]:
        """Return all values of a name; O(1).

        The first call for a kind parses all fields of that kind; O(characters).
        """
        return self.by_name(kind).get(name, [])

    def by_name(self, kind: Kind) -> Values:
        """Return all values of all names; O(1).

        The first call for a kind parses all fields of that kind; O(characters).
        """
        parsed = self._parsed.get(kind)
        if parsed is None:
            parsed = self._parsed[kind] = self._parse(kind)
        return parsed

    def _parse(self, kind: Kind) -> Values:
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
    """Parse a query that is encoded like an HTML form.

    Pairs are separated by ``&``.  ``+`` stands for a space.  Other characters are percent-encoded
    UTF-8.  A name without ``=`` has an empty value.  A ``;`` does not separate pairs.  A pair is
    skipped if its name is empty or cannot be decoded.  O(characters).

    >>> parameters("a=1&b=x+y%21&a=2&c&d=%FF")
    {'a': ['1', '2'], 'b': ['x y!'], 'c': [''], 'd': [None]}
    """
    found: Values = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        decoded = _decoded(name)
        if decoded:
            found.setdefault(decoded, []).append(_decoded(value))
    return found


def _decoded(text: str) -> str | None:
    """Return the decoded name or value of a form.

    Return None if its percent-encoding or its UTF-8 is invalid.
    """
    text = text.replace("+", " ")
    try:
        return None if _BAD_PERCENT.search(text) else unquoted(text)
    except UnicodeDecodeError:
        return None
