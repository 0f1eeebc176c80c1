"""Parses the ``Cookie`` header and writes the ``Set-Cookie`` header.

Written cookies follow RFC 6265 and the drafts that succeed it.  The parser accepts any text and
reads the text once.
"""

import re
from collections.abc import Iterator, Mapping

from balancers._internal.checks import check_flags, shown
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
_FURTHER_VALUE = re.compile(r"[!-:<-~](?:[ -:<-~]*[!-:<-~])?")
_KNOWN_ATTRIBUTES = frozenset(
    {"path", "domain", "max-age", "expires", "httponly", "secure", "samesite", "partitioned"}
)
_LONGEST_PAIR, _LONGEST_ATTRIBUTE = 4096, 1024
"""Browsers ignore a cookie whose name and value have more bytes together, and an attribute whose
value has more bytes (draft-ietf-httpbis-rfc6265bis, "The Set-Cookie Header Field")."""
_LONGEST_AGE = 2**31 - 1


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
    O(characters).

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
    partitioned: bool = False,
    attributes: Mapping[str, str | None] | None = None,
) -> str:
    """Return the value of a ``Set-Cookie`` header.

    ``max_age`` is in seconds.  With None, the cookie is kept until the browser closes.  With 0, the
    cookie is deleted.  Browsers keep no cookie for more than 400 days.  ``same_site`` is one of the
    texts "Strict", "Lax" and "None".  If it is the object None, the attribute ``SameSite`` is not
    written.  With ``partitioned``, the browser stores the cookie separately for each site that
    embeds yours.  ``attributes`` are further attributes that browsers know now or in the future,
    with their values; the value None writes the name alone.

    >>> set_cookie("id", "42", max_age=3600)
    'id=42; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax'
    >>> set_cookie("id", "42", same_site="None", partitioned=True, attributes={"Priority": "High"})
    'id=42; Path=/; HttpOnly; Secure; SameSite=None; Partitioned; Priority=High'

    O(characters).  Sources: RFC 6265, section 4.1, and the drafts that succeed it:
    draft-ietf-httpbis-rfc6265bis, draft-ietf-httpbis-layered-cookies (the prefixes with ``Http-``)
    and draft-cutler-httpbis-partitioned-cookies.

    Raises InvalidSetting for a cookie that a browser would refuse or parse differently:

    * The name is not a token.
    * The value has a control character, a space, a quote, a comma, a semicolon, a backslash or a
      character that is not ASCII.  The message says where, and does not contain the value, which
      may be a secret.
    * The name and the value have more than 4096 bytes together, or the value of an attribute has
      more than 1024.
    * The path does not begin with ``/`` or has a character that is not allowed in a path.
    * The domain or ``same_site`` is invalid, or ``max_age`` is not an int from 0 to 2³¹ - 1.
    * ``SameSite=None`` or ``Partitioned`` is used without ``Secure``.
    * The name begins with ``__Secure-``, ``__Host-``, ``__Http-`` or ``__Host-Http-``, in upper or
      lower case, and the cookie does not have the attributes that this prefix requires.
    * A further attribute is one that has an argument of its own, or ``Expires``; its name is not
      a token or occurs twice in another case; or its value has a semicolon, a control character, a
      character that is not ASCII, or a space at an end.
    """
    check_flags(http_only=http_only, secure=secure, partitioned=partitioned)
    _check("name", name, TOKEN)
    _check_value(name, value)
    _check("path", path, _PATH)
    if domain is not None:
        _check("domain", domain, _DOMAIN)
    if max_age is not None:
        _check_age(max_age)
    if same_site not in _SAME_SITE:
        raise InvalidSetting(f"same_site must be one of {_SAME_SITE}, not {shown(same_site)}")
    if not secure and (partitioned or same_site == "None"):
        setting = "partitioned=True" if partitioned else "same_site='None'"
        raise InvalidSetting(f"secure must be True for {setting}, not {shown(secure)}")
    _check_prefix(name, path, domain, secure, http_only)
    parts = [f"{name}={value}", f"Path={path}"]
    parts += [] if domain is None else [f"Domain={domain}"]
    parts += [] if max_age is None else [f"Max-Age={max_age}"]
    parts += ["HttpOnly"] if http_only else []
    parts += ["Secure"] if secure else []
    parts += [] if same_site is None else [f"SameSite={same_site}"]
    parts += ["Partitioned"] if partitioned else []
    parts += [] if attributes is None else _further(attributes)
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
        raise InvalidSetting(f"{part} must be a valid cookie {part}, not {shown(text)}")
    if len(text) > _LONGEST_ATTRIBUTE and part != "name":
        raise InvalidSetting(
            f"{part} must have at most {_LONGEST_ATTRIBUTE} bytes, not {len(text)}"
        )


def _check_value(name: str, value: str) -> None:
    """Raise InvalidSetting for an invalid value, without the value, which may be a secret."""
    if not isinstance(value, str):
        raise InvalidSetting(f"value must be str, not {type(value).__name__}")
    valid = _VALUE.match(value)
    if valid is not None and (at := valid.end()) < len(value):
        raise InvalidSetting(
            f"value must be a valid cookie value; its character {at} is {shown(value[at])}"
        )
    if (size := len(name) + len(value)) > _LONGEST_PAIR:
        raise InvalidSetting(
            f"name and value must have at most {_LONGEST_PAIR} bytes together, not {size}"
        )


def _check_age(max_age: int) -> None:
    if type(max_age) is int and 0 <= max_age <= _LONGEST_AGE:
        return
    raise InvalidSetting(
        f"max_age must be an int of seconds, 0 to {_LONGEST_AGE}, not {shown(max_age)}"
    )


def _check_prefix(name: str, path: str, domain: str | None, secure: bool, http_only: bool) -> None:
    """Raise InvalidSetting unless the attributes are those that a prefix of the name requires."""
    prefix = name[:12].lower()
    if not secure and prefix.startswith(("__secure-", "__host-", "__http-")):
        raise InvalidSetting(f"secure must be True for the name {shown(name)}, not {shown(secure)}")
    if not http_only and prefix.startswith(("__http-", "__host-http-")):
        raise InvalidSetting(
            f"http_only must be True for the name {shown(name)}, not {shown(http_only)}"
        )
    if prefix.startswith("__host-") and (path != "/" or domain is not None):
        raise InvalidSetting(
            f"path must be '/' and domain None for the name {shown(name)}, "
            f"not {shown(path)} and {shown(domain)}"
        )


def _further(attributes: Mapping[str, str | None]) -> list[str]:
    """Return further attributes as they are written."""
    if not isinstance(attributes, Mapping):
        raise InvalidSetting(f"attributes must be a mapping, not {shown(attributes)}")
    written: dict[str, str] = {}
    for name, value in attributes.items():
        _check("attribute", name, TOKEN)
        if name.lower() in _KNOWN_ATTRIBUTES:
            raise InvalidSetting(f"attributes must not contain {shown(name)}: use its own argument")
        if name.lower() in written:
            raise InvalidSetting(f"attributes must not contain {shown(name)} twice")
        if value is not None:
            _check("attribute", value, _FURTHER_VALUE)
        written[name.lower()] = name if value is None else f"{name}={value}"
    return list(written.values())
