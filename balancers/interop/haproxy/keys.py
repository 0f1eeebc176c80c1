"""Computes the key of a request, as ``balance`` of HAProxy does.

A key is bytes.  It is None if the request has no key.
"""

import re

from balancers._internal.checks import at_least
from balancers.addresses import Address, address_of
from balancers.keys import key_bytes

__all__ = ["hdr", "req_hdr", "source", "uri", "url_param"]

Text = str | bytes
"""Text as the client sent it.  A str is encoded as UTF-8."""

_ELEMENT = re.compile(rb',((?:[^",]|"(?:[^"\\]|\\.?)*+"?)*+)', re.DOTALL)
"""Matches a comma and the text after it, up to the next comma that is not in double quotes."""
_BLANKS = b" \t"


def hdr(*lines: Text, domain_only: bool = False) -> bytes | None:
    """Return the key of ``balance hdr``.

    The key is the first element of the first line of the header.  Elements are separated by commas,
    and the blanks around an element are removed.  If the element is empty, None is returned.
    ``domain_only`` is the option ``use_domain_only``.  With it, the key is the label before the
    last dot of the element.

    >>> hdr("a, b", "c"), hdr(), hdr("www.example.org", domain_only=True)
    (b'a', None, b'example')

    Raises InvalidKey for a str with a lone surrogate.
    """
    first = _elements(lines[0])[0] if lines else b""
    if domain_only:
        dot = first.rfind(b".")
        if dot > 0:
            return first[first.rfind(b".", 0, dot - 1) + 1 : dot]
    return first or None


def req_hdr(*lines: Text) -> bytes | None:
    """Return the key of ``balance hash req.hdr(NAME)``.

    The key is the last element of the last line of the header.  If the element is empty, the key is
    ``b""``.  If there is no line, None is returned.

    >>> req_hdr("a, b", "c, d"), req_hdr(""), req_hdr()
    (b'd', b'', None)

    Raises InvalidKey for a str with a lone surrogate.
    """
    return _elements(lines[-1])[-1] if lines else None


def source(client: Text | Address) -> bytes:
    r"""Return the key of ``balance source``: the packed bytes of the client's address.

    Use ``Hash(address_words)`` to hash this key.

    >>> source("10.0.0.1")
    b'\n\x00\x00\x01'

    Raises InvalidKey for a value that is not an address.
    """
    return address_of(client).packed


def uri(
    target: Text,
    length: int = 0,
    depth: int = 0,
    whole: bool = False,
    path_only: bool = False,
) -> bytes:
    """Return the key of ``balance uri``: the request target as sent, or a part of it.

    The key ends before the first ``?``, unless ``whole`` is true.  It contains at most ``length``
    bytes (the option ``len``) and at most ``depth`` directories.  If ``length`` or ``depth`` is 0,
    that limit does not apply.  With ``path_only``, the key does not contain the scheme and the
    authority.

    >>> uri("/a/b/c?d"), uri("/a/b/c?d", depth=2), uri("http://h/a?b", path_only=True, whole=True)
    (b'/a/b/c', b'/a/b', b'/a?b')

    Raises InvalidSetting for a negative limit, and InvalidKey for a str with a lone surrogate.
    """
    at_least(0, length=length, depth=depth)
    key = key_bytes(target)
    if path_only and not key.startswith(b"/"):
        start = key.find(b"/", key.find(b"://") + 3)
        key = key[start:] if start > 0 else key
    if not whole:
        key = key.partition(b"?")[0]
    depth = min(depth, len(key))
    if depth:
        key = b"/".join(key.split(b"/", depth + 1)[: depth + 1])
    return key[:length] if length else key


def url_param(target: Text, name: Text) -> bytes | None:
    """Return the key of ``balance url_param NAME``.

    The key is the first value of the parameter in the query.  It is not decoded.  If the value is
    empty, the key is ``b""``.  If the query has no value of the parameter, None is returned.

    >>> url_param("/p?a=1&id=%41&id=2", "id"), url_param("/p?id", "id")
    (b'%41', None)

    Raises InvalidKey for a str with a lone surrogate.
    """
    prefix = key_bytes(name) + b"="
    for part in key_bytes(target).partition(b"?")[2].split(b"&"):
        if part.startswith(prefix):
            return part[len(prefix) :]
    return None


def _elements(line: Text) -> list[bytes]:
    """Return the elements of a line, which are separated by commas.

    There is at least one element.  Elements can be empty.
    """
    parts = (match[1] for match in _ELEMENT.finditer(b"," + key_bytes(line)))
    return [part.strip(_BLANKS) for part in parts]
