"""Wrong ways to find recoveries, and to go on after an error of a gate."""

from typing import Any

from balancers.pool import _requests
from balancers.pool._gate_set import GateSet
from balancers.pool._members import Members
from balancers.pool._recoveries import Recoveries
from tests.mutants.mutant import genuine, mutant

gate_set_changes = genuine(GateSet, "changes")
members_apply_changes = genuine(Members, "_apply_changes")
recoveries_report = genuine(Recoveries, "report")
members_departures = genuine(Members, "_begin_or_end_departures")


@mutant(
    GateSet,
    "changes",
    "pool/test_recovery.py::test_a_recovery_between_two_requests_starts_a_ramp",
)
def a_recovery_between_two_requests_is_not_found(self: Any, members: Any, now: float) -> Any:
    for member, factors, _ in gate_set_changes(self, members, now):
        yield member, factors, False


@mutant(
    GateSet,
    "changes",
    "pool/test_recovery.py::test_the_end_of_a_drain_is_no_recovery",
)
def any_change_that_is_undone_is_a_recovery(self: Any, members: Any, now: float) -> Any:
    self._tells_recovery = [True for _ in self._tells_recovery]
    return gate_set_changes(self, members, now)


@mutant(
    GateSet,
    "changes",
    "pool/test_recovery.py::test_the_order_of_gates_does_not_decide_which_ramp_steps_first",
)
def changes_are_applied_in_the_order_of_gates(self: Any, members: Any, now: float) -> Any:
    for member in members.values():
        member.generation = 0
    return gate_set_changes(self, members, now)


@mutant(
    Recoveries,
    "report",
    "pool/test_recovery.py::test_every_recovery_at_once_starts_a_ramp",
)
def only_the_first_of_several_recoveries_counts(self: Any, now: float) -> None:
    for backend in [*self.waiting][1:]:
        del self.waiting[backend]
    recoveries_report(self, now)


@mutant(
    Recoveries,
    "report",
    "pool/test_recovery.py::"
    "test_a_gate_that_raises_costs_no_other_gate_its_recoveries[0-recovered]",
)
def a_gate_that_raises_ends_the_calls_of_recovered(self: Any, now: float) -> None:
    waiting = dict(self.waiting)
    self.waiting.clear()
    for backend, methods in waiting.items():
        for method in methods:
            method(backend, now)


@mutant(
    Members,
    "_apply_changes",
    "pool/test_recovery.py::test_a_factor_that_raises_keeps_the_recoveries_found_before_it[0]",
)
def recoveries_found_before_an_error_are_lost(self: Any, now: float) -> None:
    try:
        members_apply_changes(self, now)
    except BaseException:
        self.recoveries.waiting.clear()
        raise


@mutant(
    GateSet,
    "due",
    "pool/test_recovery.py::test_a_gate_that_raises_costs_no_other_gate_its_recoveries[0-factor]",
)
def due_ignores_changes_that_are_pending_after_an_error(self: Any) -> float:
    return min(float(watched.due) for watched in self.watched)


@mutant(
    Members,
    "_begin_or_end_departures",
    "pool/test_keep.py::test_an_absence_is_no_recovery",
)
def an_absence_counts_as_a_recovery(self: Any, change: Any, now: float) -> None:
    members_departures(self, change, now)
    for member in change.returners:
        self.recoveries.found(member.backend)
        self._gates.pending.setdefault(member.backend, [])


@mutant(
    _requests,
    "call_rest",
    "pool/test_recovery.py::"
    "test_a_gate_that_raises_at_the_end_of_a_request_costs_no_other_gate_its_news[0]",
)
def an_error_ends_the_calls_of_finished(methods: Any, failed: Any, *arguments: Any) -> None:
    return


@mutant(
    Members,
    "_report_removed",
    "pool/test_recovery.py::"
    "test_a_gate_that_raises_when_a_backend_leaves_keeps_the_counts_right[0]",
)
def an_error_ends_the_calls_of_removed(self: Any, leavers: Any, now: float) -> Exception | None:
    for member in leavers:
        for gate in self._gates.gates:
            try:
                gate.removed(member.backend, now)
            except ArithmeticError as error:
                return error
        self._record(now, "member", False, member.backend)
    return None


@mutant(Recoveries, "repeat", "pool/test_recovery.py::test_reading_does_not_use_up_a_slow_start")
def a_reading_uses_up_a_slow_start(self: Any, members: Any, soft: int, now: float) -> None:
    self.read_at.clear()
