"""Parses and normalises request targets.  A target that could be misunderstood is refused."""

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from balancers._internal.checks import checked_choice, shown

__all__ = ["Path", "PathRules", "Refusal", "compared", "has_parameter", "read_target", "unquoted"]

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
    "path parameter",
    "empty segment",
]

_NORMAL = re.compile(r"(?:/[0-9A-Za-z\-._~!$&'()*+,=:@]+)*/?")
"""Matches a path that no rule changes or refuses, unless a segment begins with a dot."""
_NOT_VISIBLE_ASCII = re.compile(r"[^!-~]")
_ABSOLUTE = re.compile(r"(?i:https?)://([^/]+)(.*)")
_AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^/:@\[\]]+):[0-9]+")
_TO_NORMALISE = re.compile(r"%(?P<octet>[0-9A-Fa-f]{2})|(?P<raw>[\"<>\[\]^`{|}])|(?P<bad>%)")
_UNRESERVED = re.compile(rb"[0-9A-Za-z\-._~]")
_ENCODED_DELIMITER = re.compile(r"%(?:2[146789ABC]|3[ABD]|40)")
_OCTETS = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PARAMETERS = re.compile(r"(?:;|%3B).*")
_ENCODED_SEPARATOR = re.compile(r"%2F|%5C")


@dataclass(frozen=True, slots=True)
class PathRules:
    """What is accepted in a path although servers interpret it in different ways.

    * ``parameters`` is about path parameters, which begin with ``;`` or ``%3B``.  Servlet
      containers remove them from each segment, so they read ``/;x/admin`` as ``//admin``.  Most
      other servers treat them as a part of the segment.  With ``refuse``, a path that has one is
      refused.  With ``strip``, they are removed before dot segments are removed.  With ``keep``,
      both spellings are kept.
    * ``encoded_slash`` and ``encoded_backslash`` are about ``%2F`` and ``%5C``.  With ``keep``,
      they stay a part of their segment.
    * ``repeated_slashes`` is about empty segments before the last one.  With ``merge``, they are
      removed.  With ``keep``, they are kept.

    With each ``keep``, the path that is sent on can mean another path to the backend.  Use it only
    if the backend interprets the path in the same way as your routes.  Dot segments that only some
    servers see are refused under all rules.

    >>> PathRules().parameters
    'refuse'
    >>> read_target("/v2/..;a=1/Caf%C3%A9;b=2", PathRules(parameters="strip")).path
    '/Caf%C3%A9'
    >>> read_target("/v2/library%2Falpine", PathRules(encoded_slash="keep")).path
    '/v2/library%2Falpine'

    Raises InvalidSetting for any other value.
    """

    parameters: Literal["refuse", "keep", "strip"] = "refuse"
    encoded_slash: Literal["refuse", "keep"] = "refuse"
    encoded_backslash: Literal["refuse", "keep"] = "refuse"
    repeated_slashes: Literal["merge", "refuse", "keep"] = "merge"

    def __post_init__(self) -> None:
        checked_choice("parameters", self.parameters, ("refuse", "keep", "strip"))
        checked_choice("encoded_slash", self.encoded_slash, ("refuse", "keep"))
        checked_choice("encoded_backslash", self.encoded_backslash, ("refuse", "keep"))
        checked_choice("repeated_slashes", self.repeated_slashes, ("merge", "refuse", "keep"))


DEFAULT_RULES = PathRules()


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


def read_target(target: str, rules: PathRules = DEFAULT_RULES) -> Path:
    """Parse and normalise a request target (RFC 9112, section 3.2).  No text raises an error.

    Equivalent paths (RFC 3986, section 6.2.2) have the same normalised form.  The path is
    normalised in this way:

    * Percent-encoded unreserved characters are decoded once.
    * In all other percent-encodings, the hexadecimal digits become upper case.
    * Characters that are not allowed in a path are percent-encoded.
    * Dot segments are removed.
    * Repeated slashes become one slash, unless the rules say otherwise.  A final slash is kept.

    A target is refused if it is known that servers interpret it in different ways.  ``reason`` then
    says why.  ``rules`` accept some of these targets.  ``*`` and the target of a CONNECT request
    are refused too, because they have no path.  A path that was normalised under some rules is
    unchanged if it is normalised again under the same rules.  O(characters).  Raises TypeError for
    ``rules`` of another type.

    >>> read_target("/%7Ejo//a/../caf%c3%a9?q=1")
    Path(path='/~jo/caf%C3%A9', query='q=1', reason='', host='')
    >>> read_target("/static/..%2fadmin").reason
    'encoded slash'
    >>> read_target("/admin;x/users").reason
    'path parameter'
    """
    if rules is not DEFAULT_RULES and not isinstance(rules, PathRules):
        raise TypeError(f"rules must be PathRules, not {shown(rules)}")
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
    normal, reason = _normalise_encoding(path, rules)
    if not reason:
        normal, reason = _normalise_segments(normal, rules)
    return Path("" if reason else normal, query, reason, host)


def compared(path: str) -> str:
    """Return a normalised path in the form in which it is compared with routes.

    Encoded delimiters that a segment may also contain as they are, such as ``@`` and ``+``, are
    decoded.  They stay encoded in the path that is sent on, because RFC 3986 distinguishes the two
    spellings.  But most servers decode both to the same path, so both must match the same route.

    >>> compared("/%40me/a%2Bb%20c")
    '/@me/a+b%20c'
    """
    if "%" not in path:
        return path
    return _ENCODED_DELIMITER.sub(lambda octet: chr(int(octet[0][1:], 16)), path)


def has_parameter(segment: str) -> bool:
    """Return whether a normalised segment has a path parameter.

    >>> has_parameter("a%3Bv=1"), has_parameter("a")
    (True, False)
    """
    return _PARAMETERS.search(segment) is not None


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


def _normalise_encoding(path: str, rules: PathRules) -> tuple[str, Refusal | Literal[""]]:
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
    reason: Refusal | Literal[""] = ""
    if "%2F" in normal and rules.encoded_slash == "refuse":
        reason = "encoded slash"
    elif "%5C" in normal and rules.encoded_backslash == "refuse":
        reason = "encoded backslash"
    return normal, reason


def _normalise_segments(path: str, rules: PathRules) -> tuple[str, Refusal | Literal[""]]:
    """Return the path with normalised segments, and a reason if it is refused.

    First, parameters are removed if the rules say so.  Then dot segments are removed (RFC 3986,
    section 5.2.4), and then empty segments.
    """
    segments = path.split("/")[1:]
    if rules.parameters == "strip":
        segments = [_PARAMETERS.sub("", segment) for segment in segments]
    kept, reason = _remove_dot_segments(segments, rules)
    if not reason and rules.parameters == "refuse" and has_parameter(path):
        reason = "path parameter"
    if not reason and rules.repeated_slashes == "refuse" and "" in segments[:-1]:
        reason = "empty segment"
    if rules.repeated_slashes != "keep":
        last = kept[-1:]
        kept = [segment for segment in kept if segment]
        kept += [""] if kept and last == [""] else []
    return "/" + "/".join(kept), reason


def _remove_dot_segments(
    segments: list[str], rules: PathRules
) -> tuple[list[str], Refusal | Literal[""]]:
    """Return the segments without dot segments, and a reason if the path is refused.

    The last segment is empty if the path ends in a slash or in a dot segment.

    Two kinds of segments are ambiguous, and a path that has one is refused.  The first is a ``..``
    after a segment that is empty, or that some servers split or drop: the meaning of the ``..``
    depends on what happens first.  The second is a segment in which only some servers find a dot
    segment.
    """
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            if not kept:
                return [], "climbs out"
            if _is_ambiguous_parent(kept.pop(), rules):
                return [], "ambiguous dot segment"
        elif segment != ".":
            if _hides_dots(segment):
                return [], "ambiguous dot segment"
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return kept, ""


def _is_ambiguous_parent(segment: str, rules: PathRules) -> bool:
    """Return whether servers disagree about what a ``..`` after this segment removes."""
    name = _PARAMETERS.sub("", segment) if rules.parameters == "keep" else segment
    return not name or _ENCODED_SEPARATOR.search(name) is not None


def _hides_dots(segment: str) -> bool:
    """Return whether only some servers see a dot segment in this segment."""
    if "." not in segment:
        return False
    parts = _ENCODED_SEPARATOR.split(segment)
    return any(_PARAMETERS.sub("", part) in {".", ".."} for part in parts)
