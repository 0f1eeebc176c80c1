"""A route: the conditions that a request must meet to get a value."""

import re
from collections.abc import Iterable, Mapping
from math import inf
from typing import Any, Generic, Literal, NamedTuple, Self, TypeVar

from balancers._internal.grammar import TOKEN
from balancers.errors import InvalidSetting
from balancers.http.cookies import cookies as read_cookies
from balancers.http.fields import Kind
from balancers.http.hosts import read_host
from balancers.http.targets import read_target, unquoted

__all__ = ["Check", "Ending", "Rank", "Route"]

T_co = TypeVar("T_co", covariant=True)

Ending = Literal["end", "rest", "prefix"]
"""What may follow the segments: nothing, one segment or more, any number of segments."""
Rank = tuple[tuple[int, int], tuple[int, ...], float, int, int]

_HEADER_VALUE = re.compile(r"(?:[!-~\x80-\xff](?:[ -~\t\x80-\xff]*[!-~\x80-\xff])?)?")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_CAPTURE = re.compile(r"\{([^\W\d]\w*)(\.\.\.)?\}")
_LITERAL_RANK, _CAPTURE_RANK = 0, 1
_END: Ending = "end"
_REST: Ending = "rest"
_PREFIX: Ending = "prefix"
_ENDING_RANKS: dict[Ending, tuple[int, ...]] = {_END: (), _REST: (2,), _PREFIX: (3,)}
_OWN_ARGUMENT = {"cookie": "cookies", "host": "host"}
"""Headers that have an argument of their own."""


class Check(NamedTuple):
    """One condition on headers, cookies or query; the value None accepts any value."""

    kind: Kind
    name: str
    value: str | None

    def __str__(self) -> str:
        wanted = "present" if self.value is None else repr(self.value)
        return f"{self.kind} {self.name} {wanted}"


class Route(Generic[T_co]):
    """Conditions that must all hold, and the value of a request that meets them.

    * ``host``: a name, or ``*.example.com`` for every name that ends in ``.example.com``, at any
      depth, but not ``example.com`` itself.  None matches any host, also a request without one.
      Ports are ignored.
    * ``path``: the complete path.  ``{id}`` captures one segment that is not empty; a final
      ``{rest...}`` captures everything after its slash, with slashes, and may be empty.
    * ``prefix``: the first segments.  ``/api`` matches ``/api``, ``/api/`` and ``/api/x``, not
      ``/apix``.  A prefix may contain captures.  With neither path nor prefix any path matches.
    * ``methods``: the method must be one of these, compared with case; GET does not include HEAD.
      Without methods any method matches.
    * ``headers``, ``cookies``, ``query``: a mapping from names to the value that each must equal,
      or to True, which means that the name must be present.

    A name equals a value when it occurs once and has that value.  A header, cookie or parameter
    that a client repeats equals no value, so repeating cannot select a route by either value; it is
    still present.  Header names are compared without case, everything else with case.  Literals of
    a path are normalised like a request's path, see
    :func:`~balancers.http.targets.read_target`.

    >>> Route("users", host="*.example.com", path="/users/{id}", methods=["GET"])
    Route('users', host='*.example.com', path='/users/{id}', methods=('GET',))
    >>> Route("beta", prefix="/api", cookies={"beta": True}).conditions
    'prefix /api, cookie beta present'

    A route is immutable.  Raises InvalidSetting, naming the value, for a condition that no request
    can meet or that is ambiguous; TypeError for a value of another type.
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
        self.value = value
        self.host = None if host is None else _host(host)
        self.path = path
        self.prefix = "/" if path is None and prefix is None else prefix
        self.segments, self.names, self.ending = _pattern(self.path, self.prefix)
        self.methods = _methods(methods)
        self.checks: tuple[Check, ...] = (
            *_checks("header", headers),
            *_checks("cookie", cookies),
            *_checks("query", query),
        )

    @property
    def rank(self) -> Rank:
        """The key by which routes are sorted, the most specific first.

        First by host: exact names, wildcards from many labels to few, any host.  Then by path,
        segment by segment from the left: the end of the path or a literal, a capture, a rest, a
        prefix.  Then fewer methods, more conditions, more conditions on a value.
        """
        host = (2, 0) if self.host is None else (0, 0)
        if self.host is not None and self.host[0] == "*":
            host = (1, -self.host.count("."))
        ranks = [
            _LITERAL_RANK if segment is not None else _CAPTURE_RANK for segment in self.segments
        ]
        path = (*ranks, *_ENDING_RANKS[self.ending])
        on_value = sum(check.value is not None for check in self.checks)
        return host, path, len(self.methods) or inf, -len(self.checks), -on_value

    @property
    def conditions(self) -> str:
        """All conditions, in words."""
        words = [f"host {self.host}"] if self.host is not None else []
        words.append(f"prefix {self.prefix}" if self.path is None else f"path {self.path}")
        words += [f"method {' or '.join(self.methods)}"] if self.methods else []
        return ", ".join(words + [str(check) for check in self.checks])

    def captures(self, segments: list[str]) -> dict[str, str]:
        """Return the captured segments of a path that matches, decoded, by name."""
        if not self.names:
            return {}
        places = [place for place, segment in enumerate(self.segments) if segment is None]
        parts = [segments[place] for place in places]
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
    """Return the segments, None for a capture, the names of the captures, and the ending."""
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
    """Normalise a segment like a request's; raises InvalidSetting if no request can have it."""
    if segment in {"*", "**"}:
        raise InvalidSetting(
            f"{argument} must have no wildcards, not {text!r}: use prefix= or {{rest...}}"
        )
    if "{" in segment or "}" in segment:
        raise InvalidSetting(
            f"a capture must be a complete segment and {{rest...}} the last segment of a path, "
            f"not {segment!r} in {text!r}"
        )
    target = read_target("/" + segment)
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
    """Return whether a request can have this value after parsing."""
    if not isinstance(value, str):
        return False
    if kind == "query":
        return not _SURROGATE.search(value)
    if kind == "cookie" and read_cookies(f"x={value}") != {"x": value}:
        return False
    return _HEADER_VALUE.fullmatch(value) is not None
