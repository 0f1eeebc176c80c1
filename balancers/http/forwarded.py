"""Parses and writes the headers ``X-Forwarded-For`` and ``Forwarded`` (RFC 7239).

Each header is a list.  A proxy appends one element, which contains the node (the address or the
name) of the sender.  Elements are parsed from the right, because the nearest proxy wrote the last
one.  A client may send a quote that is never closed.  When the list is parsed from the right, such
a quote does not change how the elements to its right are parsed.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from balancers._internal.checks import HIGHEST_PORT, shown
from balancers._internal.grammar import TOKEN
from balancers.addresses import Address, address_text
from balancers.errors import InvalidSetting
from balancers.http.networks import normalised

__all__ = ["MAX_LENGTH", "Node", "elements", "forwarded_element", "pairs", "read_node"]

MAX_LENGTH = 1024
"""The largest number of characters of one element.  No legitimate element is longer."""

_WHITESPACE = " \t"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_QUOTABLE = re.compile(r"[\t -~]*")
_PAIR = re.compile(
    rf"""[ \t]* ({TOKEN.pattern}) =
    (?: ({TOKEN.pattern}) | "((?: [\t !#-\[\]-~\x80-\xff] | \\[\t -~\x80-\xff] )*)" )
    [ \t]* (?: ; | \Z )""",
    re.VERBOSE,
)
_EMPTY_PAIR = re.compile(r"[ \t]*(?:;|\Z)")
_ESCAPED = re.compile(r"\\(.)")
_IPV6 = r"([0-9A-Fa-f:.]{2,45})(?:%[0-9A-Za-z._~-]{1,64})?"
_BARE_IPV6 = re.compile(_IPV6)
_NODE = re.compile(
    rf"(?:([0-9.]{{7,15}})|\[{_IPV6}\]|([Uu][Nn][Kk][Nn][Oo][Ww][Nn]|_[0-9A-Za-z._-]+))"
    r"(?::(?:([0-9]{1,5})|(_[0-9A-Za-z._-]+)))?"
)


class Node(NamedTuple):
    """The sender of a request, as a proxy writes it in a header.

    A node has either an address or a name.  ``str(node)`` is its text in the syntax of RFC 7239, in
    which IPv6 addresses have brackets.

    >>> str(Node(IPv6Address("2001:db8::17"), port=4711)), str(Node(name="_gazonk"))
    ('[2001:db8::17]:4711', '_gazonk')
    """

    address: Address | None = None
    """The address, or None if the proxy wrote a name instead.  The address has no zone.  If it
    was IPv4-mapped IPv6, it is IPv4 here."""
    name: str = ""
    """``unknown``, or an obfuscated identifier that begins with ``_``.  The name is empty if the
    node has an address."""
    port: int | str | None = None
    """The port number, or an obfuscated identifier that begins with ``_``.  It is None if the node
    has no port."""

    def __str__(self) -> str:
        address = self.address
        host = self.name if address is None else address_text(address)
        host = f"[{host}]" if isinstance(address, IPv6Address) else host
        return host if self.port is None else f"{host}:{self.port}"


def read_node(text: str, bare: bool = False) -> Node | None:
    """Return the node that a text describes, or None if the text is invalid.

    With ``bare``, an IPv6 address may also be written without brackets, as in ``X-Forwarded-For``.
    An IPv6 address without brackets cannot have a port.

    >>> read_node("[fe80::1%eth0]:80")
    Node(address=IPv6Address('fe80::1'), name='', port=80)
    >>> read_node("fe80::1", bare=True).address, read_node("fe80::1"), read_node("10.0.0.256")
    (IPv6Address('fe80::1'), None, None)

    Cost: O(characters).  The function returns None for a text of more than 1024 characters without
    reading it.
    """
    if len(text) > MAX_LENGTH:
        return None
    found = _NODE.fullmatch(text)
    try:
        if found is None:
            found = _BARE_IPV6.fullmatch(text) if bare else None
            return found and Node(normalised(IPv6Address(found[1])))
        ipv4, ipv6, name, digits, identifier = found.groups()
        port = int(digits) if digits else identifier
        if digits and int(digits) > HIGHEST_PORT:
            return None
        if name:
            return Node(None, "unknown" if name[0] != "_" else name, port)
        return Node(IPv4Address(ipv4) if ipv4 else normalised(IPv6Address(ipv6)), "", port)
    except ValueError:
        return None


def elements(line: str, quoted: bool = False) -> Iterator[str | None]:
    r"""Yield the elements of a list, separated by commas, from the last to the first.

    Spaces and tabs around an element are removed.  Empty elements are yielded too.  With
    ``quoted``, a comma inside quotes does not separate elements.  If an element has more than 1024
    characters, None is yielded for it and the iteration ends.

    >>> [*elements('for="_a,b", for=192.0.2.43', quoted=True)]
    ['for=192.0.2.43', 'for="_a,b"']
    >>> [*elements('for="open, for="_x"', quoted=True)]
    ['for="_x"', 'for="open']

    Cost: O(characters of the elements that were yielded).
    """
    end = len(line)
    while end >= 0:
        start = _element_start(line, end) if quoted else line.rfind(",", 0, end) + 1
        if end - start > MAX_LENGTH:
            yield None
            return
        yield line[start:end].strip(_WHITESPACE)
        end = start - 1


def _element_start(line: str, end: int) -> int:
    """Return the index where the element that ends at ``end`` starts, or 0 if it is too long."""
    in_quotes = False
    for at in range(end - 1, max(end - MAX_LENGTH - 2, -1), -1):
        if line[at] == '"':
            in_quotes = not in_quotes or line[at - 1 : at] == "\\"
        elif line[at] == "," and not in_quotes:
            return at + 1
    return 0


def pairs(element: str) -> dict[str, str] | None:
    r"""Return the parameters of a ``Forwarded`` element, or None if the element is invalid.

    Names are returned in lower case, and values without quotes.  An element in which a name occurs
    twice is invalid.

    >>> pairs('For="[2001:db8::17]:4711";proto=https; ext="a\\"b"')
    {'for': '[2001:db8::17]:4711', 'proto': 'https', 'ext': 'a"b'}
    >>> pairs("for=[2001:db8::17]"), pairs("for=_a;FOR=_b")
    (None, None)

    Cost: O(characters).
    """
    found: dict[str, str] = {}
    at = 0
    while at < len(element):
        empty = _EMPTY_PAIR.match(element, at)
        if empty:
            at = empty.end()
            continue
        pair = _PAIR.match(element, at)
        if pair is None or (name := pair[1].lower()) in found:
            return None
        found[name] = pair[2] if pair[2] is not None else _ESCAPED.sub(r"\1", pair[3])
        at = pair.end()
    return found


def forwarded_element(
    sender: Node, *, by: Node | None = None, host: str | None = None, proto: str | None = None
) -> str:
    """Return a ``Forwarded`` element.  A value is written in quotes if the syntax requires it.

    ``by`` is the interface of the proxy that received the request.  ``host`` is the host that the
    client asked for.  ``proto`` is the protocol that the client used.

    >>> forwarded_element(Node(IPv6Address("2001:db8::17")), host="shop.example:80", proto="http")
    'for="[2001:db8::17]";host="shop.example:80";proto=http'

    Raises InvalidSetting for an invalid node, a host with control or non-ASCII characters, and a
    proto that is not a URI scheme.
    """
    for name, node in (("sender", sender), ("by", by)):
        known = isinstance(node, str | Node | IPv4Address | IPv6Address)
        if node is not None and (not known or read_node(str(node)) is None):
            raise InvalidSetting(f"{name} must be a node of RFC 7239, not {shown(node)}")
    if proto is not None and not _SCHEME.fullmatch(proto):
        raise InvalidSetting(f"proto must be a URI scheme, not {shown(proto)}")
    if host is not None and not _QUOTABLE.fullmatch(host):
        raise InvalidSetting(f"host must be printable ASCII, not {shown(host)}")
    parameters = {"for": str(sender), "by": by and str(by), "host": host, "proto": proto}
    given = {name: value for name, value in parameters.items() if value is not None}
    return ";".join(f"{name}={_quoted(value)}" for name, value in given.items())


def _quoted(value: str) -> str:
    if TOKEN.fullmatch(value):
        return value
    return '"' + value.replace("\\", r"\\").replace('"', r"\"") + '"'
