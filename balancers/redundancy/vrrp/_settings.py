"""Validates the addresses of a virtual router."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from balancers._internal.checks import shown
from balancers.addresses import Address, address_of
from balancers.errors import InvalidKey, InvalidSetting

__all__ = ["checked_address", "checked_addresses", "checked_peers"]

_MOST_ADDRESSES = 255


def checked_address(name: str, value: object) -> Address:
    """Return an address of a host without its zone.  Raise InvalidSetting for another value."""
    try:
        address = address_of(value)
    except InvalidKey:
        raise InvalidSetting(f"{name} must be an IP address, not {shown(value)}") from None
    if address.is_multicast or address.is_unspecified:
        raise InvalidSetting(f"{name} must be the address of a host, not {shown(value)}")
    return IPv4Address(int(address)) if address.version == 4 else IPv6Address(int(address))  # noqa: PLR2004 - the version of IP


def _checked_list(name: str, values: Iterable[object], version: int) -> tuple[Address, ...]:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidSetting(f"{name} must be an iterable of addresses, not {shown(values)}")
    addresses = tuple(checked_address(f"each of {name}", value) for value in values)
    for address in addresses:
        if address.version != version:
            raise InvalidSetting(f"{name} and source must be of one family, not {address}")
    if len(set(addresses)) != len(addresses):
        raise InvalidSetting(f"{name} must not contain an address twice: {shown(addresses)}")
    return addresses


def checked_addresses(
    values: Iterable[object], source: Address, *, multicast: bool
) -> tuple[Address, ...]:
    """Return the virtual addresses.  Raise InvalidSetting if they do not fit in a packet.

    With ``multicast``, also check that ``source`` is an address from which it can be sent.
    """
    addresses = _checked_list("addresses", values, source.version)
    if not 1 <= len(addresses) <= _MOST_ADDRESSES:
        raise InvalidSetting(f"addresses must be 1 to {_MOST_ADDRESSES}, not {len(addresses)}")
    if isinstance(source, IPv6Address):
        limited = {"the first of addresses": addresses[0]}
        if multicast:
            limited["source"] = source
        for name, address in limited.items():
            if not address.is_link_local:
                raise InvalidSetting(f"{name} must be link-local (fe80::/10), not {address}")
    return addresses


def checked_peers(values: Iterable[object], source: Address) -> tuple[Address, ...]:
    """Return the unicast peers.  Raise InvalidSetting if the router itself is one of them."""
    peers = _checked_list("peers", values, source.version)
    if source in peers:
        raise InvalidSetting(f"peers must not contain source, {source}")
    return peers
