"""The policy for cassandra-driver, with the objects of the driver.  No server runs here."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

policies: Any = pytest.importorskip("cassandra.policies")
from cassandra.pool import Host
from cassandra.query import SimpleStatement

from balancers import (
    HashRing,
    LeastConnections,
    Maglev,
    RoundRobin,
    WeightedRoundRobin,
)
from tests.system.recipes import assert_idle, recipe

RECIPE = recipe("with_cassandra")


def hosts(count: int) -> list[Any]:
    return [Host(f"10.0.0.{number}", policies.SimpleConvictionPolicy) for number in range(count)]


def policy(kind: Any, count: int = 4) -> Any:
    made = RECIPE.PoolPolicy(kind)
    made.populate(None, hosts(count))
    return made


def is_not_the_third(host: Any) -> bool:
    return bool(host.address != "10.0.0.2")


def maglev() -> Any:
    return Maglev(identity=RECIPE.address_of)


def ring() -> Any:
    return HashRing(identity=RECIPE.address_of)


def firsts(of: Any, keys: list[bytes]) -> dict[bytes, Any]:
    statements = {key: SimpleStatement("select 1", routing_key=key) for key in keys}
    return {key: next(of.make_query_plan(None, query)) for key, query in statements.items()}


@pytest.mark.parametrize("kind", [RoundRobin, LeastConnections, WeightedRoundRobin])
def test_plans_take_turns_and_have_each_host_once(kind: Any) -> None:
    of = policy(kind)
    plans = [[*of.make_query_plan()] for _ in range(400)]
    assert {len(set(plan)) for plan in plans} == {4}
    assert set(Counter(plan[0] for plan in plans).values()) == {100}
    assert_idle(of.pool)


@pytest.mark.parametrize("kind", [ring, maglev])
def test_a_key_has_one_order_and_only_the_keys_of_a_lost_host_move(kind: Any) -> None:
    of = policy(kind)
    keys = [b"user %d" % number for number in range(200)]
    before = firsts(of, keys)
    assert firsts(of, keys) == before
    assert firsts(policy(kind), keys) == before  # another client, with hosts of its own
    lost = hosts(4)[1]
    of.on_down(lost)
    after = firsts(of, keys)
    assert lost not in after.values()
    assert all(after[key] == before[key] for key in keys if before[key] != lost)
    of.on_up(lost)
    assert firsts(of, keys) == before


def test_queries_without_a_key_are_spread_also_by_a_keyed_balancer() -> None:
    of = policy(ring)
    queries = [None, SimpleStatement("select 1")] * 200
    places = Counter(next(of.make_query_plan("space", query)) for query in queries)
    assert len(places) == 4
    assert min(places.values()) > 50


def test_hosts_come_and_go() -> None:
    of = policy(RoundRobin, 2)
    first, second, third = hosts(3)
    of.on_add(third)
    assert {*of.make_query_plan()} == {first, second, third}
    of.on_down(first)
    of.on_down(first)
    assert {*of.make_query_plan()} == {second, third}
    of.on_remove(second)
    of.on_remove(second)
    assert [*of.make_query_plan()] == [third]
    of.on_up(first)
    assert {*of.make_query_plan()} == {first, third}
    of.on_down(first)
    of.on_down(third)
    assert [*of.make_query_plan()] == []
    of.populate(None, [])
    assert [*of.make_query_plan()] == []


def test_the_policy_is_a_child_of_another_policy_of_the_driver() -> None:
    of = policy(RoundRobin)
    child: Any = policies.HostFilterPolicy(of, is_not_the_third)
    assert {host.address for host in child.make_query_plan()} == {
        "10.0.0.0",
        "10.0.0.1",
        "10.0.0.3",
    }
    assert child.distance(hosts(1)[0]) == policies.HostDistance.LOCAL


def test_threads_share_a_policy() -> None:
    of, all_hosts = policy(RoundRobin), hosts(4)

    def plan(number: int) -> int:
        if number % 5 == 0:
            of.on_down(all_hosts[number % 4])
        plan = [*of.make_query_plan()]
        of.on_up(all_hosts[number % 4])
        assert len(set(plan)) == len(plan)
        return len(plan)

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(plan, range(400))) <= {0, 1, 2, 3, 4}
    assert len([*of.make_query_plan()]) == 4
