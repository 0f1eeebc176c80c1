"""Rankings with reasons: composed, kept while health changes, and explained."""

import pickle
from copy import deepcopy
from itertools import product
from random import Random
from typing import Any

import pytest

from balancers import Drain, Pool, RoundRobin
from balancers.gslb import (
    Answer,
    Client,
    ClientSubnet,
    Distance,
    Failover,
    Geolocation,
    Latency,
    Multivalue,
    NetworkTable,
    Part,
    Place,
    Ranking,
    Region,
    Skipped,
    SpillOver,
    Weighted,
)
from tests.depth import runs

CITIES = {
    "tokyo": Place("AS", "JP", latitude=35.68, longitude=139.69),
    "london": Place("EU", "GB", latitude=51.51, longitude=-0.13),
    "new york": Place("NA", "US", "NY", latitude=40.71, longitude=-74.01),
}


def one(name: str, **settings: Any) -> Region:
    return Region(name, [name], **settings)


def down(*regions: Region, now: float = 0.0) -> None:
    for region in regions:
        region.set_up(region.name, False, now)


def test_clients_in_three_cities_get_their_nearest_data_centre() -> None:
    regions = {
        name: one(name, place=Place(latitude=latitude, longitude=longitude))
        for name, latitude, longitude in (
            ("osaka", 34.69, 135.50), ("dublin", 53.35, -6.26), ("virginia", 38.95, -77.45),
        )
    }  # fmt: skip
    policy = Distance(regions.values())
    found = [policy.answer(Client(place=place), 0.0).regions[0] for place in CITIES.values()]
    assert found == ["osaka", "dublin", "virginia"]
    down(regions["dublin"])
    answer = policy.answer(Client(place=CITIES["london"]), 1.0)
    assert (answer.regions, answer.degraded, answer.health_ignored) == (("virginia",), True, False)
    assert answer.skipped == (Skipped("dublin", "0 of 1 up, needs 1"),)


def test_latency_within_a_continent_and_failover_across() -> None:
    eu = [one("paris"), one("berlin")]
    us = [one("ohio"), one("oregon")]
    policy = Geolocation(
        {
            "EU": Failover([Latency(eu, name="eu"), Latency(us, name="us")], name="from eu"),
            "default": Failover([Latency(us, name="us"), Latency(eu, name="eu")], name="others"),
        },
        widen=False,
    )
    latencies = {"paris": 0.030, "berlin": 0.020, "ohio": 0.090, "oregon": 0.140}
    client = Client(place=Place("EU"), latencies=latencies)
    ranking = policy.rank(client, 0.0)
    assert ranking.names == ("berlin", "paris", "ohio", "oregon")
    assert ranking[2].reason == "EU; in from eu: number 2 of 2; in us: 0.09 s, measured"
    assert policy.rank(Client(latencies=latencies), 0.0).names == (
        "ohio", "oregon", "berlin", "paris",
    )  # fmt: skip
    for expected in ("berlin", "paris", "ohio", "oregon"):
        first = ranking.first(1.0)
        assert isinstance(first, Region)
        assert first.name == expected
        down(first, now=1.0)
    assert ranking.answer(1.0).regions == ("berlin",)
    assert ranking.answer(1.0).health_ignored


def random_policy(rng: Random, regions: list[Region], depth: int) -> Part:
    """Return a policy without draws over policies, up to a depth."""
    parts: list[Part] = [
        random_policy(rng, regions, depth - 1) if depth and rng.random() < 0.4 else region
        for region in rng.sample(regions, rng.randrange(1, len(regions) + 1))
    ]
    kind = rng.randrange(4)
    if kind == 0:
        return Geolocation({"EU": parts, "default": parts[:1]}, widen=rng.random() < 0.5)
    if kind == 1:
        return Latency(parts)
    return Failover(parts)


@pytest.mark.parametrize("seed", range(runs(200)))
def test_the_answer_is_the_first_healthy_part_of_any_composition(seed: int) -> None:
    rng = Random(seed)
    regions = [one(f"r{i}") for i in range(5)]
    policy = random_policy(rng, regions, 3)
    place = Place("EU") if seed % 2 else None
    client = Client(place=place, latencies={f"r{i}": rng.random() for i in range(0, 5, 2)})
    kept = policy.rank(client, 0.0)
    assert len({*kept.names}) == len(kept) > 0
    for now, states in enumerate(product((True, False), repeat=5)):
        for region, up in zip(regions, states, strict=True):
            region.set_up(region.name, up, float(now))
        healthy = [part for part in kept.parts if part.healthy(now)]
        expected = (healthy or [*kept.parts])[0]
        assert kept.first(now) is expected
        fresh, answer = policy.answer(client, now), kept.answer(now)
        assert fresh == answer
        assert answer.regions == (expected.name,)
        assert answer.health_ignored == (not healthy)
        position = kept.names.index(expected.name)
        assert [skipped.name for skipped in answer.skipped] == [*kept.names[:position]]
        assert kept[position].reason in answer.reason


def test_a_ranking_is_a_sequence_of_parts_and_reasons() -> None:
    a, b = one("a"), one("b")
    ranking = Failover([a, b]).rank(Client(), 0.0)
    assert [*ranking] == [ranking[0], ranking[1]] == [(a, "number 1 of 2"), (b, "number 2 of 2")]
    assert ranking[-1].part is b
    assert ranking[1:] == ((b, "number 2 of 2"),)
    assert len(ranking) == 2
    assert ranking[0] in ranking
    with pytest.raises(IndexError):
        ranking.reason(2)
    assert repr(ranking) == "<Ranking: a, b>"
    assert ranking == Latency([a, b]).rank(Client("192.0.2.1"), 5.0)
    assert hash(ranking) == hash(Latency([a, b]).rank(Client("192.0.2.1"), 5.0))
    assert ranking != Failover([b, a]).rank(Client(), 0.0)
    assert ranking != Failover([one("a"), one("b")]).rank(Client(), 0.0)
    assert ranking != ("a", "b")
    empty = Failover([]).rank(Client(), 0.0)
    assert (empty.first(0.0), empty.explain(0.0), repr(empty)) == (None, "", "<Ranking: empty>")


def test_an_explanation_says_why_each_part_is_where_it_is() -> None:
    a, b, c = one("a"), Region("b", ["x", "y", "z"], hold=10.0), one("c")
    down(a)
    for up, now in ((False, 1.0), (True, 2.0)):
        for member in "xyz":
            b.set_up(member, up, now)
    text = Failover([a, b, c]).rank(Client(), 3.0).explain(3.0)
    assert text.splitlines() == [
        "1. a: number 1 of 3; skipped: 0 of 1 up, needs 1",
        "2. b: number 2 of 3; skipped: 3 of 3 up, needs 2, held until 12.0",
        "3. c: number 3 of 3; answered: 1 of 1 up, needs 1",
    ]
    assert "not needed" in Failover([c, a]).rank(Client(), 3.0).explain(3.0)


def test_a_part_that_is_ranked_twice_keeps_its_first_position_and_reason() -> None:
    a, b = one("a"), one("b")
    policy = Failover([Failover([a], name="own"), Failover([b, a], name="all")])
    assert [(ranked.part.name, ranked.reason) for ranked in policy.rank(Client(), 0.0)] == [
        ("a", "number 1 of 2; in own: number 1 of 1"),
        ("b", "number 2 of 2; in all: number 1 of 2"),
    ]


def test_a_region_of_a_pool_in_a_kept_ranking() -> None:
    drain = Drain[str]()
    first = Region("first", Pool(RoundRobin(["a", "b"]), gates=[drain]))
    ranking = Failover([first, one("second")]).rank(Client(), 0.0)
    assert ranking.answer(0.0).members == ("a", "b")
    drain.begin("a", 1.0)
    assert ranking.answer(1.0).members == ("b",)
    drain.begin("b", 1.0)
    assert ranking.answer(1.0).members == ("second",)


def test_the_subnet_is_looked_up_unless_its_source_is_0() -> None:
    policy = Geolocation(
        {"default": one("default")},
        networks={"192.0.2.0/24": one("resolver"), "198.51.100.0/24": one("client")},
    )
    for subnet, expected in (
        (None, "resolver"),
        (ClientSubnet("198.51.100.0", 24), "client"),
        (ClientSubnet("::", 0), "resolver"),
        (ClientSubnet("203.0.113.0", 24), "default"),
    ):
        client = Client("192.0.2.1", subnet=subnet)
        assert policy.answer(client, 0.0).regions == (expected,)
    assert policy.answer(Client(), 0.0).regions == ("default",)


def every_policy() -> list[Part]:
    regions = [one(name, place=place) for name, place in CITIES.items()]
    rng = Random(1)
    table = NetworkTable({"192.0.2.0/24": regions[:2]})
    return [
        Failover(regions),
        Distance(regions, limit=2),
        Latency(regions),
        Geolocation({"EU": regions[::-1], "default": regions}, networks=table),
        Weighted(dict.fromkeys(regions, 1), rng=rng),
        Multivalue(regions, rng=rng),
        SpillOver(Distance(regions)),
        regions[0],
    ]


@pytest.mark.parametrize("policy", every_policy(), ids=lambda policy: type(policy).__name__)
def test_copies_and_pickles_answer_the_same(policy: Part) -> None:
    client = Client("192.0.2.1", place=CITIES["london"])
    copies = [deepcopy(policy), pickle.loads(pickle.dumps(policy))]  # noqa: S301 - own
    answers = [[part.answer(client, 0.0) for _ in range(20)] for part in (*copies, policy)]
    assert answers[0] == answers[1] == answers[2]
    ranking: Ranking = policy.rank(client, 0.0)
    for copy in (deepcopy(ranking), pickle.loads(pickle.dumps(ranking))):  # noqa: S301 - own
        assert [ranked.reason for ranked in copy] == [ranked.reason for ranked in ranking]
        first = copy.first(0.0)
        assert first is not None
        assert first.name == ranking.names[0]


@pytest.mark.parametrize("policy", every_policy(), ids=lambda policy: type(policy).__name__)
def test_every_part_has_a_name_and_a_status(policy: Part) -> None:
    assert policy.name in repr(policy)
    assert policy.status(0.0)
    assert policy.total == policy.share(0.0) > 0
    assert policy.healthy(0.0)
    assert policy.held(0.0)
    backup = one("backup")
    answer = Failover([policy, backup]).answer(Client("192.0.2.1"), 0.0)
    assert isinstance(answer, Answer)
    assert "backup" not in answer.regions
    assert answer.members


def test_a_part_of_the_user() -> None:
    """A subclass of a region, for example with a state from elsewhere."""

    class Switched(Region):
        open = True

        def healthy(self, now: float, client: Client | None = None) -> bool:
            return self.open and super().healthy(now, client)

    own, backup = Switched("own", ["o"]), one("backup")
    ranking = Failover([own, backup]).rank(Client(), 0.0)
    assert ranking.first(0.0) is own
    own.open = False
    assert ranking.first(0.0) is backup


def test_policies_as_parts_of_a_draw_answer_for_their_client() -> None:
    near, far = one("near", place=CITIES["london"]), one("far", place=CITIES["tokyo"])
    inner = Distance([far, near], name="inner")
    policy = Weighted({inner: 1}, rng=Random(1))
    client = Client(place=Place("EU", latitude=50, longitude=0))
    answer = policy.answer(client, 0.0)
    assert answer.regions == ("near",)
    assert answer.reason == "near: drawn with weight 1 of 1; in inner: 168 km away"
    down(near)
    answer = policy.answer(client, 0.0)
    assert (answer.regions, answer.degraded, answer.health_ignored) == (("far",), True, False)
    assert answer.skipped == (Skipped("near", "0 of 1 up, needs 1"),)
    down(far)
    answer = policy.answer(client, 0.0)
    assert (answer.regions, answer.health_ignored) == (("near",), True)
    assert not policy.held(0.0, client)
    nothing = Weighted({Failover([], name="empty"): 1}, rng=Random(1)).answer(client, 0.0)
    assert (nothing.members, nothing.health_ignored) == ((), True)
