"""Parses the ``Cookie`` header and writes the ``Set-Cookie`` header.

Written cookies follow RFC 6265.  The parser accepts any text and reads the text once.
"""

import re
from collections.abc import Iterator

from balancers._internal.grammar import TOKEN
from balancers.errors import InvalidSetting

__all__ = ["cookie", "cookie_values", "cookies", "path_covers", "set_cookie"]

_WHITESPACE = " \t"
_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*")
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_PATH = re.compile(r"/(?:[ -:<-~]*[!-:<-~])?")
_LABEL = r"[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?"
_DOMAIN = re.compile(rf"\.?{_LABEL}(?:\.{_LABEL})*")
_SAME_SITE = ("Strict", "Lax", "None", None)


def cookies(header: str) -> dict[str, str]:
    """Return the names and values in the value of a ``Cookie`` header, in order.

    If a name is repeated, its first value is returned, because browsers send the cookie with the
    longest path first.  Spaces and tabs around names and values are removed.  Two quotes that
    enclose a value are removed too.  A part without ``=`` or without a name is skipped.  The
    function accepts any text and raises no error.  O(characters).

    >>> cookies('theme=dark; id="42";; alone ; =nameless; theme=light')
    {'theme': 'dark', 'id': '42'}
    """
    found: dict[str, str] = {}
    for pair in header.split(";"):
        name, equals, value = pair.partition("=")
        name = name.strip(_WHITESPACE)
        if equals and name and name not in found:
            found[name] = _stripped(value)
    return found


def cookie(header: str, name: str) -> str | None:
    """Return the first value of the cookie with this name, or None if there is no such cookie.

    The result equals ``cookies(header).get(name)``, but the other cookies are not parsed.  ``name``
    must be a name that :func:`set_cookie` accepts.  Such a name has no spaces, ``=`` or ``;``.
    O(characters), as fast as a text search.

    >>> cookie("theme=dark; id=42", "id")
    '42'
    """
    return next(cookie_values(header, name), None)


def cookie_values(header: str, name: str) -> Iterator[str]:
    """Yield the value of every cookie with this name, in order; O(characters).

    The header is searched only as far as values are requested from the iterator.

    >>> list(cookie_values("id=42; theme=dark; id=7", "id"))
    ['42', '7']
    """
    at = header.find(name)
    while at >= 0:
        before, after = at - 1, at + len(name)
        while before >= 0 and header[before] in _WHITESPACE:
            before -= 1
        if before < 0 or header[before] == ";":
            while header[after : after + 1] in (" ", "\t"):
                after += 1
            if header[after : after + 1] == "=":
                end = header.find(";", after)
                yield _stripped(header[after + 1 : end if end >= 0 else None])
        at = header.find(name, at + 1)


def set_cookie(
    name: str,
    value: str,
    *,
    path: str = "/",
    domain: str | None = None,
    max_age: int | None = None,
    http_only: bool = True,
    secure: bool = True,
    same_site: str | None = "Lax",
) -> str:
    """Return the value of a ``Set-Cookie`` header (RFC 6265, section 4.1, and its draft successor).

    ``max_age`` is in seconds.  With None, the cookie is kept until the browser closes.  With 0, the
    cookie is deleted.  ``same_site`` is one of the texts "Strict", "Lax" and "None".  If it is the
    object None, the attribute ``SameSite`` is not written.

    >>> set_cookie("id", "42", max_age=3600)
    'id=42; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax'

    Raises InvalidSetting for a cookie that a browser would refuse or parse differently:

    * The name is not a token.
    * The value has a control character, a space, a quote, a comma, a semicolon, a backslash or a
      character that is not ASCII.
    * The path does not begin with ``/`` or has a character that is not allowed in a path.
    * The domain, ``max_age`` or ``same_site`` is invalid.
    * ``SameSite=None`` is used without ``Secure``.
    * The name begins with ``__Secure-`` or ``__Host-``, and the cookie does not have the attributes
      that this prefix requires.
    """
    _check("name", name, TOKEN)
    _check("value", value, _VALUE)
    _check("path", path, _PATH)
    if domain is not None:
        _check("domain", domain, _DOMAIN)
    if max_age is not None and (type(max_age) is not int or max_age < 0):
        raise InvalidSetting(f"max_age must be an int of seconds, 0 or more, not {max_age!r}")
    if same_site not in _SAME_SITE:
        raise InvalidSetting(f"same_site must be one of {_SAME_SITE}, not {same_site!r}")
    if same_site == "None" and not secure:
        raise InvalidSetting(f"secure must be True for same_site='None', not {secure!r}")
    prefix = name[:9].lower()
    if not secure and prefix.startswith(("__secure-", "__host-")):
        raise InvalidSetting(f"secure must be True for the name {name!r}, not {secure!r}")
    if prefix.startswith("__host-") and (path != "/" or domain is not None):
        raise InvalidSetting(
            f"path must be '/' and domain None for the name {name!r}, not {path!r} and {domain!r}"
        )
    parts = [f"{name}={value}", f"Path={path}"]
    parts += [] if domain is None else [f"Domain={domain}"]
    parts += [] if max_age is None else [f"Max-Age={max_age}"]
    parts += ["HttpOnly"] if http_only else []
    parts += ["Secure"] if secure else []
    parts += [] if same_site is None else [f"SameSite={same_site}"]
    return "; ".join(parts)


def path_covers(path: str, target: str) -> bool:
    """Return whether a browser sends a cookie with this path in a request for this target.

    Source: RFC 6265, section 5.1.4.

    >>> path_covers("/shop", "/shop/cart?item=7"), path_covers("/shop", "/shopping")
    (True, False)
    >>> path_covers("/shop", "http://example.com/shop")
    True
    """
    if absolute := _ORIGIN.match(target):
        target = target[absolute.end() :]
        target = target if target.startswith("/") else f"/{target}"
    if not target.startswith(path):
        return False
    return path.endswith("/") or target[len(path) : len(path) + 1] in {"", "/", "?"}


def _stripped(value: str) -> str:
    value = value.strip(_WHITESPACE)
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _check(part: str, text: str, form: re.Pattern[str]) -> None:
    if not isinstance(text, str) or not form.fullmatch(text):
        raise InvalidSetting(f"{part} must be a valid cookie {part}, not {text!r}")
