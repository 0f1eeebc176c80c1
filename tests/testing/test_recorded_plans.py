"""A recorder writes plans, requests among given backends, costs and progress, and they repeat."""

import json
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from balancers import Balancer, HashRing, NoBackendAvailable, Pool, PowerOfTwoChoices, RoundRobin
from balancers.errors import AlreadyReleased, BalancersError, ForeignLease, NotPlannable
from balancers.loads import InFlightCost
from balancers.testing import Diverged, Header, InvalidLog, Recorder, replay
from tests.kinds import KINDS, Kind

BACKENDS = ["a", "b", "c", "d"]


def of_costs(rng: Random) -> Balancer[str]:
    return PowerOfTwoChoices(BACKENDS, rng=rng, load=InFlightCost())


def traffic(pool: Pool[Any], seed: int, key: Any = None, turns: int = 60) -> None:
    """Plan and acquire, some of it refused, and report progress with other costs."""
    rng, leases, now = Random(seed), list[Any](), 0.0
    for _ in range(turns):
        now += rng.random()
        avoid = rng.sample(BACKENDS, rng.randrange(4))
        with suppress(BalancersError, TypeError):
            planned = pool.plan(now, key, n=rng.randrange(4), avoid=rng.choice([(), avoid]))
            cost = rng.choice([0, 5, 10**30, -1])
            among = rng.choice([None, planned[::-1], avoid])
            leases.append(pool.acquire(now, key, avoid=avoid, cost=cost, among=among))
        if leases and rng.random() < 0.5:
            with suppress(BalancersError):
                pool.progress(rng.choice(leases), now, cost=rng.choice([None, 0, 3, -2]))
        if leases and rng.random() < 0.5:
            with suppress(BalancersError):
                pool.release(rng.choice(leases), now, first=rng.choice([None, 0.25]))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_plans_of_every_balancer_repeat(kind: Kind) -> None:
    lines: list[str] = []
    key = (
        ([*kind.keys] if isinstance(kind.keys, list) else ["key"])[0] if kind.make().keyed else None
    )

    def make(_: Header | None = None) -> Pool[Any]:
        balancer = kind.make()
        for backend in BACKENDS:
            balancer.put(backend, (kind.weights if isinstance(kind.weights, tuple) else (1,))[0])
        return Pool(balancer)

    pool = make()
    with Recorder(pool, write=lines.append):
        traffic(pool, 1, key)
    replay(lines, make)
    assert any("plan" in line for line in lines)


def recorded(seed: int) -> list[str]:
    lines, rng = list[str](), Random(5)
    pool = Pool(of_costs(rng))
    with Recorder(pool, write=lines.append, rng=rng):
        traffic(pool, seed)
    return lines


def again(header: Header) -> Pool[str]:
    return Pool(of_costs(header.rngs[0]))


@pytest.mark.parametrize("seed", range(5))
def test_costs_and_choices_among_backends_repeat(seed: int) -> None:
    lines = recorded(seed)
    replay(lines, again)
    texts = "".join(lines)
    for part in ('"plan"', '"progress":', '"cost":', '"among":', '"first":'):
        assert part in texts


def test_another_plan_is_a_difference() -> None:
    lines: list[str] = []
    pool = Pool(RoundRobin(BACKENDS))
    with Recorder(pool, write=lines.append):
        pool.plan(0.0, n=2)
    assert json.loads(lines[1])["gives"] == ["a", "b"]
    with pytest.raises(Diverged, match=r"plan\(0.0, n=2\) of the pool"):
        replay(lines, lambda _: Pool(RoundRobin(BACKENDS, offset=1)))


def test_the_calls_of_the_context_manager_are_recorded_with_their_cost() -> None:
    lines: list[str] = []
    pool = Pool(RoundRobin(BACKENDS))
    with (
        Recorder(pool, write=lines.append),
        pool.lease(lambda: 1.0, cost=7, among=["c"]) as lease,
    ):
        assert (lease.backend, lease.cost) == ("c", 7)
    assert json.loads(lines[1]) == {
        "acquire": 1, "t": 1.0, "cost": 7, "among": ["c"], "to": "c",
    }  # fmt: skip


def test_progress_of_a_wrong_lease_repeats() -> None:
    lines: list[str] = []
    pool = Pool(RoundRobin(BACKENDS))
    foreign = Pool(RoundRobin(BACKENDS)).acquire(0.0)
    with Recorder(pool, write=lines.append):
        lease = pool.acquire(0.0, cost=3)
        pool.progress(lease, 1.0, cost=1)
        pool.release(lease, 2.0)
        with pytest.raises(AlreadyReleased):
            pool.progress(lease, 3.0)
        with pytest.raises(ForeignLease):
            pool.progress(foreign, 3.0)
    assert [json.loads(line).get("progress") for line in lines[1:-1]] == [
        None, 1, None, "released", "foreign",
    ]  # fmt: skip
    replay(lines, lambda _: Pool(RoundRobin(BACKENDS)))
    edited = [line.replace('"progress":1', '"progress":9') for line in lines]
    with pytest.raises(InvalidLog, match="not in flight"):
        replay(edited, lambda _: Pool(RoundRobin(BACKENDS)))


def test_refused_plans_repeat() -> None:
    class Plain(HashRing[str]):
        plan = None  # type: ignore[assignment]  # a balancer without a plan

    lines: list[str] = []
    pool = Pool[str](Plain(["a"]))
    with Recorder(pool, write=lines.append), pytest.raises(NotPlannable):
        pool.plan(0.0, "key")
    replay(lines, lambda _: Pool(Plain(["a"])))
    lines.clear()
    empty = Pool(RoundRobin[str]())
    with Recorder(empty, write=lines.append), pytest.raises(NoBackendAvailable):
        empty.plan(0.0)
    assert json.loads(lines[1])["raises"]["reason"] == "empty"


def test_a_pool_with_groups_is_not_recorded() -> None:
    lines: list[str] = []
    pool = Pool(RoundRobin(BACKENDS))
    group = pool.group(RoundRobin(), ["a"])
    with pytest.raises(TypeError, match="a pool with groups cannot be recorded: <Pool of"):
        Recorder(pool, write=lines.append)
    group.close()
    with Recorder(pool, write=lines.append):
        with pytest.raises(TypeError, match="close the recorder first"):
            pool.group(RoundRobin(), ["a"])
        pool.acquire(0.0)
    assert replay(lines, lambda _: Pool(RoundRobin(BACKENDS))).requests == 1
    assert pool.group(RoundRobin(), ["a"]).acquire(1.0).backend == "a"
