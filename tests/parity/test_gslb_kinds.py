"""The replay of gdnsd with another configuration than the recorded one.

The expected answers are those of gdnsd's documentation.
"""

from typing import Any

import pytest

from tests.parity.gdnsd_config import parsed
from tests.parity.recordings import Tally
from tests.parity.test_gslb_replay import tallies

PLACES: list[dict[str, Any]] = [
    {
        "net": "11.1.0.0/16",
        "continent": "NA",
        "country": "US",
        "sub": "TX",
        "city": "Dallas",
        "lat": 32.8,
        "lon": -96.8,
    },
    {
        "net": "11.2.0.0/16",
        "continent": "NA",
        "country": "US",
        "sub": "WA",
        "city": "Seattle",
        "lat": 47.6,
        "lon": -122.3,
    },
    {
        "net": "12.1.0.0/16",
        "continent": "EU",
        "country": "DE",
        "sub": "BE",
        "city": "Berlin",
        "lat": 52.5,
        "lon": 13.4,
    },
    {"net": "13.0.0.0/8", "continent": "AS", "country": "JP", "lat": 35.7, "lon": 139.7},
    {"net": "14.0.0.0/8", "continent": "AS", "country": "AM"},
    {"net": "2001:db8:1::/48", "continent": "EU", "country": "FR", "lat": 48.9, "lon": 2.35},
    {"net": "192.0.2.1/32", "lat": 39.0, "lon": -77.5},
    {"net": "192.0.2.2/32", "lat": 50.1, "lon": 8.7},
    {"net": "192.0.2.3/32", "lat": 1.3, "lon": 103.9},
]
CONFIG = """
# every kind of entry that the format has
service_types = { ext => { plugin => extfile, file => "RUN/a \\"b\\" # c", direct => true } }
plugins => {
  multifo => {
    up_thresh => 0.5, service_types => ext
    THRESHOLDS
    inherited => {
      addrs_v4 => [ 192.0.2.1, 192.0.2.2 ]
      addrs_v6 => { up_thresh => 1.0, a => 2001:db8::1, b => 2001:db8::2 }
    }
    always => { service_types => up, a => 192.0.2.1, b => 192.0.2.2 }
  }
  simplefo => { service_types => ext, s2 => { primary => 192.0.2.1, secondary => 192.0.2.2 } }
  weighted => { service_types => ext
    w2 => { a => [ 192.0.2.1, 3 ] b => [ 192.0.2.2, 1 ] }
    many => { multi => true, WEIGHTS }
  }
  metafo => { service_types => ext, resources => {
    nested => { datacenters => [ one, two, three ], dcmap => {
      one => %multifo!inherited
      two => { plugin => simplefo, primary => 192.0.2.3, secondary => 192.0.2.4 }
      three => %weighted!w2 } }
    deep => { datacenters => [ far, near ], dcmap => { far => %metafo!nested, near => 192.0.2.9 } }
    named => { datacenters => [ a, b ], dcmap => { a => 192.0.2.1, b => help.example.com. } }
  } }
  geoip => {
    service_types => ext,
    maps => {
      levels => { geoip2_db => x.mmdb, datacenters => [ a, b, c ],
        map => { US => [ b ], EU => { Berlin => [ c, a ] }, AS => [ ] } }
      auto => { datacenters => [ a, b, c, d ], auto_dc_limit => 2,
        auto_dc_coords => { a => [ 39, -77.5 ], b => [ 50.1, 8.7 ], c => [ 1.3, 103.9 ] }
        map => { DE => [ d ] }, nets => { 13.1.0.0/16 => d, ::14.1.0.0/112 => [ c, d ] } }
    }
    resources => {
      levels => { map => levels, dcmap => { a => 192.0.2.1, b => 192.0.2.2, c => 192.0.2.3 } }
      auto => { map => auto, up_thresh => 1.0, dcmap => {
        a => [ 192.0.2.1, 192.0.2.11 ], b => 192.0.2.2, c => 192.0.2.3, d => 192.0.2.4 } }
    }
  }
}
"""
NEEDED = {  # from the documentation of multifo: the thresholds 0.1 to 0.9
    1: (1, 1, 1, 1, 1, 1, 1, 1, 1),
    2: (1, 1, 1, 1, 1, 2, 2, 2, 2),
    3: (1, 1, 1, 2, 2, 2, 3, 3, 3),
    5: (1, 1, 2, 2, 3, 3, 4, 4, 5),
    16: (2, 4, 5, 7, 8, 10, 12, 13, 15),
}


def thresholds() -> str:
    """Return resources of several sizes with the thresholds 0.1 to 0.9."""
    lines: list[str] = []
    for size in NEEDED:
        addresses = ", ".join(f"l{number} => 192.0.2.{number}" for number in range(1, size + 1))
        lines += [f"t{size}_{at} => {{ up_thresh => 0.{at}, {addresses} }}" for at in range(1, 10)]
    return "\n".join(lines)


WEIGHTS = " ".join(f"m{number} => [ 192.0.2.{number}, {number} ]" for number in range(1, 21))
TEXT = CONFIG.replace("THRESHOLDS", thresholds()).replace("WEIGHTS", WEIGHTS)


def answered(*cases: dict[str, Any]) -> list[Tally]:
    whole = [{"rcode": "NOERROR", "ttl": 300, "scope": None, **case} for case in cases]
    return tallies({"implementation": "gdnsd 3.8.1", "config": TEXT, "geo": PLACES, "cases": whole})


def agreed(found: list[Tally]) -> bool:
    assert sum(tally.compared + tally.statistical for tally in found) > 0
    return not any(tally.problems or tally.out_of_scope for tally in found)


def texts(*numbers: int) -> list[str]:
    return [f"192.0.2.{number}" for number in numbers]


@pytest.mark.parametrize("size", NEEDED)
def test_thresholds_of_the_documentation(size: int) -> None:
    cases: list[dict[str, Any]] = []
    everything = texts(*range(1, size + 1))
    for at, needed in enumerate(NEEDED[size], 1):
        for up in {0, needed - 1, needed, size}:
            answers = everything[:up] if up >= needed else everything
            name = f"t{size}_{at}"
            cases.append({"resource": name, "up": [*range(1, up + 1)], "answers": answers})
    assert agreed(answered(*cases))


@pytest.mark.parametrize(
    ("resource", "up", "answers"),
    [
        ("s2", [1, 2], texts(1)),
        ("s2", [1], texts(1)),
        ("s2", [2], texts(2)),
        ("s2", [], texts(1)),
        ("inherited", [2], texts(2)),
        ("always", [], texts(1, 2)),
        ("nested", [1, 2, 3], texts(1, 2)),
        ("nested", [4], texts(4)),
        ("nested", [], texts(1, 2)),
        ("nested/two", [1], texts(3)),
        ("metafo!nested/two", [4], texts(4)),
        ("deep", [9], texts(9)),
        ("deep", [2, 9], texts(2)),
        ("deep", [], texts(1, 2)),
        ("named", [], ["help.example.com."]),
        ("named", [1], texts(1)),
        ("w2", [2], texts(2)),
    ],
)
def test_other_resources(resource: str, up: list[int], answers: list[str]) -> None:
    below = resource == "w2"  # 1 of 4 is below the threshold, so both are possible
    found = answered({"resource": resource, "up": up, "answers": answers})
    assert agreed(found)
    assert sum(tally.statistical for tally in found) == below
    wrong = answered({"resource": resource, "up": up, "answers": [*answers, "192.0.2.99"]})
    assert any(tally.problems for tally in wrong)


def test_questions_for_ipv6_addresses() -> None:
    both = ["2001:db8::1", "2001:DB8:0::2"]
    case = {"resource": "inherited", "type": "AAAA", "answers": both}
    assert agreed(answered({**case, "up": ["2001:db8::1"]}))
    assert not agreed(answered({**case, "up": ["2001:db8::1"], "answers": both[:1]}))


@pytest.mark.parametrize(
    ("resource", "client", "up", "answers", "scope"),
    [
        ("levels", "11.1.0.0/24", [1, 2, 3], texts(2), 16),  # a country without its continent
        ("levels", "12.1.0.0/24", [1, 2, 3], texts(3), 16),  # a city without its country
        ("levels", "12.1.0.0/24", [1, 2], texts(1), 16),
        ("levels", "12.1.0.0/24", [2], texts(3), 16),
        ("levels", "13.1.0.0/24", [1, 2, 3], [], 8),  # an empty list: no data
        ("levels", "10.0.0.0/8", [1, 2, 3], texts(1), 8),
        ("auto", "11.1.0.0/24", [1, 2, 3, 4, 11], texts(1, 11), 16),
        ("auto", "11.1.0.0/24", [1, 2, 3, 4], texts(2), 16),
        ("auto", "11.1.0.0/24", [1, 3, 4], texts(1, 11), 16),  # the two nearest are down
        ("auto", "12.1.0.0/24", [1, 2, 3], texts(4), 16),
        ("auto", "13.1.0.0/24", [1, 2, 3, 4], texts(4), 16),
        ("auto", "14.1.0.0/24", [1, 2, 3, 4], texts(3), 16),
        ("auto", "14.2.0.0/24", [1, 2, 4, 11], texts(1, 11), 15),  # no coordinates
        ("auto", None, [1, 2, 4, 11], texts(1, 11), None),
    ],
)
def test_other_maps(
    resource: str, client: str | None, up: list[int], answers: list[str], scope: int | None
) -> None:
    case = {"resource": resource, "client": client, "up": up, "answers": answers}
    found = answered({**case, "scope": scope})
    assert agreed(found), [tally.problems for tally in found]


def test_a_scope_that_is_not_recorded_is_not_compared() -> None:
    case = {"resource": "s2", "up": [1], "answers": texts(1), "rcode": "NOERROR"}
    recording = {"implementation": "gdnsd 3.8.1", "config": TEXT, "geo": PLACES}
    assert agreed(tallies({**recording, "cases": [case]}))
    assert not agreed(tallies({**recording, "cases": [{**case, "scope": 24}]}))


def test_what_is_not_held_is_named() -> None:
    found = answered(
        {"resource": "always", "answers": texts(1, 2)},
        {"resource": "many", "queries": 10, "counts": {"192.0.2.20": 10}},
        {"resource": "nowhere", "answers": texts(1)},
    )
    reasons = {reason for tally in found for reason in tally.out_of_scope}
    assert reasons == {"more than 2 to the power of 12 answers are possible"}
    assert not any(tally.problems for tally in found), (
        "the scope of a name in the zone file is None"
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a => b", {"a": "b"}),
        ("{ a = b, }", {"a": "b"}),
        ("a => [ ] b => { }", {"a": [], "b": {}}),
        ("a => [ x, [ y ], { z => 1 } ]", {"a": ["x", ["y"], {"z": "1"}]}),
        ('"a b" => "c\\"d\\035"  # e', {"a b": 'c"d#'}),
        ("# nothing", {}),
    ],
)
def test_the_format_is_read(text: str, value: object) -> None:
    assert parsed(text) == value


@pytest.mark.parametrize(
    "text", ["a", "a =>", "a => }", "a => [ b", "a => b a => c", "} {", "{ a => b } c => d", '"a']
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="gdnsd configuration"):
        parsed(text)
