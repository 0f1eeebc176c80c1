"""Parses and normalises request targets.  A target that could be misunderstood is refused."""

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
    """The result of parsing a target: the normalised path, or why the target is refused."""

    path: str
    """The normalised path, which begins with ``/``.  It is empty if the target is refused."""
    query: str
    """The text after the first ``?``, unchanged."""
    reason: Refusal | Literal[""] = ""
    """Why the target is refused.  It is empty if the target is accepted."""
    host: str = ""
    """The authority of a target in absolute form, such as ``http://example.com/``.  It replaces
    the ``Host`` header (RFC 9112, section 3.2.2).  It is empty for any other target."""


def read_target(target: str) -> Path:
    """Parse and normalise a request target (RFC 9112, section 3.2).  No text raises an error.

    Equivalent paths (RFC 3986, section 6.2.2) have the same normalised form.  The path is
    normalised in this way:

    * Percent-encoded unreserved characters are decoded once.
    * In all other percent-encodings, the hexadecimal digits become upper case.
    * Characters that are not allowed in a path are percent-encoded.
    * Dot segments are removed.
    * Repeated slashes become one slash.  A final slash is kept.

    A target is refused if it is known that servers interpret it in different ways.  ``reason`` then
    says why.  ``*`` and the target of a CONNECT request are refused too, because they have no path.
    O(characters).

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
    """Return the text with its percent-encoding decoded.  Malformed encoding is left unchanged.

    Raises UnicodeDecodeError if the decoded octets are not UTF-8.

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
    """Return the reason why a target without a path is refused."""
    if not target:
        return "empty"
    if target == "*":
        return "asterisk-form"
    return "authority-form" if _AUTHORITY.fullmatch(target) else "no path"


def _normalise_encoding(path: str) -> tuple[str, Refusal | Literal[""]]:
    """Return the path with normalised percent-encoding, and a reason if it is refused.

    If the path is refused, the returned path is empty.
    """
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
    """Return the path without dot segments and empty segments, and a reason if it is refused.

    Dot segments (RFC 3986, section 5.2.4) are removed first, and empty segments second.  Two kinds
    of segments are ambiguous, and a path that has one is refused.  The first is a ``..`` after an
    empty segment: its meaning depends on whether repeated slashes are merged before or after it is
    removed.  The second is a dot segment with parameters, because only some servers treat it as a
    dot segment.
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
