"""Spellings of one path, and how several servers read a path.

The readers are written from the sources and manuals of the servers.  They share no code with the
package.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import unquote_to_bytes

__all__ = ["READERS", "Choose", "spelled", "variants"]

Choose = Callable[[int], int]
"""Returns a number from 0 up to the given one, without it."""

_SUB_DELIMS = "!$&'()*+,=:@"
"""The characters besides ``;`` that a segment may contain as they are (RFC 3986, pchar)."""
_UNRESERVED = re.compile(rb"[0-9A-Za-z\-._~]")


def spelled(
    segments: Sequence[str], choose: Choose, *, slashes: bool = True, parameters: bool = False
) -> str:
    """Return one spelling of the path with these segments, which are decoded text.

    Characters are percent-encoded or not, in hexadecimal digits of either case.  Dot segments that
    cancel out are inserted.  With ``slashes``, slashes are repeated.  With ``parameters``, segments
    get path parameters.  The last segment may be empty, which means that the path ends in a slash.
    """
    path = ""
    for place, segment in enumerate(segments):
        for _ in range(choose(8) // 6):
            path += _noise(choose, slashes, parameters)
        final = place == len(segments) - 1
        if final and not segment:
            path += ("/", "/", "/.", "/x/..", "/%2e")[choose(5)]
        else:
            path += "/" + "".join(_encoded(octet, choose) for octet in segment.encode())
            path += _parameter(choose) if parameters and not choose(4) else ""
    return path


def _noise(choose: Choose, slashes: bool, parameters: bool) -> str:
    """Return segments that have no effect."""
    dot, dots = ((".", ".."), ("%2e", "%2e%2E"), (".", ".%2e"))[choose(3)]
    kinds = [f"/{dot}", f"/x/{dots}", f"/admin/{dots}"]
    kinds += ["/"] * slashes
    kinds += [f"/{dot};", f"/x;y/{dots}", f"/x/{dots};z"] * parameters
    kinds += ["/;x"] * (slashes and parameters)
    return kinds[choose(len(kinds))]


def _parameter(choose: Choose) -> str:
    return (";", ";x", ";v=1", "%3Bx", "%3b", ";a;b", ";..")[choose(7)]


def _encoded(octet: int, choose: Choose) -> str:
    character = chr(octet)
    plain = _UNRESERVED.match(bytes([octet])) or character in _SUB_DELIMS
    if plain and choose(4):
        return character
    return f"%{octet:02X}" if choose(2) else f"%{octet:02x}"


def variants(first: str, second: str) -> Iterator[str]:
    """Yield combinations of separators, dots, parameters and encodings around two segments.

    Most are spellings of ``/first/second`` for at least one server.
    """
    before = (
        *("/", "//", "/;x/", "/;/", "/./", "/.;/", "/x/../", "/x/..;/", "/x;y/../", "/%3Bx/"),
        *("/x//../", "/x/;/../", "/x/%2e%2e/", "/x/..%3B/", "/%2e/", "/%2e;x/", "/%2F", "/%5C"),
    )
    encoded = f"%{ord(first[0]):02x}{first[1:]}"
    names = (first, encoded, f"{first[0]}%{ord(first[1]):02X}{first[2:]}", first.upper())
    after = ("", ";", ";x", ";x=/", "%3B", "%3bx", ";..", "%00", "%20", "%09", ".", "%2e", ";;")
    between = ("/", "//", "/./", "/;/", "/.;x/", "/;x/", "%2F", "%5C", "\\", "/x/../", "/x/..;y/")
    ends = ("", ";", ";x", "%3Bx", "/..;/" + second, "/../" + second, "?x", "#x", ";?x")
    for start in before:
        for name in names:
            for parameter in after:
                for slash in between:
                    for end in ends:
                        yield f"{start}{name}{parameter}{slash}{second}{end}"


def _segments(decoded: bytes) -> list[bytes]:
    """Return the segments of a decoded path: slashes are merged and dot segments removed."""
    kept: list[bytes] = []
    for segment in decoded.split(b"/"):
        if segment == b"..":
            del kept[-1:]
        elif segment not in {b"", b"."}:
            kept.append(segment)
    return kept


def nginx(path: str) -> list[bytes]:
    """Read a path like nginx, ngx_http_parse_complex_uri: decode, merge slashes, remove dots."""
    return _segments(unquote_to_bytes(path))


def tomcat(path: str) -> list[bytes]:
    """Read a path like Tomcat, CoyoteAdapter: drop parameters, decode, merge, remove dots."""
    return _segments(unquote_to_bytes(re.sub(";[^/]*", "", path)))


def late_container(path: str) -> list[bytes]:
    """Read a path like a container that decodes first and drops parameters afterwards."""
    return _segments(re.sub(b";[^/]*", b"", unquote_to_bytes(path)))


def rfc3986(path: str) -> list[bytes]:
    """Read a path like section 5.2.4 of RFC 3986: remove dots with empty segments, then decode."""
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if re.sub("%2e", ".", segment, flags=re.IGNORECASE) == "..":
            del kept[-1:]
        elif re.sub("%2e", ".", segment, flags=re.IGNORECASE) != ".":
            kept.append(segment)
    return [unquote_to_bytes(segment) for segment in kept if segment]


def windows(path: str) -> list[bytes]:
    """Read a path like a server for which a backslash is a slash."""
    return _segments(unquote_to_bytes(path).replace(b"\\", b"/"))


def c_string(path: str) -> list[bytes]:
    """Read a path like a server whose texts end at a NUL."""
    return _segments(unquote_to_bytes(path).partition(b"\0")[0])


READERS: tuple[Callable[[str], list[bytes]], ...] = (
    *(nginx, tomcat, late_container),
    *(rfc3986, windows, c_string),
)
"""How servers read a path without its query: each returns the decoded segments."""
