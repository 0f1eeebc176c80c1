"""Cookies as text: reading what a client sent, and writing what it is to keep.

RFC 6265 for what is written; what is read is taken as it comes, in one pass, however long.
"""

import re
from collections.abc import Iterator

from balancers.errors import InvalidSetting

__all__ = ["cookie", "cookie_values", "cookies", "path_covers", "set_cookie"]

_BLANK = " \t"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*")
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_PATH = re.compile(r"/(?:[ -:<-~]*[!-:<-~])?")
_LABEL = r"[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?"
_DOMAIN = re.compile(rf"\.?{_LABEL}(?:\.{_LABEL})*")
_SAME_SITE = ("Strict", "Lax", "None", None)


def cookies(header: str) -> dict[str, str]:
    """Read the value of a ``Cookie`` header: each name's first value, in order.

    Browsers send the cookie of the longest path first, so of one name repeated the first counts.
    Blanks around names and values and a pair of quotes around a value are dropped; what has no
    ``=`` or no name is skipped.  Nothing is an error.  O(characters).

    >>> cookies('theme=dark; id="42";; stray ; =nameless; theme=light')
    {'theme': 'dark', 'id': '42'}
    """
    found: dict[str, str] = {}
    for pair in header.split(";"):
        name, equals, value = pair.partition("=")
        name = name.strip(_BLANK)
        if equals and name and name not in found:
            found[name] = _plain(value)
    return found


def cookie(header: str, name: str) -> str | None:
    """Read one cookie of a header: what ``cookies(header).get(name)`` gives, without the others.

    ``name`` is that of a cookie that can be set, so it has no blanks, ``=`` or ``;`` in it.
    O(characters), at the speed of a search.

    >>> cookie("theme=dark; id=42", "id")
    '42'
    """
    return next(cookie_values(header, name), None)


def cookie_values(header: str, name: str) -> Iterator[str]:
    """Read every cookie of the name, in order, each when it is asked for; O(characters).

    >>> list(cookie_values("id=42; theme=dark; id=7", "id"))
    ['42', '7']
    """
    at = header.find(name)
    while at >= 0:
        before, after = at - 1, at + len(name)
        while before >= 0 and header[before] in _BLANK:
            before -= 1
        if before < 0 or header[before] == ";":
            while header[after : after + 1] in (" ", "\t"):
                after += 1
            if header[after : after + 1] == "=":
                end = header.find(";", after)
                yield _plain(header[after + 1 : end if end >= 0 else None])
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
    """Write the value of a ``Set-Cookie`` header (RFC 6265, section 4.1, and its draft successor).

    ``max_age`` is in seconds; None lasts until the browser closes, 0 deletes.  ``same_site`` is
    Strict, Lax, None as text, or None for no attribute.

    >>> set_cookie("id", "42", max_age=3600)
    'id=42; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax'

    Raises InvalidSetting for what a browser would refuse or read as something else: no token for a
    name; a control character, a blank, a quote, a comma, a semicolon or a backslash in the value; a
    path that does not begin with ``/``; ``SameSite=None``, or a name that begins with ``__Secure-``
    or ``__Host-``, without what goes with it.
    """
    _check("name", name, _NAME)
    _check("value", value, _VALUE)
    _check("path", path, _PATH)
    if domain is not None:
        _check("domain", domain, _DOMAIN)
    if max_age is not None and (type(max_age) is not int or max_age < 0):
        raise InvalidSetting(f"max_age must be an int of seconds, 0 or more, not {max_age!r}")
    if same_site not in _SAME_SITE:
        raise InvalidSetting(f"same_site must be one of {_SAME_SITE}, not {same_site!r}")
    if same_site == "None" and not secure:
        raise InvalidSetting("browsers refuse SameSite=None without Secure")
    prefix = name[:9].lower()
    if not secure and prefix.startswith(("__secure-", "__host-")):
        raise InvalidSetting(f"browsers refuse {name!r} without Secure")
    if prefix.startswith("__host-") and (path != "/" or domain is not None):
        raise InvalidSetting(f"browsers refuse {name!r} with a Domain or a Path other than /")
    parts = [f"{name}={value}", f"Path={path}"]
    parts += [] if domain is None else [f"Domain={domain}"]
    parts += [] if max_age is None else [f"Max-Age={max_age}"]
    parts += ["HttpOnly"] if http_only else []
    parts += ["Secure"] if secure else []
    parts += [] if same_site is None else [f"SameSite={same_site}"]
    return "; ".join(parts)


def path_covers(path: str, target: str) -> bool:
    """Whether a cookie of this path is sent to a target (RFC 6265, section 5.1.4).

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


def _plain(value: str) -> str:
    value = value.strip(_BLANK)
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _check(what: str, text: str, form: re.Pattern[str]) -> None:
    if not isinstance(text, str) or not form.fullmatch(text):
        raise InvalidSetting(f"no {what} of a cookie: {text!r}")
