"""What inner balancers are asked: with the key, at the time, and with the backends to avoid."""

from collections.abc import Collection
from typing import Any

import pytest

from balancers import NoBackendAvailable, Rendezvous, RoundRobin
from balancers.algorithms import LeastLoaded, Tiers, Zones
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
