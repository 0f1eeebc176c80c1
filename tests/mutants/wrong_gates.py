"""Wrong ways to open and close backends."""

from typing import Any

from balancers import FAILURE, ConnectionLimit, Drain, HealthChecks, SlowStart
from balancers._internal.checks import LATEST, valid_now
from balancers.gates import (
    ActiveChecks,
    Consecutive,
    CoolDown,
    Drained,
    DynamicLimit,
    Leaky,
    MemberGate,
    OutlierEjection,
    PassiveChecks,
    SlidingWindow,
    WarmUp,
)
from balancers.gates._ramp import RampGate
from balancers.gates.health_checks import Health
from balancers.overload import AdmissionQueue, BudgetedRequest
from tests.mutants.mutant import genuine, mutant

health_finished = genuine(HealthChecks, "finished")
consecutive_next_state = genuine(Consecutive, "next_state")
leaky_next_state = genuine(Leaky, "next_state")
sliding_window_next_state = genuine(SlidingWindow, "next_state")
member_added = genuine(MemberGate, "added")
member_removed = genuine(MemberGate, "removed")
member_notify_change = genuine(MemberGate, "notify_change")
health_observe = genuine(HealthChecks, "observe")
drain_begin = genuine(Drain, "begin")
ramp_begin = genuine(RampGate, "begin")
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


@mutant(ConnectionLimit, "factor", "gates/test_gates.py::test_a_backend_with_its_own_limit")
def one_more_than_the_limit(self: Any, backend: Any, now: float) -> float:
    return 1 if self.in_flight_on(backend) <= self.state_of(backend) else 0


@mutant(ConnectionLimit, "finished", "gates/test_gates.py::test_a_backend_with_its_own_limit")
def a_backend_at_its_limit_stays_closed(self: Any, *_: Any) -> None:
    return


@mutant(
    Drain,
    "drained",
    "gates/test_gates.py::test_a_drain_ends_when_idle_or_at_its_deadline_and_is_reported_once",
)
def a_drain_has_no_deadline(self: Any, now: float) -> list[Drained]:
    idle = [backend for backend in self._draining if not self.in_flight_on(backend)]
    return [Drained(backend, False, 0, now) for backend in idle]


@mutant(Drain, "begin", "gates/test_drain.py::test_a_drain_that_begins_again_is_reported_again")
def a_drain_is_never_reported_a_second_time(self: Any, backend: Any, now: float) -> None:
    drain_begin(self, backend, now)
    ended_before = self.__dict__.setdefault("_ended_before", set())
    self._draining[backend].reported = backend in ended_before
    ended_before.add(backend)


@mutant(
    Drain,
    "_request_ended",
    "gates/test_drain.py::test_a_pause_between_two_requests_of_a_session_does_not_end_a_drain",
)
def a_drain_is_quiet_from_its_begin(*arguments: Any) -> None:
    return


@mutant(
    RampGate,
    "_end_replaced",
    "gates/test_paired_events.py::test_a_ramp_that_is_replaced_ends_before_the_next_one_begins",
)
def a_replaced_ramp_does_not_end(self: Any, backend: Any, now: float) -> None:
    self._ramping.pop(backend, None)


@mutant(
    ConnectionLimit,
    "_notify_flip",
    "gates/test_gate_calls.py::test_the_clock_of_a_limit_does_not_run_backwards",
)
def the_clock_of_a_limit_runs_backwards(
    self: Any, backend: Any, in_flight: int, now: float
) -> None:
    self._now, limit = now, self._members[backend]
    self.notify_change(backend)
    self.record_event(backend, in_flight >= limit, now, f"{in_flight} of {limit} in flight")


@mutant(
    AdmissionQueue,
    "__iter__",
    "overload/test_admission_queue.py::test_entries_leave_and_join_while_the_queue_is_looked_through",
)
def an_entry_is_skipped_after_one_that_leaves(self: Any) -> Any:
    place = 0
    while place < len(self._order):
        yield self._order.peekitem(place)[1]
        place += 1


@mutant(
    BudgetedRequest,
    "retry",
    "overload/test_retry_budget.py::test_all_requests_fail_at_once[True-1.0-10]",
)
def a_request_that_asks_is_not_in_flight(self: Any) -> bool:
    self._retrying = self._budget.begin(self._budget.requests - self._budget.retries - 1)
    return bool(self._retrying)


@mutant(
    SlowStart,
    "timer_expired",
    "gates/test_gates.py::test_a_ramp_changes_only_at_announced_instants",
)
def a_ramp_announces_its_first_step_only(self: Any, backend: Any, when: float) -> None:
    return


@mutant(MemberGate, "advance", "gates/test_gates.py::test_gates_clamp_time_as_pools_do")
def time_may_go_backwards(self: Any, now: float) -> float:
    self._now = valid_now(now, now)
    return now


@mutant(
    OutlierEjection,
    "_allowed",
    "gates/test_outlier_ejection.py::test_the_budget_is_for_all_rules_together_the_next_one_included",
)
def the_budget_does_not_include_the_next_ejection(self: Any) -> int:
    return int(self._max_ejected_share * len(self._members)) + 1


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
    "gates/test_active_checks.py::test_no_probe_is_scheduled_in_the_past",
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
    "gates/test_soft_gates.py::test_changes_events_and_time[ejection, dry run]",
)
def a_dry_run_reports_changes(self: Any, backend: Any) -> None:
    member_notify_change(self, backend)


@mutant(
    PassiveChecks,
    "notify_change",
    "gates/test_soft_gates.py::test_changes_events_and_time[passive, one trial]",
)
def the_only_member_is_among_the_changes(self: Any, backend: Any) -> None:
    member_notify_change(self, backend)


@mutant(
    MemberGate,
    "clamp",
    "gates/test_soft_gates.py::test_changes_events_and_time[health, time]",
)
def a_reader_may_go_back_in_time(self: Any, now: float) -> float:
    return valid_now(now, now)


@mutant(CoolDown, "_close", "gates/test_cool_down.py::test_a_pause_is_never_shortened")
def the_latest_pause_replaces_a_longer_one(
    self: Any, backend: Any, state: Any, now: float, pause: float, detail: str
) -> None:
    state.closed_until = now + pause
    self.timers.set(backend, state.closed_until)
    self.notify_change(backend)


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


@mutant(
    RampGate,
    "recovered",
    "gates/test_ramps.py::test_every_recovery_starts_a_ramp_and_no_other_opening_does",
)
def only_joining_starts_a_ramp(*arguments: Any) -> None:
    return


@mutant(
    RampGate,
    "added",
    "gates/test_ramps.py::test_no_backend_ramps_up_in_a_new_pool",
)
def backends_of_a_new_pool_ramp_up_too(self: Any, backend: Any, now: float) -> None:
    member_added(self, backend, now)
    ramp_begin(self, backend, now)


@mutant(
    RampGate,
    "begin",
    "gates/test_ramps.py::test_backends_that_ramp_up_together_step_at_different_instants",
)
def all_step_at_once(self: Any, backend: Any, now: float) -> None:
    ramping: dict[Any, Any] = self._ramping
    self._ramping = dict[Any, Any]()
    ramp_begin(self, backend, now)
    ramping |= self._ramping
    self._ramping = ramping


@mutant(
    WarmUp,
    "started",
    "gates/test_ramps.py::test_a_new_backend_gets_every_request_without_a_warm_up_and_not_with_one",
)
def a_warm_up_counts_no_requests(*arguments: Any) -> None:
    return


@mutant(
    WarmUp,
    "_mean",
    "gates/test_ramps.py::test_a_warm_up_does_not_limit_while_no_other_backend_serves",
)
def idle_backends_are_in_the_mean(self: Any) -> float:
    others = len(self._members) - len(self._ramping)
    mean: float = self._total_in_flight / max(1, others)
    return mean


@mutant(
    DynamicLimit,
    "limit_at",
    "gates/test_limits.py::test_the_line_goes_through_zero_as_in_the_source_and_not_the_manual",
)
def the_line_begins_at_minconn(self: Any, load: int) -> int:
    share = min(load, self._fullconn) / self._fullconn
    return int(self._minconn + (self._maxconn - self._minconn) * share)
