"""What inner balancers are asked: with the key, at the time, and with the backends to avoid."""

from collections import Counter
from collections.abc import Collection
from math import inf
from typing import Any

import pytest

from balancers import ConnectionLimit, NoBackendAvailable, Pool, Rendezvous, RoundRobin
from balancers.algorithms import LeastLoaded, Tiers, Zones
from balancers.gates import CostLimit, CostRateLimit
from balancers.loads import PeakEwma
from tests.algorithms.tier_members import set_condition, tier_of


class Asked(RoundRobin[str]):
    """Stores how it is called, and refuses with a reason of its own if it is asked to."""

    def __init__(self, backends: Any) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.reason = ""
        super().__init__(backends)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        self.calls.append(("pick", key, now, {*avoid}))
        self.refuse()
        return super().pick(key, now, avoid)

    def plan(
        self, n: int, key: Any = None, now: float = 0.0, avoid: Collection[str] = ()
    ) -> list[str]:
        self.calls.append(("plan", n, key, now, {*avoid}))
        self.refuse()
        return super().plan(n, key, now, avoid)

    def refuse(self) -> None:
        if self.reason:
            raise NoBackendAvailable(self.reason, {self.reason: 1})

    def asked(self, name: str = "pick") -> list[tuple[Any, ...]]:
        """Return the calls of this method since the last time."""
        found, self.calls = self.calls, []
        return [call for call in found if call[0] == name]


def two_tiers(**settings: Any) -> tuple[Tiers[str], Asked, Asked]:
    first, second = Asked(["a0", "a1"]), Asked(["b0", "b1"])
    return Tiers([first, second], tier=tier_of, **settings), first, second


def test_the_only_tier_gets_the_key_and_the_time() -> None:
    lb, first, second = two_tiers()
    lb.pick("key", 1.0)
    lb.pick("key", 2.0, ["a0"])
    assert first.asked() == [("pick", "key", 1.0, set()), ("pick", "key", 2.0, {"a0"})]
    assert second.asked() == []


def test_tiers_that_share_the_requests_get_the_key_and_the_time() -> None:
    lb, first, second = two_tiers(factor=1)
    set_condition(lb, "a0", "down")
    picks = [lb.pick("key", float(now)) for now in range(4)]
    assert picks == ["a1", "b0", "a1", "b1"]
    assert first.asked() == [("pick", "key", now, set()) for now in (0.0, 2.0)]
    assert second.asked() == [("pick", "key", now, set()) for now in (1.0, 3.0)]


@pytest.mark.parametrize("shared", [False, True])
def test_a_tier_that_refuses_passes_the_same_request_on(shared: bool) -> None:
    lb, first, second = two_tiers(factor=1)
    if shared:
        set_condition(lb, "a0", "down")
    first.reason = "own"
    assert lb.pick("key", 5.0) == "b0"
    assert first.asked()[-1] == second.asked()[-1] == ("pick", "key", 5.0, set())
    second.reason = "other"
    for plans in (False, True):
        with pytest.raises(NoBackendAvailable, match="other" if shared else "own"):
            lb.plan(1, "key", 6.0) if plans else lb.pick("key", 6.0)


def test_a_plan_asks_each_tier_for_what_is_missing() -> None:
    lb, first, second = two_tiers()
    assert lb.plan(3, "key", 7.0, ["a1"]) == ["a0", "b0", "b1"]
    assert first.asked("plan") == [("plan", 3, "key", 7.0, {"a1"})]
    assert second.asked("plan") == []  # it is asked in a copy
    assert lb.plan(2, "key", 8.0) == ["a1", "a0"]
    set_condition(lb, "a0", "down")
    set_condition(lb, "a1", "down")
    first.asked("plan")
    assert lb.plan(2, "key", 9.0) == ["b0", "b1"]
    assert (first.asked("plan"), second.asked("plan")) == ([], [("plan", 2, "key", 9.0, set())])


def test_the_refusal_of_a_plan_is_that_of_a_pick() -> None:
    for plans in (False, True):
        lb, _, _ = two_tiers(overflow=False)
        for backend in ("a0", "a1"):
            set_condition(lb, backend, "full")
        with pytest.raises(NoBackendAvailable) as refused:
            lb.plan(3) if plans else lb.pick()
        assert (refused.value.full, refused.value.counts) == (2, {"saturated": 2})


def test_keyed_and_other_tiers_have_their_times() -> None:
    """PeakEwma compares times, so a wrong one fails."""
    fast = LeastLoaded(["a0"], load=PeakEwma[str]())
    lb = Tiers([fast, Rendezvous(["b0", "b1"])], tier=tier_of, factor=1)
    for now in (1.0, 2.0):
        lb.started("a0", now)
        assert lb.pick("key", now) == "a0"
        assert lb.plan(9, "key", now)[0] == "a0"
        assert lb.load_of("a0", now) == fast.load_of("a0", now)
    zones = Zones({"a": Asked(["a0"])}, zone=lambda _: "a", weights={"a": 1})
    assert zones.pick("key", 3.0, ["b"]) == "a0"
    (inner,) = zones.balancers
    assert isinstance(inner, Asked)
    assert inner.asked() == [("pick", "key", 3.0, {"b"})]


def test_turns_follow_the_usable_members_while_all_are_down() -> None:
    lb, _, _ = two_tiers()
    for backend in ("a0", "a1", "b0", "b1"):
        set_condition(lb, backend, "down", usable=True)
    assert Counter(lb.pick()[0] for _ in range(20)) == {"a": 10, "b": 10}
    lb.put("b0", 0)
    assert Counter(lb.pick()[0] for _ in range(30)) == {"a": 20, "b": 10}
    lb.put("b0", 1)
    lb.put("a0", 0)
    lb.put("a1", 0)
    assert {lb.pick()[0] for _ in range(5)} == {"b"}


def test_an_avoided_member_that_is_down_is_not_one_of_the_full_ones() -> None:
    lb, _, _ = two_tiers(overflow=False, factor=inf)
    set_condition(lb, "a0", "full")
    set_condition(lb, "a1", "down")
    avoided: list[list[str]] = [[], ["a1"], ["a1", "b0"]]
    for avoid in avoided:
        with pytest.raises(NoBackendAvailable) as refused:
            lb.pick(avoid=avoid)
        assert (refused.value.reason, refused.value.full) == ("saturated", 1)


def test_a_member_that_is_full_in_two_ways_is_waited_for() -> None:
    """It has too many requests, and no room for the cost of this one either."""
    lb, _, _ = two_tiers(overflow=False)
    pool = Pool(lb, [ConnectionLimit(1), CostLimit(10)])
    leases = [pool.acquire(0.0, cost=8) for _ in range(2)]
    assert [lease.backend for lease in leases] == ["a0", "a1"]
    for cost in (0, 1, 5):
        with pytest.raises(NoBackendAvailable) as refused:
            pool.acquire(0.0, cost=cost)
        assert (refused.value.reason, refused.value.full) == ("saturated", 2)
    pool.release(leases[0], 1.0)
    assert pool.acquire(1.0, cost=5).backend == "a0"


def test_a_cost_waits_for_its_tier_only_if_the_end_of_others_makes_room() -> None:
    for gates, waits in (
        ([CostLimit[str](10)], True),
        ([CostRateLimit[str](10, 60.0)], False),
        ([CostLimit[str](10), CostRateLimit[str](10, 60.0)], False),
        ([CostRateLimit[str](10, 60.0), CostLimit[str](10)], False),
    ):
        lb, _, _ = two_tiers(overflow=False)
        parts: list[Any] = [*gates]
        pool = Pool(lb, parts)
        for _ in range(2):
            assert pool.acquire(0.0, cost=8).backend in {"a0", "a1"}
        if waits:
            with pytest.raises(NoBackendAvailable) as refused:
                pool.acquire(0.0, cost=5)
            assert (refused.value.reason, refused.value.full) == ("saturated", 2)
        else:
            assert pool.acquire(0.0, cost=5).backend == "b0"
        assert pool.acquire(0.0, cost=2).backend == "a0"


def test_full_members_and_those_without_room_are_waited_for_together() -> None:
    lb, _, _ = two_tiers(overflow=False)
    limit = CostLimit[str](10)
    pool = Pool(lb, [limit])
    limit.set("a0", 5)
    for backend, cost in (("a0", 5), ("a1", 8)):
        pool.acquire(0.0, prefer=backend, cost=cost)
    with pytest.raises(NoBackendAvailable) as refused:
        pool.acquire(0.0, cost=5)
    assert (refused.value.reason, refused.value.full) == ("saturated", 2)
    assert pool.acquire(0.0, cost=2).backend == "a1"


def test_requests_follow_new_weights_of_zones() -> None:
    inner = {"a": RoundRobin(["a0"]), "b": RoundRobin(["b0"])}
    zones = Zones(inner, zone=lambda backend: backend[0], weights={"a": 3, "b": 1})
    assert Counter(zones.pick() for _ in range(40)) == {"a0": 30, "b0": 10}
    zones.reweigh({"a": 1, "b": 4})
    assert Counter(zones.pick() for _ in range(50)) == {"a0": 10, "b0": 40}
    zones.reweigh({"a": 1, "b": 0})
    assert Counter(zones.pick() for _ in range(9)) == {"a0": 9}


def test_the_tiers_and_zones_of_keys_are_those_of_every_version() -> None:
    """Otherwise gateways of two versions would send a key to different backends."""
    keys = [f"key {number}" for number in range(40)]
    lb = Tiers([Rendezvous(["a0", "a1"]), Rendezvous(["b0"])], tier=tier_of, factor=1)
    set_condition(lb, "a0", "down")
    found = "".join(lb.pick(key)[0] for key in keys)
    assert found == "aabaaabbabbabbaababaabababababbabbbaabba"
    inner = {zone: Rendezvous([f"{zone}0"]) for zone in "abc"}
    weights = {"a": 1, "b": 2, "c": 0.5}
    zones = Zones(inner, zone=lambda backend: backend[0], weights=weights)
    found = "".join(zones.pick(key)[0] for key in keys)
    assert found == "ababbabbbaababccbababbbaccacbbbbabcbbbbb"
