"""From a request's target to one spelling of its path, or to the reason why there is none."""

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

_PLAIN = re.compile(r"(?:/[0-9A-Za-z\-._~!$&'()*+,;=:@]+)*/?")
_STRANGE = re.compile(r"[^!-~]")
_ABSOLUTE = re.compile(r"(?i:https?)://([^/]+)(.*)")
_AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^/:@\[\]]+):[0-9]+")
_TO_SPELL = re.compile(r"%(?P<octet>[0-9A-Fa-f]{2})|(?P<raw>[\"<>\[\]^`{|}])|(?P<bad>%)")
_UNRESERVED = re.compile(rb"[0-9A-Za-z\-._~]")
_OCTETS = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_AMBIGUOUS = (".;", "..;", ".%3B", "..%3B")


class Path(NamedTuple):
    """A target that was read: its path in the one spelling, or the reason why it is refused."""

    path: str
    """Begins with ``/``; empty when refused."""
    query: str
    """What follows the first ``?``, as it came."""
    reason: Refusal | Literal[""] = ""
    host: str = ""
    """The authority of an absolute-form target: it counts instead of ``Host`` (RFC 9112, 3.2.2)."""


def read_target(target: str) -> Path:
    """Read a request target (RFC 9112, section 3.2); nothing that a client sends is an error.

    Two spellings of one path (RFC 3986, section 6.2.2) become one: percent-encoded unreserved
    characters are decoded, once; other encodings get uppercase digits, characters no path may hold
    are encoded; dot segments are removed and repeated slashes are one.  A final slash stays.

    What servers are known to read in different ways is refused, not guessed: ``reason`` says
    what it was.  So are ``*`` and the target of a CONNECT, which have no path.  O(characters).

    >>> read_target("/%7Ejo//a/../caf%c3%a9?q=1")
    Path(path='/~jo/caf%C3%A9', query='q=1', reason='', host='')
    >>> read_target("/static/..%2fadmin").reason
    'encoded slash'
    """
    path, _, query = target.partition("?")
    if strange := _STRANGE.search(target):
        return Path("", query, _strangeness(strange[0]))
    if "#" in target:
        return Path("", query, "fragment")
    host = ""
    if not path.startswith("/"):
        absolute = _ABSOLUTE.fullmatch(path)
        if absolute is None:
            return Path("", query, _form(path))
        host, path = absolute[1], absolute[2] or "/"
        if "@" in host:
            return Path("", query, "userinfo")
    if "/." not in path and _PLAIN.fullmatch(path):
        return Path(path, query, "", host)
    spelled, reason = _spelled(path)
    if not reason:
        spelled, reason = _without_dots(spelled)
    return Path("" if reason else spelled, query, reason, host)


def unquoted(text: str) -> str:
    """Decode well-formed percent-encoded UTF-8; raises UnicodeDecodeError for other octets.

    >>> unquoted("caf%C3%A9")
    'café'
    """
    if "%" not in text:
        return text
    return _OCTETS.sub(lambda octets: bytes.fromhex(octets[0].replace("%", "")).decode(), text)


def _strangeness(character: str) -> Refusal:
    if character == "\0":
        return "NUL"
    if character == " ":
        return "space"
    return "control character" if _CONTROL.match(character) else "non-ASCII"


def _form(target: str) -> Refusal:
    """Say what a target is that has no path."""
    if not target:
        return "empty"
    if target == "*":
        return "asterisk-form"
    return "authority-form" if _AUTHORITY.fullmatch(target) else "no path"


def _spelled(path: str) -> tuple[str, Refusal | Literal[""]]:
    """Spell every character in the one way there is."""
    if "\\" in path:
        return "", "backslash"

    def spell(found: re.Match[str]) -> str:
        if found["raw"]:
            return f"%{ord(found['raw']):02X}"
        octet = bytes.fromhex(found["octet"])
        return octet.decode() if _UNRESERVED.match(octet) else found[0].upper()

    for found in _TO_SPELL.finditer(path):
        if found["bad"]:
            return "", "bad percent-encoding"
    spelled = _TO_SPELL.sub(spell, path)
    try:
        meant = unquoted(spelled)
    except UnicodeDecodeError:
        return "", "no UTF-8"
    if control := _CONTROL.search(meant):
        return "", _strangeness(control[0])
    if "%2F" in spelled:
        return "", "encoded slash"
    return ("", "encoded backslash") if "%5C" in spelled else (spelled, "")


def _without_dots(path: str) -> tuple[str, Refusal | Literal[""]]:
    """Remove dot segments (RFC 3986, section 5.2.4), then empty ones.

    A ``..`` that would remove an empty segment means one thing before slashes are merged and
    another after, and one with parameters is a dot segment to some.
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
