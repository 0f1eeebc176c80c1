"""Validates and normalises the conditions of a route."""

import re
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from balancers._internal.checks import shown
from balancers._internal.grammar import TOKEN
from balancers.errors import InvalidSetting
from balancers.http.cookies import cookies as read_cookies
from balancers.http.fields import Kind, Wanted
from balancers.http.hosts import read_host
from balancers.http.targets import PathRules, compared, read_target

__all__ = [
    "Check",
    "Ending",
    "PathShape",
    "is_secret",
    "read_checks",
    "read_host_name",
    "read_methods",
    "read_path",
]

Ending = Literal["end", "rest", "prefix", "pattern"]
"""What may follow the segments of a route.

With ``end``, nothing may follow.  With ``rest``, at least one segment must follow.  With
``prefix``, any number of segments may follow.  With ``pattern``, the route has no segments: the
regular expression decides.
"""

_LITERAL_RULES = PathRules(parameters="keep")
_PATTERN_RULES = PathRules(parameters="keep", encoded_slash="keep", encoded_backslash="keep")
_OCTET = re.compile("%[0-9A-Fa-f]{2}")
_NOT_OCTETS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
"""Matches an escaped character or a character class in a regular expression."""
_COMMENT = re.compile("#.*")
_HEADER_VALUE = re.compile(r"(?:[!-~\x80-\xff](?:[ -~\t\x80-\xff]*[!-~\x80-\xff])?)?")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_CAPTURE = re.compile(r"\{([^\W\d]\w*)(\.\.\.)?\}")
_SECRET = re.compile(
    "auth|bearer|cookie|credential|csrf|jwt|key|otp|pass|pwd|secret|sess|signature|token|xsrf"
    "|(?<![a-z])(?:code|pin|sid|sig)(?![a-z])",
    re.IGNORECASE,
)
_OWN_ARGUMENT = {"cookie": "cookies", "host": "host"}
"""The argument of ``Route`` to use instead of a condition on a header."""


class Check(NamedTuple):
    """A condition on one header, cookie or query parameter.  The value None accepts any value."""

    kind: Kind
    name: str
    value: Wanted

    def __str__(self) -> str:
        if self.value is None:
            wanted = "present"
        elif is_secret(self.kind, self.name):
            wanted = "with a value that is not shown"
        elif isinstance(self.value, str):
            wanted = repr(self.value)
        else:
            wanted = f"matches {self.value.pattern!r}"
        return f"{self.subject} {wanted}"

    @property
    def subject(self) -> str:
        """The kind and the name, in one line of printable characters."""
        return f"{self.kind} {self.name if self.name.isprintable() else repr(self.name)}"


class PathShape(NamedTuple):
    """A path or prefix: its segments, the names of its captures, and what may follow."""

    segments: tuple[str | None, ...]
    """A segment is None if it is a capture."""
    names: tuple[str, ...]
    ending: Ending


def is_secret(kind: Kind, name: str) -> bool:
    """Return whether values of this name are left out of descriptions.

    They are left out for every cookie, and for every header and query parameter whose name contains
    a word such as ``auth``, ``key`` or ``token``, also as a part of a longer word.  ``code``,
    ``pin``, ``sid`` and ``sig`` must have no letter directly before or after them.

    >>> is_secret("header", "Proxy-Authorization"), is_secret("header", "accept")
    (True, False)
    """
    return kind == "cookie" or _SECRET.search(name) is not None


def read_host_name(host: str) -> str:
    """Return the normalised host name or wildcard.

    Raises InvalidSetting for a text that is neither, and TypeError for another type.
    """
    if not isinstance(host, str):
        raise TypeError(f"host must be a str, not {shown(host)}")
    is_wildcard = host.startswith("*.")
    normal = read_host("x" + host[1:] if is_wildcard else host)
    if not normal or host == "*." or ":" in host.rpartition("]")[2]:
        raise InvalidSetting(f"host must be a host name without a port, not {shown(host)}")
    return "*" + normal[1:] if is_wildcard else normal


def read_path(path: str | re.Pattern[str] | None, prefix: str | None) -> PathShape:
    """Return the shape of the path or of the prefix, of which one is None.

    Raises InvalidSetting for a path that no request can have, and TypeError for another type.
    """
    ending: Ending
    if isinstance(path, re.Pattern):
        names = sorted(path.groupindex, key=path.groupindex.__getitem__)
        ending = _checked_pattern("path", path)
        _refuse_decoded_octets(path)
        return PathShape((), tuple(names), ending)
    argument, text = ("path", path) if prefix is None else ("prefix", prefix)
    if not isinstance(text, str):
        raise TypeError(f"{argument} must be a str, not {shown(text)}")
    if not text.startswith("/"):
        raise InvalidSetting(f"{argument} must begin with a slash, not {shown(text)}")
    ending = "end" if prefix is None else "prefix"
    parts = text[1:].split("/")
    if ending == "prefix" and parts[-1] == "":
        parts.pop()
    captures = [_CAPTURE.fullmatch(part) for part in parts]
    names = [capture[1] for capture in captures if capture]
    if ending == "end" and captures[-1] and captures[-1][2]:
        ending = "rest"
        parts.pop()
    segments = [
        None if _CAPTURE.fullmatch(part) and "..." not in part else _literal(part, argument, text)
        for part in parts
    ]
    if "" in segments[:-1] or (segments[-1:] == [""] and ending != "end"):
        raise InvalidSetting(
            f"{argument} must have no empty segment but the last one, not {shown(text)}: "
            "if the router keeps them, use {rest...} or a regular expression"
        )
    if len({*names}) < len(names):
        raise InvalidSetting(f"captures must have different names, not {shown(text)}")
    return PathShape(tuple(segments), tuple(names), ending)


def _checked_pattern(argument: str, pattern: re.Pattern[str]) -> Literal["pattern"]:
    """Return the ending of a pattern.  Raise InvalidSetting for a pattern that matches bytes."""
    if not isinstance(pattern.pattern, str):
        raise InvalidSetting(f"{argument} must be a pattern of str, not {shown(pattern)}")
    return "pattern"


def _refuse_decoded_octets(pattern: re.Pattern[str]) -> None:
    """Raise InvalidSetting for a pattern with an octet that is in no path that is compared.

    Octets in character classes are ignored, and comments of verbose patterns.
    """
    text = _NOT_OCTETS.sub(lambda found: "%" if found[0] == r"\%" else "\0", pattern.pattern)
    if pattern.flags & re.VERBOSE:
        text = _COMMENT.sub("", text)
    for octet in _OCTET.findall(text):
        target = read_target("/x" + octet, _PATTERN_RULES)
        compared_to = octet if target.reason == "no UTF-8" else compared(target.path[2:])
        written = re.escape(compared_to.upper() if len(compared_to) > 1 else compared_to)
        if written == (octet.upper() if pattern.flags & re.IGNORECASE else octet):
            continue
        advice = f"write {written} instead of {octet}" if written else f"no path contains {octet}"
        raise InvalidSetting(
            f"path must match the form in which paths are compared, not {shown(pattern.pattern)}: "
            f"{advice}"
        )


def _literal(segment: str, argument: str, text: str) -> str:
    """Return a segment, normalised like a segment of a request.

    Raises InvalidSetting if no request can have this segment.
    """
    if segment in {"*", "**"}:
        raise InvalidSetting(
            f"{argument} must have no wildcards, not {shown(text)}: use prefix= or {{rest...}}"
        )
    if "{" in segment or "}" in segment:
        raise InvalidSetting(
            f"a capture must be a complete segment and {{rest...}} the last segment of a path, "
            f"not {shown(segment)} in {shown(text)}"
        )
    target = read_target("/" + segment, _LITERAL_RULES)
    if target.reason in {"encoded slash", "encoded backslash"}:
        raise InvalidSetting(
            f"{argument} must be written without %2F and %5C, not {shown(text)} ({target.reason}): "
            "if the router keeps them, use a capture or a regular expression"
        )
    if target.reason or "?" in segment or (segment and target.path == "/"):
        raise InvalidSetting(
            f"{argument} must be a path that a request can have, "
            f"not {shown(text)} ({target.reason or segment})"
        )
    return compared(target.path[1:])


def read_methods(methods: Iterable[str]) -> tuple[str, ...]:
    """Return the methods in sorted order.

    Raises InvalidSetting for a text that is no method, and TypeError for a single str.
    """
    if isinstance(methods, str | bytes):
        raise TypeError(f"methods must be an iterable of str, not {shown(methods)}")
    named = tuple(dict.fromkeys(methods))
    for method in named:
        if not isinstance(method, str) or not TOKEN.fullmatch(method):
            raise InvalidSetting(f"methods must be HTTP methods, not {shown(method)}")
        if method == "CONNECT":
            raise InvalidSetting("methods must be methods with a path, not 'CONNECT'")
    return tuple(sorted(named))


def read_checks(
    kind: Kind, conditions: Mapping[str, str | re.Pattern[str] | bool] | None
) -> list[Check]:
    """Return the conditions of one kind, sorted by name.

    Raises InvalidSetting for a condition that no request can meet, and TypeError for another type.
    """
    if conditions is not None and not isinstance(conditions, Mapping):
        raise TypeError(f"{kind} conditions must be a mapping from names, not {shown(conditions)}")
    checks: list[Check] = []
    for name, value in (conditions or {}).items():
        if not _sendable("query", name) or not (name if kind == "query" else TOKEN.fullmatch(name)):
            raise InvalidSetting(
                f"a {kind} condition must have the name of a {kind}, not {shown(name)}"
            )
        normal = name.lower() if kind == "header" else name
        if kind == "header" and normal in _OWN_ARGUMENT:
            raise InvalidSetting(
                f"use {_OWN_ARGUMENT[normal]}= for a condition on this header, "
                f"not headers={shown(name)}"
            )
        if any(check.name == normal for check in checks):
            raise InvalidSetting(
                f"headers must have one condition per name, not two on {shown(name)}"
            )
        checks.append(Check(kind, normal, _wanted(kind, name, value)))
    return sorted(checks, key=lambda check: check.name)


def _wanted(kind: Kind, name: str, value: str | re.Pattern[str] | bool) -> Wanted:
    """Return what a condition requires.  Raise InvalidSetting if no request can meet it."""
    if isinstance(value, re.Pattern):
        _checked_pattern(f"{kind} {name!r}", value)
        return value
    if value is True:
        return None
    if not isinstance(value, str) or not _sendable(kind, value):
        raise InvalidSetting(
            f"{kind} {shown(name)} must be True, a pattern or a value that can be sent, "
            f"not {shown(value)}"
        )
    return value


def _sendable(kind: Kind, value: object) -> bool:
    """Return whether parsing a request can result in this value."""
    if not isinstance(value, str):
        return False
    if kind == "query":
        return not _SURROGATE.search(value)
    if kind == "cookie" and read_cookies(f"x={value}") != {"x": value}:
        return False
    return _HEADER_VALUE.fullmatch(value) is not None
