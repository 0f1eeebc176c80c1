"""``pickclosest`` of PowerDNS, and where it differs from the nearest place.

It takes the smallest sum of the squared differences of latitude and longitude in degrees.  A client
without a place counts as 0° N 0° E, and gets this place here too.  Three differences are not
copied:

* A longitude difference of more than 180° is turned around, but not one of less than -180°.
* An address of the record without a location counts as 0° N 0° E.  PowerDNS finds no location at
  all in a database without ``accuracy_radius``, and then picks at random among all addresses.
* Squared degrees are not the great circle.

A difference decides a case if the nearest address without this difference is another one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from balancers.gslb import Client, Distance, NetworkTable, Place, Region
from tests.parity.gdnsd_maps import NotHeld

__all__ = ["Closest"]

_HALF, _TURN = 180, 360


class Closest:
    """The addresses of a record and their places."""

    def __init__(self, addresses: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
        listed = list(rows)
        radius = any(row.get("accuracy_radius") is not None for row in listed)
        self._where: NetworkTable[Any] = NetworkTable(
            (row["net"], _location(row, radius)) for row in listed
        )
        found = {address: self._where.get(address) for address in addresses}
        self._places = {address: place for address, place in found.items() if place is not None}
        self._unknown = [address for address, place in found.items() if place is None]
        self._policy = Distance(
            [
                Region(address, [address], place=Place(latitude=north, longitude=east))
                for address, (north, east) in self._places.items()
            ]
        )

    def nearest(self, client: object) -> str:
        """Return the address of our nearest region; raise NotHeld where a difference decides."""
        if self._unknown:
            raise NotHeld(f"no location of {', '.join(self._unknown)}, which PowerDNS needs")
        north, east = cast("tuple[float, float]", self._where.get(client, (0.0, 0.0)))
        here = Client(place=Place(latitude=north, longitude=east))
        ours = self._policy.answer(here, 0.0).members[0]
        flat = self._flat(north, east, lambda degrees: min(abs(degrees), _TURN - abs(degrees)))
        if flat != self._flat(north, east, lambda d: _TURN - d if d > _HALF else d):
            raise NotHeld("a longitude difference below -180° decides")
        if flat != [ours]:
            same = ours in flat and len({self._places[each] for each in flat}) == 1
            raise NotHeld(
                "equally near addresses: one is picked at random"
                if same
                else "squared degrees decide, where the great circle has another nearest address"
            )
        return str(ours)

    def _flat(self, north: float, east: float, turned: Callable[[float], float]) -> list[str]:
        """Return the addresses with the smallest sum of squared degrees."""
        squares = {
            address: (north - latitude) ** 2 + turned(east - longitude) ** 2
            for address, (latitude, longitude) in self._places.items()
        }
        return [address for address, square in squares.items() if square == min(squares.values())]


def _location(row: Mapping[str, Any], radius: bool) -> tuple[float, float] | None:
    """Return the location that PowerDNS finds in an entry of the database."""
    if row.get("lat") is None or row.get("lon") is None:
        return None
    return (
        (row["lat"], row["lon"]) if not radius or row.get("accuracy_radius") is not None else None
    )
