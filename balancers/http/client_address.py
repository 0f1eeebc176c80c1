"""Finds the client's address behind proxies: the rightmost address that is not trusted."""

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, NamedTuple

from balancers._internal.checks import at_least
from balancers._internal.grammar import TOKEN
from balancers.addresses import Address
from balancers.errors import InvalidKey, InvalidSetting
from balancers.http.forwarded import Node, elements, forwarded_element, pairs, read_node
from balancers.http.networks import Network, Networks, normalised
from balancers.http.request import Request

__all__ = ["ClientAddress", "TrustedProxies"]

Reason = Literal["", "no address", "absent", "all trusted", "withheld", "malformed", "too long"]


class ClientAddress(NamedTuple):
    """The client's address, or the last believed address and why the walk ended there."""

    address: Address | None
    """The last address that can be believed.  None: the peer has no address, and no believed
    element names one."""
    reason: Reason
    """Empty when the client was found: ``address`` is not a trusted proxy, and a trusted proxy
    named it or it is the peer.  Otherwise ``address`` is one of your own proxies, and that proxy
    sent no header (``absent``), a header with nothing but proxies (``all trusted``), an identifier,
    ``unknown`` or no ``for`` (``withheld``), an element that cannot be parsed (``malformed``), or
    more hops than ``max_hops`` (``too long``).  ``no address``: the peer has no address and is not
    trusted."""
    hops: tuple[Address, ...]
    """Every address believed, the peer first and the client last."""


class TrustedProxies:
    """Finds the client behind proxies that are recognised by their networks.

    Reads the header from the right, starting at the peer, and stops at the first address that is
    not one of your proxies.  The client may have written everything left of that address.
    ``header`` is the header that your proxies append to; no other header is read.  ``Forwarded`` is
    parsed as in RFC 7239, any other header as a list of addresses.  Several lines are one list, in
    order.

    The peer is text or an address.  None or ``""`` is a peer without an address (a Unix socket); it
    is trusted only with ``local=True``.  IPv4-mapped IPv6 is read as IPv4; ports are parsed and
    zones are dropped.

    >>> proxies = TrustedProxies(["10.0.0.0/8"], header="X-Forwarded-For")
    >>> chain = [("X-Forwarded-For", "1.1.1.1, 203.0.113.9, 10.0.0.2")]
    >>> found = proxies.client(Request(client="10.0.0.1", headers=chain))
    >>> str(found.address), found.reason, len(found.hops)
    ('203.0.113.9', '', 3)
    >>> proxies.forwarded(Request(client="10.0.0.1", headers=chain))
    '203.0.113.9, 10.0.0.2, 10.0.0.1'

    Cost: O(characters up to where the walk stops), at most ``max_hops`` elements of 1024
    characters.  Raises InvalidSetting for an invalid network, an invalid header name, or a
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
            raise InvalidSetting(f"header must be the name of a header, not {header!r}")
        self.header = header
        self._networks = Networks(networks)
        self._max_hops = max_hops
        self._local = local
        self._rfc7239 = header.lower() == "forwarded"

    def client(self, request: Request) -> ClientAddress:
        """Find a request's client.

        Raises InvalidKey when ``request.client`` is not an address.
        """
        return self.behind(request.client, request.header(self.header))

    def behind(self, peer: str | Address | None, lines: Sequence[str]) -> ClientAddress:
        """Find the client behind a peer, given the lines of the header.

        Raises InvalidKey for a peer that is not an address, TypeError when ``lines`` is a str.

        >>> proxies = TrustedProxies(["::1"], header="Forwarded")
        >>> proxies.behind("::1", ['for="[2001:db8::17]:4711";proto=https']).hops[-1]
        IPv6Address('2001:db8::17')
        """
        if isinstance(lines, str):
            raise TypeError(f"lines must be a sequence of str, not {lines!r}")
        return self._walk(_peer_address(peer), lines)[0]

    def forwarded(
        self,
        request: Request,
        *,
        by: Node | None = None,
        host: str | None = None,
        proto: str | None = None,
    ) -> str:
        """Return the header's value to send on, with the peer appended.

        Believed elements are passed on unchanged; all others are dropped.  A peer without an
        address is written as ``unknown``, and no further proxy finds a client behind ``unknown``.
        A trusted peer without an address (``local``) is therefore left out when its header had
        believed elements.  ``by``, ``host`` and ``proto`` are allowed in ``Forwarded`` only, and
        are written in the peer's element, which is then never left out.

        Raises InvalidKey for a peer that is not an address, InvalidSetting for parameters that
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
                f"not {by!r}, {host!r} and {proto!r}"
            )
        _, believed = self._walk(peer, request.header(self.header))
        if peer is None and believed and by is None and host is None and proto is None:
            return ", ".join(believed)
        return ", ".join([*believed, own])

    def _walk(self, peer: Address | None, lines: Sequence[str]) -> tuple[ClientAddress, list[str]]:
        """Return the client, and the believed elements in the order of the header."""
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
        raise InvalidKey(f"peer must be an IP address, not {peer!r}")
    return node.address
