"""Wrong ways to choose the gates that a pool ignores."""

from typing import Any

from balancers.pool._census import Census
from balancers.pool._gate_set import GateSet
from balancers.pool._unproven import UnprovenGate
from balancers.pool._weights import Weights
from tests.mutants.mutant import genuine, mutant

census_init = genuine(Census, "__init__")
census_update = genuine(Census, "update")
census_choose_ignored = genuine(Census, "_choose_ignored")
census_panics = genuine(Census, "_panics")
gate_set_product = genuine(GateSet, "product")
weights_update = genuine(Weights, "update")


@mutant(
    Census,
    "_choose_ignored",
    "pool/test_fail_open.py::test_a_short_failure_of_all_backends_is_no_outage",
)
def a_pool_never_fails_open(self: Any) -> int:
    return census_choose_ignored(self) if self._panic else 0


@mutant(
    Census,
    "__init__",
    "pool/test_fail_open.py::test_without_a_panic_soft_gates_are_never_ignored",
)
def a_pool_without_a_panic_fails_open(self: Any, gates: Any, panic: Any, calm: Any) -> None:
    census_init(self, gates, 0.0 if panic is None else panic, calm)


@mutant(
    Census,
    "_choose_ignored",
    "pool/test_fail_open.py::"
    "test_a_last_resort_drain_serves_when_the_other_member_cannot[unhealthy]",
)
def a_last_resort_is_never_ignored(self: Any) -> int:
    return int(census_choose_ignored(self) & ~self._gates.last_resort)


@mutant(
    Census,
    "update",
    "pool/test_fail_open.py::test_a_last_resort_drain_serves_when_the_other_member_cannot[full]",
)
def a_last_resort_is_always_ignored(self: Any) -> bool:
    changed: bool = census_update(self)
    last_resort: int = self._gates.last_resort
    if not last_resort & ~self.ignored:
        return changed
    self.ignored |= last_resort
    self.last_resort = True
    self.eligible = self._open_without(self.ignored)
    self._counts = None
    return True


@mutant(
    Census,
    "_choose_ignored",
    "pool/test_fail_open.py::test_as_few_gates_as_possible_are_ignored[0.0]",
)
def a_last_resort_is_ignored_after_soft_gates(self: Any) -> int:
    if self._panic is not None and self._open_hard and not self.open:
        return int(self._gates.soft)
    return int(census_choose_ignored(self))


@mutant(
    Census,
    "_choose_ignored",
    "pool/test_fail_open.py::test_a_drain_over_an_unhealthy_member_does_not_hide_the_rest",
)
def soft_gates_and_a_last_resort_are_never_ignored_together(self: Any) -> int:
    ignored: int = census_choose_ignored(self)
    soft = self._gates.soft
    return soft if ignored & soft else ignored


@mutant(
    UnprovenGate,
    "factor",
    "pool/test_fail_open.py::"
    "test_what_is_down_until_proven_is_not_served_before_its_first_result[health]",
)
def a_backend_without_a_result_is_served_in_a_panic(self: Any, backend: Any, now: float) -> float:
    return 1


@mutant(Weights, "update", "pool/test_pool.py::test_panic_never_ignores_a_hard_gate")
def a_panic_opens_everything(
    self: Any, member: Any, factors: Any, closed_by: int, fractions: bool
) -> None:
    weights_update(self, member, factors, 0 if self._census.panicking else closed_by, fractions)


@mutant(Census, "update", "pool/test_events.py::test_panic_begins_and_ends")
def a_panic_never_ends(self: Any) -> bool:
    return not self.panicking and census_update(self)


@mutant(
    Census,
    "_panics",
    "pool/test_pool.py::test_panic_begins_below_its_share_ignores_weight_zero_and_ends_at_calm",
)
def a_panic_is_a_share_of_all_members(self: Any, open_members: int, open_hard: int) -> bool:
    return bool(census_panics(self, open_members, self.members))


@mutant(GateSet, "product", "pool/test_fail_open.py::test_fractions_of_ignored_gates_do_not_count")
def fractions_of_ignored_gates_count(
    self: Any, weight: float, factors: list[float], ignored: int
) -> float:
    return float(gate_set_product(self, weight, [factor or 1 for factor in factors], 0))
