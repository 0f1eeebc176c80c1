"""Defines where a client or a region is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import asin, cos, dist, pi, radians, sin
from typing import Any, Self, cast

from balancers._internal.checks import number, shown
from balancers.errors import InvalidSetting

__all__ = ["Place", "all_kilometres", "kilometres", "place_of"]

_EARTH_RADIUS = 6371.0088
"""The mean radius of the earth in kilometres (IUGG)."""
_DIAMETER = 2 * _EARTH_RADIUS
_FARTHEST = _DIAMETER * (pi / 2)
_CODES = ("continent", "country", "subdivision", "city")


@dataclass(frozen=True, slots=True, repr=False)
class Place:
    """Describes a place: codes or names, and coordinates in degrees.  Every part is optional.

    ``continent``, ``country`` and ``subdivision`` (for example a state) are the codes of your
    database, usually those of ISO 3166.  ``city`` is a name.  Coordinates are given both or not at
    all.  A place is a value: it does not change, and equal places are equal.

    >>> tokyo = Place("AS", "JP", city="Tokyo", latitude=35.68, longitude=139.69)
    >>> round(tokyo.distance(Place(latitude=34.69, longitude=135.50)))
    396

    Raises InvalidSetting for a latitude outside -90 to 90, a longitude outside -180 to 180, one
    coordinate without the other, and a code that is not a text.
    """

    continent: str | None = None
    country: str | None = None
    subdivision: str | None = None
    city: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    vector: tuple[float, float, float] | None = field(init=False, compare=False)
    """The point on a sphere of radius 1, or None without coordinates."""

    def __post_init__(self) -> None:
        """Check the parts."""
        for name in _CODES:
            code = getattr(self, name)
            if code is not None and not isinstance(code, str):
                raise InvalidSetting(f"{name} must be a text or None, not {shown(code)}")
        if (self.latitude is None) != (self.longitude is None):
            raise InvalidSetting(
                "latitude and longitude must be given both or not at all, "
                f"not {shown(self.latitude)} and {shown(self.longitude)}"
            )
        vector = None
        if self.latitude is not None and self.longitude is not None:
            north = _coordinate("latitude", self.latitude, 90)
            vector = _vector(north, _coordinate("longitude", self.longitude, 180))
        object.__setattr__(self, "vector", vector)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Return the place that a record of a GeoIP2 City database of MaxMind describes; O(1).

        What the record does not contain is None.  The subdivision is the first one.  The city has
        its English name.

        >>> record = {"country": {"iso_code": "JP"}, "location": {"latitude": 36, "longitude": 140}}
        >>> Place.from_record(record)
        Place(country='JP', latitude=36, longitude=140)

        Raises InvalidSetting as the constructor does, and for a part of another type.
        """
        subdivisions: Any = record.get("subdivisions") or [None]
        if not isinstance(subdivisions, list):
            raise InvalidSetting(f"subdivisions must be a list, not {shown(subdivisions)}")
        first = cast("list[object]", subdivisions)[0]
        location = _part(record, "location")
        return cls(
            _part(record, "continent").get("code"),
            _part(record, "country").get("iso_code"),
            _part({"subdivision": first}, "subdivision").get("iso_code"),
            _part(_part(record, "city"), "names").get("en"),
            location.get("latitude"),
            location.get("longitude"),
        )

    def distance(self, other: "Place") -> float:
        """Return the length in kilometres of the great circle between two places; O(1).

        The earth counts as a sphere with a radius of 6371.0088 km.  Raises InvalidSetting if a
        place has no coordinates.
        """
        if self.vector is None or other.vector is None:
            place = self if self.vector is None else other
            raise InvalidSetting(f"a distance needs coordinates, and {place} has none")
        return kilometres(dist(self.vector, other.vector))

    def __repr__(self) -> str:
        parts = ((name, getattr(self, name)) for name in (*_CODES, "latitude", "longitude"))
        given = ", ".join(f"{name}={part!r}" for name, part in parts if part is not None)
        return f"{type(self).__name__}({given})"


def kilometres(chord: float) -> float:
    """Return the distance in kilometres that a chord of the sphere of radius 1 spans.

    >>> round(kilometres(2.0))
    20015
    """
    return all_kilometres((chord,))[0]


def all_kilometres(chords: Iterable[float]) -> list[float]:
    """Return the distances in kilometres of many chords, faster than one by one."""
    return [
        _DIAMETER * asin(chord / 2) if chord < 2 else _FARTHEST  # noqa: PLR2004 - the longest chord
        for chord in chords
    ]


def place_of(found: object) -> Place | None:
    """Return what a database of places has found as a place.

    It is a place, a record of MaxMind's GeoIP2, or None.  Raises TypeError for any other object.
    """
    if found is None or isinstance(found, Place):
        return found
    if isinstance(found, Mapping):
        return Place.from_record(cast("Mapping[str, Any]", found))
    raise TypeError(f"a database of places must return a Place or a mapping, not {shown(found)}")


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = record.get(name)
    if part is None:
        return {}
    if not isinstance(part, Mapping):
        raise InvalidSetting(f"{name} must be a mapping, not {shown(part)}")
    return cast("Mapping[str, Any]", part)


def _coordinate(name: str, degrees: float, highest: int) -> float:
    degrees = number(name, degrees)
    if not -highest <= degrees <= highest:
        raise InvalidSetting(
            f"{name} must be {-highest} to {highest} degrees, not {shown(degrees)}"
        )
    return degrees


def _vector(latitude: float, longitude: float) -> tuple[float, float, float]:
    """Return the point on a sphere of radius 1."""
    north, east = radians(latitude), radians(longitude)
    return cos(north) * cos(east), cos(north) * sin(east), sin(north)
