"""Wrong ways to drain, limit, pause and ramp up backends."""

from dataclasses import replace
from typing import Any

from balancers import ConnectionLimit, Drain, HealthChecks, Outcome, SlowStart
from balancers._internal.checks import valid_now
from balancers.gates import CoolDown, Drained, DynamicLimit, MemberGate, OutlierEjection, WarmUp
from balancers.gates._ejection import EjectionState, FailureCounters
from balancers.gates._ejection_settings import EjectionTimes, Enforcement
from balancers.gates._ramp import RampGate
from balancers.overload import AdmissionQueue, BudgetedRequest
from tests.mutants.mutant import genuine, mutant

member_added = genuine(MemberGate, "added")
drain_begin = genuine(Drain, "begin")
ramp_begin = genuine(RampGate, "begin")
count_failure = genuine(FailureCounters, "count")
probe_passed = genuine(OutlierEjection, "probe_passed")
count_probe = genuine(HealthChecks, "_count_probe")


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


@mutant(CoolDown, "_close", "gates/test_cool_down.py::test_a_pause_is_never_shortened")
def the_latest_pause_replaces_a_longer_one(
    self: Any, backend: Any, state: Any, now: float, pause: float, detail: str
) -> None:
    state.closed_until = now + pause
    self.timers.set(backend, state.closed_until)
    self.notify_change(backend)


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


@mutant(
    FailureCounters,
    "count",
    "gates/test_outlier_counters.py::test_another_failure_ends_a_row_of_gateway_failures[500]",
)
def every_status_is_a_gateway_failure(self: Any, state: Any, outcome: Outcome) -> Any:
    return count_failure(self, state, replace(outcome, status=outcome.status and 502))


@mutant(
    FailureCounters,
    "count",
    "gates/test_outlier_counters.py::test_separate_local_failures_count_only_there",
)
def a_local_failure_counts_in_every_row(self: Any, state: Any, outcome: Outcome) -> Any:
    if outcome.status is None and self._separate_local:
        local_row = state.local_row
        count_failure(self, state, replace(outcome, status=502))
        state.local_row = local_row
    return count_failure(self, state, outcome)


@mutant(
    FailureCounters,
    "count",
    "gates/test_outlier_counters.py::test_a_response_of_any_status_ends_a_row_of_local_failures[500]",
)
def only_a_success_ends_a_row_of_local_failures(self: Any, state: Any, outcome: Outcome) -> Any:
    local_row = 0 if state.succeeded else state.local_row
    reached = count_failure(self, state, outcome)
    state.local_row = state.local_row or local_row
    return reached


@mutant(
    EjectionState,
    "answers",
    "gates/test_outlier_counters.py::test_local_failures_are_no_requests_to_the_other_rules",
)
def separate_local_failures_are_successes_of_the_other_rules(self: Any) -> tuple[int, int]:
    return self.requests - self.failures, self.requests


@mutant(
    Enforcement,
    "decide",
    "gates/test_outlier_counters.py::test_a_row_begins_again_after_a_rule_that_is_not_enforced",
)
def every_rule_is_enforced(self: Any, rule: str, rng: Any) -> bool:
    return True


@mutant(
    Enforcement,
    "decide",
    "gates/test_outlier_counters.py::test_a_share_of_0_or_1_needs_no_chance",
)
def a_share_of_one_is_drawn_too(self: Any, rule: str, rng: Any) -> bool:
    return bool(rng.random() < self._shares[rule])


@mutant(
    OutlierEjection,
    "probe_passed",
    "gates/test_restored_by_probes.py::test_a_probe_that_started_before_the_ejection_ends_nothing",
)
def an_old_probe_ends_an_ejection(
    self: Any, backend: Any, now: float, started_at: float | None = None
) -> None:
    probe_passed(self, backend, now)


@mutant(
    HealthChecks,
    "_count_probe",
    "gates/test_restored_by_probes.py::test_a_backend_that_stays_unhealthy_stays_ejected",
)
def a_backend_that_stays_unhealthy_is_restored(
    self: Any, backend: Any, health: Any, ok: bool, *rest: Any
) -> None:
    count_probe(self, backend, health, ok, *rest)
    if ok and self._restores is not None:
        self._restores.probe_passed(backend, rest[-1])


@mutant(
    HealthChecks,
    "_count_probe",
    "gates/test_restored_by_probes.py::test_a_probe_that_fails_ends_nothing",
)
def a_probe_that_fails_ends_an_ejection(
    self: Any, backend: Any, health: Any, ok: bool, *rest: Any
) -> None:
    count_probe(self, backend, health, ok, *rest)
    if health.machine.healthy and self._restores is not None:
        self._restores.probe_passed(backend, rest[-1])


@mutant(
    OutlierEjection,
    "_apply",
    "gates/test_outlier_counters.py::test_local_rules_do_not_compare_what_the_other_rules_ejected",
)
def ejected_backends_are_compared_too(self: Any, rules: Any, counts: Any, now: float) -> None:
    for name, rule in rules:
        below, rates = rule.threshold({b: both for b, both in counts.items() if both[1]})
        for backend in sorted(rates, key=rates.__getitem__):
            if rates[backend] < below:
                self._eject(backend, self._members[backend], name, now)


@mutant(
    EjectionTimes,
    "grows",
    "gates/test_outlier_ejection.py::"
    "test_an_ejection_after_many_others_and_quiet_intervals[11-2-300.0]",
)
def earlier_ejections_are_counted_up_to_the_longest(self: Any, earlier: int) -> bool:
    return bool(earlier * self._base < self._maximum)
