"""Wrong ways to judge the health of backends."""

from typing import Any

from balancers import FAILURE, HealthChecks
from balancers._internal.checks import LATEST, valid_now
from balancers.gates import (
    ActiveChecks,
    Consecutive,
    Leaky,
    MemberGate,
    OutlierEjection,
    PassiveChecks,
    SlidingWindow,
)
from balancers.gates._ejection_settings import EjectionBudget
from balancers.gates.health_checks import Health
from tests.mutants.mutant import genuine, mutant

health_finished = genuine(HealthChecks, "finished")
health_observe = genuine(HealthChecks, "observe")
consecutive_next_state = genuine(Consecutive, "next_state")
leaky_next_state = genuine(Leaky, "next_state")
sliding_window_next_state = genuine(SlidingWindow, "next_state")
member_removed = genuine(MemberGate, "removed")
member_notify_change = genuine(MemberGate, "notify_change")
passive_end_trial = genuine(PassiveChecks, "_end_trial")


@mutant(
    Consecutive,
    "next_state",
    "gates/test_health_rules.py::test_every_sequence_of_twelve[consecutive 3 2]",
)
def one_successful_probe_promotes(self: Any, state: Any, ok: bool) -> Any:
    return (True, 0) if ok else consecutive_next_state(self, state, ok)


@mutant(
    Consecutive, "next_state", "gates/test_gates.py::test_the_state_machine_counts_results_in_a_row"
)
def failures_need_not_be_in_a_row(self: Any, state: Any, ok: bool) -> Any:
    return state if ok == state[0] else consecutive_next_state(self, state, ok)


@mutant(
    Leaky, "next_state", "gates/test_health_rules.py::test_every_sequence_of_twelve[leaky 2 3 1]"
)
def successes_never_reset_the_failures(self: Any, state: Any, ok: bool) -> Any:
    after = leaky_next_state(self, state, ok)
    return (True, state[1], 0) if ok and state[0] else after


@mutant(
    SlidingWindow,
    "next_state",
    "gates/test_health_rules.py::test_every_sequence_of_twelve[of 3 2 2]",
)
def the_window_never_slides(self: Any, state: Any, ok: bool) -> Any:
    full = len(state[1]) == self._length
    return sliding_window_next_state(self, (state[0], () if full else state[1]), ok)


@mutant(Health, "flip", "test_known_bugs.py::test_counters_do_not_outlive_a_flip")
def counters_outlive_a_flip(self: Any, healthy: bool, when: float) -> None:
    self.machine.reset(healthy)
    self.flipped_at = when


@mutant(
    HealthChecks, "observe", "gates/test_gates.py::test_a_probe_sent_before_the_flip_is_ignored"
)
def a_late_probe_counts(
    self: Any, backend: Any, ok: bool, now: float, started_at: float | None = None
) -> None:
    health_observe(self, backend, ok, now)


@mutant(HealthChecks, "finished", "gates/test_gates.py::test_a_cancelled_request_is_not_counted")
def a_cancelled_request_counts_as_a_failure(
    self: Any, backend: Any, outcome: Any, in_flight: int, started_at: float, now: float
) -> None:
    outcome = FAILURE if outcome.ok is None else outcome
    health_finished(self, backend, outcome, in_flight, started_at, now)


@mutant(HealthChecks, "finished", "gates/test_gates.py::test_probes_promote_and_requests_do_not")
def requests_count_as_probes(
    self: Any, backend: Any, outcome: Any, in_flight: int, started_at: float, now: float
) -> None:
    if outcome.ok is not None:
        health_observe(self, backend, outcome.ok, now)


@mutant(
    EjectionBudget,
    "allowed",
    "gates/test_outlier_ejection.py::test_the_budget_is_for_all_rules_together_the_next_one_included",
)
def the_budget_does_not_include_the_next_ejection(self: Any, members: int) -> int:
    return int(self._max_ejected_share * members) + 1


@mutant(
    OutlierEjection,
    "removed",
    "gates/test_outlier_ejection.py::test_the_budget_shrinks_when_members_leave",
)
def the_budget_is_forgotten_when_members_leave(self: Any, backend: Any, now: float) -> None:
    self._ejections.pop(backend, None)
    self._to_evaluate.pop(backend, None)
    member_removed(self, backend, now)


@mutant(
    ActiveChecks,
    "expire",
    "gates/test_active_checks.py::test_an_outage_is_detected_within_the_bound_that_the_settings_imply[0]",
)
def a_missing_answer_is_a_success(self: Any, now: float) -> None:
    while self._next_deadline() <= now:
        _, probe = self._awaited.popitem(last=False)
        self._count_result(probe, True, False, probe.deadline, now)


@mutant(
    ActiveChecks,
    "_schedule",
    "gates/test_active_checks.py::test_no_probe_is_scheduled_in_the_past[None-3.0]",
)
def a_probe_is_scheduled_in_the_past(self: Any, backend: Any, when: float, now: float) -> None:
    self._scheduled.set(backend, when)


@mutant(
    SlidingWindow,
    "settled",
    "gates/test_active_checks.py::test_the_interval_is_fast_only_while_a_result_contradicts_the_state",
)
def a_window_is_settled_only_without_results(self: Any, state: Any) -> bool:
    return not state[1]


@mutant(
    OutlierEjection,
    "notify_change",
    "gates/test_soft_gates.py::test_changes_events_and_time[OutlierEjection-dry-run]",
)
def a_dry_run_reports_changes(self: Any, backend: Any) -> None:
    member_notify_change(self, backend)


@mutant(
    PassiveChecks,
    "notify_change",
    "gates/test_soft_gates.py::test_changes_events_and_time[PassiveChecks]",
)
def the_only_member_is_among_the_changes(self: Any, backend: Any) -> None:
    member_notify_change(self, backend)


@mutant(
    MemberGate,
    "clamp",
    "gates/test_soft_gates.py::test_changes_events_and_time[HealthChecks-time]",
)
def a_reader_may_go_back_in_time(self: Any, now: float) -> float:
    return valid_now(now, now)


@mutant(
    PassiveChecks,
    "started",
    "gates/test_passive_checks.py::test_one_request_is_let_through_after_the_pause_and_not_a_flood",
)
def all_requests_pass_after_a_pause(*arguments: Any) -> None:
    return


@mutant(
    PassiveChecks,
    "_end_trial",
    "gates/test_passive_checks.py::test_a_failed_trial_is_another_pause",
)
def any_outcome_of_a_trial_opens(
    self: Any, backend: Any, state: Any, ok: Any, started_at: float, now: float
) -> None:
    passive_end_trial(self, backend, state, ok is not None or None, started_at, now)


@mutant(
    PassiveChecks,
    "timer_expired",
    "gates/test_passive_checks.py::test_a_trial_that_does_not_end_is_given_up_and_may_still_open",
)
def a_trial_that_does_not_end_closes_for_ever(self: Any, backend: Any, when: float) -> None:
    state = self._members[backend]
    if state.on_trial:
        self.timers.set(backend, LATEST)
    else:
        state.on_trial, state.ignore_before, state.trials_in_flight = True, when, 0
