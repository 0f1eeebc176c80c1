"""What each policy promises, beside plain formulas, enumerations and exact odds."""

from collections.abc import Callable
from math import acos, cos, hypot, inf, nan, radians, sin
from random import Random
from typing import Any

import pytest

from balancers.errors import InvalidKey, InvalidSetting, InvalidTime, InvalidWeight
from balancers.gslb import (
    Answer,
    Client,
    Distance,
    Failover,
    Geolocation,
    Latency,
    LatencyTable,
    Multivalue,
    NetworkTable,
    Part,
    Place,
    Region,
    Weighted,
)
from tests.depth import runs

US, DE, SG = (Region(name, [name]) for name in ("us", "de", "sg"))


def one(name: str, up: bool = True) -> Region:
    region = Region(name, [name])
    region.set_up(name, up, 0.0)
    return region


def random_place(rng: Random) -> Place:
    """A random point, often one where formulas for the great circle are difficult."""
    latitude = rng.choice([rng.uniform(-90, 90), 90.0, -90.0, 0.0])
    return Place(latitude=latitude, longitude=rng.choice([rng.uniform(-180, 180), 180, -180, 0]))


def great_circle(one: Place, other: Place) -> float:
    """The spherical law of cosines, or for close points the plane, in kilometres."""
    (a, b), (c, d) = ((radians(p.latitude or 0), radians(p.longitude or 0)) for p in (one, other))
    cosine = sin(a) * sin(c) + cos(a) * cos(c) * cos(b - d)
    return 6371.0088 * acos(max(-1.0, min(1.0, cosine)))


@pytest.mark.parametrize("seed", range(runs(200)))
def test_distances_are_those_of_the_great_circle(seed: int) -> None:
    rng = Random(seed)
    here, there = random_place(rng), random_place(rng)
    assert here.distance(there) == pytest.approx(great_circle(here, there), rel=1e-6, abs=1e-3)
    assert here.distance(there) == there.distance(here)


def test_known_distances() -> None:
    pole, equator = Place(latitude=90, longitude=17), Place(latitude=0, longitude=-90)
    assert pole.distance(equator) == pytest.approx(6371.0088 * radians(90))
    assert Place(latitude=0, longitude=0).distance(Place(latitude=0, longitude=180)) == (
        pytest.approx(6371.0088 * radians(180))
    )
    # across the date line, and metres instead of kilometres
    assert Place(latitude=0, longitude=179.9).distance(Place(latitude=0, longitude=-179.9)) == (
        pytest.approx(6371.0088 * radians(0.2))
    )
    near = hypot(1e-7, 1e-7)
    assert Place(latitude=0, longitude=0).distance(Place(latitude=1e-7, longitude=1e-7)) == (
        pytest.approx(6371.0088 * radians(near), rel=1e-6)
    )


@pytest.mark.parametrize("seed", range(runs(200)))
def test_the_nearest_is_first_and_bias_counts_as_in_route_53(seed: int) -> None:
    rng = Random(seed)
    biases = [rng.choice([0, 0, 50, -50, 99, -99, 1.5]) if seed % 2 else 0 for _ in range(8)]
    regions = [
        Region(f"r{i}", ["m"], place=random_place(rng), bias=bias) for i, bias in enumerate(biases)
    ]
    here = random_place(rng)

    def counted(part: Any) -> float:
        distance = great_circle(part.place, here)
        bias: float = part.bias / 100
        return distance * (1 - bias) if bias > 0 else distance / (1 + bias)

    ranking = Distance(regions).rank(Client(place=here), 0.0)
    found = [counted(ranked.part) for ranked in ranking]
    assert found == pytest.approx(sorted(found), rel=1e-6, abs=1e-3)


def test_a_bias_is_in_the_reason() -> None:
    place = Place(latitude=0, longitude=1)
    region = Region("r", ["m"], place=place, bias=50)
    (ranked,) = Distance([region]).rank(Client(place=Place(latitude=0, longitude=0)), 0.0)
    assert ranked.reason == "111 km away, counts as 56 km with bias 50"


def test_ties_keep_the_order_and_a_limit_cuts() -> None:
    place = Place(latitude=10, longitude=20)
    regions = [Region(f"r{i}", ["m"], place=place) for i in (3, 1, 2)]
    assert Distance(regions).rank(Client(place=place), 0.0).names == ("r3", "r1", "r2")
    limited = Distance(regions, limit=2)
    assert limited.rank(Client(place=place), 0.0).names == ("r3", "r1")
    for region in regions[:2]:
        region.set_up("m", False, 0.0)
    answer = limited.answer(Client(place=place), 0.0)
    assert (answer.regions, answer.health_ignored) == (("r3",), True)


def test_without_a_place_the_order_is_the_given_one() -> None:
    regions = [Region(f"r{i}", ["m"], place=Place(latitude=i, longitude=0)) for i in range(5)]
    ranking = Distance(regions[::-1], limit=2).rank(Client("192.0.2.1", place=Place("EU")), 0.0)
    assert ranking.names == ("r4", "r3", "r2", "r1", "r0")
    assert ranking[1].reason == "the place of the client is unknown, number 2 of 5"


def test_parts_with_places_of_their_own() -> None:
    here = Place(latitude=50, longitude=8)
    drawn = Weighted({one("a"): 1, one("b"): 1}, rng=Random(1), name="drawn")
    policy = Distance({drawn: here, Failover([US]): Place(latitude=40, longitude=-74)})
    assert policy.rank(Client(place=here), 0.0).names == ("drawn", "us")


MAP: dict[str, Any] = {
    "NA": {"US": {"TX": [SG, US], "default": [US, DE, SG]}, "default": [US, DE]},
    "EU": [DE, US, SG],
    "AS": {"JP": [SG, US], "Osaka": [US], "default": [SG, DE, US]},
    "OC": {},
    "default": [US, DE, SG],
}


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ((), "us de sg"),
        (("EU",), "de us sg"),
        (("EU", "FR", "IDF", "Paris"), "de us sg"),
        (("NA",), "us de"),
        (("NA", "CA", "TX"), "us de"),
        (("NA", "US"), "us de sg"),
        (("NA", "US", "TX"), "sg us"),
        (("na", "us", "tx", "dallas"), "sg us"),
        ((None, "US", "TX"), "us de sg"),
        (("NA", None, "TX"), "us de"),
        (("AS", None, None, "OSAKA"), "us"),
        (("AS", "JP", "27", "Osaka"), "sg us"),
        (("AS", "CN", None, "Beijing"), "sg de us"),
        (("OC", "FJ"), "us de sg"),
        (("AF",), "us de sg"),
    ],
)
def test_geolocation_takes_the_most_specific_level(codes: tuple[Any, ...], expected: str) -> None:
    client = Client(place=Place(*codes))
    assert Geolocation(MAP, widen=False).rank(client, 0.0).names == tuple(expected.split())
    widened = Geolocation(MAP).rank(client, 0.0).names
    assert widened[: len(expected.split())] == tuple(expected.split())
    assert {*widened} == {"us", "de", "sg"}


def test_the_next_wider_level_serves_when_a_level_is_down() -> None:
    texas, us, america, everywhere = (one(name) for name in ("tx", "us", "na", "all"))
    policy = Geolocation(
        {"NA": {"US": {"TX": texas, "default": us}, "default": america}, "default": everywhere}
    )
    client = Client(place=Place("NA", "US", "TX", "Dallas"))
    assert [(r.part.name, r.reason) for r in policy.rank(client, 0.0)] == [
        ("tx", "TX"), ("us", "US"), ("na", "NA"), ("all", "default"),
    ]  # fmt: skip
    for region in (texas, us, america, everywhere):
        assert policy.answer(client, 1.0).regions == (region.name,)
        region.set_up(region.name, False, 1.0)
    answer = policy.answer(client, 1.0)
    assert (answer.regions, answer.health_ignored) == (("tx",), True)


def test_networks_win_over_places_and_the_longest_prefix_over_others() -> None:
    networks = {"10.0.0.0/8": DE, "10.1.2.0/24": [SG, US], "2001:db8::/32": [US], "10.9.0.0/16": []}
    networks["10.2.0.0/16"] = DE
    for given in (networks, NetworkTable(networks), [*networks.items()]):
        policy = Geolocation(MAP, networks=given, widen=False)
        for address, expected in {
            "10.0.0.1": ("de",),
            "10.1.2.3": ("sg", "us"),
            "10.1.3.3": ("de",),
            "::ffff:10.1.2.3": ("sg", "us"),
            "2001:db8::1": ("us",),
            "10.9.1.1": (),
            "11.0.0.1": ("de", "us", "sg"),
        }.items():
            client = Client(address, place=Place("EU"))
            assert policy.rank(client, 0.0).names == expected, address
    wide = Geolocation(MAP, networks=networks)
    ranking = wide.rank(Client("10.1.2.3", place=Place("EU", "FR")), 0.0)
    assert [ranked.reason for ranked in ranking] == [
        "network 10.1.2.0/24, number 1 of 2",
        "network 10.1.2.0/24, number 2 of 2",
        "EU, number 1 of 3",
    ]
    assert wide.answer(Client("10.9.1.1"), 0.0) == Answer((), (), "no region for this client")


def test_the_default_in_upper_case_is_the_default() -> None:
    us, de = one("us"), one("de")
    policy = Geolocation({"EU": {"DE": de, "DEFAULT": us}, "Default": us})
    for place in (None, Place("AS"), Place("EU"), Place("default")):
        assert policy.answer(Client(place=place), 0.0).regions == ("us",)
    with pytest.raises(InvalidSetting, match="'Default' is there twice"):
        Geolocation({"default": us, "Default": de})


def test_a_country_without_its_continent_matches_a_subdivision_with_the_same_code() -> None:
    us, de = one("us"), one("de")
    delaware = Client(place=Place("NA", "US", "DE"))
    for by_place, region in (
        ({"DE": de, "default": us}, "de"),
        ({"EU": {"DE": de}, "default": us}, "us"),
    ):
        policy = Geolocation(by_place)
        assert policy.answer(delaware, 0.0).regions == (region,)


def test_an_empty_list_and_a_missing_default_give_no_answer() -> None:
    policy = Geolocation({"EU": [DE], "AQ": []})
    assert policy.answer(Client(place=Place("AQ")), 0.0).members == ()
    assert policy.answer(Client(), 0.0).members == ()
    with_default = Geolocation({"AQ": [], "default": DE})
    assert with_default.answer(Client(place=Place("AQ", "AQ")), 0.0).members == ()
    assert not policy.healthy(0.0, Client())
    assert policy.healthy(0.0, Client(place=Place("EU")))


def test_places_are_read_through_any_object_with_get() -> None:
    class Database:
        def get(self, address: object) -> object:
            known = {"192.0.2.1": Place("EU"), "192.0.2.2": {"continent": {"code": "AS"}}}
            return known.get(str(address))

    policy = Geolocation(MAP, places=Database(), widen=False)
    found = [policy.rank(Client(f"192.0.2.{i}"), 0.0).names[0] for i in (1, 2, 3)]
    assert found == ["de", "sg", "us"]
    assert policy.rank(Client("192.0.2.1", place=Place("AS", "JP")), 0.0).names == ("sg", "us")


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Geolocation([US]), TypeError),  # type: ignore[arg-type]  # wrong arguments
        (lambda: Geolocation({"EU": "de"}), TypeError),
        (lambda: Geolocation({"EU": None}), TypeError),
        (lambda: Geolocation({5: US}), TypeError),  # type: ignore[dict-item]  # wrong arguments
        (lambda: Geolocation({"EU": [US, US]}), InvalidSetting),
        (lambda: Geolocation({"EU": US, "eu": DE}), InvalidSetting),
        (lambda: Geolocation({"EU": [one("x"), one("x")]}), InvalidSetting),
        (lambda: Geolocation({}, networks={"10.0.0.0/33": US}), InvalidSetting),
        (lambda: Geolocation({}, networks={"10.0.0.1/8": US}), InvalidSetting),
        (lambda: Geolocation({}, networks={"10.0.0.0/8": 5}), TypeError),
        (lambda: Geolocation({}, networks=5), TypeError),
        (lambda: Geolocation({}, places=5), TypeError),
        (lambda: Geolocation({}, widen=1), InvalidSetting),  # type: ignore[arg-type]  # wrong
        (lambda: Distance([US]), InvalidSetting),
        (lambda: Distance({US: "Paris"}), TypeError),
        (lambda: Distance([], limit=0), InvalidSetting),
        (lambda: Failover(US), TypeError),  # type: ignore[arg-type]  # wrong arguments
        (lambda: Failover("us"), TypeError),  # type: ignore[arg-type]  # wrong arguments
        (lambda: Failover([US, US]), InvalidSetting),
        (lambda: Failover([US], name=5), TypeError),  # type: ignore[arg-type]  # wrong arguments
        (lambda: Weighted({US: -1}, rng=Random(1)), InvalidWeight),
        (lambda: Weighted({US: nan}, rng=Random(1)), InvalidWeight),
        (lambda: Weighted({US: 1}, rng=1), TypeError),  # type: ignore[arg-type]  # wrong arguments
        (lambda: Weighted({US: 1}, rng=Random(1), up_thresh=2), InvalidSetting),
        (lambda: Weighted({US: 1}, rng=Random(1), multi=1), InvalidSetting),  # type: ignore[arg-type]  # wrong
        (lambda: Multivalue([US], rng=Random(1), limit=0), InvalidSetting),
        (lambda: Multivalue([5], rng=Random(1)), TypeError),  # type: ignore[list-item]  # wrong
        (lambda: Latency([US], table={}), TypeError),  # type: ignore[arg-type]  # wrong arguments
        (lambda: Place(latitude=91, longitude=0), InvalidSetting),
        (lambda: Place(latitude=-91, longitude=0), InvalidSetting),
        (lambda: Place(latitude=0, longitude=180.1), InvalidSetting),
        (lambda: Place(latitude=nan, longitude=0), InvalidSetting),
        (lambda: Place(latitude=0), InvalidSetting),
        (lambda: Place(longitude=0), InvalidSetting),
        (lambda: Place(latitude="0", longitude=0), InvalidSetting),  # type: ignore[arg-type]  # wrong
        (lambda: Place(5), InvalidSetting),  # type: ignore[arg-type]  # wrong arguments
        (lambda: Place.from_record({"location": 5}), InvalidSetting),
        (lambda: Place.from_record({"subdivisions": {"iso_code": "TX"}}), InvalidSetting),
        (lambda: Client("::1").place_in({Client("::1").lookup: "Paris"}), TypeError),
        (lambda: Place("EU").distance(Place(latitude=0, longitude=0)), InvalidSetting),
        (lambda: Client("nowhere at all"), InvalidKey),
        (lambda: Client(place="EU"), TypeError),  # type: ignore[arg-type]  # wrong arguments
        (lambda: Client(subnet="192.0.2.0/24"), TypeError),  # type: ignore[arg-type]  # wrong
        (lambda: Client(latencies={"us": nan}), InvalidSetting),
        (lambda: Client(latencies={"us": -0.1}), InvalidSetting),
        (lambda: Client(latencies={"us": inf}), InvalidSetting),
        (lambda: Client(latencies=[0.1]), TypeError),  # type: ignore[arg-type]  # wrong arguments
        (lambda: LatencyTable(max_age=0), InvalidSetting),
        (lambda: LatencyTable(smoothing=0), InvalidSetting),
        (lambda: LatencyTable(smoothing=nan), InvalidSetting),
        (lambda: LatencyTable(size=0), InvalidSetting),
        (lambda: LatencyTable(ipv4_prefix=33), InvalidSetting),
    ],
)  # fmt: skip
def test_wrong_arguments(make: Callable[[], object], error: type[Exception]) -> None:
    with pytest.raises(error):
        make()


def policies() -> list[Part]:
    here = Place(latitude=0, longitude=0)
    region = Region("r", ["m"], place=here)
    rng = Random(1)
    some = [Failover([region]), Geolocation({"default": region}), Distance([region])]
    return [*some, Latency([region]), Weighted({region: 1}, rng=rng), Multivalue([region], rng=rng)]


@pytest.mark.parametrize("now", [nan, inf, -inf, "0", None, True])
def test_a_time_that_is_not_one(now: Any) -> None:
    for policy in policies():
        for ask in (policy.rank, policy.answer):
            with pytest.raises(InvalidTime):
                ask(Client(), now)
        ranking = policy.rank(Client(), 0.0)
        for read in (ranking.first, ranking.answer, ranking.explain):
            with pytest.raises(InvalidTime):
                read(now)


def test_policies_without_parts() -> None:
    rng = Random(1)
    empty: list[Part] = [
        Failover([]), Distance([]), Latency([]), Geolocation({}),
        Weighted({}, rng=rng), Weighted({}, rng=rng, multi=True), Multivalue([], rng=rng),
    ]  # fmt: skip
    for policy in empty:
        assert policy.answer(Client(), 0.0).members == ()
        assert policy.rank(Client(), 0.0).names == ()
        assert not policy.healthy(0.0)
        first, second = policy, one("backup")
        assert Failover([first, second]).answer(Client(), 0.0).members == ("backup",)
