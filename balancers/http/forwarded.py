"""``X-Forwarded-For`` and ``Forwarded`` (RFC 7239): elements, nodes, and what to write.

Elements are read from the right.  The hop next to us wrote the last one, and a quote that a client
left open further left cannot swallow it.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from balancers.addresses import Address
from balancers.errors import InvalidSetting
from balancers.http.networks import plain

__all__ = ["LONGEST", "Node", "elements", "forwarded_element", "pairs", "read_node"]

LONGEST = 1024
"""Characters of one element; none is longer but to do harm."""

_HIGHEST_PORT = 65535
_BLANK = " \t"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_QUOTABLE = re.compile(r"[\t -~]*")
_PAIR = re.compile(
    rf"""[ \t]* ({_TOKEN.pattern}) =
    (?: ({_TOKEN.pattern}) | "((?: [\t !#-\[\]-~\x80-\xff] | \\[\t -~\x80-\xff] )*)" )
    [ \t]* (?: ; | \Z )""",
    re.VERBOSE,
)
_NOTHING = re.compile(r"[ \t]*(?:;|\Z)")
_ESCAPED = re.compile(r"\\(.)")
_IPV6 = r"([0-9A-Fa-f:.]{2,45})(?:%[0-9A-Za-z._~-]{1,64})?"
_BARE = re.compile(_IPV6)
_NODE = re.compile(
    rf"(?:([0-9.]{{7,15}})|\[{_IPV6}\]|([Uu][Nn][Kk][Nn][Oo][Ww][Nn]|_[0-9A-Za-z._-]+))"
    r"(?::(?:([0-9]{1,5})|(_[0-9A-Za-z._-]+)))?"
)


class Node(NamedTuple):
    """Who sent, as a hop names it: an address, or a name in place of one.

    ``str`` of it is RFC 7239's text, with IPv6 in brackets.

    >>> str(Node(IPv6Address("2001:db8::17"), port=4711)), str(Node(name="_gazonk"))
    ('[2001:db8::17]:4711', '_gazonk')
    """

    address: Address | None = None
    """IPv4 where IPv4-mapped, without a zone; None where withheld."""
    name: str = ""
    """``unknown``, or an obfuscated identifier, ``_`` first; empty beside an address."""
    port: int | str | None = None
    """A number, an obfuscated identifier, or None."""

    def __str__(self) -> str:
        address = self.address
        host = f"[{address}]" if isinstance(address, IPv6Address) else str(address or self.name)
        return host if self.port is None else f"{host}:{self.port}"


def read_node(text: str, bare: bool = False) -> Node | None:
    """Read a node; None for what is none.

    ``bare``: IPv6 may go without brackets, as in ``X-Forwarded-For``, and has no port then.

    >>> read_node("[fe80::1%eth0]:80")
    Node(address=IPv6Address('fe80::1'), name='', port=80)
    >>> read_node("fe80::1", bare=True).address, read_node("fe80::1"), read_node("10.0.0.256")
    (IPv6Address('fe80::1'), None, None)

    Cost: O(characters), and at most 1024 are looked at.
    """
    if len(text) > LONGEST:
        return None
    found = _NODE.fullmatch(text)
    try:
        if found is None:
            found = _BARE.fullmatch(text) if bare else None
            return found and Node(plain(IPv6Address(found[1])))
        ipv4, ipv6, name, digits, hidden = found.groups()
        port = int(digits) if digits else hidden
        if digits and int(digits) > _HIGHEST_PORT:
            return None
        if name:
            return Node(None, "unknown" if name[0] != "_" else name, port)
        return Node(IPv4Address(ipv4) if ipv4 else plain(IPv6Address(ipv6)), "", port)
    except ValueError:
        return None


def elements(line: str, quoted: bool = False) -> Iterator[str | None]:
    r"""Give the elements of a list from the last to the first, blanks stripped, empty ones too.

    ``quoted``: commas in quotes separate nothing.  An element of more than 1024 characters is None,
    and the last one given.

    >>> [*elements('for="_a,b", for=192.0.2.43', quoted=True)]
    ['for=192.0.2.43', 'for="_a,b"']
    >>> [*elements('for="open, for="_x"', quoted=True)]
    ['for="_x"', 'for="open']

    Cost: O(characters) up to the element asked for.
    """
    end = len(line)
    while end >= 0:
        start = _start(line, end) if quoted else line.rfind(",", 0, end) + 1
        if end - start > LONGEST:
            yield None
            return
        yield line[start:end].strip(_BLANK)
        end = start - 1


def _start(line: str, end: int) -> int:
    """Find where the element that ends here starts, or 0 when that is too far away."""
    within = False
    for at in range(end - 1, max(end - LONGEST - 2, -1), -1):
        if line[at] == '"':
            within = not within or line[at - 1 : at] == "\\"
        elif line[at] == "," and not within:
            return at + 1
    return 0


def pairs(element: str) -> dict[str, str] | None:
    r"""Read the parameters of a ``Forwarded`` element: names in lower case, values unquoted.

    None for what is none, a name given twice included.

    >>> pairs('For="[2001:db8::17]:4711";proto=https; ext="a\\"b"')
    {'for': '[2001:db8::17]:4711', 'proto': 'https', 'ext': 'a"b'}
    >>> pairs("for=[2001:db8::17]"), pairs("for=_a;FOR=_b")
    (None, None)

    Cost: O(characters).
    """
    found: dict[str, str] = {}
    at = 0
    while at < len(element):
        nothing = _NOTHING.match(element, at)
        if nothing:
            at = nothing.end()
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
    """Write a ``Forwarded`` element, quoted where it must be.

    ``by`` is where the request came in, ``host`` and ``proto`` are as the client said them.

    >>> forwarded_element(Node(IPv6Address("2001:db8::17")), host="shop.example:80", proto="http")
    'for="[2001:db8::17]";host="shop.example:80";proto=http'

    Raises InvalidSetting for a node that is none, a host with control or non-ASCII characters, and
    a proto that is no URI scheme.
    """
    for node in (sender, by):
        if node is not None and read_node(str(node)) is None:
            raise InvalidSetting(f"no node: {node!r}")
    if proto is not None and not _SCHEME.fullmatch(proto):
        raise InvalidSetting(f"proto must be a URI scheme, not {proto!r}")
    if host is not None and not _QUOTABLE.fullmatch(host):
        raise InvalidSetting(f"host must be printable ASCII, not {host!r}")
    said = {"for": str(sender), "by": by and str(by), "host": host, "proto": proto}
    return ";".join(f"{name}={_quoted(value)}" for name, value in said.items() if value is not None)


def _quoted(value: str) -> str:
    if _TOKEN.fullmatch(value):
        return value
    return '"' + value.replace("\\", r"\\").replace('"', r"\"") + '"'
