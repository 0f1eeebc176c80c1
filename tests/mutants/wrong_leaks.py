"""Parts that keep something of what has ended: the short soak reports each of them."""

from typing import Any

from balancers import LeastConnections, Pool
from balancers.flows import FlowTable
from balancers.gates import (
    ActiveChecks,
    ConnectionLimit,
    Drain,
    DynamicLimit,
    MemberGate,
    OutlierEjection,
    PassiveChecks,
    WarmUp,
)
from balancers.overload import BudgetedRequest
from balancers.pool import LeaseContext, _requests
from balancers.pool._limit import PoolLimit
from balancers.pool._members import Members
from balancers.sessions import LearnedSessions
from balancers.sessions._identity_index import IdentityIndex
from tests.mutants.mutant import genuine, mutant

SOAK = "soak/test_soak.py::test_a_short_soak[RoundRobin]"
COUNTING_SOAK = "soak/test_soak.py::test_a_short_soak[LeastConnections]"
LONGER_SOAK = "soak/test_soak.py::test_a_longer_soak"
THREADS = "soak/test_soak.py::test_threads_leak_nothing[LeastConnections]"
TASKS = "soak/test_soak.py::test_cancelled_tasks_leak_nothing[LeastConnections]"

pool_add = genuine(Pool, "add")
pool_release = genuine(Pool, "release")
lease_exit = genuine(LeaseContext, "__exit__")
budget_exit = genuine(BudgetedRequest, "__exit__")
members_leave = genuine(Members, "_leave")
gate_removed = genuine(MemberGate, "removed")
limit_ended = genuine(PoolLimit, "ended")
least_move = genuine(LeastConnections, "_move")
kept: list[object] = []


@mutant(MemberGate, "removed", SOAK)
def a_gate_keeps_the_timer_of_a_former_member(self: Any, backend: Any, now: float) -> None:
    when = self.timers.get(backend)
    gate_removed(self, backend, now)
    if when < 1e9:
        self.timers.set(backend, 1e9)


@mutant(Drain, "removed", SOAK)
def a_drain_outlives_its_member(self: Any, backend: Any, now: float) -> None:
    gate_removed(self, backend, now)


@mutant(OutlierEjection, "removed", SOAK)
def an_ejected_member_is_evaluated_after_it_left(self: Any, backend: Any, now: float) -> None:
    self.settle(now)
    self._ejections.pop(backend, None)
    gate_removed(self, backend, now)


@mutant(ActiveChecks, "removed", COUNTING_SOAK)
def the_probe_of_a_former_member_is_still_scheduled(self: Any, backend: Any, now: float) -> None:
    self.settle(now)
    self._awaited.pop(backend, None)
    gate_removed(self, backend, now)


@mutant(DynamicLimit, "_leave_group", SOAK)
def an_empty_group_of_a_limit_is_kept(self: Any, backend: Any, in_flight: int) -> None:
    del self._by_in_flight[in_flight][backend]


@mutant(DynamicLimit, "removed", SOAK)
def the_load_contains_the_requests_of_former_members(self: Any, backend: Any, now: float) -> None:
    in_flight = self._members.get(backend)
    gate_removed(self, backend, now)
    if in_flight is not None:
        self._closed.pop(backend, None)
        self._leave_group(backend, in_flight)


@mutant(WarmUp, "removed", SOAK)
def a_limited_member_stays_in_the_index(self: Any, backend: Any, now: float) -> None:
    self._ramping.pop(backend, None)
    gate_removed(self, backend, now)


@mutant(PassiveChecks, "finished", SOAK)
def failures_of_former_members_are_stored(
    self: Any, backend: Any, outcome: Any, in_flight: int, started_at: float, now: float
) -> None:
    state = self._members.setdefault(backend, self.new_state(now))
    if outcome.ok is False:
        state.failures.append(now)


@mutant(ConnectionLimit, "removed", SOAK)
def a_limit_that_was_set_is_kept(self: Any, backend: Any, now: float) -> None:
    limit = self._members.get(backend)
    gate_removed(self, backend, now)
    if limit not in {None, self._limit}:
        self._members[backend] = limit


@mutant(IdentityIndex, "_forget_former", SOAK)
def identities_of_former_members_are_kept(self: Any) -> None:
    return


@mutant(LearnedSessions, "_expire", SOAK)
def sessions_never_expire(self: Any, now: float) -> None:
    self._now = max(self._now, now)


@mutant(FlowTable, "_unbind", SOAK)
def a_backend_without_flows_is_kept(self: Any, flow: bytes, entry: Any) -> None:
    del self._by_backend[entry.backend][flow]


@mutant(BudgetedRequest, "__exit__", SOAK)
def a_retry_is_counted_for_ever(self: Any, kind: Any, error: Any, trace: Any) -> None:
    self._retrying = False
    budget_exit(self, kind, error, trace)


@mutant(Members, "_leave", SOAK)
def a_former_member_may_be_put_again(self: Any, member: Any) -> None:
    members_leave(self, member)
    self._ignorable[member.backend] = member


@mutant(PoolLimit, "ended", SOAK)
def the_limit_counts_the_requests_of_former_members(self: Any, requests: int, now: float) -> None:
    limit_ended(self, min(requests, 1), now)


@mutant(_requests, "undo_start", LONGER_SOAK)
def a_failed_start_is_not_undone(*arguments: Any) -> None:
    del arguments


@mutant(Pool, "add", LONGER_SOAK)
def every_backend_is_remembered(
    self: Any, backend: Any, weight: float = 1, now: float = 0.0
) -> None:
    kept.append(backend)
    pool_add(self, backend, weight, now)


@mutant(Pool, "release", SOAK)
def every_release_takes_memory(self: Any, *arguments: Any, **named: Any) -> None:
    kept.extend(object() for _ in range(20))
    pool_release(self, *arguments, **named)


@mutant(LeaseContext, "__exit__", THREADS)
def a_cancelled_thread_keeps_its_lease(self: Any, kind: Any, error: Any, trace: Any) -> None:
    if kind is None or kind.__name__ != "Cancelled":
        lease_exit(self, kind, error, trace)


@mutant(LeaseContext, "__exit__", TASKS)
def a_cancelled_task_keeps_its_lease(self: Any, kind: Any, error: Any, trace: Any) -> None:
    if kind is None or kind.__name__ != "CancelledError":
        lease_exit(self, kind, error, trace)


@mutant(LeastConnections, "_move", COUNTING_SOAK)
def a_request_that_ends_on_a_closed_backend_is_not_counted(
    self: Any, backend: Any, change: int
) -> None:
    if change > 0 or self._weights.get(backend):
        least_move(self, backend, change)
