"""What ``balance`` hashes of a request: key bytes, or None for a request that has no key."""

import re

from balancers._internal.checks import at_least
from balancers.addresses import Address, address_of
from balancers.keys import key_bytes

__all__ = ["hdr", "req_hdr", "source", "uri", "url_param"]

Text = str | bytes
"""As the client sent it; a str is its UTF-8 bytes."""

_ELEMENT = re.compile(rb',((?:[^",]|"(?:[^"\\]|\\.?)*+"?)*+)', re.DOTALL)
"""What follows a comma, up to the next that is not within double quotes."""
_BLANKS = b" \t"


def hdr(*lines: Text, domain_only: bool = False) -> bytes | None:
    """Give the key of ``balance hdr``: the first element of the first line of that header.

    Elements are parted by commas, blanks around them trimmed; an empty one is no key.
    ``domain_only`` is ``use_domain_only``: the label before the last dot.

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
    """Give that of ``balance hash req.hdr(NAME)``: the last element of the last line.

    An empty one is a key.

    >>> req_hdr("a, b", "c, d"), req_hdr(""), req_hdr()
    (b'd', b'', None)

    Raises InvalidKey for a lone surrogate.
    """
    return _elements(lines[-1])[-1] if lines else None


def source(client: Text | Address) -> bytes:
    r"""Give that of ``balance source``: the client's address, packed.

    Hash it with ``Hash(address_words)``.

    >>> source("10.0.0.1")
    b'\n\x00\x00\x01'

    Raises InvalidKey for what is no address.
    """
    return address_of(client).packed


def uri(
    target: Text,
    length: int = 0,
    depth: int = 0,
    whole: bool = False,
    path_only: bool = False,
) -> bytes:
    """Give that of ``balance uri``: the request target as sent, up to ``?`` unless ``whole``.

    ``length`` bytes of it at most (``len``), ``depth`` directories at most; 0 sets no limit.
    ``path_only`` leaves out scheme and authority, where the target has them.

    >>> uri("/a/b/c?d"), uri("/a/b/c?d", depth=2), uri("http://h/a?b", path_only=True, whole=True)
    (b'/a/b/c', b'/a/b', b'/a?b')

    Raises InvalidSetting, and InvalidKey for a lone surrogate.
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
    """Give that of ``balance url_param NAME``: the first of that name in the query, undecoded.

    An empty value is a key.

    >>> url_param("/p?a=1&id=%41&id=2", "id"), url_param("/p?id", "id")
    (b'%41', None)

    Raises InvalidKey for a lone surrogate.
    """
    sought = key_bytes(name) + b"="
    for part in key_bytes(target).partition(b"?")[2].split(b"&"):
        if part.startswith(sought):
            return part[len(sought) :]
    return None


def _elements(line: Text) -> list[bytes]:
    """Part a line at its commas; at least one element, which may be empty."""
    parts = (match[1] for match in _ELEMENT.finditer(b"," + key_bytes(line)))
    return [part.strip(_BLANKS) for part in parts]
