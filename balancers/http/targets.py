"""Parses a request target into a normalised path, or into the reason why it is refused."""

import re
from typing import Literal, NamedTuple

__all__ = ["Path", "Refusal", "read_target", "unquoted"]

Refusal = Literal[
    "empty",
    "asterisk-form",
    "authority-form",
    "no path",
    "userinfo",
    "fragment",
    "NUL",
    "control character",
    "space",
    "non-ASCII",
    "backslash",
    "encoded slash",
    "encoded backslash",
    "bad percent-encoding",
    "no UTF-8",
    "climbs out",
    "ambiguous dot segment",
]

_NORMAL = re.compile(r"(?:/[0-9A-Za-z\-._~!$&'()*+,;=:@]+)*/?")
_NOT_VISIBLE_ASCII = re.compile(r"[^!-~]")
_ABSOLUTE = re.compile(r"(?i:https?)://([^/]+)(.*)")
_AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^/:@\[\]]+):[0-9]+")
_TO_NORMALISE = re.compile(r"%(?P<octet>[0-9A-Fa-f]{2})|(?P<raw>[\"<>\[\]^`{|}])|(?P<bad>%)")
_UNRESERVED = re.compile(rb"[0-9A-Za-z\-._~]")
_OCTETS = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_AMBIGUOUS = (".;", "..;", ".%3B", "..%3B")


class Path(NamedTuple):
    """A parsed target: its normalised path, or the reason why it is refused."""

    path: str
    """Begins with ``/``; empty when refused."""
    query: str
    """The text after the first ``?``, unchanged."""
    reason: Refusal | Literal[""] = ""
    """Why the target is refused; empty when it is accepted."""
    host: str = ""
    """The authority of an absolute-form target; it replaces ``Host`` (RFC 9112, section 3.2.2)."""


def read_target(target: str) -> Path:
    """Parse a request target (RFC 9112, section 3.2); no text that a client sends raises an error.

    Equivalent paths (RFC 3986, section 6.2.2) get the same normalised form: percent-encoded
    unreserved characters are decoded once; other encodings get upper-case digits; characters that
    are not allowed in a path are encoded; dot segments are removed; repeated slashes become one.  A
    final slash stays.

    A target that servers are known to interpret in different ways is refused; ``reason`` names the
    cause.  ``*`` and the target of a CONNECT have no path and are refused too.  O(characters).

    >>> read_target("/%7Ejo//a/../caf%c3%a9?q=1")
    Path(path='/~jo/caf%C3%A9', query='q=1', reason='', host='')
    >>> read_target("/static/..%2fadmin").reason
    'encoded slash'
    """
    path, _, query = target.partition("?")
    if found := _NOT_VISIBLE_ASCII.search(target):
        return Path("", query, _character_reason(found[0]))
    if "#" in target:
        return Path("", query, "fragment")
    host = ""
    if not path.startswith("/"):
        absolute = _ABSOLUTE.fullmatch(path)
        if absolute is None:
            return Path("", query, _no_path_reason(path))
        host, path = absolute[1], absolute[2] or "/"
        if "@" in host:
            return Path("", query, "userinfo")
    if "/." not in path and _NORMAL.fullmatch(path):
        return Path(path, query, "", host)
    normal, reason = _normalise_encoding(path)
    if not reason:
        normal, reason = _remove_dot_segments(normal)
    return Path("" if reason else normal, query, reason, host)


def unquoted(text: str) -> str:
    """Decode well-formed percent-encoding; raises UnicodeDecodeError for octets that are not UTF-8.

    >>> unquoted("caf%C3%A9")
    'café'
    """
    if "%" not in text:
        return text
    return _OCTETS.sub(lambda octets: bytes.fromhex(octets[0].replace("%", "")).decode(), text)


def _character_reason(character: str) -> Refusal:
    if character == "\0":
        return "NUL"
    if character == " ":
        return "space"
    return "control character" if _CONTROL.match(character) else "non-ASCII"


def _no_path_reason(target: str) -> Refusal:
    """Return the form of a target that has no path."""
    if not target:
        return "empty"
    if target == "*":
        return "asterisk-form"
    return "authority-form" if _AUTHORITY.fullmatch(target) else "no path"


def _normalise_encoding(path: str) -> tuple[str, Refusal | Literal[""]]:
    """Encode or decode every character as the normalised form requires."""
    if "\\" in path:
        return "", "backslash"

    def normalise(found: re.Match[str]) -> str:
        if found["raw"]:
            return f"%{ord(found['raw']):02X}"
        octet = bytes.fromhex(found["octet"])
        return octet.decode() if _UNRESERVED.match(octet) else found[0].upper()

    for found in _TO_NORMALISE.finditer(path):
        if found["bad"]:
            return "", "bad percent-encoding"
    normal = _TO_NORMALISE.sub(normalise, path)
    try:
        decoded = unquoted(normal)
    except UnicodeDecodeError:
        return "", "no UTF-8"
    if control := _CONTROL.search(decoded):
        return "", _character_reason(control[0])
    if "%2F" in normal:
        return "", "encoded slash"
    return ("", "encoded backslash") if "%5C" in normal else (normal, "")


def _remove_dot_segments(path: str) -> tuple[str, Refusal | Literal[""]]:
    """Remove dot segments (RFC 3986, section 5.2.4), then empty segments.

    Two cases are ambiguous.  A ``..`` that would remove an empty segment has another meaning after
    slashes are merged.  A dot segment with parameters is a dot segment for some servers only.
    """
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            if not kept:
                return "", "climbs out"
            if not kept.pop():
                return "", "ambiguous dot segment"
        elif segment.startswith(_AMBIGUOUS):
            return "", "ambiguous dot segment"
        elif segment != ".":
            kept.append(segment)
    named = [segment for segment in kept if segment]
    slash = "/" if named and segments[-1] in {"", ".", ".."} else ""
    return "/" + "/".join(named) + slash, ""
