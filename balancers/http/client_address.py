"""Finds the client's address when the request came through proxies.

The client is the rightmost address that is not one of your own proxies.
"""

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, NamedTuple

from balancers._internal.checks import at_least, check_flags, shown
from balancers._internal.grammar import TOKEN
from balancers.addresses import Address
from balancers.errors import InvalidKey, InvalidSetting
from balancers.http.forwarded import Node, elements, forwarded_element, pairs, read_node
from balancers.http.networks import Network, Networks, normalised
from balancers.http.request import Request

__all__ = ["ClientAddress", "TrustedProxies"]

Reason = Literal["", "no address", "absent", "all trusted", "withheld", "malformed", "too long"]


class ClientAddress(NamedTuple):
    """The result of the search for a client: its address, or why it was not found.

    The search starts at the peer, which is the sender of the connection.  It then reads the
    elements of the header from the right.  An element is accepted if it was written by the peer or
    by another trusted proxy, and if it can be parsed.
    """

    address: Address | None
    """The last address that was found.  It is None if the peer has no address and no accepted
    element contains one."""
    reason: Reason
    """Why the client was not found.  It is empty if the client was found.

    If it is not empty, ``address`` is one of your own proxies or None.  The reasons are:

    * ``no address``: the peer has no address and is not trusted
    * ``absent``: the header is missing or has no elements
    * ``all trusted``: every address in the header is a trusted proxy
    * ``withheld``: the element has an identifier, ``unknown`` or no ``for`` instead of an address
    * ``malformed``: the element cannot be parsed
    * ``too long``: the search read ``max_hops`` elements, and the header has more
    """
    hops: tuple[Address, ...]
    """All addresses that were found, in the order of the search.  The peer is the first, and
    ``address`` is the last."""


class TrustedProxies:
    """Finds the client of a request that came through your proxies.

    An address is trusted, which means that it is one of your proxies, if it is in ``networks``.
    The search starts at the peer, which is the sender of the connection.  It then reads the header
    from the right, and stops at the first address that is not trusted.  That address is the
    client.  The client may have written everything to the left of it.

    ``header`` is the name of the header that your proxies append to.  No other header is read.
    ``Forwarded`` is parsed as in RFC 7239.  Any other header is parsed as a list of addresses.
    Several lines of the header are joined to one list, in their order.

    The peer is given as text or as an address.  A peer that is None or ``""`` has no address, like
    the peer of a Unix socket.  Such a peer is trusted only with ``local=True``.  An IPv4-mapped
    IPv6 address is read as IPv4.  A port may follow an address and is ignored.  Zones are dropped.

    >>> proxies = TrustedProxies(["10.0.0.0/8"], header="X-Forwarded-For")
    >>> chain = [("X-Forwarded-For", "1.1.1.1, 203.0.113.9, 10.0.0.2")]
    >>> found = proxies.client(Request(client="10.0.0.1", headers=chain))
    >>> str(found.address), found.reason, len(found.hops)
    ('203.0.113.9', '', 3)
    >>> proxies.forwarded(Request(client="10.0.0.1", headers=chain))
    '203.0.113.9, 10.0.0.2, 10.0.0.1'

    A search costs O(characters read).  It reads at most ``max_hops`` elements of at most 1024
    characters each.  Raises InvalidSetting for an invalid network, an invalid header name, or a
    ``max_hops`` that is not an int of 1 or more.
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
        if not isinstance(header, str) or not TOKEN.fullmatch(header):
            raise InvalidSetting(f"header must be the name of a header, not {shown(header)}")
        self.header = header
        self._networks = Networks(networks)
        self._max_hops = max_hops
        check_flags(local=local)
        self._local = local
        self._rfc7239 = header.lower() == "forwarded"

    def client(self, request: Request) -> ClientAddress:
        """Find the client of a request, whose peer is ``request.client``.

        Raises InvalidKey if ``request.client`` is neither an address nor empty.
        """
        return self.behind(request.client, request.header(self.header))

    def behind(self, peer: str | Address | None, lines: Sequence[str]) -> ClientAddress:
        """Find the client from the address of the peer and the lines of the header.

        Raises InvalidKey for a peer that is not an address, and TypeError if ``lines`` is a str.

        >>> proxies = TrustedProxies(["::1"], header="Forwarded")
        >>> proxies.behind("::1", ['for="[2001:db8::17]:4711";proto=https']).hops[-1]
        IPv6Address('2001:db8::17')
        """
        if isinstance(lines, str):
            raise TypeError(f"lines must be a sequence of str, not {shown(lines)}")
        return self._walk(_peer_address(peer), lines)[0]

    def forwarded(
        self,
        request: Request,
        *,
        by: Node | None = None,
        host: str | None = None,
        proto: str | None = None,
    ) -> str:
        """Return the value of the header to send to the backend.

        It contains the elements that the search accepted, unchanged, and then an element for the
        peer.  All other elements are dropped.

        A peer without an address is written as ``unknown``.  A proxy that reads ``unknown`` stops
        its search and does not find the client.  The element of a trusted peer without an address
        is therefore omitted if the search accepted at least one element.

        ``by``, ``host`` and ``proto`` are parameters of the peer's element.  They are allowed for
        ``Forwarded`` only.  If one of them is given, the peer's element is never omitted.

        Raises InvalidKey for a peer that is not an address, and InvalidSetting for parameters that
        cannot be written.
        """
        peer = _peer_address(request.client)
        sender = Node(peer) if peer else Node(name="unknown")
        if self._rfc7239:
            own = forwarded_element(sender, by=by, host=host, proto=proto)
        elif by is None and host is None and proto is None:
            own = str(peer or sender)
        else:
            raise InvalidSetting(
                f"by, host and proto must be None for the header {self.header}, "
                f"not {shown(by)}, {shown(host)} and {shown(proto)}"
            )
        _, believed = self._walk(peer, request.header(self.header))
        if peer is None and believed and by is None and host is None and proto is None:
            return ", ".join(believed)
        return ", ".join([*believed, own])

    def _walk(self, peer: Address | None, lines: Sequence[str]) -> tuple[ClientAddress, list[str]]:
        """Return the client, and the accepted elements in the order of the header."""
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
        parameters = pairs(element)
        return None if parameters is None else read_node(parameters.get("for", "unknown"))

    def __repr__(self) -> str:
        return f"<TrustedProxies: header {self.header}, {self._networks!r}>"


def _peer_address(peer: str | Address | None) -> Address | None:
    if peer is None or peer == "":
        return None
    if isinstance(peer, IPv4Address | IPv6Address):
        return normalised(peer)
    node = read_node(peer, bare=True) if isinstance(peer, str) else None
    if node is None or node.address is None:
        raise InvalidKey(f"peer must be an IP address, not {shown(peer)}")
    return node.address
