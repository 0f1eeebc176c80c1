"""The locality and the priority of a host in a load assignment."""

from dataclasses import dataclass

from balancers.errors import InvalidSetting

__all__ = ["Locality", "default_locality"]

_LAST_PRIORITY = 128


@dataclass(frozen=True, order=True, slots=True)
class Locality:
    """One group of endpoints: ``region``, ``zone`` and ``sub_zone``, at a ``priority``.

    Priority 0 is the first.  Localities sort as in Envoy: by region, zone and sub-zone.

    >>> sorted([Locality(zone="b"), Locality(zone="a", sub_zone="2"), Locality(zone="a")])[0]
    Locality(region='', zone='a', sub_zone='', priority=0)

    Raises InvalidSetting for a name that is no str, and for a priority that is no int from 0 to
    128.
    """

    region: str = ""
    zone: str = ""
    sub_zone: str = ""
    priority: int = 0

    def __post_init__(self) -> None:
        for name in (self.region, self.zone, self.sub_zone):
            if not isinstance(name, str):
                raise InvalidSetting(f"region, zone and sub_zone must be str, not {name!r}")
        if type(self.priority) is not int or not 0 <= self.priority <= _LAST_PRIORITY:
            raise InvalidSetting(f"priority must be an int from 0 to 128, not {self.priority!r}")


_DEFAULT = Locality()


def default_locality(backend: object) -> Locality:
    """Return the locality of hosts that have none: priority 0 and empty names."""
    del backend
    return _DEFAULT
