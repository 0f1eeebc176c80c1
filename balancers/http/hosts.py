"""The name in a ``Host`` header or ``:authority``, in one spelling."""

import re
from ipaddress import IPv6Address

__all__ = ["read_host"]

_NAME = re.compile(r"[0-9A-Za-z_-]+(?:\.[0-9A-Za-z_-]+)*")
_PORT = re.compile(r"(?::[0-9]{0,5})?")
_LONGEST = 253
_HIGHEST_PORT = 65535


def read_host(authority: str) -> str | None:
    """Give the host in lowercase, without port and final dot; None for what is no host.

    Names are ASCII (international ones as ``xn--``), IPv6 addresses in brackets, compressed.  No
    authority is the empty name.  O(characters).

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
        if len(name) > _LONGEST or not _NAME.fullmatch(name):
            return None
        name = name.lower()
    if not _PORT.fullmatch(port) or int(port[1:] or 0) > _HIGHEST_PORT:
        return None
    return name
