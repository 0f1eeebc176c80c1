"""Computes the keys of requests, as caddy hashes them."""

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from re import compile as pattern
from urllib.parse import unquote_to_bytes

from balancers.addresses import Address, address_of, address_text, unmapped
from balancers.keys import key_bytes

__all__ = ["client_ip_key", "ip_key", "query_key"]

_INVALID_PAIR = pattern(rb"%(?![0-9A-Fa-f]{2})|;")
"""If this pattern occurs in a name=value pair of the query, caddy ignores the pair."""
_HOST_AND_PORT = pattern(r"\[(?P<inside>[^\[\]]*)\]:[^:\[\]]*|(?P<host>[^:\[\]]*):[^:\[\]]*")


def query_key(query: str | bytes, name: str) -> bytes:
    """Return the decoded values of the parameter ``name``, joined with commas.

    If the parameter does not occur in the query, ``b""`` is returned.  The query is the part of the
    URI after ``?``, as sent.  A name=value pair with an invalid escape or a semicolon is ignored.

    >>> query_key("k=a%20b&x=1&k=c+d", "k")
    b'a b,c d'
    """
    wanted, values = key_bytes(name), list[bytes]()
    for pair in key_bytes(query).split(b"&"):
        key, _, value = pair.partition(b"=")
        if not _INVALID_PAIR.search(pair) and _decoded(key) == wanted:
            values.append(_decoded(value))
    return b",".join(values)


def ip_key(client: str | bytes | Address) -> str:
    """Return the address of a peer in the notation that caddy hashes.

    The notation is short, in lower case, and without a zone.  Go writes an IPv4-mapped address of a
    connection as IPv4, and no other IPv6 address in dots.

    >>> ip_key("2001:DB8:0:0::1"), ip_key("::ffff:192.0.2.1"), ip_key("::192.0.2.1")
    ('2001:db8::1', '192.0.2.1', '::c000:201')

    Raises InvalidKey for a value that is not an address.
    """
    return _text(unmapped(address_of(client)))


def client_ip_key(forwarded: Iterable[str], peer: str | bytes | Address) -> str:
    """Return the address of a client that sent its request through a trusted proxy.

    ``forwarded`` contains the lines of the header X-Forwarded-For, in order.  The first valid
    address in these lines is returned, without its port.  If no element is a valid address,
    ``peer`` is returned, as :func:`ip_key` writes it.  An IPv4-mapped address in the header stays
    IPv6.  If the proxy is not trusted, pass no lines.  As in caddy, an address in
    brackets with a port is skipped if a blank precedes the brackets.

    >>> client_ip_key(["unknown,[2001:DB8::1]:4711", "192.0.2.1"], peer="127.0.0.1")
    '2001:db8::1'
    >>> client_ip_key(["unknown, [2001:db8::1]:4711, 192.0.2.1:80"], peer="127.0.0.1")
    '192.0.2.1'
    """
    for line in forwarded:
        for element in line.split(","):
            found = _HOST_AND_PORT.fullmatch(element)
            text = (found["inside"] or found["host"] or "") if found else element
            try:
                return _text(ip_address(text.strip()))
            except ValueError:
                continue
    return ip_key(peer)


def _text(address: Address) -> str:
    """Return the text of an address without its zone."""
    zoned = isinstance(address, IPv6Address)
    return address_text(IPv6Address(int(address)) if zoned else address)


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
