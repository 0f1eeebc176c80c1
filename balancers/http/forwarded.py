"""Parses and writes ``X-Forwarded-For`` and ``Forwarded`` (RFC 7239): elements and nodes.

Elements are parsed from the right.  The nearest hop wrote the last element, and a quote that a
client left open further left cannot swallow it.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from balancers._internal.grammar import HIGHEST_PORT, TOKEN
from balancers.addresses import Address
from balancers.errors import InvalidSetting
from balancers.http.networks import normalised

__all__ = ["MAX_LENGTH", "Node", "elements", "forwarded_element", "pairs", "read_node"]

MAX_LENGTH = 1024
"""Characters of one element; no legitimate element is longer."""

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
    """The sender of a request as a hop names it: an address, or a name in place of an address.

    ``str(node)`` is the text of RFC 7239, with IPv6 in brackets.

    >>> str(Node(IPv6Address("2001:db8::17"), port=4711)), str(Node(name="_gazonk"))
    ('[2001:db8::17]:4711', '_gazonk')
    """

    address: Address | None = None
    """IPv4 for IPv4-mapped IPv6, without a zone; None when the hop withholds it."""
    name: str = ""
    """``unknown``, or an obfuscated identifier that begins with ``_``; empty with an address."""
    port: int | str | None = None
    """A port number, an obfuscated identifier, or None."""

    def __str__(self) -> str:
        address = self.address
        host = f"[{address}]" if isinstance(address, IPv6Address) else str(address or self.name)
        return host if self.port is None else f"{host}:{self.port}"


def read_node(text: str, bare: bool = False) -> Node | None:
    """Parse a node; None for an invalid one.

    ``bare``: IPv6 is also accepted without brackets, as in ``X-Forwarded-For``, and then without a
    port.

    >>> read_node("[fe80::1%eth0]:80")
    Node(address=IPv6Address('fe80::1'), name='', port=80)
    >>> read_node("fe80::1", bare=True).address, read_node("fe80::1"), read_node("10.0.0.256")
    (IPv6Address('fe80::1'), None, None)

    Cost: O(characters); a text of more than 1024 characters is rejected at once.
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
    r"""Yield the elements of a list from the last to the first, stripped; also empty elements.

    ``quoted``: commas inside quotes do not separate elements.  An element of more than 1024
    characters is yielded as None and ends the iteration.

    >>> [*elements('for="_a,b", for=192.0.2.43', quoted=True)]
    ['for=192.0.2.43', 'for="_a,b"']
    >>> [*elements('for="open, for="_x"', quoted=True)]
    ['for="_x"', 'for="open']

    Cost: O(characters) up to the last element consumed.
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
    """Return where the element that ends at ``end`` starts, or 0 when it is too long."""
    in_quotes = False
    for at in range(end - 1, max(end - MAX_LENGTH - 2, -1), -1):
        if line[at] == '"':
            in_quotes = not in_quotes or line[at - 1 : at] == "\\"
        elif line[at] == "," and not in_quotes:
            return at + 1
    return 0


def pairs(element: str) -> dict[str, str] | None:
    r"""Parse the parameters of a ``Forwarded`` element: names in lower case, values unquoted.

    None for an invalid element, also when a name occurs twice.

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
    """Return a ``Forwarded`` element, with quotes where the syntax needs them.

    ``by`` is the interface where the request came in; ``host`` and ``proto`` are what the client
    used.

    >>> forwarded_element(Node(IPv6Address("2001:db8::17")), host="shop.example:80", proto="http")
    'for="[2001:db8::17]";host="shop.example:80";proto=http'

    Raises InvalidSetting for an invalid node, a host with control or non-ASCII characters, and a
    proto that is not a URI scheme.
    """
    for name, node in (("sender", sender), ("by", by)):
        if node is not None and read_node(str(node)) is None:
            raise InvalidSetting(f"{name} must be a node of RFC 7239, not {node!r}")
    if proto is not None and not _SCHEME.fullmatch(proto):
        raise InvalidSetting(f"proto must be a URI scheme, not {proto!r}")
    if host is not None and not _QUOTABLE.fullmatch(host):
        raise InvalidSetting(f"host must be printable ASCII, not {host!r}")
    parameters = {"for": str(sender), "by": by and str(by), "host": host, "proto": proto}
    given = {name: value for name, value in parameters.items() if value is not None}
    return ";".join(f"{name}={_quoted(value)}" for name, value in given.items())


def _quoted(value: str) -> str:
    if TOKEN.fullmatch(value):
        return value
    return '"' + value.replace("\\", r"\\").replace('"', r"\"") + '"'
