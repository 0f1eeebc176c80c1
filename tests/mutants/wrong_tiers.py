"""Wrong ways to divide requests among tiers."""

from typing import Any

from balancers.algorithms._inner_balancers import InnerBalancers
from balancers.algorithms._tier import Tier
from balancers.algorithms._tiered import Tiered
from balancers.algorithms._turns import Turns
from balancers.algorithms.zones import Zones
from balancers.errors import NoBackendAvailable
from tests.mutants.mutant import genuine, mutant

count = genuine(Tier, "count")
divide = genuine(Turns, "divide")
present_parts = genuine(Tiered, "_present_parts")
condition_changed = genuine(InnerBalancers, "condition_changed")


def do_nothing(*_: object) -> None:
    """Replace a method."""


@mutant(Tier, "count", "algorithms/test_tier_rules.py::test_full_is_not_down")
def full_is_down(self: Any, weight: float, condition: str, change: int) -> None:
    count(self, weight, "down" if condition == "full" else condition, change)


@mutant(Tier, "count", "algorithms/test_tier_rules.py::test_those_that_leave_are_not_counted")
def those_that_leave_count_as_down(self: Any, weight: float, condition: str, change: int) -> None:
    count(self, weight, "down" if condition == "leaving" else condition, change)


@mutant(
    Turns, "divide", "algorithms/test_tiers.py::test_a_flap_at_each_pick_does_not_starve_a_tier"
)
def new_parts_forget_the_credits(self: Any, parts: Any) -> None:
    self._credits = [0] * len(parts)
    self._taken = -1
    divide(self, parts)


@mutant(
    Tiered,
    "_present_parts",
    "algorithms/test_tier_rules.py::test_all_down_and_the_pool_fails_open",
)
def all_down_means_the_first_tier(self: Any) -> Any:
    parts, failing_open = present_parts(self)
    return ([1] + [0] * (len(parts) - 1), True) if failing_open else (parts, False)


@mutant(
    Tiered,
    "_refused",
    "algorithms/test_tier_rules.py::test_a_refusal_uses_the_turn_of_its_tier_only",
)
def a_refusal_keeps_the_turn(self: Any, full: int) -> NoBackendAvailable:
    return NoBackendAvailable("saturated", {"saturated": full}, full=full)


@mutant(
    Tiered,
    "hash_key",
    "algorithms/test_keyed_tiers.py::test_nested_tiers_use_independent_hashes",
)
def the_tier_depends_on_the_same_hash(self: Any, key: Any) -> int:
    digest: int = self.balancers[0].hash_key(key)
    return digest


@mutant(
    InnerBalancers,
    "condition_changed",
    "algorithms/test_tier_rules.py::test_each_balancer_is_informed_of_its_own_members_only",
)
def conditions_are_not_passed_on(self: Any, backend: Any, condition: Any) -> None:
    self._inform = do_nothing
    condition_changed(self, backend, condition)
    del self._inform


@mutant(
    Zones,
    "_place_of_hash",
    "algorithms/test_zones.py::test_only_keys_of_the_changed_zone_move[a]",
)
def zones_are_cut_one_after_the_other(self: Any, digest: int, parts: Any) -> int:
    place, edge = 0, parts[0] << 64
    while edge <= digest * sum(parts):
        place += 1
        edge += parts[place] << 64
    return place
