"""Defines routes.  A route assigns a value to all requests that meet its conditions."""

import re
from collections.abc import Iterable, Mapping
from math import inf
from typing import Any, Generic, Literal, NamedTuple, Self, TypeVar

from balancers._internal.grammar import TOKEN
from balancers.errors import InvalidSetting
from balancers.http.cookies import cookies as read_cookies
from balancers.http.fields import Kind
from balancers.http.hosts import read_host
from balancers.http.targets import PathRules, read_target, unquoted

__all__ = ["Check", "Ending", "Rank", "Route"]

T_co = TypeVar("T_co", covariant=True)

Ending = Literal["end", "rest", "prefix"]
"""What may follow the segments of a route.

With ``end``, nothing may follow.  With ``rest``, at least one segment must follow.  With
``prefix``, any number of segments may follow.
"""
Rank = tuple[tuple[int, int], tuple[int, ...], float, int, int]

_HEADER_VALUE = re.compile(r"(?:[!-~\x80-\xff](?:[ -~\t\x80-\xff]*[!-~\x80-\xff])?)?")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_CAPTURE = re.compile(r"\{([^\W\d]\w*)(\.\.\.)?\}")
_LITERAL_RULES = PathRules(parameters="keep")
_END: Ending = "end"
_REST: Ending = "rest"
_PREFIX: Ending = "prefix"
_ENDING_RANKS: dict[Ending, tuple[int, ...]] = {_END: (), _REST: (2,), _PREFIX: (3,)}
_OWN_ARGUMENT = {"cookie": "cookies", "host": "host"}
"""The argument of :class:`Route` to use instead of a condition on a header."""


class Check(NamedTuple):
    """A condition on one header, cookie or query parameter.  The value None accepts any value."""

    kind: Kind
    name: str
    value: str | None

    def __str__(self) -> str:
        wanted = "present" if self.value is None else repr(self.value)
        return f"{self.kind} {self.name} {wanted}"


class Route(Generic[T_co]):
    """Assigns a value to the requests that meet all of its conditions.

    * ``host`` is a host name, or a wildcard such as ``*.example.com``.  This wildcard matches every
      name that ends in ``.example.com``, with any number of labels before it.  It does not match
      ``example.com``.  None matches any host and also a request without a host.  The port of a
      request is ignored.
    * ``path`` is the complete path.  ``{id}`` captures one segment that is not empty.  The last
      segment may be ``{rest...}``.  It captures the remaining path, including slashes, and the
      captured text may be empty.
    * ``prefix`` is the start of the path in whole segments.  ``/api`` matches ``/api``, ``/api/``
      and ``/api/x``, but not ``/apix``.  A prefix may contain captures.  If neither ``path`` nor
      ``prefix`` is given, any path matches.
    * ``methods`` lists the methods that match.  GET does not include HEAD.  If ``methods`` is
      empty, any method matches.
    * ``headers``, ``cookies`` and ``query`` are mappings from a name to a value.  The request must
      contain the name with this value.  If the value is True, the request must contain the name
      with any value.

    If a request repeats a name, no condition on a value of this name holds.  So a client cannot
    select a route by sending two values.  A condition with True still holds.  The case of header
    names is ignored.  Methods, paths, values and all other names are compared with case.  The
    segments of ``path`` and ``prefix`` that are not captures are normalised like the path of a
    request, see :func:`~balancers.http.targets.read_target`.

    >>> Route("users", host="*.example.com", path="/users/{id}", methods=["GET"])
    Route('users', host='*.example.com', path='/users/{id}', methods=('GET',))
    >>> Route("beta", prefix="/api", cookies={"beta": True}).conditions
    'prefix /api, cookie beta present'

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
        path: str | None = None,
        prefix: str | None = None,
        methods: Iterable[str] = (),
        headers: Mapping[str, str | bool] | None = None,
        cookies: Mapping[str, str | bool] | None = None,
        query: Mapping[str, str | bool] | None = None,
    ) -> None:
        if path is not None and prefix is not None:
            raise InvalidSetting(f"path or prefix must be None, not {path!r} and {prefix!r}")
        self.host: str | None = None if host is None else _host(host)
        self.path: str | None = path
        self.prefix: str | None = "/" if path is None and prefix is None else prefix
        self.segments, self.names, self.ending = _pattern(self.path, self.prefix)
        self.methods: tuple[str, ...] = _methods(methods)
        of_headers, of_cookies = _checks("header", headers), _checks("cookie", cookies)
        self.checks: tuple[Check, ...] = (*of_headers, *of_cookies, *_checks("query", query))
        self.value: T_co = value

    @property
    def rank(self) -> Rank:
        """The key by which routes are sorted.  The most specific route comes first.

        1. Exact hosts come first, then wildcards with more labels before wildcards with fewer
           labels, and then routes for any host.
        2. Paths are compared segment by segment from the left.  The end of the path or a literal
           comes first, then a capture, then ``{rest...}``, then the end of a prefix.
        3. Routes with fewer methods come first.  A route for any method comes last.
        4. Routes with more conditions come first, then those with more conditions on a value.
        """
        host = (2, 0) if self.host is None else (0, 0)
        if self.host is not None and self.host[0] == "*":
            host = (1, -self.host.count("."))
        ranks = [int(segment is None) for segment in self.segments]  # a capture after a literal
        path = (*ranks, *_ENDING_RANKS[self.ending])
        on_value = sum(check.value is not None for check in self.checks)
        return host, path, len(self.methods) or inf, -len(self.checks), -on_value

    @property
    def literals(self) -> list[str]:
        """The segments of the path or prefix that are not captures."""
        return [segment for segment in self.segments if segment is not None]

    @property
    def conditions(self) -> str:
        """A description of all conditions of the route."""
        words = [f"host {self.host}"] if self.host is not None else []
        words.append(f"prefix {self.prefix}" if self.path is None else f"path {self.path}")
        words += [f"method {' or '.join(self.methods)}"] if self.methods else []
        return ", ".join(words + [str(check) for check in self.checks])

    def captures(self, segments: list[str]) -> dict[str, str]:
        """Return the decoded text of each capture by its name.

        ``segments`` are the segments of a path that matches the route.
        """
        if not self.names:
            return {}
        parts = [segments[place] for place, own in enumerate(self.segments) if own is None]
        if self.ending == _REST:
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

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def _host(host: str) -> str:
    if not isinstance(host, str):
        raise TypeError(f"host must be a str, not {host!r}")
    is_wildcard = host.startswith("*.")
    normal = read_host("x" + host[1:] if is_wildcard else host)
    if not normal or host == "*." or ":" in host.rpartition("]")[2]:
        raise InvalidSetting(f"host must be a host name without a port, not {host!r}")
    return "*" + normal[1:] if is_wildcard else normal


def _pattern(
    path: str | None, prefix: str | None
) -> tuple[tuple[str | None, ...], tuple[str, ...], Ending]:
    """Return the segments, the names of the captures, and the ending.

    A segment is None if it is a capture.
    """
    argument, text = ("path", path) if prefix is None else ("prefix", prefix)
    ending: Ending = _END if prefix is None else _PREFIX
    if not isinstance(text, str):
        raise TypeError(f"{argument} must be a str, not {text!r}")
    if not text.startswith("/"):
        raise InvalidSetting(f"{argument} must begin with a slash, not {text!r}")
    if text == "/" and ending == _PREFIX:
        return (), (), ending
    parts = text[1:].split("/")
    captures = [_CAPTURE.fullmatch(part) for part in parts]
    names = [capture[1] for capture in captures if capture]
    if ending == _END and captures[-1] and captures[-1][2]:
        ending = _REST
        parts.pop()
    segments = [
        None if _CAPTURE.fullmatch(part) and "..." not in part else _literal(part, argument, text)
        for part in parts
    ]
    if "" in segments[:-1] or (segments[-1:] == [""] and ending != _END):
        raise InvalidSetting(
            f"{argument} must have no empty segment but the last of a path, not {text!r}"
        )
    if len({*names}) < len(names):
        raise InvalidSetting(f"captures must have different names, not {text!r}")
    return tuple(segments), tuple(names), ending


def _literal(segment: str, argument: str, text: str) -> str:
    """Return a segment, normalised like a segment of a request.

    Raises InvalidSetting if no request can have this segment.
    """
    if segment in {"*", "**"}:
        raise InvalidSetting(
            f"{argument} must have no wildcards, not {text!r}: use prefix= or {{rest...}}"
        )
    if "{" in segment or "}" in segment:
        raise InvalidSetting(
            f"a capture must be a complete segment and {{rest...}} the last segment of a path, "
            f"not {segment!r} in {text!r}"
        )
    target = read_target("/" + segment, _LITERAL_RULES)
    if target.reason or "?" in segment or (segment and target.path == "/"):
        raise InvalidSetting(
            f"{argument} must be a path that a request can have, "
            f"not {text!r} ({target.reason or segment})"
        )
    return target.path[1:]


def _methods(methods: Iterable[str]) -> tuple[str, ...]:
    if isinstance(methods, str | bytes):
        raise TypeError(f"methods must be an iterable of str, not {methods!r}")
    named = tuple(dict.fromkeys(methods))
    for method in named:
        if not isinstance(method, str) or not TOKEN.fullmatch(method):
            raise InvalidSetting(f"methods must be HTTP methods, not {method!r}")
        if method == "CONNECT":
            raise InvalidSetting("methods must be methods with a path, not 'CONNECT'")
    return tuple(sorted(named))


def _checks(kind: Kind, conditions: Mapping[str, str | bool] | None) -> list[Check]:
    if conditions is not None and not isinstance(conditions, Mapping):
        raise TypeError(f"{kind} conditions must be a mapping from names, not {conditions!r}")
    checks: list[Check] = []
    for name, value in (conditions or {}).items():
        if not _sendable("query", name) or not (name if kind == "query" else TOKEN.fullmatch(name)):
            raise InvalidSetting(f"a {kind} condition must have the name of a {kind}, not {name!r}")
        normal = name.lower() if kind == "header" else name
        if kind == "header" and normal in _OWN_ARGUMENT:
            raise InvalidSetting(
                f"use {_OWN_ARGUMENT[normal]}= for a condition on this header, not headers={name!r}"
            )
        if any(check.name == normal for check in checks):
            raise InvalidSetting(f"headers must have one condition per name, not two on {name!r}")
        if value is not True and not _sendable(kind, value):
            raise InvalidSetting(
                f"{kind} {name!r} must be True or a value that can be sent, not {value!r}"
            )
        checks.append(Check(kind, normal, value if isinstance(value, str) else None))
    return sorted(checks, key=lambda check: check.name)


def _sendable(kind: Kind, value: object) -> bool:
    """Return whether parsing a request can result in this value."""
    if not isinstance(value, str):
        return False
    if kind == "query":
        return not _SURROGATE.search(value)
    if kind == "cookie" and read_cookies(f"x={value}") != {"x": value}:
        return False
    return _HEADER_VALUE.fullmatch(value) is not None
