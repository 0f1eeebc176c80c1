"""Latencies: the client's own, then measured ones that are not too old, then by distance."""

from math import inf, nan
from random import Random
from typing import Any

import pytest

from balancers.errors import InvalidKey, InvalidSetting, InvalidTime
from balancers.gslb import Client, Latency, LatencyTable, Place, Region
from tests.depth import runs

PARIS = Region("paris", ["p"], place=Place(latitude=48.9, longitude=2.4))
TOKYO = Region("tokyo", ["t"], place=Place(latitude=35.7, longitude=139.7))
UNPLACED = Region("unplaced", ["u"])
LYON = Place(latitude=45.8, longitude=4.8)


def test_measured_latencies_win_over_estimates() -> None:
    table = LatencyTable()
    table.record("192.0.2.1", "tokyo", 0.001, 0.0)
    policy = Latency([PARIS, TOKYO], table=table)
    near = Client("192.0.2.200", place=LYON)
    assert policy.rank(near, 0.0).names == ("tokyo", "paris")
    assert policy.rank(Client("192.0.3.1", place=LYON), 0.0).names == ("paris", "tokyo")


def test_a_region_that_was_never_measured_is_not_avoided() -> None:
    """Else a client that was once served far away would be sent there for ever."""
    table = LatencyTable()
    table.record("192.0.2.1", "tokyo", 0.250, 0.0)
    ranking = Latency([TOKYO, PARIS], table=table).rank(Client("192.0.2.1", place=LYON), 0.0)
    assert [(r.part.name, r.reason) for r in ranking] == [
        ("paris", "about 0.00778 s, estimated from 389 km"),
        ("tokyo", "0.25 s, measured"),
    ]


def test_what_the_client_brings_wins_over_the_table() -> None:
    table = LatencyTable()
    table.record("192.0.2.1", "paris", 0.010, 0.0)
    table.record("192.0.2.1", "tokyo", 0.020, 0.0)
    client = Client("192.0.2.1", latencies={"tokyo": 0.005, "elsewhere": 0.001})
    ranking = Latency([PARIS, TOKYO], table=table).rank(client, 0.0)
    assert [ranked.reason for ranked in ranking] == ["0.005 s, measured", "0.01 s, measured"]


def test_unknown_regions_are_last_in_the_given_order() -> None:
    other = Region("other", ["o"])
    ranking = Latency([UNPLACED, other, TOKYO]).rank(Client(place=LYON), 0.0)
    assert ranking.names == ("tokyo", "unplaced", "other")
    assert ranking[2].reason == "the latency and the distance are unknown"
    assert Latency([UNPLACED, TOKYO]).rank(Client(), 0.0).names == ("unplaced", "tokyo")


def test_a_latency_of_0_and_ties() -> None:
    client = Client(latencies={"paris": 0.0, "tokyo": 0})
    assert Latency([TOKYO, PARIS]).rank(client, 0.0).names == ("tokyo", "paris")


def test_latencies_are_forgotten_after_their_age() -> None:
    table = LatencyTable(max_age=100.0)
    table.record("192.0.2.1", "a", 0.1, 0.0)
    table.record("192.0.2.1", "b", 0.2, 50.0)
    assert table.latencies("192.0.2.9", 100.0) == {"a": 0.1, "b": 0.2}
    assert table.latencies("192.0.2.9", 100.1) == {"b": 0.2}
    assert table.latencies("192.0.2.9", 150.1) == {}
    table.record("192.0.2.1", "a", 0.5, 200.0)  # the old one does not count any more
    assert table.latencies("192.0.2.9", 200.0) == {"a": 0.5}
    assert LatencyTable(max_age=inf).latencies("::1", 1e300) == {}
    assert repr(table) == "<LatencyTable: 1 networks>"


@pytest.mark.parametrize("seed", range(runs(100)))
def test_the_table_beside_a_plain_one(seed: int) -> None:
    rng = Random(seed)
    table = LatencyTable(max_age=10.0, smoothing=0.5, ipv4_prefix=16, size=3)
    plain: dict[str, dict[str, tuple[float, float]]] = {}
    now = 0.0
    for _ in range(60):
        now += rng.choice([0.0, 0.5, 4.0, 11.0])
        network, region = f"10.{rng.randrange(5)}", rng.choice("ab")
        if rng.random() < 0.7:
            seconds = rng.random()
            table.record(f"{network}.{rng.randrange(256)}.1", region, seconds, now)
            known = plain.pop(network, {})
            plain[network] = known
            if region in known and now - known[region][1] <= 10.0:
                seconds = (known[region][0] + seconds) / 2
            known[region] = seconds, now
            if len(plain) > 3:
                del plain[next(iter(plain))]
        known = plain.get(network, {})
        expected = {name: seconds for name, (seconds, at) in known.items() if now - at <= 10.0}
        assert table.latencies(f"{network}.9.9", now) == pytest.approx(expected)
        assert len(table) == len(plain)


def test_a_single_slow_answer_moves_no_client() -> None:
    table = LatencyTable()
    for now in range(20):
        table.record("192.0.2.1", "paris", 0.010, float(now))
        table.record("192.0.2.1", "tokyo", 0.040, float(now))
    policy, client = Latency([PARIS, TOKYO], table=table), Client("192.0.2.1")
    table.record("192.0.2.1", "paris", 0.120, 20.0)
    assert policy.rank(client, 20.0).names == ("paris", "tokyo")
    table.record("192.0.2.1", "paris", 0.120, 21.0)
    assert policy.rank(client, 21.0).names == ("tokyo", "paris")


@pytest.mark.parametrize("seconds", [nan, -0.001, inf, -inf, "1", None, True])
def test_a_wrong_latency_changes_nothing(seconds: Any) -> None:
    table = LatencyTable()
    with pytest.raises(InvalidSetting, match="latency of 'a'"):
        table.record("192.0.2.1", "a", seconds, 0.0)
    with pytest.raises(InvalidKey):
        table.record("here", "a", 0.1, 0.0)
    with pytest.raises(InvalidTime):
        table.record("192.0.2.1", "a", 0.1, nan)
    with pytest.raises(TypeError, match="region"):
        table.record("192.0.2.1", 5, 0.1, 0.0)  # type: ignore[arg-type]  # a wrong argument
    assert len(table) == 0
