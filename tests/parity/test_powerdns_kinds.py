"""The replay of PowerDNS with other records than the recorded ones."""

from fractions import Fraction
from typing import Any

import pytest

from tests.parity.bounds import beyond
from tests.parity.powerdns_zone import Call, Chain, Table, lua, lua_records, yaml
from tests.parity.recordings import Tally
from tests.parity.test_gslb_kinds import PLACES, agreed, texts
from tests.parity.test_gslb_replay import tallies

ZONE = (
    """$ORIGIN lua.example.org.
three 60 IN LUA A "pickclosest({'192.0.2.1','192.0.2.2','192.0.2.3'})"
four 60 IN LUA A "pickclosest({'192.0.2.1','192.0.2.9'})"
state 60 IN LUA A ";if(region('TX')) then return ONE elseif(country('AM')) then return BOTH end"
some 60 IN LUA A "view({{{'11.0.0.0/8'},{'192.0.2.1','192.0.2.2'}}})"
two 60 IN LUA A "pickrandomsample(2,{'192.0.2.1','192.0.2.2','192.0.2.3'})"
near 60 IN LUA A "ifportup(80,ALL,{selector='pickclosest',backupSelector='all'})"
url 60 IN LUA A "ifurlup('http://a/',{{'192.0.2.1'},{'192.0.2.2'}},{selector='all',backupSelector='all'})"
odd 60 IN LUA A "createReverse('%1%')"
loop 60 IN LUA A ";local x = 1; return x"
""".replace("ONE", "'192.0.2.1'")
    .replace("BOTH", "{'192.0.2.2','192.0.2.3'}")
    .replace("ALL", "{'192.0.2.1','192.0.2.2','192.0.2.3'}")
)


def lua_answered(*cases: dict[str, Any], geo: list[dict[str, Any]] | None = None) -> list[Tally]:
    whole = [{"rcode": "NOERROR", "ttl": 60, "scope": 24, **case} for case in cases]
    return tallies(
        {"implementation": "PowerDNS 4.7.3", "zone": ZONE, "geo": geo or PLACES, "cases": whole}
    )


@pytest.mark.parametrize(
    ("record", "client", "answers"),
    [
        ("three", "12.1.0.0/24", texts(2)),
        ("three", "100.64.0.0/24", texts(2)),  # 0° N 0° E
        ("state", "11.1.0.0/24", texts(1)),
        ("state", "14.0.0.0/8", texts(2, 3)),
        ("state", "13.0.0.0/8", []),
        ("some", "12.1.0.0/24", []),
    ],
)
def test_other_lua_records(record: str, client: str, answers: list[str]) -> None:
    assert agreed(lua_answered({"record": record, "client": client, "answers": answers}))
    wrong = lua_answered({"record": record, "client": client, "answers": texts(77)})
    assert any(tally.problems for tally in wrong)


@pytest.mark.parametrize(
    ("listening", "client", "answers"),
    [
        (texts(1, 3), "12.1.0.0/24", texts(1)),
        (texts(3), "12.1.0.0/24", texts(3)),
        ([], "12.1.0.0/24", texts(1, 2, 3)),
    ],
)
def test_the_nearest_of_what_listens(listening: list[str], client: str, answers: list[str]) -> None:
    case = {"record": "near", "client": client, "listening": listening, "answers": answers}
    assert agreed(lua_answered(case))
    first = {**case, "note": "very first query: nothing checked yet", "answers": texts(1, 2, 3)}
    assert agreed(lua_answered(first))


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ({"record": "odd", "client": "12.1.0.0/24"}, "the function 'createReverse'"),
        ({"record": "loop", "client": "12.1.0.0/24"}, "neither a call nor a chain"),
        ({"record": "gone", "client": "12.1.0.0/24"}, "no recorded zone has the name"),
        ({"record": "near", "client": "12.1.0.0/24"}, "which addresses are up is not recorded"),
        ({"record": "url", "listening": texts(1)}, "not which URL answers"),
        ({"record": "four", "client": "12.1.0.0/24"}, "no location of 192.0.2.9"),
        ({"record": "three", "client": "::ffff:12.1.0.0/120"}, "looks up the IPv6 address"),
    ],
)
def test_other_lua_records_are_named_with_the_reason(case: dict[str, Any], reason: str) -> None:
    [tally] = lua_answered({**case, "answers": texts(1)})
    assert [reason in each for each in tally.out_of_scope] == [True]
    assert not tally.problems


def at(north: float, east: float) -> list[dict[str, Any]]:
    return [*PLACES, {"net": "20.0.0.0/8", "lat": north, "lon": east}]


@pytest.mark.parametrize(
    ("north", "east", "reason"),
    [
        (1.3, -179.0, "a longitude difference below -180° decides"),
        (85.0, 120.0, "squared degrees decide"),
        (20.0, 10.0, ""),
    ],
)
def test_what_decides_is_found_from_the_data(north: float, east: float, reason: str) -> None:
    case = {"record": "three", "client": "20.1.0.0/16", "answers": texts(2)}
    [tally] = lua_answered(case, geo=at(north, east))
    assert [each.startswith(reason) for each in tally.out_of_scope] == [True] * bool(reason)
    assert not tally.problems


def test_a_database_without_a_radius_has_no_locations() -> None:
    geo = [
        {**row, "accuracy_radius": 5 if "192.0.2.3" not in row["net"] else None} for row in PLACES
    ]
    case = {"record": "three", "client": "12.1.0.0/24", "answers": texts(3)}
    [tally] = lua_answered(case, geo=geo)
    assert ["no location of 192.0.2.3" in each for each in tally.out_of_scope] == [True]


def test_samples_and_sets_of_answers_must_be_possible() -> None:
    for record, possible, impossible in (
        ("two", texts(1, 3), texts(1)),
        ("some", texts(2), texts(1, 2)),
    ):
        case = {"record": record, "client": "11.1.0.0/24"}
        assert not lua_answered({**case, "answers": possible})[0].problems
        assert lua_answered({**case, "answers": impossible})[0].problems
    counts = {"192.0.2.1 192.0.2.2": 100, "192.0.2.1 192.0.2.3": 95, "192.0.2.2 192.0.2.3": 105}
    assert not lua_answered({"record": "two", "queries": 300, "counts": counts})[0].problems


def test_the_bound_of_rare_answers_is_the_exact_one() -> None:
    one, other = frozenset("a"), frozenset("b")
    odds = {one: Fraction(1, 1000), other: Fraction(999, 1000)}
    assert not beyond({one: 3, other: 97}, odds), "4 sigma are 1.26, but P(X >= 3) is 1.5e-4"
    assert beyond({one: 4, other: 96}, odds), "P(X >= 4) is 3.8e-6, less than 3.17e-5"
    even = {one: Fraction(1, 2), other: Fraction(1, 2)}
    assert not beyond({one: 4800, other: 5200}, even), "200 is 4 sigma"
    assert beyond({one: 4790, other: 5210}, even)
    assert beyond({one: 0, other: 100}, even)
    assert beyond({one: 1}, {other: Fraction(1)}), "an answer of probability 0"
    assert beyond({one: 1}, {one: Fraction(1, 2)}), "the probabilities are not complete"


def test_the_language_of_lua_records_is_read() -> None:
    assert lua("f({1,-2.5,'a';b=true}, \"c\", nil)") == Call(
        "f", [Table([1, -2.5, "a"], {"b": True}), "c", None]
    )
    assert lua(";return f()") == Call("f", [])
    assert lua(";if(f('a')) then return 'b' else return g() end") == Chain(
        [(Call("f", ["a"]), "b"), (None, Call("g", []))]
    )
    assert lua_records('a IN LUA A "f(\\"b\\")"\nc 5 A 192.0.2.1')["a"] == ("A", 0, 'f("b")')


@pytest.mark.parametrize(
    "text",
    [
        "f(",
        "f)",
        "x",
        "f() g()",
        "1 + 1",
        ";if(f()) then x end",
        ";if(1) then return 2 end",
        "f:g()",
    ],
)
def test_other_programs_are_refused(text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        lua(text)


def test_the_zone_of_the_geoip_backend_is_read() -> None:
    text = "a:\n- b: 1  \n  c:\n    d.e: [ 'x, y', z ]\n    10.0.0.0/8: 'w'\n# no\n- f: {g: h}\n"
    wanted = [{"b": "1", "c": {"d.e": ["x, y", "z"], "10.0.0.0/8": "w"}}, {"f": {"g": "h"}}]
    assert yaml(text) == {"a": wanted}
    with pytest.raises(ValueError, match="YAML"):
        yaml("a:\n  - b\n  c")
