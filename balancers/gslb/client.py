"""Defines what is known about a client."""

from collections.abc import Mapping
from typing import Any, cast

from balancers._internal.checks import not_negative, shown
from balancers.addresses import Address, address_of
from balancers.gslb._prefixes import contained
from balancers.gslb.client_subnet import ClientSubnet
from balancers.gslb.networks import NetworkTable, scope_of
from balancers.gslb.place import Place, place_of

__all__ = ["Client"]


class Client:
    """Describes a client: what a policy may use to rank regions.  Every part is optional.

    ``address`` is where the query came from: for DNS, the address of the resolver.  ``subnet`` is
    the client subnet that the query contains.  ``place`` is where the client is.  ``latencies`` are
    measured latencies in seconds, by the name of the region.

    A policy looks up :attr:`lookup`: the address of the subnet if its source prefix length is more
    than 0, else ``address``.

    >>> client = Client("192.0.2.1", place=Place("AS", "JP"), latencies={"tokyo": 0.012})
    >>> client.lookup, client.place.country
    (IPv4Address('192.0.2.1'), 'JP')

    Raises InvalidKey for an address that is not an IP address, InvalidSetting for a latency that is
    negative, NaN or infinite, and TypeError for a subnet, a place or latencies of another type.
    """

    __slots__ = ("address", "latencies", "lookup", "place", "subnet")

    def __init__(
        self,
        address: object = None,
        subnet: ClientSubnet | None = None,
        place: Place | None = None,
        latencies: Mapping[str, float] | None = None,
    ) -> None:
        if subnet is not None and not isinstance(cast("object", subnet), ClientSubnet):
            raise TypeError(f"subnet must be a ClientSubnet, not {shown(subnet)}")
        self.address: Address | None = None if address is None else address_of(address)
        self.subnet: ClientSubnet | None = subnet
        self.place: Place | None = place
        if place is not None and not isinstance(cast("object", place), Place):
            raise TypeError(f"place must be a Place, not {shown(place)}")
        self.latencies: Mapping[str, float] = _checked(latencies)
        self.lookup: Address | None = self.address
        """The address to look up, or None if it is not known."""
        if subnet is not None and subnet.source:
            self.lookup = subnet.address

    def place_in(self, places: Any) -> Place | None:
        """Return the place of the client: its own, or what a database of places has found.

        ``places`` is None or any object with a method ``get(address)``, for example a NetworkTable
        or a reader of a MaxMind database.  The method gets an object of :mod:`ipaddress`, and
        returns a Place, a record of a GeoIP2 City database, or None.  For an IPv6 address that
        contains an IPv4 address (see :class:`NetworkTable`), it gets the IPv4 address.
        """
        if self.place is not None or places is None or self.lookup is None:
            return self.place
        found = places.get(contained(self.lookup)[0])
        return found if type(found) is Place else place_of(found)

    @property
    def longest_scope(self) -> int:
        """The scope of an answer that may be another one for every other client.

        It is the source of the subnet, else the length of the address, and 0 without an address.
        """
        if self.lookup is None:
            return 0
        by_subnet = self.subnet is not None and self.subnet.source
        return by_subnet or self.lookup.max_prefixlen

    def place_scope(self, places: Any) -> int:
        """Return the scope in which :meth:`place_in` returns the same place.

        It is known if ``places`` is a NetworkTable, or has a method ``get_with_prefix_len`` as the
        readers of MaxMind databases have.  Else it is :attr:`longest_scope`.
        """
        if self.place is not None or places is None or self.lookup is None:
            return 0 if self.place is None else self.longest_scope
        if isinstance(cast("object", places), NetworkTable):
            return int(places.find(self.lookup).scope)
        if hasattr(places, "get_with_prefix_len"):
            address, _ = contained(self.lookup)
            _, length = places.get_with_prefix_len(address)
            return scope_of(self.lookup, {address.version: int(length)})
        return self.longest_scope

    def __repr__(self) -> str:
        parts = ((name, getattr(self, name)) for name in ("address", "subnet", "place"))
        given = ", ".join(f"{name} {part}" for name, part in parts if part is not None)
        return f"<Client: {given or 'nothing is known'}>"


def _checked(latencies: Mapping[str, float] | None) -> Mapping[str, float]:
    if latencies is None:
        return {}
    if not isinstance(cast("object", latencies), Mapping):
        raise TypeError(f"latencies must be a mapping or None, not {shown(latencies)}")
    return {
        region: not_negative(f"latency of {shown(region)}", seconds)
        for region, seconds in latencies.items()
    }
