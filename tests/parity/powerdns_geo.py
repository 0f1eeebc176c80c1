"""The geoip backend of PowerDNS: services whose names depend on the place of the client.

A service is a list of names with placeholders, of which the first one with a record is answered.
For each place of the database that name is an entry of ``Geolocation``; the networks of a service
are its networks.
"""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple, cast

from balancers.gslb import Client, Geolocation, NetworkTable, Place, Region
from tests.parity.bounds import Answer
from tests.parity.gdnsd_config import number, several
from tests.parity.gdnsd_maps import NotHeld, place_of, places_of
from tests.parity.powerdns_zone import yaml

__all__ = ["GeoAnswer", "GeoZones"]

_UNKNOWN = "unknown"
_PLACEHOLDERS = {"%cn": "continent", "%cc": "country", "%re": "subdivision", "%ci": "city"}
_LEVELS = tuple(_PLACEHOLDERS.values())


class GeoAnswer(NamedTuple):
    """The probabilities of the answers to a name, its TTL and its scope."""

    odds: Mapping[Answer, Fraction]
    ttl: int
    scope: int | None
    """None where PowerDNS announces the whole address: the client is in no network it knows."""


class GeoZones:
    """The zones of the backend."""

    def __init__(self, text: str, rows: Iterable[Mapping[str, Any]]) -> None:
        listed = list(rows)
        self._rows = places_of(listed)
        self._places = {place_of(row) for row in listed}
        self._identities = NetworkTable((row["net"], row["net"]) for row in listed)
        self._text = text
        self._domains: list[Mapping[str, Any]] | None = None

    def find(self, name: str, client: object, kind: str) -> GeoAnswer | None:
        """Return what a name answers to a client; None if no zone has the name."""
        for domain in self._read():
            whole = name if name.endswith(domain["domain"]) else f"{name}.{domain['domain']}"
            records: Mapping[str, Any] = domain.get("records") or {}
            services: Mapping[str, Any] = domain.get("services") or {}
            ttl = int(domain["ttl"])
            if whole in services:
                return self._service(services[whole], records, client, kind, ttl)
            if whole in records:
                return GeoAnswer(_odds(records[whole], kind), ttl, None)
        return None

    def _read(self) -> list[Mapping[str, Any]]:
        if self._domains is None:
            try:
                read: Any = yaml(self._text)["domains"] if self._text.strip() else []
            except ValueError as error:
                raise NotHeld(f"the zone of the geoip backend is not read: {error}") from error
            self._domains = cast("list[Mapping[str, Any]]", read)
        return self._domains

    def _service(
        self, service: Any, records: Mapping[str, Any], client: object, kind: str, ttl: int
    ) -> GeoAnswer:
        whole: Mapping[str, Any] = (
            cast("Mapping[str, Any]", service)
            if isinstance(service, Mapping)
            else {"default": service}
        )
        regions = {name: Region(name, [name]) for name in records}
        by_place: dict[str, Any] = {}
        for place in {*self._places, None}:
            chosen = _first(several(whole["default"]), place, regions)
            codes = [getattr(place, level) for level in _LEVELS] if place else []
            _put(by_place, [code for code in codes if code is not None], chosen)
        networks = {
            net: _first(several(names), None, regions)
            for net, names in whole.items()
            if net != "default"
        }
        policy = Geolocation(by_place, networks=networks, places=self._rows, widen=False)
        [name] = policy.answer(Client(client), 0.0).members or (None,)
        own = NetworkTable((net, net) for net in networks).find(client).network
        known = self._identities.find(client)
        if own is not None:
            scope: int | None = own.prefixlen
        else:
            scope = known.scope if known.prefix is not None else None
        return GeoAnswer(
            {frozenset(): Fraction(1)} if name is None else _odds(records[name], kind), ttl, scope
        )


def _first(patterns: list[str], place: Place | None, regions: Mapping[str, Region]) -> list[Region]:
    """Return the region of the first name that has records, if any has."""
    for pattern in patterns:
        name = pattern
        for placeholder, level in _PLACEHOLDERS.items():
            name = name.replace(placeholder, (getattr(place, level, None) or _UNKNOWN).lower())
        if "%" in name:
            raise NotHeld(f"the placeholders of {pattern!r}")
        if name in regions:
            return [regions[name]]
    return []


def _put(by_place: dict[str, Any], codes: list[str], chosen: list[Region]) -> None:
    for code in codes:
        by_place = by_place.setdefault(code, {})
    by_place["default"] = chosen


def _odds(entries: list[Mapping[str, Any]], kind: str) -> dict[Answer, Fraction]:
    """Return the answers of records: all, or one by weight if they have weights."""
    values = [entry[kind] for entry in entries if kind in entry]
    if not any(isinstance(value, Mapping) for value in values):
        return {frozenset(values): Fraction(1)}
    weights = {
        str(value["content"]): Fraction(number(value.get("weight", 100))) for value in values
    }
    total = sum(weights.values())
    return {frozenset({text}): weight / total for text, weight in weights.items() if weight}
