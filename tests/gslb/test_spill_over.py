"""Spill-over: only the excess moves, into regions that have room, and nothing oscillates."""

from collections import Counter
from math import inf, nan
from random import Random
from typing import Any

import pytest

from balancers.errors import InvalidSetting, InvalidTime, UnknownBackend
from balancers.gslb import Client, Distance, Failover, Place, Region, SpillOver, Weighted

CLIENTS = [Client(f"10.{i >> 8}.{i & 255}.1") for i in range(2000)]


def regions(**capacities: float) -> list[Region]:
    return [Region(name, [name], capacity=capacity) for name, capacity in capacities.items()]


def spill_over(demand: dict[str, float], **capacities: float) -> SpillOver:
    policy = SpillOver(Failover(regions(**capacities)))
    policy.set_demand(demand)
    return policy


def chosen(policy: SpillOver, now: float = 0.0) -> list[str]:
    return [policy.rank(client, now).names[0] for client in CLIENTS]


def test_only_the_excess_moves() -> None:
    counts = Counter(chosen(spill_over({"a": 2000}, a=500, b=inf)))
    assert counts["a"] == pytest.approx(500, abs=4 * (2000 * 0.25 * 0.75) ** 0.5)


def test_at_or_below_capacity_nothing_moves() -> None:
    policy = spill_over({"a": 1000.0, "b": 10.0}, a=1000, b=10)
    assert {*chosen(policy)} == {"a"}
    assert policy.keeps("a") == 1.0
    assert policy.room("b") == 0.0


def test_two_full_regions_do_not_exchange_clients() -> None:
    policy = spill_over({"a": 2000.0, "b": 1100.0}, a=1000, b=1000)
    assert {*chosen(policy)} == {"a"}
    other = SpillOver(Failover(regions(b=1000, a=1000)))
    other.set_demand({"a": 2000.0, "b": 1100.0})
    assert {*chosen(other)} == {"b"}


@pytest.mark.parametrize("seed", range(30))
def test_no_region_is_above_its_capacity_if_there_is_room(seed: int) -> None:
    """Clients with different orders pass on at once.  The loads are exact but for the hashes."""
    rng = Random(seed)
    names = [f"r{i}" for i in range(5)]
    orders = [rng.sample(names, 5) for _ in range(4)]
    clients = {at: CLIENTS[at * 500 : (at + 1) * 500] for at in range(4)}
    demand = Counter(order[0] for order in orders for _ in range(500))
    capacity = {name: rng.choice([100.0, 400.0, 700.0, 2000.0]) for name in names}
    loads = Counter[str]()
    for at, order in enumerate(orders):
        policy = SpillOver(Failover(regions(**{name: capacity[name] for name in order})))
        policy.set_demand(demand)
        loads.update(policy.rank(client, 0.0).names[0] for client in clients[at])
    assert loads.total() == 2000
    room = sum(max(0, capacity[name] - demand[name]) for name in names)
    excess = sum(max(0, demand[name] - capacity[name]) for name in names)
    for name in names:
        if excess <= room or demand[name] <= capacity[name]:
            assert loads[name] <= capacity[name] + 4 * 2000**0.5 / 2
        if demand[name] >= capacity[name]:
            assert loads[name] <= demand[name]
            assert loads[name] >= capacity[name] - 4 * 2000**0.5 / 2
        else:
            assert loads[name] >= demand[name]


def test_the_next_region_is_filled_first() -> None:
    counts = Counter(chosen(spill_over({"a": 2000}, a=1000, b=400, c=inf)))
    assert counts["b"] == pytest.approx(400, abs=4 * (2000 * 0.2 * 0.8) ** 0.5)
    assert counts["c"] == pytest.approx(600, abs=4 * (2000 * 0.3 * 0.7) ** 0.5)


def test_clients_without_room_stay() -> None:
    counts = Counter(chosen(spill_over({"a": 2000}, a=1000, b=400)))
    assert counts["b"] == pytest.approx(400, abs=4 * (2000 * 0.2 * 0.8) ** 0.5)
    assert counts["a"] == 2000 - counts["b"]


def test_the_same_demand_gives_the_same_answers_and_more_moves_more() -> None:
    before: set[int] = set()
    for load in (1100, 1500, 2500, 8000):
        policy = spill_over({"a": load}, a=1000, b=inf)
        moved = {i for i, name in enumerate(chosen(policy)) if name == "b"}
        policy.set_demand({"a": load})
        assert moved == {i for i, name in enumerate(chosen(policy)) if name == "b"}
        assert before < moved
        before = moved


def test_a_small_change_of_the_demand_moves_few_clients() -> None:
    policy = spill_over({"a": 2000.0, "b": 100.0}, a=1000, b=800, c=inf)
    before = chosen(policy)
    policy.set_demand({"a": 2020.0, "b": 90.0})
    moves = sum(x != y for x, y in zip(before, chosen(policy), strict=True))
    assert moves <= 60


def test_the_demand_does_not_depend_on_where_clients_are_answered() -> None:
    """So demands that are measured again and again by home() settle at once."""
    policy = SpillOver(Failover(regions(a=700, b=inf)))
    history: list[list[str]] = []
    for _ in range(5):
        homes = Counter(policy.home(client, 0.0) for client in CLIENTS)
        policy.set_demand({str(name): count for name, count in homes.items()})
        history.append(chosen(policy))
    assert all(answers == history[0] for answers in history)
    assert 600 < history[0].count("a") < 800


def test_a_region_that_is_down_takes_none() -> None:
    a, b, c = regions(a=1000, b=inf, c=inf)
    policy = SpillOver(Failover([a, b, c]))
    policy.set_demand({"a": 2000.0})
    b.set_up("b", False, 1.0)
    assert {*chosen(policy, 1.0)} == {"a", "c"}
    a.set_up("a", False, 2.0)
    assert {policy.home(client, 2.0) for client in CLIENTS[:9]} == {"c"}
    assert {policy.answer(client, 2.0).regions for client in CLIENTS[:99]} == {("c",)}
    c.set_up("c", False, 3.0)
    assert policy.home(CLIENTS[0], 3.0) is None
    assert {policy.answer(client, 3.0).regions for client in CLIENTS[:99]} == {("a",)}


def test_clients_with_an_ipv4_address_in_ipv6_pass_on_as_the_ipv4_address_does() -> None:
    policy = spill_over({"a": 2000.0}, a=1000, b=inf)
    for number in range(50):
        texts = f"10.0.{number}.1", f"64:ff9b::10.0.{number}.1", f"2002:a00:{number:x}01::1"
        assert len({policy.answer(Client(text), 0.0).regions for text in texts}) == 1


def test_a_network_passes_on_as_a_whole() -> None:
    policy = spill_over({"a": 2000.0}, a=1000, b=inf)
    assert len({policy.rank(Client(f"192.0.2.{i}"), 0.0).names for i in range(256)}) == 1
    assert policy.rank(Client(), 0.0).names[0] == "a"


def test_reasons_say_what_happens() -> None:
    policy = spill_over({"a": 2000.0}, a=1000, b=inf)
    assert {policy.rank(client, 0.0)[0].reason for client in CLIENTS[:50]} == {
        "a is full and keeps 50 % of its clients: this one stays; number 1 of 2",
        "a is full and keeps 50 % of its clients: this one passes on; number 2 of 2",
    }
    policy.set_demand({"a": 1000.0})
    assert policy.rank(CLIENTS[0], 0.0)[0].reason == "number 1 of 2"
    policy = spill_over({"a": 2000.0, "b": 1000.0}, a=1000, b=1000)
    reasons = [policy.rank(client, 0.0)[0].reason for client in CLIENTS[:50]]
    assert any("because no region has room; number 1 of 2" in reason for reason in reasons)


def test_within_a_continent_and_failover_across() -> None:
    eu = [
        Region("paris", ["p"], place=Place(latitude=48.9, longitude=2.4), capacity=1000),
        Region("berlin", ["b"], place=Place(latitude=52.5, longitude=13.4)),
    ]
    inside = SpillOver(Distance(eu))
    inside.set_demand({"paris": 2000.0})
    policy = Failover([inside, Region("us", ["u"])])
    lyon = Place(latitude=45.8, longitude=4.8)
    counts = Counter(
        policy.answer(Client(f"10.0.{i}.1", place=lyon), 0.0).regions[0] for i in range(256)
    )
    assert counts.keys() == {"paris", "berlin"}


@pytest.mark.parametrize("load", [nan, -1.0, inf, "1", None, True])
def test_a_wrong_demand_changes_nothing(load: Any) -> None:
    policy = spill_over({}, a=1000, b=inf)
    with pytest.raises(InvalidSetting, match="demand of b"):
        policy.set_demand({"a": 5000.0, "b": load})
    with pytest.raises(UnknownBackend, match="c"):
        policy.set_demand({"a": 5000.0, "c": 1.0})
    with pytest.raises(TypeError, match="demand"):
        policy.set_demand([("a", 5000.0)])  # type: ignore[arg-type]  # a wrong argument
    assert policy.keeps("a") == 1.0
    for ask in (policy.keeps, policy.room):
        with pytest.raises(UnknownBackend):
            ask("c")
    with pytest.raises(InvalidTime):
        policy.rank(CLIENTS[0], nan)


def test_extreme_demands() -> None:
    policy = SpillOver(Failover(regions(a=1e-300, b=1e300, c=inf)))
    policy.set_demand({"a": 1e300, "b": 1e300, "c": 1e300})
    assert {*chosen(policy)} == {"c"}
    policy.set_demand({"a": 5e-324})
    assert {*chosen(policy)} == {"a"}


def test_wrong_policies() -> None:
    with pytest.raises(InvalidSetting, match="capacity of a"):
        SpillOver(Failover(regions(a=0)))
    with pytest.raises(InvalidSetting, match="different names"):
        SpillOver(Failover([Failover(regions(a=1)), Failover(regions(a=1))]))
    with pytest.raises(TypeError, match="policy"):
        SpillOver(regions(a=1)[0])  # type: ignore[arg-type]  # a wrong argument


def test_a_part_that_draws_has_no_limit() -> None:
    (a,) = regions(a=10)
    drawn = Weighted(dict.fromkeys(regions(b=1, c=1), 1), rng=Random(1), name="drawn")
    policy = SpillOver(Failover([a, drawn]))
    policy.set_demand({"a": 1000.0})
    assert policy.room("drawn") == inf
    assert {policy.answer(client, 0.0).regions[0] for client in CLIENTS[:200]} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("address", "scope"),
    [
        ("192.0.2.1", 24),
        ("2001:db8::1", 56),
        ("::ffff:192.0.2.1", 120),
        ("64:ff9b::192.0.2.1", 120),
        ("2002:c000:201::1", 40),
    ],
)
def test_the_scope_is_that_of_the_hash_while_a_region_is_full(address: str, scope: int) -> None:
    policy = spill_over({"a": 1000.0}, a=1000, b=inf)
    assert policy.scope(Client(address)) == 0
    policy.set_demand({"a": 2000.0})
    assert policy.scope(Client(address)) == scope
    assert policy.scope(Client()) == 0
