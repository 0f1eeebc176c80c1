"""A set of IP networks, asked for addresses."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from balancers.addresses import Address
from balancers.errors import InvalidSetting

__all__ = ["Network", "Networks", "plain"]

Network = IPv4Network | IPv6Network

_MAPPED = IPv6Network("::ffff:0:0/96")
_IPV4_BITS = 32


def plain(address: Address) -> Address:
    """Give IPv4 for IPv4-mapped IPv6, and leave the zone out: what is compared and counted.

    >>> plain(IPv6Address("::ffff:10.0.0.1")), plain(IPv6Address("fe80::1%eth0"))
    (IPv4Address('10.0.0.1'), IPv6Address('fe80::1'))
    """
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or (
        address if address.scope_id is None else IPv6Address(int(address))
    )


class Networks:
    """IP networks and single addresses, as text or from :mod:`ipaddress`.

    IPv4-mapped IPv6 counts as IPv4, in the networks and in what is asked; a zone does not count.
    ``0.0.0.0/0`` is all of IPv4 and ``::/0`` all of IPv6, neither the other.

    >>> office = Networks(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"])
    >>> [IPv4Address(text) in office for text in ("10.1.2.3", "192.0.2.7", "192.0.2.8")]
    [True, True, False]

    Asking costs O(different prefix lengths), however many networks there are; who asks for what is
    no address of :mod:`ipaddress` gets a TypeError.  Raises InvalidSetting for what is no network,
    bits beyond the prefix included, and TypeError for one network in place of several.
    """

    __slots__ = ("_prefixes",)

    def __init__(self, networks: Iterable[str | Address | Network]) -> None:
        if isinstance(networks, str | bytes | IPv4Network | IPv6Network):
            raise TypeError(f"networks must be a collection of them, not {networks!r}")
        self._prefixes: dict[tuple[int, int], set[int]] = {}
        for given in networks:
            network = _network(given)
            blank = network.max_prefixlen - network.prefixlen
            prefixes = self._prefixes.setdefault((network.version, blank), set())
            prefixes.add(int(network.network_address) >> blank)

    def __contains__(self, address: object) -> bool:
        if not isinstance(address, IPv4Address | IPv6Address):
            raise TypeError(f"networks hold addresses of ipaddress, not {address!r}")
        address = plain(address)
        number = int(address)
        return any(
            version == address.version and number >> blank in prefixes
            for (version, blank), prefixes in self._prefixes.items()
        )

    def __repr__(self) -> str:
        return f"<Networks: {sum(map(len, self._prefixes.values()))}>"


def _network(given: str | Address | Network) -> Network:
    if not isinstance(given, str | IPv4Address | IPv6Address | IPv4Network | IPv6Network):
        raise InvalidSetting(f"no IP network: {given!r}")
    try:
        network = ip_network(given)
    except ValueError as error:
        raise InvalidSetting(f"no IP network: {given!r}") from error
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        bits = int(network.network_address) & (1 << _IPV4_BITS) - 1
        return IPv4Network((bits, network.prefixlen - _MAPPED.prefixlen))
    return network
