"""Strategies for addresses and nodes, and a naive implementation of the walk."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_network

from hypothesis import strategies as st

from balancers.addresses import Address
from balancers.http import Node

__all__ = ["ADDRESSES", "NETWORKS", "NODES", "expected", "in_any", "unmapped"]

_INTERNAL = [IPv4Address("10.0.0.0"), IPv4Address("192.168.7.0"), IPv6Address("fd00::")]
NETWORKS = ["10.0.0.0/8", "192.168.7.0/24", "fd00::/8"]


def unmapped(address: Address) -> Address:
    number = int(address)
    if address.version == 6 and number >> 32 == 0xFFFF:
        return IPv4Address(number & 0xFFFFFFFF)
    return address


def _internal(base: Address, number: int) -> Address:
    return base + number


def _node(host: Address | str, port: int | str | None) -> Node:
    return Node(None, host, port) if isinstance(host, str) else Node(host, "", port)


ADDRESSES: st.SearchStrategy[Address] = st.ip_addresses().map(unmapped) | st.builds(
    _internal, st.sampled_from(_INTERNAL), st.integers(0, 255)
)
_OBFUSCATED = st.from_regex(r"_[A-Za-z0-9._-]{1,12}", fullmatch=True)
NODES = st.builds(
    _node,
    ADDRESSES | _OBFUSCATED | st.just("unknown"),
    st.none() | st.integers(0, 65535) | _OBFUSCATED,
)


def in_any(address: Address, networks: Iterable[str]) -> bool:
    return any(address in ip_network(network) for network in networks)


def expected(peer: Address, chain: list[Address], networks: Iterable[str]) -> Address:
    """Return the rightmost address outside the networks, or else the first of all."""
    hops = [*chain, peer]
    untrusted = [address for address in hops if not in_any(address, networks)]
    return untrusted[-1] if untrusted else hops[0]
