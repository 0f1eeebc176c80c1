"""A change of members that a balancer refuses loses nothing that the balancers of groups know."""

from random import Random
from typing import Any

import pytest

from balancers import LeastConnections, Pool, PowerOfTwoChoices, RoundRobin
from balancers.algorithms import LeastLoaded, Tiers
from balancers.errors import InvalidSetting
from balancers.hashing import (
    BoundedLoad,
    HashRing,
    Jump,
    OwnerOnly,
    PrefixAffinity,
    Rendezvous,
    chain,
)
from balancers.loads import Ewma, PeakEwma
from balancers.pool import Group
from tests.pool.test_refused_updates import BALANCERS, busy_pool, knowledge, that_refuses


def turns(group: Group[str]) -> list[str]:
    """Return the next picks of a group.  Their leases stay in flight."""
    return [group.acquire(40.0).backend for _ in range(8)]


def known(pool: Pool[str], *balancers: Any) -> list[dict[str, Any]]:
    return [knowledge(pool, balancer) for balancer in balancers]


@pytest.mark.parametrize("name", BALANCERS)
@pytest.mark.parametrize("leavers", ["a", "bc", "abc"])
def test_a_group_that_refuses_a_removal_makes_no_other_balancer_forget(
    name: str, leavers: str
) -> None:
    balancer = BALANCERS[name]()
    pool, leases = busy_pool(balancer)
    first: BoundedLoad[str] = BoundedLoad(HashRing())
    groups = [pool.group(first, [*"abcd"]), pool.group(Jump(), [*"abcd"])]
    later = LeastLoaded[str](load=Ewma())
    groups.append(pool.group(later, [*"abcd"]))
    pool.release(pool.acquire(26.0, "k", prefer="b"), 29.0)
    noted = known(pool, balancer, first, later)
    assert noted[2]["loads"]["b"] > 0
    with pytest.raises(InvalidSetting, match="can leave Jump"):
        pool.update([b for b in "abcd" if b not in leavers], now=30.0)
    with pytest.raises(InvalidSetting, match="can leave Jump"):
        pool.remove("a", now=30.0)
    assert known(pool, balancer, first, later) == noted
    assert [[*group.weights] for group in groups] == [[*"abcd"]] * 3
    for lease in leases:
        pool.release(lease, 31.0)
    pool.update(["a", "b"], now=32.0)
    assert [[*group.weights] for group in groups] == [["a", "b"]] * 3


@pytest.mark.parametrize("own", ["RoundRobin", "Rendezvous", "LeastConnections"])
def test_a_pool_that_refuses_a_backend_makes_no_group_forget(own: str) -> None:
    kinds: dict[str, Any] = {
        "RoundRobin": RoundRobin,
        "Rendezvous": Rendezvous,
        "LeastConnections": LeastConnections,
    }
    picks: list[list[str]] = []
    for refused in (False, True):
        pool: Pool[str] = Pool(that_refuses(kinds[own]([*"abcd"])))
        loads = [PeakEwma[str](), PeakEwma[str]()]
        chosen = PowerOfTwoChoices[str](rng=Random(1), load=loads[0])
        kept = pool.group(chosen, [*"abcd"]), pool.group(LeastLoaded(load=loads[1]), [*"abcd"])
        in_turn = pool.group(RoundRobin[str](), [*"abcd"])
        pool.release(pool.acquire(1.0, "k", prefer="a"), 5.0)
        in_turn.acquire(5.0)
        noted = [load.value("a", 6.0) for load in loads]
        assert min(noted) > 0
        if refused:
            with pytest.raises(ValueError, match="refused"):
                pool.update({"c": 1, "new": 1, "refused": 1}, now=6.0)
        assert [load.value("a", 6.0) for load in loads] == noted
        assert [[*group.weights] for group in kept] == [[*"abcd"]] * 2
        picks.append(turns(in_turn))
    assert picks[0] == picks[1]


def test_a_group_that_picks_by_key_may_refuse_a_removal_after_others_were_created() -> None:
    pool: Pool[str] = Pool(RoundRobin([*"abcd"]))
    load = PeakEwma[str]()
    group = pool.group(LeastLoaded(load=load), [*"abcd"])
    refusing = pool.group(BoundedLoad(Jump()), [*"abcd"])
    pool.release(pool.acquire(1.0, prefer="a"), 5.0)
    lease, noted = pool.acquire(5.0, prefer="a"), load.value("a", 6.0)
    with pytest.raises(InvalidSetting, match="can leave Jump"):
        pool.update(["b", "c", "d"], now=6.0)
    assert load.value("a", 6.0) == noted > 0
    assert [*group.weights] == [*refusing.weights] == [*"abcd"]
    pool.release(lease, 6.0)


def test_a_refused_backend_makes_no_group_forget_what_is_in_caches() -> None:
    names, key = [f"engine-{number}" for number in range(6)], chain(list(range(512)))
    pool: Pool[str] = Pool(that_refuses(RoundRobin(names)))
    group = pool.group(PrefixAffinity[str](), names)
    cold = group.plan(0.0, key, 1)[0]
    other = next(name for name in names if name != cold)
    avoid = [name for name in names if name != other]
    pool.release(group.acquire(1.0, key, avoid=avoid), 2.0)
    for _ in range(2):
        assert group.plan(3.0, key, 1) == [other]
        with pytest.raises(ValueError, match="refused"):
            pool.update([cold, "refused"], now=3.0)


@pytest.mark.parametrize("name", ["BoundedLoad", "OwnerOnly", "Tiers"])
def test_a_group_with_state_that_picks_by_key_may_refuse_a_removal(name: str) -> None:
    kinds: dict[str, Any] = {
        "BoundedLoad": lambda: BoundedLoad(Jump()),
        "OwnerOnly": lambda: OwnerOnly(Jump()),
        "Tiers": lambda: Tiers([Jump()], tier=lambda _: 0),
    }
    load = PeakEwma[str]()
    pool: Pool[str] = Pool(LeastLoaded([*"abc"], load=load))
    caches: PrefixAffinity[str] = PrefixAffinity()
    prompts = pool.group(caches, [*"abc"])
    refusing = pool.group(kinds[name](), [*"abc"])
    key = chain(range(48))
    pool.release(prompts.acquire(1.0, key, among=["a"]), 5.0)
    caches.observe("a", stored=key)
    noted = load.value("a", 6.0)
    for _ in range(2):
        with pytest.raises(InvalidSetting, match="can leave Jump"):
            pool.remove("a", now=6.0)
        assert load.value("a", 6.0) == noted > 0
        assert caches.cached_blocks("a", key) == 3
        assert [*refusing.weights] == [*"abc"]


def test_a_group_loses_leavers_in_the_reverse_order_of_its_own_joins() -> None:
    pool: Pool[str] = Pool(RoundRobin([*"abcd"]))
    group = pool.group(Jump(), [*"dacb"])
    pool.update([*"ad"])
    assert [*group.weights] == [*"da"]
