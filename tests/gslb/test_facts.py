"""Reasons of rankings as values, and the texts that are written of them."""

import pickle
from collections.abc import Callable
from ipaddress import IPv4Address
from math import inf
from random import Random
from typing import Any

import pytest

from balancers.gslb import (
    Client,
    Distance,
    Failover,
    Geolocation,
    Latency,
    LatencyTable,
    Multivalue,
    Part,
    Place,
    Region,
    SpillOver,
    Weighted,
)

PARIS = Place("EU", "FR", latitude=48.9, longitude=2.4)
LYON = Place("EU", "FR", latitude=45.8, longitude=4.8)
CLIENT = Client("12.3.4.5", place=LYON, latencies={"a": 0.02})
KM, HALF = 389, 195  # from Lyon to Paris


def two(**bias: float) -> list[Region]:
    return [
        Region(name, [name], place=place, bias=bias.get(name, 0), capacity=capacity)
        for name, place, capacity in (("a", PARIS, inf), ("b", LYON, 100.0))
    ]


def rounded(fact: Any) -> Any:
    """Return a fact with whole kilometres, and with the names of policies."""
    if isinstance(fact, tuple):
        return tuple(rounded(each) for each in fact)  # pyright: ignore[reportUnknownVariableType]  # a fact has any parts
    if isinstance(fact, Part):
        return fact.name
    return round(fact) if isinstance(fact, float) and fact > 1 else fact


def numbers(first: int, length: int) -> list[Any]:
    prefix = (4, first, length)
    return [(prefix, 1, 2), (prefix, 2, 2)]


@pytest.mark.parametrize(
    ("make", "facts"),
    [
        (lambda: Distance(two()), [0.0, KM]),
        (lambda: Distance(two(a=50)), [(0.0, 0), (HALF, 50)]),
        (lambda: Latency(two()[:1]), [(0.02, True)]),
        (lambda: Geolocation({"FR": two()}), [("FR", 1, 2), ("FR", 2, 2)]),
        (
            lambda: Geolocation({}, networks={"12.3.0.0/16": two()}),
            numbers(int(IPv4Address("12.3.0.0")), 16),
        ),
        (lambda: Failover(two()), ["number 1 of 2", "number 2 of 2"]),
        (lambda: Weighted({two()[0]: 3}, rng=Random(1)), [(3, 3)]),
        (lambda: Multivalue(two(), rng=Random(1)), ["drawn at random"] * 2),
        (
            lambda: Failover([Distance(two(), name="near"), Region("c", ["c"])]),
            [
                ("number 1 of 2", "near", 0.0),
                ("number 1 of 2", "near", KM),
                "number 2 of 2",
            ],
        ),
        (
            lambda: Failover([Failover([Failover(two()[:1], name="x")], name="y")], name="z"),
            [("number 1 of 1", "y", ("number 1 of 1", "x", "number 1 of 1"))],
        ),
    ],
)
def test_the_facts_of_each_policy(make: Callable[[], Part], facts: list[Any]) -> None:
    ranking = make().rank(CLIENT, 0.0)
    assert [rounded(fact) for fact in ranking.facts] == [rounded(fact) for fact in facts]
    assert len(ranking.parts) == len(ranking.facts)


def full() -> SpillOver:
    policy = SpillOver(Distance(two(), name="near"), name="spill")
    policy.set_demand({"b": 1e9})
    return policy


def widened() -> Geolocation:
    a, b = two()
    return Geolocation({"EU": b, "default": [a, b]}, networks={"12.3.0.0/16": a})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Distance(two(b=-9)),
        lambda: Distance(two(), limit=1),
        lambda: Latency([*two(), Region("c", ["c"])]),
        widened,
        lambda: Failover([full(), Region("c", ["c"])], name="outer"),
        full,
    ],
)
@pytest.mark.parametrize("client", [CLIENT, Client("12.3.4.5"), Client()])
def test_each_text_is_written_of_its_fact_also_after_a_pickle(
    make: Callable[[], Part], client: Client
) -> None:
    ranking = make().rank(client, 0.0)
    texts = [ranked.reason for ranked in ranking]
    assert texts == [ranking.describe(fact) for fact in ranking.facts]
    assert texts == [ranking.reason(at) for at in range(len(ranking))]
    copy = pickle.loads(pickle.dumps(ranking))  # noqa: S301 - made here
    assert [ranked.reason for ranked in copy] == texts


def test_the_fact_of_a_client_that_passes_on() -> None:
    ranking = full().rank(CLIENT, 0.0)
    why, fact = ranking.facts[0]
    assert (ranking.names, round(fact), round(ranking.facts[1])) == (("a", "b"), KM, 0)
    assert why == "b is full and keeps 1e-05 % of its clients: this one passes on"
    assert ranking.reason(0) == f"{why}; {KM} km away"


def test_the_facts_of_a_network_are_a_sequence() -> None:
    policy = Geolocation({}, networks={"12.3.0.0/16": two()})
    facts = policy.rank(CLIENT, 0.0).facts
    pair = tuple(numbers(int(IPv4Address("12.3.0.0")), 16))
    assert (tuple(facts), len(facts)) == (pair, 2)
    assert (facts[0], facts[-1], facts[1:], facts[:-5]) == (pair[0], pair[1], pair[1:], ())
    assert [*reversed(facts)] == [pair[1], pair[0]]
    for at in (2, -3):
        with pytest.raises(IndexError):
            facts[at]


def test_the_facts_of_what_is_not_known() -> None:
    table = LatencyTable()
    table.record("12.3.4.5", "b", 0.5, now=0.0)
    ranking = Latency([*two(), Region("c", ["c"])], table=table).rank(Client("12.3.4.5"), 0.0)
    assert [*ranking.facts] == [(0.5, True), (inf, False), (inf, False)]
    unknown = Distance(two()).rank(Client(), 0.0)
    assert [*unknown.facts] == [
        f"the place of the client is unknown, number {at} of 2" for at in (1, 2)
    ]
