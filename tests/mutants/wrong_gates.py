"""Wrong ways to open and close."""

from typing import Any

from balancers import FAILURE, ConnectionLimit, Drain, HealthChecks, SlowStart
from balancers._internal.checks import valid_now
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
from tests.mutants.mutant import genuine, mutant

health_finished = genuine(HealthChecks, "finished")
consecutive_next_state = genuine(Consecutive, "next_state")
leaky_next_state = genuine(Leaky, "next_state")
sliding_window_next_state = genuine(SlidingWindow, "next_state")
member_added = genuine(MemberGate, "added")
member_removed = genuine(MemberGate, "removed")
health_observe = genuine(HealthChecks, "observe")
ramp_begin = genuine(RampGate, "begin")
passive_judge = genuine(PassiveChecks, "_judge")


@mutant(
    Consecutive,
    "next_state",
    "gates/test_health_rules.py::test_every_sequence_of_twelve[consecutive 3 2]",
)
def one_lucky_probe_promotes(self: Any, state: Any, ok: bool) -> Any:
    return (True, 0) if ok else consecutive_next_state(self, state, ok)


@mutant(Consecutive, "next_state", "gates/test_gates.py::test_the_machine_counts_in_a_row")
def failures_need_not_be_in_a_row(self: Any, state: Any, ok: bool) -> Any:
    return state if ok == state[0] else consecutive_next_state(self, state, ok)


@mutant(
    Leaky, "next_state", "gates/test_health_rules.py::test_every_sequence_of_twelve[leaky 2 3 1]"
)
def nothing_is_ever_forgiven(self: Any, state: Any, ok: bool) -> Any:
    after = leaky_next_state(self, state, ok)
    return (True, state[1], 0) if ok and state[0] else after


@mutant(
    SlidingWindow,
    "next_state",
    "gates/test_health_rules.py::test_every_sequence_of_twelve[of 3 2 2]",
)
def the_window_never_slides(self: Any, state: Any, ok: bool) -> Any:
    full = len(state[1]) == self._window
    return sliding_window_next_state(self, (state[0], () if full else state[1]), ok)


@mutant(Health, "flip", "test_known_bugs.py::test_footgun_29_counters_do_not_outlive_a_flip")
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


@mutant(HealthChecks, "finished", "gates/test_gates.py::test_a_cancelled_request_counts_nowhere")
def who_hangs_up_blames_the_backend(
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


@mutant(ConnectionLimit, "factor", "gates/test_gates.py::test_a_limit_of_one_backends_own")
def one_more_than_the_limit(self: Any, backend: Any, now: float) -> float:
    return 1 if self.in_flight_on(backend) <= self.state_of(backend) else 0


@mutant(ConnectionLimit, "finished", "gates/test_gates.py::test_a_limit_of_one_backends_own")
def a_full_backend_stays_shut(self: Any, *_: Any) -> None:
    return


@mutant(
    Drain,
    "drained",
    "gates/test_gates.py::test_a_drain_ends_when_idle_or_when_time_is_up_and_is_told_once",
)
def a_drain_without_end(self: Any, now: float) -> list[Drained]:
    idle = [backend for backend in self._draining if not self.in_flight_on(backend)]
    return [Drained(backend, False, 0, now) for backend in idle]


@mutant(Drain, "factor", "gates/test_gates.py::test_the_last_resort_is_open_while_everybody_drains")
def no_last_resort(self: Any, backend: Any, now: float) -> float:
    return 0 if self.state_of(backend).deadline is not None else 1


@mutant(SlowStart, "timer_expired", "gates/test_gates.py::test_a_ramp_moves_only_when_it_said")
def a_ramp_announces_its_first_step_only(self: Any, backend: Any, when: float) -> None:
    return


@mutant(MemberGate, "advance", "gates/test_gates.py::test_gates_clamp_time_as_pools_do")
def time_may_go_back(self: Any, now: float) -> float:
    self._now = valid_now(now, now)
    return now


@mutant(
    OutlierEjection,
    "_allowed",
    "gates/test_outlier_ejection.py::test_footgun_24_the_budget_is_for_all_rules_together_the_next_one_included",
)
def the_budget_is_tested_before_the_ejection(self: Any) -> int:
    return int(self._max_ejected * len(self._members)) + 1


@mutant(
    OutlierEjection,
    "removed",
    "gates/test_outlier_ejection.py::test_members_that_leave_take_the_budget_with_them",
)
def the_budget_is_forgotten_when_members_leave(self: Any, backend: Any, now: float) -> None:
    self._ejections.pop(backend, None)
    self._active.pop(backend, None)
    member_removed(self, backend, now)


@mutant(
    ActiveChecks,
    "_expire",
    "gates/test_active_checks.py::test_a_death_is_noticed_within_the_bound_the_settings_imply[0]",
)
def silence_is_no_failure(self: Any, now: float) -> None:
    while self._next_instant() <= now:
        _, probe = self._awaited.popitem(last=False)
        self._judge(probe, True, probe.deadline)


@mutant(CoolDown, "_close", "gates/test_cool_down.py::test_a_pause_is_never_cut_short")
def the_last_word_wins(
    self: Any, backend: Any, cooling: Any, now: float, pause: float, detail: str
) -> None:
    cooling.until = now + pause
    self.timers.set(backend, cooling.until)
    self.notify_change(backend)


@mutant(
    PassiveChecks,
    "started",
    "gates/test_passive_checks.py::test_footgun_30_one_request_is_let_through_after_the_pause_and_not_a_flood",
)
def everything_is_let_through_after_a_pause(*arguments: Any) -> None:
    return


@mutant(
    PassiveChecks, "_judge", "gates/test_passive_checks.py::test_a_failed_trial_is_another_pause"
)
def any_answer_to_a_trial_opens(
    self: Any, backend: Any, marks: Any, ok: Any, started_at: float, now: float
) -> None:
    passive_judge(self, backend, marks, ok is not None or None, started_at, now)


@mutant(
    PassiveChecks,
    "timer_expired",
    "gates/test_passive_checks.py::test_a_trial_nobody_reports_is_given_up_and_may_still_open",
)
def a_trial_nobody_reports_closes_for_ever(self: Any, backend: Any, when: float) -> None:
    marks = self._members[backend]
    if not marks.on_trial:
        marks.on_trial, marks.turned_at, marks.trials = True, when, 0
        self.notify_change(backend)


@mutant(
    RampGate,
    "recovered",
    "gates/test_ramps.py::test_every_recovery_climbs_and_no_other_opening",
)
def only_joining_climbs(*arguments: Any) -> None:
    return


@mutant(
    RampGate,
    "added",
    "gates/test_ramps.py::test_a_pool_that_is_new_has_nobody_to_be_gentle_with",
)
def a_new_pool_climbs_too(self: Any, backend: Any, now: float) -> None:
    member_added(self, backend, now)
    ramp_begin(self, backend, now)


@mutant(
    RampGate,
    "begin",
    "gates/test_ramps.py::test_those_who_climb_together_step_at_different_instants",
)
def all_step_at_once(self: Any, backend: Any, now: float) -> None:
    climbing: dict[Any, Any] = self._climbing
    self._climbing = dict[Any, Any]()
    ramp_begin(self, backend, now)
    climbing |= self._climbing
    self._climbing = climbing


@mutant(
    WarmUp,
    "started",
    "gates/test_ramps.py::test_a_newcomer_is_buried_without_a_warm_up_and_not_with_one",
)
def a_warm_up_does_not_count(*arguments: Any) -> None:
    return


@mutant(
    WarmUp,
    "_mean",
    "gates/test_ramps.py::test_a_warm_up_limits_nobody_when_nobody_else_serves",
)
def the_idle_are_in_the_mean(self: Any) -> float:
    others = len(self._members) - len(self._climbing)
    mean: float = self._sum / max(1, others)
    return mean


@mutant(
    DynamicLimit,
    "limit_at",
    "gates/test_limits.py::test_footgun_34_the_line_goes_through_zero_as_the_source_says_and_not_the_manual",
)
def the_line_begins_at_the_least(self: Any, load: int) -> int:
    share = min(load, self._fullconn) / self._fullconn
    return int(self._minconn + (self._maxconn - self._minconn) * share)
