"""Who the client is, when proxies stand in between: the rightmost untrusted address."""

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, NamedTuple

from balancers._internal.checks import at_least
from balancers.addresses import Address
from balancers.errors import InvalidKey, InvalidSetting
from balancers.http.forwarded import Node, elements, forwarded_element, pairs, read_node
from balancers.http.networks import Network, Networks, plain
from balancers.http.request import Request

__all__ = ["ClientAddress", "TrustedProxies"]

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

Reason = Literal["", "no address", "absent", "all trusted", "withheld", "malformed", "too long"]


class ClientAddress(NamedTuple):
    """The client's address, and why it is no further away."""

    address: Address | None
    """The last that can be believed.  None: the peer has none, and nobody told of another."""
    reason: Reason
    """Empty when it was found: no trusted proxy, but named by one or connected to us.  Otherwise
    ``address`` is a proxy of your own: it sent no header (``absent``), a header of proxies only
    (``all trusted``), an identifier, ``unknown`` or no ``for`` (``withheld``), what cannot be read
    (``malformed``), or more hops than you allow (``too long``).  ``no address``: the peer has none,
    and is not trusted."""
    hops: tuple[Address, ...]
    """Every address believed, the peer first and the client last."""


class TrustedProxies:
    """Finds the client behind proxies that are known by their networks.

    Walks the header from the right, from the peer outwards, and stops at the first address that is
    no proxy of yours: whatever stands left of it, the client may have written.  The ``header`` is
    the one your proxies append to, and no other is read; ``Forwarded`` is read as RFC 7239, any
    other as a list of addresses.  Several lines are one list, in order.

    The peer is text or an address; None or ``""`` is a peer without one (a Unix socket), trusted if
    you say ``local=True``.  IPv4-mapped IPv6 is IPv4; ports are read and zones are dropped.

    >>> proxies = TrustedProxies(["10.0.0.0/8"], header="X-Forwarded-For")
    >>> chain = [("X-Forwarded-For", "1.1.1.1, 203.0.113.9, 10.0.0.2")]
    >>> found = proxies.client(Request(client="10.0.0.1", headers=chain))
    >>> str(found.address), found.reason, len(found.hops)
    ('203.0.113.9', '', 3)
    >>> proxies.forwarded(Request(client="10.0.0.1", headers=chain))
    '203.0.113.9, 10.0.0.2, 10.0.0.1'

    Cost: O(characters up to where the walk stops), at most ``max_hops`` elements of 1024.  Raises
    InvalidSetting for a network, a header name or a number that is none.
    """

    def __init__(
        self,
        networks: Iterable[str | Address | Network],
        *,
        header: str,
        max_hops: int = 100,
        local: bool = False,
    ) -> None:
        at_least(1, max_hops=max_hops)
        if not isinstance(header, str) or not _HEADER.fullmatch(header):
            raise InvalidSetting(f"no header name: {header!r}")
        self.header = header
        self._networks = Networks(networks)
        self._max_hops = max_hops
        self._local = local
        self._rfc7239 = header.lower() == "forwarded"

    def client(self, request: Request) -> ClientAddress:
        """Find a request's client.  Raises InvalidKey when ``request.client`` is no address."""
        return self.behind(request.client, request.header(self.header))

    def behind(self, peer: str | Address | None, lines: Sequence[str]) -> ClientAddress:
        """Find the client behind a peer, by the header's lines.

        Raises InvalidKey for a peer that is no address, TypeError for one line in place of several.

        >>> proxies = TrustedProxies(["::1"], header="Forwarded")
        >>> proxies.behind("::1", ['for="[2001:db8::17]:4711";proto=https']).hops[-1]
        IPv6Address('2001:db8::17')
        """
        if isinstance(lines, str):
            raise TypeError(f"lines must be a sequence of them, not {lines!r}")
        return self._walk(_peer(peer), lines)[0]

    def forwarded(
        self,
        request: Request,
        *,
        by: Node | None = None,
        host: str | None = None,
        proto: str | None = None,
    ) -> str:
        """Give the header's value for whom the request is forwarded to, the peer appended.

        What was believed is passed on as it came; what nobody vouches for is left out.  A peer
        without an address is ``unknown``, behind which no further proxy finds a client; so one that
        is trusted (``local``) is left out where it told of another.  ``by``, ``host`` and ``proto``
        go into ``Forwarded`` alone, and with the peer.

        Raises InvalidKey for the peer, InvalidSetting for what cannot be written.
        """
        peer = _peer(request.client)
        told = Node(peer) if peer else Node(name="unknown")
        if self._rfc7239:
            own = forwarded_element(told, by=by, host=host, proto=proto)
        elif by is None and host is None and proto is None:
            own = str(peer or told)
        else:
            raise InvalidSetting(f"by, host and proto have no place in {self.header}")
        _, believed = self._walk(peer, request.header(self.header))
        if peer is None and believed and by is None and host is None and proto is None:
            return ", ".join(believed)
        return ", ".join([*believed, own])

    def _walk(self, peer: Address | None, lines: Sequence[str]) -> tuple[ClientAddress, list[str]]:
        """Find the client, and the elements that are believed, in order."""
        believed: list[str] = []
        reason: Reason
        if not (self._local if peer is None else peer in self._networks):
            reason = "no address" if peer is None else ""
            return ClientAddress(peer, reason, () if peer is None else (peer,)), believed
        hops = [] if peer is None else [peer]
        reason = "absent"
        for count, element in enumerate(self._elements(lines)):
            if count == self._max_hops:
                reason = "too long"
                break
            if element == "":
                continue
            if element is None or (node := self._read(element)) is None:
                reason = "malformed"
                break
            believed.append(element)
            if node.address is None:
                reason = "withheld"
                break
            hops.append(node.address)
            if node.address not in self._networks:
                reason = ""
                break
            reason = "all trusted"
        believed.reverse()
        return ClientAddress(hops[-1] if hops else None, reason, tuple(hops)), believed

    def _elements(self, lines: Sequence[str]) -> Iterator[str | None]:
        for line in reversed(lines):
            yield from elements(line, self._rfc7239)

    def _read(self, element: str) -> Node | None:
        if not self._rfc7239:
            return read_node(element, bare=True)
        told = pairs(element)
        return None if told is None else read_node(told.get("for", "unknown"))

    def __repr__(self) -> str:
        return f"<TrustedProxies: {self._networks!r}, {self.header}>"


def _peer(peer: str | Address | None) -> Address | None:
    if peer is None or peer == "":
        return None
    if isinstance(peer, IPv4Address | IPv6Address):
        return plain(peer)
    node = read_node(peer, bare=True) if isinstance(peer, str) else None
    if node is None or node.address is None:
        raise InvalidKey(f"no IP address: {peer!r}")
    return node.address
