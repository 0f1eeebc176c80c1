"""A route: what a request must say to get to a value."""

import re
from collections.abc import Iterable, Mapping
from math import inf
from typing import Any, Generic, Literal, NamedTuple, Self, TypeVar

from balancers.errors import InvalidSetting
from balancers.http.cookies import cookies as read_cookies
from balancers.http.fields import Kind
from balancers.http.hosts import read_host
from balancers.http.targets import read_target, unquoted

__all__ = ["Check", "Ending", "Rank", "Route"]

T_co = TypeVar("T_co", covariant=True)

Ending = Literal["end", "rest", "prefix"]
"""What may follow the segments: nothing, one segment or more, any number of them."""
Rank = tuple[tuple[int, int], tuple[int, ...], float, int, int]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"(?:[!-~\x80-\xff](?:[ -~\t\x80-\xff]*[!-~\x80-\xff])?)?")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_CAPTURE = re.compile(r"\{([^\W\d]\w*)(\.\.\.)?\}")
_LITERAL, _CAPTURED = 0, 1
_END: Ending = "end"
_REST: Ending = "rest"
_PREFIX: Ending = "prefix"
_KINDS: dict[Ending, tuple[int, ...]] = {_END: (), _REST: (2,), _PREFIX: (3,)}
_ELSEWHERE = {"cookie": "cookies", "host": "host"}


class Check(NamedTuple):
    """One condition on headers, cookies or query: a value, or None for any."""

    kind: Kind
    name: str
    value: str | None

    def __str__(self) -> str:
        wanted = "present" if self.value is None else repr(self.value)
        return f"{self.kind} {self.name} {wanted}"


class Route(Generic[T_co]):
    """Conditions that must all hold, and the value a request gets when they do.

    * ``host``: a name, or ``*.example.com`` for whatever ends so, at any depth, but not
      ``example.com`` itself; None is any host, and none.  Ports do not count.
    * ``path``: all of it, where ``{id}`` captures a segment that is not empty, and a final
      ``{rest...}`` whatever follows its slash, slashes included, even nothing.
    * ``prefix``: the first segments: ``/api`` is ``/api``, ``/api/`` and ``/api/x``, not ``/apix``.
      It may capture as well.  Neither path nor prefix is any path.
    * ``methods``: one of these, as they are written; HEAD is no GET.  None given is any.
    * ``headers``, ``cookies``, ``query``: names to a value it must equal, or to True: is present.

    A name equals a value when it is there once and has that value: who repeats a header, a cookie
    or a parameter steers nothing by either.  Repeated or not, it is present.  Header names are
    compared without case, everything else with it.  Literals of a path are spelled as a request's
    path is, see :func:`~balancers.http.targets.read_target`.

    >>> Route("users", host="*.example.com", path="/users/{id}", methods=["GET"])
    Route('users', host='*.example.com', path='/users/{id}', methods=('GET',))
    >>> Route("beta", prefix="/api", cookies={"beta": True}).conditions
    'prefix /api, cookie beta present'

    Not to be changed.  Raises InvalidSetting, naming the value, for what can match no request or
    would mean something else than it seems to; TypeError for what is of another type.
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
            raise InvalidSetting(f"either a path or a prefix, not both {path!r} and {prefix!r}")
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
        """What routes are ordered by, the most specific first.

        Exact hosts, wildcards from many labels to few, any host; then paths, segment by segment
        from the left: its end or a literal, a capture, a rest, a prefix; then fewer methods; more
        conditions; more of them on a value.
        """
        host = (2, 0) if self.host is None else (0, 0)
        if self.host is not None and self.host[0] == "*":
            host = (1, -self.host.count("."))
        kinds = [_LITERAL if segment is not None else _CAPTURED for segment in self.segments]
        path = (*kinds, *_KINDS[self.ending])
        valued = sum(check.value is not None for check in self.checks)
        return host, path, len(self.methods) or inf, -len(self.checks), -valued

    @property
    def conditions(self) -> str:
        """All that must hold, in words."""
        told = [f"host {self.host}"] if self.host is not None else []
        told.append(f"prefix {self.prefix}" if self.path is None else f"path {self.path}")
        told += [f"method {' or '.join(self.methods)}"] if self.methods else []
        return ", ".join(told + [str(check) for check in self.checks])

    def captures(self, segments: list[str]) -> dict[str, str]:
        """Give the captured segments of a path that matches, decoded."""
        if not self.names:
            return {}
        places = [place for place, segment in enumerate(self.segments) if segment is None]
        parts = [segments[place] for place in places]
        if self.ending == _REST:
            parts.append("/".join(segments[len(self.segments) :]))
        return {name: unquoted(part) for name, part in zip(self.names, parts, strict=True)}

    def __repr__(self) -> str:
        told: dict[str, object] = {"host": self.host, "path": self.path}
        told |= {"prefix": self.prefix, "methods": self.methods or None}
        for kind, name in (("header", "headers"), ("cookie", "cookies"), ("query", "query")):
            found = {
                check.name: True if check.value is None else check.value
                for check in self.checks
                if check.kind == kind
            }
            told[name] = found or None
        given = [f"{name}={value!r}" for name, value in told.items() if value is not None]
        return f"Route({', '.join([repr(self.value), *given])})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def _host(host: str) -> str:
    if not isinstance(host, str):
        raise TypeError(f"a host is a str, not {host!r}")
    wild = host.startswith("*.")
    known = read_host("x" + host[1:] if wild else host)
    if not known or host == "*." or ":" in host.rpartition("]")[2]:
        raise InvalidSetting(f"no host to match: {host!r}")
    return "*" + known[1:] if wild else known


def _pattern(
    path: str | None, prefix: str | None
) -> tuple[tuple[str | None, ...], tuple[str, ...], Ending]:
    """Give the segments, None for a captured one, the names of what is captured, and the ending."""
    told = path if prefix is None else prefix
    ending: Ending = _END if prefix is None else _PREFIX
    if not isinstance(told, str):
        raise TypeError(f"a path is a str, not {told!r}")
    if not told.startswith("/"):
        raise InvalidSetting(f"a path begins with a slash, unlike {told!r}")
    if told == "/" and ending == _PREFIX:
        return (), (), ending
    written = told[1:].split("/")
    captures = [_CAPTURE.fullmatch(segment) for segment in written]
    names = [capture[1] for capture in captures if capture]
    if ending == _END and captures[-1] and captures[-1][2]:
        ending = _REST
        written.pop()
    segments = [
        None if _CAPTURE.fullmatch(segment) and "..." not in segment else _literal(segment, told)
        for segment in written
    ]
    if "" in segments[:-1] or (segments[-1:] == [""] and ending != _END):
        raise InvalidSetting(f"an empty segment only ends a whole path, unlike in {told!r}")
    if len({*names}) < len(names):
        raise InvalidSetting(f"two captures of one name: {told!r}")
    return tuple(segments), tuple(names), ending


def _literal(segment: str, told: str) -> str:
    """Spell a segment as a request's is; raises InvalidSetting for what is in no request."""
    if segment in {"*", "**"}:
        raise InvalidSetting(f"no wildcards in {told!r}: say prefix= or {{rest...}}")
    if "{" in segment or "}" in segment:
        raise InvalidSetting(
            f"a capture is a whole segment, a rest a path's last, unlike {segment!r} in {told!r}"
        )
    read = read_target("/" + segment)
    if read.reason or "?" in segment or (segment and read.path == "/"):
        raise InvalidSetting(f"no path to match: {told!r} ({read.reason or segment})")
    return read.path[1:]


def _methods(methods: Iterable[str]) -> tuple[str, ...]:
    if isinstance(methods, str | bytes):
        raise TypeError(f"methods must be an iterable of them, not {methods!r}")
    named = tuple(dict.fromkeys(methods))
    for method in named:
        if not isinstance(method, str) or not _TOKEN.fullmatch(method):
            raise InvalidSetting(f"no method: {method!r}")
        if method == "CONNECT":
            raise InvalidSetting("a CONNECT has no path, so no route gets it: 'CONNECT'")
    return tuple(sorted(named))


def _checks(kind: Kind, told: Mapping[str, str | bool] | None) -> list[Check]:
    if told is not None and not isinstance(told, Mapping):
        raise TypeError(f"conditions are a mapping from names, not {told!r}")
    checks: list[Check] = []
    for name, value in (told or {}).items():
        if not _sendable("query", name) or not (
            name if kind == "query" else _TOKEN.fullmatch(name)
        ):
            raise InvalidSetting(f"no name of a {kind}: {name!r}")
        known = name.lower() if kind == "header" else name
        if kind == "header" and known in _ELSEWHERE:
            raise InvalidSetting(f"say it with {_ELSEWHERE[known]}=, not with the header {name!r}")
        if any(check.name == known for check in checks):
            raise InvalidSetting(f"two conditions on one header: {name!r}")
        if value is not True and not _sendable(kind, value):
            raise InvalidSetting(f"no value of {kind} {name!r}: {value!r}")
        checks.append(Check(kind, known, value if isinstance(value, str) else None))
    return sorted(checks, key=lambda check: check.name)


def _sendable(kind: Kind, value: object) -> bool:
    """Whether a request can have this value, as it is read."""
    if not isinstance(value, str):
        return False
    if kind == "query":
        return not _SURROGATE.search(value)
    if kind == "cookie" and read_cookies(f"x={value}") != {"x": value}:
        return False
    return _HEADER_VALUE.fullmatch(value) is not None
