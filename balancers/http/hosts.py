"""Parses and normalises the name in a ``Host`` header or ``:authority``."""

import re
from ipaddress import IPv6Address

from balancers._internal.grammar import HIGHEST_PORT

__all__ = ["read_host"]

_NAME = re.compile(r"[0-9A-Za-z_-]+(?:\.[0-9A-Za-z_-]+)*")
_PORT = re.compile(r"(?::[0-9]{0,5})?")
_MAX_LENGTH = 253


def read_host(authority: str) -> str | None:
    """Return the host in lower case, without port and final dot; None for an invalid host.

    Names are ASCII (international ones as ``xn--``), IPv6 addresses are in brackets and compressed.
    An empty authority is the empty name.  O(characters).

    >>> read_host("Shop.Example.:8443"), read_host("[2001:DB8:0::1]:80"), read_host("a..b")
    ('shop.example', '[2001:db8::1]', None)
    """
    if not authority:
        return ""
    if authority[0] == "[":
        address, bracket, port = authority[1:].partition("]")
        try:
            name = f"[{IPv6Address(address).compressed}]"
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
