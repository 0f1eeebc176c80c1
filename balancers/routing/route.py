"""Defines routes.  A route assigns a value to all requests that meet its conditions."""

import re
from collections.abc import Iterable, Mapping
from math import inf
from typing import Any, Generic, Self, TypeVar

from balancers._internal.checks import shown
from balancers.errors import InvalidSetting
from balancers.http.targets import unquoted
from balancers.routing._conditions import (
    Check,
    Ending,
    read_checks,
    read_host_name,
    read_methods,
    read_path,
)

__all__ = ["Rank", "Route"]

T_co = TypeVar("T_co", covariant=True)

Conditions = Mapping[str, str | re.Pattern[str] | bool]
HostRank = tuple[int, int]
Rank = tuple[HostRank, tuple[int, ...], float, int, int]

_ENDING_RANKS: dict[Ending, tuple[int, ...]] = {"end": (), "rest": (2,), "prefix": (3,)}
_LITERAL, _PATTERN, _CAPTURES, _OPEN = range(4)


class Route(Generic[T_co]):
    """Assigns a value to the requests that meet all of its conditions.

    * ``host`` is a host name, or a wildcard such as ``*.example.com``.  This wildcard matches every
      name that ends in ``.example.com``, with any number of labels before it.  It does not match
      ``example.com``.  None matches any host and also a request without a host.  The port of a
      request is ignored.
    * ``path`` is the complete path.  ``{id}`` captures one segment that is not empty.  The last
      segment may be ``{rest...}``.  It captures the remaining path, including slashes, and the
      captured text may be empty.
    * ``path`` may also be a compiled regular expression.  It must match the complete normalised
      path with decoded delimiters: write ``@`` and not ``%40``, and ``%C3%A9`` for ``é``.  An octet
      that cannot be in this text, such as ``%40`` or ``%c3``, is refused.  Its named groups are
      captures.
    * In a path of a request, an encoded delimiter such as ``%40`` matches like the delimiter ``@``,
      because most servers decode it.  In a path or prefix of a route, both spellings are allowed.
    * ``prefix`` is the start of the path in whole segments.  ``/api`` matches ``/api``, ``/api/``
      and ``/api/x``, but not ``/apix``.  A final slash is ignored, so ``/api/`` is the same prefix.
      A prefix may contain captures.  If neither ``path`` nor ``prefix`` is given, any path matches.
    * ``methods`` lists the methods that match.  GET does not include HEAD.  If ``methods`` is
      empty, any method matches.
    * ``headers``, ``cookies`` and ``query`` are mappings from a name to a value.  The request must
      contain the name with this value.  If the value is True, the request must contain the name
      with any value.  If it is a compiled regular expression, it must match the complete value.

    Python's regular expressions backtrack.  For some patterns, such as ``(a+)+b``, the time to
    match grows exponentially with the length of the text, and clients choose the text.

    If a request repeats a name, no condition on a value of this name holds.  So a client cannot
    select a route by sending two values.  A condition with True still holds.  The case of header
    names is ignored.  Methods, paths, values and all other names are compared with case.  The
    segments of ``path`` and ``prefix`` that are not captures are normalised like the path of a
    request, see :func:`~balancers.http.targets.read_target`.

    >>> Route("users", host="*.example.com", path="/users/{id}", methods=["GET"])
    Route('users', host='*.example.com', path='/users/{id}', methods=('GET',))
    >>> Route("beta", prefix="/api", cookies={"beta": True}).conditions
    'prefix /api, cookie beta present'
    >>> Route("image", path=re.compile("/img/(?P<name>[a-z]+)[.](png|jpg)")).names
    ('name',)

    A route is immutable.  Raises InvalidSetting for a condition that is ambiguous or that no
    request can meet.  The message contains the invalid value.  Raises TypeError for a value of a
    wrong type.
    """

    __slots__ = (
        "checks",
        "ending",
        "host",
        "methods",
        "names",
        "path",
        "prefix",
        "segments",
        "value",
    )

    segments: tuple[str | None, ...]
    names: tuple[str, ...]
    ending: Ending

    def __init__(
        self,
        value: T_co,
        *,
        host: str | None = None,
        path: str | re.Pattern[str] | None = None,
        prefix: str | None = None,
        methods: Iterable[str] = (),
        headers: Conditions | None = None,
        cookies: Conditions | None = None,
        query: Conditions | None = None,
    ) -> None:
        if path is not None and prefix is not None:
            raise InvalidSetting(
                f"path or prefix must be None, not {shown(path)} and {shown(prefix)}"
            )
        self.host: str | None = None if host is None else read_host_name(host)
        self.path: str | re.Pattern[str] | None = path
        self.prefix: str | None = "/" if path is None and prefix is None else prefix
        self.segments, self.names, self.ending = read_path(path, self.prefix)
        if self.prefix is not None and self.prefix != "/":
            self.prefix = self.prefix.removesuffix("/")
        self.methods: tuple[str, ...] = read_methods(methods)
        of_headers, of_cookies = read_checks("header", headers), read_checks("cookie", cookies)
        self.checks: tuple[Check, ...] = (*of_headers, *of_cookies, *read_checks("query", query))
        self.value: T_co = value

    @property
    def rank(self) -> Rank:
        """The key by which a router sorts routes.  The most specific route comes first.

        1. Exact hosts come first, then wildcards with more labels before wildcards with fewer
           labels, and then routes for any host.
        2. Complete paths without captures come first, then regular expressions, and then all other
           paths.  The latter are compared segment by segment from the left.  The end of the path or
           a literal comes first, then a capture, then ``{rest...}``, then the end of a prefix.
        3. Routes with fewer methods come first.  A route for any method comes last.
        4. Routes with more conditions come first, then those with more conditions on a value.
        """
        ranks = [int(segment is None) for segment in self.segments]  # a capture after a literal
        kind = min(self._path_kind, _CAPTURES)
        path = (kind, *ranks, *_ENDING_RANKS.get(self.ending, ()))
        on_value = sum(check.value is not None for check in self.checks)
        return self._host_rank, path, len(self.methods) or inf, -len(self.checks), -on_value

    @property
    def gateway_rank(self) -> Rank:
        """The key by which a router with ``precedence="gateway"`` sorts routes.

        It is the order of an HTTPRoute of the Gateway API (v1).  What the Gateway API does not have
        or leaves open is marked with "here".

        1. Hosts have the same order as in :attr:`rank`.  For hosts that match the same request,
           this is the same as comparing the number of characters.
        2. Complete paths without captures come first, here then regular expressions, and here then
           complete paths with captures.  Last come prefixes, and here ``{rest...}``, the longest
           first.  The length is the number of segments.  For prefixes that match the same request,
           this is the same as comparing the number of characters.  Here, equally long ones are
           compared as in :attr:`rank`.
        3. Routes with a method come first, here those with fewer methods.
        4. Routes with more conditions on headers come first.  Here, cookies count as headers.
        5. Routes with more conditions on query parameters come first.
        """
        ranks = [int(segment is None) for segment in self.segments]
        kind = self._path_kind
        length = -len(ranks) if kind == _OPEN else 0
        path = (kind, length, *ranks, *_ENDING_RANKS.get(self.ending, ()))
        on_query = sum(check.kind == "query" for check in self.checks)
        others = len(self.checks) - on_query
        return self._host_rank, path, len(self.methods) or inf, -others, -on_query

    @property
    def _host_rank(self) -> HostRank:
        if self.host is None:
            return (2, 0)
        return (1, -self.host.count(".")) if self.host[0] == "*" else (0, 0)

    @property
    def _path_kind(self) -> int:
        if self.ending == "pattern":
            return _PATTERN
        if self.ending != "end":
            return _OPEN
        return _CAPTURES if None in self.segments else _LITERAL

    @property
    def literals(self) -> list[str]:
        """The segments of the path or prefix that are not captures."""
        return [segment for segment in self.segments if segment is not None]

    @property
    def conditions(self) -> str:
        """A description of all conditions of the route.

        Values of cookies are left out, and values of headers and query parameters whose names
        contain a word such as ``auth``, ``key`` or ``token``.  A client that matches the route sent
        the same values, and the description is written to logs.
        """
        words = [f"host {self.host}"] if self.host is not None else []
        if isinstance(self.path, re.Pattern):
            words.append(f"path matches {self.path.pattern!r}")
        else:
            words.append(f"prefix {self.prefix}" if self.path is None else f"path {self.path}")
        words += [f"method {' or '.join(self.methods)}"] if self.methods else []
        return ", ".join(words + [str(check) for check in self.checks])

    def captures(self, segments: list[str]) -> dict[str, str]:
        """Return the decoded text of each capture by its name.

        ``segments`` are the segments of a path that matches the route.  A group of a regular
        expression that took no part in the match is left out.  A group that divides a
        percent-encoded character is not decoded.
        """
        if not self.names:
            return {}
        if isinstance(self.path, re.Pattern):
            found = self.path.fullmatch("/" + "/".join(segments))
            groups = found.groupdict() if found else {}
            return {name: _decoded(text) for name, text in groups.items() if text is not None}
        parts = [segments[place] for place, own in enumerate(self.segments) if own is None]
        if self.ending == "rest":
            parts.append("/".join(segments[len(self.segments) :]))
        return {name: unquoted(part) for name, part in zip(self.names, parts, strict=True)}

    def __repr__(self) -> str:
        arguments: dict[str, object] = {"host": self.host, "path": self.path}
        arguments |= {"prefix": self.prefix, "methods": self.methods or None}
        for kind, name in (("header", "headers"), ("cookie", "cookies"), ("query", "query")):
            found = {
                check.name: True if check.value is None else check.value
                for check in self.checks
                if check.kind == kind
            }
            arguments[name] = found or None
        given = [f"{name}={value!r}" for name, value in arguments.items() if value is not None]
        return f"Route({', '.join([repr(self.value), *given])})"

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(self, "value"):  # the last attribute that is set, also from a pickle
            raise AttributeError(f"a route is immutable: {name} cannot be set")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a route is immutable: {name} cannot be deleted")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def _decoded(text: str) -> str:
    """Return the decoded text, or the text itself if it is only a part of a character."""
    try:
        return unquoted(text)
    except UnicodeDecodeError:
        return text
