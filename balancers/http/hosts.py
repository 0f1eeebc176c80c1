"""Parses and normalises the host name in a ``Host`` header or an ``:authority`` field."""

import re
from ipaddress import IPv6Address

from balancers._internal.checks import HIGHEST_PORT
from balancers.addresses import address_text

__all__ = ["read_host"]

_NAME = re.compile(r"[0-9A-Za-z_-]+(?:\.[0-9A-Za-z_-]+)*")
_PORT = re.compile(r"(?::[0-9]{0,5})?")
_MAX_LENGTH = 253


def read_host(authority: str) -> str | None:
    """Return the normalised host of an authority, or None if the authority is invalid.

    The host is in lower case.  The port and a final dot are removed.  A host name must be ASCII, so
    an international name must be encoded with ``xn--``.  An IPv6 address must be in brackets.  It
    is returned in brackets and in the form of :func:`~balancers.addresses.address_text`.  For an
    empty authority, the result is the empty text.  O(characters).

    >>> read_host("Shop.Example.:8443"), read_host("[2001:DB8:0::1]:80"), read_host("a..b")
    ('shop.example', '[2001:db8::1]', None)
    """
    if not authority:
        return ""
    if authority[0] == "[":
        address, bracket, port = authority[1:].partition("]")
        try:
            name = f"[{address_text(IPv6Address(address))}]"
        except ValueError:
            return None
        if "%" in name or not bracket:
            return None
    else:
        name, colon, port = authority.partition(":")
        name, port = name.removesuffix("."), colon + port
        if len(name) > _MAX_LENGTH or not _NAME.fullmatch(name):
            return None
        name = name.lower()
    if not _PORT.fullmatch(port) or int(port[1:] or 0) > HIGHEST_PORT:
        return None
    return name
