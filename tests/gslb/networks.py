"""A plain model of a table of networks, and every address at which its answer can change."""

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network
from random import Random
from typing import Any

from balancers.addresses import Address

__all__ = ["EMBEDDING", "Model", "check_scope", "contained", "embedded", "random_networks"]

IPV4, IPV6 = 4, 6
BITS = {IPV4: 32, IPV6: 128}
EMBEDDING = ("::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "2001::/32", "2002::/16")
WHERE = {16: 16, 32: 96, 96: 96}
"""The number of bits before the IPv4 address, for the length of each network above."""

Model = dict[str, Any]
"""Networks as text, and their values."""


def contained(address: Address) -> tuple[Address, int]:
    """Return the address that is looked up, and how many bits are before it."""
    if isinstance(address, IPv6Address):
        for network in map(IPv6Network, EMBEDDING):
            if address in network:
                before = WHERE[network.prefixlen]
                number = int(address) >> 96 - before & 0xFFFFFFFF
                teredo = network.prefixlen == 32
                return IPv4Address(number ^ 0xFFFFFFFF if teredo else number), before
    return address, 0


def embedded(address: IPv4Address, network: str, rest: int = 0) -> IPv6Address:
    """Return an IPv6 address that contains an IPv4 address.  ``rest`` fills the other bits."""
    within = IPv6Network(network)
    before = WHERE[within.prefixlen]
    number = int(address) ^ (0xFFFFFFFF if within.prefixlen == 32 else 0)
    filled = rest & ((1 << 128 - within.prefixlen) - 1) & ~(0xFFFFFFFF << 96 - before)
    return IPv6Address(int(within.network_address) | number << 96 - before | filled)


def value_of(entries: Model, address: Address) -> Any:
    """Return the value of the longest prefix, or None."""
    looked_up, _ = contained(address)
    matches = [
        (network.prefixlen, value)
        for network, value in ((ip_network(text), value) for text, value in entries.items())
        if network.version == looked_up.version and looked_up in network
    ]
    return max(matches, key=lambda match: match[0])[1] if matches else None


def edges(entries: Iterable[str], rest: int = 0) -> dict[int, set[int]]:
    """Return the first addresses of all ranges in which no network begins or ends.

    ``rest`` fills the bits of IPv6 addresses that are not those of an IPv4 address within.
    """
    found = {IPV4: {0}, IPV6: {0}}
    for network in map(ip_network, entries):
        first, size = int(network.network_address), network.num_addresses
        found[network.version] |= {first, first + size} - {1 << network.max_prefixlen}
    for network in map(IPv6Network, EMBEDDING):
        first, size = int(network.network_address), network.num_addresses
        found[IPV6] |= {first, first + size}
        inner = {(edge + step) & 0xFFFFFFFF for edge in found[IPV4] for step in (-1, 0)}
        found[IPV6] |= {int(embedded(IPv4Address(at), str(network), rest)) for at in inner}
    return found


def same_within(
    lookup: Callable[[Address], Any], points: set[int], address: Address, length: int
) -> bool:
    """Return whether all addresses with the same first bits have the same value.

    The value can change at the points only, so these are all the addresses that must be tried.
    """
    kind = type(address)
    host_bits = address.max_prefixlen - length
    first = int(address) >> host_bits << host_bits
    last = first + (1 << host_bits) - 1
    tried = {first, last, *(point for point in points if first <= point <= last)}
    return len({lookup(kind(point)) for point in tried}) == 1


def check_scope(
    lookup: Callable[[Address], Any], entries: Iterable[str], address: Address, scope: int
) -> None:
    """Assert that a scope is right, and that the network that is one bit shorter is not."""
    points = edges(entries, int(address))[address.version]
    assert same_within(lookup, points, address, scope)
    _, before = contained(address)
    assert before <= scope <= address.max_prefixlen
    if scope > before:
        assert not same_within(lookup, points, address, scope - 1)


def random_networks(rng: Random, count: int, values: int) -> Model:
    """Return networks that are often neighbours, contain each other, or are at an end."""
    made: Model = {}
    for _ in range(count):
        version = rng.choice((IPV4, IPV6))
        bits = BITS[version]
        length = rng.choice([0, 1, 2, 3, 8, 15, 16, 17, bits - 2, bits - 1, bits])
        number = rng.choice([0, (1 << bits) - 1, rng.getrandbits(bits), 0xDEADBEEF])
        if version == IPV6 and rng.random() < 0.5:
            near = int(IPv6Network(rng.choice(EMBEDDING)).network_address)
            number = near ^ 1 << rng.randrange(40, 128)
        number ^= rng.getrandbits(2) << bits - length
        first = (number & ((1 << bits) - 1)) >> bits - length << bits - length
        address = IPv4Address(first) if version == IPV4 else IPv6Address(first)
        network = ip_network((address, length))
        inside = isinstance(network, IPv6Network) and any(
            network.subnet_of(IPv6Network(other)) for other in EMBEDDING
        )
        if not inside:
            made[str(network)] = rng.randrange(values) or None
    return made
