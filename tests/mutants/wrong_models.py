"""Wrong ways to keep the state of a pool and of health, that only a certain sequence shows."""

from typing import Any

from balancers import ConnectionLimit, Drain, HealthChecks, Pool
from balancers.gates import ActiveChecks, HealthStateMachine, MemberGate, PassiveChecks
from balancers.gates.health_checks import Health
from balancers.pool._census import Census
from balancers.pool._departures import Departures
from balancers.pool._members import Members
from balancers.pool._refusals import Refusals
from tests.mutants.mutant import genuine, mutant

health_observe = genuine(HealthChecks, "observe")
health_finished = genuine(HealthChecks, "finished")
machine_observe = genuine(HealthStateMachine, "observe")
end_trial = genuine(PassiveChecks, "_end_trial")
count_result = genuine(ActiveChecks, "_count_result")
limit_set = genuine(ConnectionLimit, "set")
pool_release = genuine(Pool, "release")
departures_cancel = genuine(Departures, "cancel")
panics = genuine(Census, "_panics")
change = genuine(Members, "change")
closing_bound = genuine(Refusals, "closing_bound")

SHORT = "model/test_health_sequences.py"
SEQUENCES = "model/test_model_checking.py::test_every_short_sequence"


@mutant(HealthChecks, "observe", f"{SEQUENCES}[panic]")
def a_probe_leaves_the_time_of_a_recovery_announced(
    self: Any, backend: str, ok: bool, now: float, **named: Any
) -> None:
    before = self.due
    health_observe(self, backend, ok, now, **named)
    self.due = min(before, self.due)


@mutant(HealthChecks, "finished", f"{SEQUENCES}[panic]")
def an_old_request_still_counts(
    self: Any, backend: str, outcome: Any, in_flight: int, started_at: float, now: float
) -> None:
    del started_at
    health_finished(self, backend, outcome, in_flight, now, now)


@mutant(Health, "flip", f"{SEQUENCES}[health+drain]")
def a_recovered_backend_keeps_its_failed_requests(self: Any, healthy: bool, when: float) -> None:
    self.machine.reset(healthy)
    self.flipped_at = when
    self.awaits_time = False


@mutant(HealthStateMachine, "observe", f"{SEQUENCES}[down+limit]")
def only_a_success_is_a_first_result(self: Any, ok: bool, immediate: bool = False) -> bool:
    before = self.unproven
    changed: bool = machine_observe(self, ok, immediate)
    self.unproven = before and not ok
    return changed


@mutant(Drain, "removed", f"{SEQUENCES}[health+drain]")
def a_backend_that_joins_again_still_drains(self: Any, backend: str, now: float) -> None:
    MemberGate.removed(self, backend, now)


@mutant(ConnectionLimit, "set", f"{SEQUENCES}[limit+drain]")
def a_new_limit_holds_from_the_next_request(
    self: Any, backend: str, limit: int | None, now: float = 0.0
) -> None:
    due, changed = self.due, {**self._changed}
    limit_set(self, backend, limit, now)
    self.due, self._changed = due, changed


@mutant(Pool, "release", f"{SEQUENCES}[health+drain]")
def an_unknown_outcome_counts_as_a_failure(
    self: Any, lease: Any, now: float, ok: bool | None = True, **named: Any
) -> None:
    pool_release(self, lease, now, bool(ok), **named)


@mutant(Departures, "expired", f"{SEQUENCES}[limit+drain]")
def a_kept_member_leaves_with_requests_in_flight(self: Any, now: float) -> Any:
    return sorted(self._timers.take(now), key=lambda member: -member.generation)


@mutant(Departures, "cancel", f"{SEQUENCES}[down+limit]")
def a_member_that_returns_still_leaves_at_its_time(self: Any, member: Any) -> None:
    if member.former:
        departures_cancel(self, member)


@mutant(Departures, "released", f"{SEQUENCES}[limit+drain]")
def an_overdue_member_stays_after_its_last_request(self: Any, member: Any) -> None:
    del self, member


@mutant(Census, "_panics", f"{SEQUENCES}[panic]")
def a_panic_ends_as_it_began(self: Any, open_members: int, open_hard: int) -> bool:
    calm, self._calm = self._calm, self._panic
    try:
        return bool(panics(self, open_members, open_hard))
    finally:
        self._calm = calm


@mutant(Census, "_choose_ignored", f"{SEQUENCES}[panic]")
def health_is_not_ignored_together_with_a_last_resort(self: Any) -> int:
    soft, last_resort = self._gates.soft, self._gates.last_resort
    if not self.open and self._open_without(last_resort):
        return int(last_resort)
    return int(soft) if self._panics(self.open, self._open_hard) else 0


@mutant(Pool, "_change", f"{SEQUENCES}[limit+drain]")
def requests_of_members_that_leave_stay_counted(self: Any, made: Any, now: float) -> None:
    self._members.change(made, now)
    self._now = now


@mutant(Refusals, "closing_bound", f"{SEQUENCES}[down+limit]")
def a_bound_request_ignores_a_limit(self: Any, member: Any) -> int:
    return int(closing_bound(self, member) & ~self._gates.limits)


@mutant(Members, "change", f"{SEQUENCES}[panic]")
def a_member_that_leaves_does_not_end_a_panic(self: Any, made: Any, now: float) -> Any:
    def ignore(now: float) -> None:
        del now

    update, self._update_ignored = self._update_ignored, ignore
    try:
        return change(self, made, now)
    finally:
        self._update_ignored = update


@mutant(HealthChecks, "observe", f"{SHORT}::test_health_checks[up-time]")
def a_probe_counts_while_time_is_to_promote(
    self: Any, backend: str, ok: bool, now: float, **named: Any
) -> None:
    self.settle(now)
    self._members[backend].awaits_time = False
    health_observe(self, backend, ok, now, **named)


@mutant(PassiveChecks, "_end_trial", f"{SHORT}::test_passive_checks[1-given-up]")
def a_trial_that_was_given_up_allows_another(
    self: Any, backend: str, state: Any, ok: bool | None, started_at: float, now: float
) -> None:
    end_trial(self, backend, state, ok, now if ok is None else started_at, now)


@mutant(ActiveChecks, "_count_result", f"{SHORT}::test_active_checks[up-probes]")
def a_late_probe_is_a_failure_when_it_is_noticed(
    self: Any, probe: Any, ok: bool, immediate: bool, when: float, now: float
) -> bool:
    del when
    return bool(count_result(self, probe, ok, immediate, now, now))
