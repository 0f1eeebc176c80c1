"""The maps of gdnsd's ``geoip``: which datacenters, in which order, for which networks."""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, cast

from balancers.gslb import (
    Client,
    Distance,
    Geolocation,
    NetworkTable,
    Place,
    Region,
)
from tests.parity.gdnsd_config import number, several, yes

__all__ = ["GeoMap", "NotHeld", "place_of", "places_of"]

LIMIT = 3
"""How many of the nearest datacenters an automatic list has (``auto_dc_limit``)."""
_COMPATIBLE = IPv6Network("::/96")


class NotHeld(Exception):
    """Raised for what a recording does not hold, or for what no policy of ours does."""


def place_of(row: Mapping[str, Any]) -> Place:
    """Return the place in an entry of a recorded database."""
    names = ("continent", "country", "sub", "city", "lat", "lon")
    return Place(*(row.get(name) for name in names))


def places_of(rows: Iterable[Mapping[str, Any]]) -> NetworkTable[Place]:
    """Return the table of places of a recording."""
    return NetworkTable((row["net"], place_of(row)) for row in rows)


class GeoMap:
    """A map: the ordered datacenters of an address, and the scope of that order."""

    _KNOWN = frozenset(
        ("geoip2_db", "datacenters", "map", "nets", "auto_dc_coords", "auto_dc_limit", "ignore_ecs")
    )

    def __init__(self, settings: Mapping[str, Any], places: NetworkTable[Place]) -> None:
        if unknown := settings.keys() - self._KNOWN:
            raise NotHeld(f"the setting {min(unknown)!r} of a map of geoip")
        self.ignores_ecs = yes(settings.get("ignore_ecs", "false"))
        coordinates: Mapping[str, Any] = settings.get("auto_dc_coords", {})
        self._all = [Region(name, [name]) for name in several(settings["datacenters"])]
        self._regions = {region.name: region for region in self._all}
        limit = int(number(settings.get("auto_dc_limit", LIMIT)))
        nearest = None
        if coordinates:
            where = {
                self._regions[name]: Place(latitude=number(north), longitude=number(east))
                for name, (north, east) in coordinates.items()
            }
            ordered = {region: where[region] for region in self._all if region in where}
            nearest = Distance(ordered, limit=limit or None)
        by_place: Mapping[str, Any] = settings.get("map", {})
        if "default" not in by_place:
            automatic = {"default": "auto"} if coordinates else {"default": self._regions}
            by_place = {**automatic, **by_place}
        self._located = Geolocation(self._choices(by_place, nearest), widen=False)
        self._unlocated = Geolocation(self._choices(by_place, self._all), widen=False)
        self._table = NetworkTable.combined(
            self._order, self._nets(settings.get("nets", {})), places
        )

    def find(self, address: object) -> tuple[tuple[str, ...], int]:
        """Return the datacenters in their order, and the scope."""
        found = self._table.find(address)
        return found.value or (), found.scope

    def _order(self, net: tuple[str, ...] | None, place: Place | None) -> tuple[str, ...]:
        if net is not None:
            return net
        policy = self._unlocated if place is None or place.vector is None else self._located
        return policy.rank(Client(place=place), 0.0).names

    def _choices(self, value: Any, automatic: Any) -> Any:
        """Return a value of the map as a choice of :class:`Geolocation`."""
        if value == "auto":
            if automatic is None:
                raise NotHeld("'auto' without coordinates")
            return automatic
        if isinstance(value, Mapping) and value is not self._regions:
            entries = cast("Mapping[str, Any]", value)
            return {key: self._choices(each, automatic) for key, each in entries.items()}
        return [self._regions[name] for name in several(value)]

    def _nets(self, nets: Any) -> NetworkTable[tuple[str, ...]]:
        if not isinstance(nets, Mapping):
            raise NotHeld("the file of networks of a map of geoip")
        found: dict[IPv4Network | IPv6Network, tuple[str, ...]] = {}
        for text, names in cast("Mapping[str, Any]", nets).items():
            network = ip_network(text)
            if isinstance(network, IPv6Network) and network.subnet_of(_COMPATIBLE):
                low = int(network.network_address)
                network = IPv4Network((low, network.prefixlen - _COMPATIBLE.prefixlen))
            found[network] = tuple(self._regions[name].name for name in several(names))
        return NetworkTable(found)
