"""Defines the locality and the priority of a host, as in a load assignment of Envoy."""

from dataclasses import dataclass

from balancers._internal.checks import shown
from balancers.errors import InvalidSetting

__all__ = ["Locality", "default_locality"]

_LAST_PRIORITY = 128


@dataclass(frozen=True, order=True, slots=True)
class Locality:
    """Identifies a group of endpoints by its region, its zone, its sub-zone and its priority.

    Priority 0 is used first.  Localities are sorted by region, then by zone, then by sub-zone, as
    in Envoy.

    >>> sorted([Locality(zone="b"), Locality(zone="a", sub_zone="2"), Locality(zone="a")])[0]
    Locality(region='', zone='a', sub_zone='', priority=0)

    Raises InvalidSetting for a name that is not a str, and for a priority that is not an int from 0
    to 128.
    """

    region: str = ""
    zone: str = ""
    sub_zone: str = ""
    priority: int = 0

    def __post_init__(self) -> None:
        for name in (self.region, self.zone, self.sub_zone):
            if not isinstance(name, str):
                raise InvalidSetting(f"region, zone and sub_zone must be str, not {shown(name)}")
        if type(self.priority) is not int or not 0 <= self.priority <= _LAST_PRIORITY:
            raise InvalidSetting(
                f"priority must be an int from 0 to 128, not {shown(self.priority)}"
            )


_DEFAULT = Locality()


def default_locality(backend: object) -> Locality:
    """Return the default locality: it has priority 0, and its names are empty.

    Every host gets the same result.
    """
    del backend
    return _DEFAULT
