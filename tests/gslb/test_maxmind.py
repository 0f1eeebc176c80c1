"""A database of places in MaxMind's format, written by mmdb-writer and read through maxminddb."""

from collections.abc import Generator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("maxminddb")
pytest.importorskip("mmdb_writer")

import maxminddb
from mmdb_writer import MMDBWriter
from netaddr import IPSet  # type: ignore[import-untyped]  # the package ships no types

from balancers.errors import InvalidSetting
from balancers.gslb import Client, ClientSubnet, Distance, Geolocation, Place, Region

RECORDS: dict[str, dict[str, Any]] = {
    "203.0.113.0/24": {
        "continent": {"code": "AS"},
        "country": {"iso_code": "JP", "names": {"en": "Japan"}},
        "subdivisions": [{"iso_code": "13", "names": {"en": "Tokyo"}}],
        "city": {"names": {"en": "Tokyo", "ja": "東京"}},
        "location": {"latitude": 35.7, "longitude": 139.7, "accuracy_radius": 20},
    },
    "203.0.113.128/25": {  # only the country is known
        "continent": {"code": "AS"},
        "country": {"iso_code": "KR"},
        "location": {"latitude": 37.6, "longitude": 127.0},
    },
    "198.51.100.0/24": {
        "continent": {"code": "EU"},
        "country": {"iso_code": "GB"},
        "subdivisions": [{"iso_code": "ENG"}, {"iso_code": "LND"}],
        "city": {"names": {"en": "London"}},
        "location": {"latitude": 51.5, "longitude": -0.1},
    },
    "192.0.2.0/24": {
        "continent": {"code": "NA"},
        "country": {"iso_code": "US"},
        "subdivisions": [{"iso_code": "NY"}],
        "city": {"names": {"en": "New York"}},
        "location": {"latitude": 40.7, "longitude": -74.0},
    },
    "2001:db8:81::/48": {
        "continent": {"code": "AS"},
        "country": {"iso_code": "JP"},
        "location": {"latitude": 35.7, "longitude": 139.7},
    },
    "100.64.0.0/16": {"registered_country": {"iso_code": "US"}},  # no place at all
}


@pytest.fixture(scope="module", name="reader")
def a_reader(tmp_path_factory: pytest.TempPathFactory) -> Generator[maxminddb.Reader]:
    path = tmp_path_factory.mktemp("maxmind") / "City.mmdb"
    writer = MMDBWriter(6, "Test-City", ["en", "ja"], ipv4_compatible=True)
    for network, record in RECORDS.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    with maxminddb.Reader(str(path)) as reader:
        yield reader


def regions() -> list[Region]:
    return [
        Region("tokyo", ["t"], place=Place("AS", "JP", latitude=35.6, longitude=139.8)),
        Region("london", ["l"], place=Place("EU", "GB", latitude=51.5, longitude=0.0)),
        Region("newyork", ["n"], place=Place("NA", "US", latitude=40.6, longitude=-73.9)),
    ]


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("203.0.113.9", Place("AS", "JP", "13", "Tokyo", 35.7, 139.7)),
        ("203.0.113.200", Place("AS", "KR", latitude=37.6, longitude=127.0)),
        ("198.51.100.1", Place("EU", "GB", "ENG", "London", 51.5, -0.1)),
        ("2001:db8:81::1", Place("AS", "JP", latitude=35.7, longitude=139.7)),
        ("::ffff:198.51.100.1", Place("EU", "GB", "ENG", "London", 51.5, -0.1)),
        ("64:ff9b::203.0.113.200", Place("AS", "KR", latitude=37.6, longitude=127.0)),
        ("2002:cb00:71c8::1", Place("AS", "KR", latitude=37.6, longitude=127.0)),
        ("100.64.0.1", Place()),
        ("10.0.0.1", None),
        ("2001:db8:9::1", None),
    ],
)
def test_a_client_is_placed_by_its_address(
    reader: maxminddb.Reader, address: str, place: Place | None
) -> None:
    assert Client(address).place_in(reader) == place
    assert Client(ip_address(address)).place_in(reader) == place


@pytest.mark.parametrize(
    ("client", "nearest"),
    [
        (Client("203.0.113.9"), ("tokyo", "london", "newyork")),
        (Client("198.51.100.77"), ("london", "newyork", "tokyo")),
        (Client("192.0.2.1"), ("newyork", "london", "tokyo")),
        (Client("192.0.2.1", ClientSubnet("203.0.113.0", 24)), ("tokyo", "london", "newyork")),
        (Client("192.0.2.1", ClientSubnet("2001:db8:81::", 56)), ("tokyo", "london", "newyork")),
        (Client("198.51.100.1", ClientSubnet("::", 0)), ("london", "newyork", "tokyo")),
        (Client("100.64.0.1"), ("tokyo", "london", "newyork")),  # the given order
        (
            Client("192.0.2.1", place=Place(latitude=35.0, longitude=135.0)),
            ("tokyo", "london", "newyork"),
        ),
    ],
    ids=str,
)
def test_the_nearest_region_is_found_through_the_reader(
    reader: maxminddb.Reader, client: Client, nearest: tuple[str, ...]
) -> None:
    assert Distance(regions(), places=reader).rank(client, now=0.0).names == nearest


@pytest.mark.parametrize(
    ("subnet", "scope"),
    [
        (ClientSubnet("203.0.113.0", 24), 25),
        (ClientSubnet("203.0.113.192", 26), 25),
        (ClientSubnet("198.51.100.0", 22), 24),
        (ClientSubnet("2001:db8:81::", 56), 48),
        (ClientSubnet("::ffff:203.0.113.0", 120), 96 + 25),
        (ClientSubnet("2002:cb00:7100::", 40), 16 + 25),
        (ClientSubnet("::", 0), 0),
    ],
    ids=str,
)
def test_the_scope_is_the_network_of_the_database(
    reader: maxminddb.Reader, subnet: ClientSubnet, scope: int
) -> None:
    found = Distance(regions(), places=reader).scope(Client("192.0.2.1", subnet))
    assert subnet.answer(found).scope == scope


def test_codes_of_the_database_choose_the_list(reader: maxminddb.Reader) -> None:
    tokyo, london, newyork = regions()
    policy = Geolocation(
        {
            "AS": {"JP": {"13": [newyork], "default": [tokyo]}, "default": [london]},
            "NA": {"US": {"New York": [london]}},
            "default": [newyork],
        },
        places=reader,
        widen=False,
    )
    found = {
        address: policy.answer(Client(address), now=0.0).regions
        for address in ("203.0.113.9", "203.0.113.200", "2001:db8:81::1", "192.0.2.1", "10.0.0.1")
    }
    assert found == {
        "203.0.113.9": ("newyork",),
        "203.0.113.200": ("london",),
        "2001:db8:81::1": ("tokyo",),
        "192.0.2.1": ("london",),
        "10.0.0.1": ("newyork",),
    }


def test_a_record_with_impossible_coordinates_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "City.mmdb"
    writer = MMDBWriter(4, "Test-City", ["en"])
    writer.insert_network(
        IPSet(["192.0.2.0/24"]), {"location": {"latitude": 91.0, "longitude": 0.0}}
    )
    writer.to_db_file(str(path))
    with maxminddb.Reader(str(path)) as reader, pytest.raises(InvalidSetting, match="latitude"):
        Distance(regions(), places=reader).rank(Client("192.0.2.1"), now=0.0)
