"""Tests whether an address is in one of many IP networks, and normalises addresses."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from balancers._internal.checks import shown
from balancers.addresses import Address, unmapped
from balancers.errors import InvalidSetting

__all__ = ["Network", "Networks", "normalised"]

Network = IPv4Network | IPv6Network

_IPV4_MAPPED = IPv6Network("::ffff:0:0/96")


def normalised(address: Address) -> Address:
    """Return the form of an address in which it is compared.

    An IPv4-mapped IPv6 address becomes an IPv4 address.  A zone is removed.

    >>> normalised(IPv6Address("::ffff:10.0.0.1")), normalised(IPv6Address("fe80::1%eth0"))
    (IPv4Address('10.0.0.1'), IPv6Address('fe80::1'))
    """
    address = unmapped(address)
    if isinstance(address, IPv4Address) or address.scope_id is None:
        return address
    return IPv6Address(int(address))


class Networks:
    """Tests with ``in`` whether an address is in one of the given IP networks.

    A network is given as text or as an object of :mod:`ipaddress`.  A single address counts as a
    network that contains only this address.  IPv4-mapped IPv6 is read as IPv4, both in the networks
    and in the addresses that are tested.  Zones are ignored.  ``0.0.0.0/0`` contains every IPv4
    address and no IPv6 address.  ``::/0`` contains every IPv6 address and no IPv4 address.

    >>> office = Networks(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"])
    >>> [IPv4Address(text) in office for text in ("10.1.2.3", "192.0.2.7", "192.0.2.8")]
    [True, True, False]

    ``in`` costs O(different prefix lengths).  This cost does not depend on the number of networks.
    ``in`` raises TypeError for anything but an address of :mod:`ipaddress`.

    The constructor raises InvalidSetting for an invalid network.  A network with bits set beyond
    its prefix is invalid too.  The constructor raises TypeError for a single network instead of a
    collection.
    """

    __slots__ = ("_prefixes",)

    def __init__(self, networks: Iterable[str | Address | Network]) -> None:
        if isinstance(networks, str | bytes | IPv4Network | IPv6Network):
            raise TypeError(f"networks must be a collection of networks, not {shown(networks)}")
        self._prefixes: dict[tuple[int, int], set[int]] = {}
        for given in networks:
            network = _parsed_network(given)
            host_bits = network.max_prefixlen - network.prefixlen
            prefixes = self._prefixes.setdefault((network.version, host_bits), set())
            prefixes.add(int(network.network_address) >> host_bits)

    def __contains__(self, address: object) -> bool:
        if not isinstance(address, IPv4Address | IPv6Address):
            raise TypeError(f"address must be an address of ipaddress, not {shown(address)}")
        address = normalised(address)
        number = int(address)
        return any(
            version == address.version and number >> host_bits in prefixes
            for (version, host_bits), prefixes in self._prefixes.items()
        )

    def __repr__(self) -> str:
        return f"<Networks: {sum(map(len, self._prefixes.values()))}>"


def _parsed_network(given: str | Address | Network) -> Network:
    if not isinstance(given, str | IPv4Address | IPv6Address | IPv4Network | IPv6Network):
        raise InvalidSetting(f"networks must be IP networks, not {shown(given)}")
    try:
        network = ip_network(given)
    except ValueError as error:
        raise InvalidSetting(f"networks must be IP networks, not {shown(given)}") from error
    if isinstance(network, IPv6Network) and network.subnet_of(_IPV4_MAPPED):
        base = unmapped(network.network_address)
        return IPv4Network((int(base), network.prefixlen - _IPV4_MAPPED.prefixlen))
    return network
