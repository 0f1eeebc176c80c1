"""The key that ``balance`` hashes: bytes, or None for a request without a key."""

import re

from balancers._internal.checks import at_least
from balancers.addresses import Address, address_of
from balancers.keys import key_bytes

__all__ = ["hdr", "req_hdr", "source", "uri", "url_param"]

Text = str | bytes
"""Text as the client sent it; a str stands for its UTF-8 bytes."""

_ELEMENT = re.compile(rb',((?:[^",]|"(?:[^"\\]|\\.?)*+"?)*+)', re.DOTALL)
"""A comma and the text after it, up to the next comma outside double quotes."""
_BLANKS = b" \t"


def hdr(*lines: Text, domain_only: bool = False) -> bytes | None:
    """Return the key of ``balance hdr``: the first element of the first line of the header.

    Elements are separated by commas and stripped of blanks.  An empty element is no key.
    ``domain_only`` is ``use_domain_only``: the label before the last dot is the key.

    >>> hdr("a, b", "c"), hdr(), hdr("www.example.org", domain_only=True)
    (b'a', None, b'example')

    Raises InvalidKey for a lone surrogate.
    """
    first = _elements(lines[0])[0] if lines else b""
    if domain_only:
        dot = first.rfind(b".")
        if dot > 0:
            return first[first.rfind(b".", 0, dot - 1) + 1 : dot]
    return first or None


def req_hdr(*lines: Text) -> bytes | None:
    """Return the key of ``balance hash req.hdr(NAME)``: the last element of the last line.

    An empty element is a key.

    >>> req_hdr("a, b", "c, d"), req_hdr(""), req_hdr()
    (b'd', b'', None)

    Raises InvalidKey for a lone surrogate.
    """
    return _elements(lines[-1])[-1] if lines else None


def source(client: Text | Address) -> bytes:
    r"""Return the key of ``balance source``: the client's address, packed.

    Hash it with ``Hash(address_words)``.

    >>> source("10.0.0.1")
    b'\n\x00\x00\x01'

    Raises InvalidKey for a value that is no address.
    """
    return address_of(client).packed


def uri(
    target: Text,
    length: int = 0,
    depth: int = 0,
    whole: bool = False,
    path_only: bool = False,
) -> bytes:
    """Return the key of ``balance uri``: the request target as sent, up to ``?`` unless ``whole``.

    At most ``length`` bytes (``len``) and at most ``depth`` directories are used; 0 sets no limit.
    ``path_only`` omits the scheme and the authority, if the target has them.

    >>> uri("/a/b/c?d"), uri("/a/b/c?d", depth=2), uri("http://h/a?b", path_only=True, whole=True)
    (b'/a/b/c', b'/a/b', b'/a?b')

    Raises InvalidSetting for a negative limit, InvalidKey for a lone surrogate.
    """
    at_least(0, length=length, depth=depth)
    key = key_bytes(target)
    if path_only and not key.startswith(b"/"):
        start = key.find(b"/", key.find(b"://") + 3)
        key = key[start:] if start > 0 else key
    if not whole:
        key = key.partition(b"?")[0]
    if depth:
        key = b"/".join(key.split(b"/", depth + 1)[: depth + 1])
    return key[:length] if length else key


def url_param(target: Text, name: Text) -> bytes | None:
    """Return the key of ``balance url_param NAME``: the first value in the query, not decoded.

    An empty value is a key.

    >>> url_param("/p?a=1&id=%41&id=2", "id"), url_param("/p?id", "id")
    (b'%41', None)

    Raises InvalidKey for a lone surrogate.
    """
    prefix = key_bytes(name) + b"="
    for part in key_bytes(target).partition(b"?")[2].split(b"&"):
        if part.startswith(prefix):
            return part[len(prefix) :]
    return None


def _elements(line: Text) -> list[bytes]:
    """Split a line at its commas: at least one element, which may be empty."""
    parts = (match[1] for match in _ELEMENT.finditer(b"," + key_bytes(line)))
    return [part.strip(_BLANKS) for part in parts]
