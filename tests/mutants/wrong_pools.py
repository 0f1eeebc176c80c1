"""Wrong ways to count requests and apply changes in a pool."""

from typing import Any

from balancers import Lease, NoBackendAvailable, Outcome, Pool
from balancers.pool import LeaseContext
from balancers.pool._census import Census
from balancers.pool._gate_set import GateSet
from balancers.pool._limit import PoolLimit
from balancers.pool._members import Members
from tests.mutants.mutant import genuine, mutant

lease_exit = genuine(LeaseContext, "__exit__")
pool_release = genuine(Pool, "release")
pool_acquire = genuine(Pool, "acquire")
gate_set_changes = genuine(GateSet, "changes")
census_update_panic = genuine(Census, "update_panic")


@mutant(
    LeaseContext,
    "__exit__",
    "pool/test_pool.py::test_a_cancelled_task_releases_its_lease_and_is_not_a_failure",
)
def a_cancelled_request_leaks_its_count(self: Any, kind: Any, error: Any, trace: Any) -> None:
    if error is None or isinstance(error, Exception):
        lease_exit(self, kind, error, trace)


@mutant(Pool, "release", "bad_input/test_bad_leases.py::test_a_lease_is_released_once[RoundRobin]")
def a_lease_may_be_released_twice(self: Any, lease: Any, now: float, ok: Any = True) -> None:
    pool_release(self, lease, now, ok)
    lease.released = False


@mutant(
    Pool,
    "release",
    "bad_input/test_bad_leases.py::"
    "test_a_former_generations_lease_changes_no_current_count[LeastConnections]",
)
def a_lease_of_a_former_generation_changes_current_counts(
    self: Any, lease: Any, now: float, ok: Any = True
) -> None:
    current = self._by_backend.get(lease.backend)
    if not lease.released and current is not None:
        lease._member = current
    pool_release(self, lease, now, ok)


@mutant(Pool, "update", "pool/test_pool.py::test_an_update_keeps_the_state_of_members_that_stay")
def an_update_replaces_every_member(self: Any, weights: Any, now: float = 0.0) -> None:
    for backend in [*self.backends]:
        self.remove(backend, now)
    for backend in weights:
        self.add(backend, weights[backend] if isinstance(weights, dict) else 1, now)


@mutant(Members, "honours", "pool/test_pool.py::test_prefer_and_strict")
def prefer_ignores_every_gate(self: Any, prefer: Any, strict: bool, avoid: Any) -> bool:
    return prefer in self.by_backend


@mutant(Pool, "acquire", "pool/test_pool.py::test_gates_get_all_details_of_a_request")
def gates_are_not_called_for_a_request(self: Any, *arguments: Any, **named: Any) -> Any:
    hooks, self._gates_started = self._gates_started, []
    self._gates_finished = []
    try:
        return pool_acquire(self, *arguments, **named)
    finally:
        self._gates_started = hooks


@mutant(Members, "_effective_weight", "pool/test_pool.py::test_panic_never_ignores_a_hard_gate")
def panic_opens_everything(
    self: Any, weight: float, factors: list[float], closed_by: int, fractions: bool
) -> float:
    return weight if self._census.panicking or not closed_by else 0


@mutant(
    Members,
    "_restore",
    "bad_input/test_bad_updates.py::test_a_failed_update_restores_the_counts_of_a_removed_backend",
)
def a_refused_update_is_not_undone(self: Any, undo: Any, now: float) -> None:
    return


@mutant(Census, "refusal", "pool/test_pool.py::test_a_refusal_has_reasons_and_counts")
def a_refusal_without_reasons(self: Any, due: float, shared: str | None = None) -> Any:
    return NoBackendAvailable(shared or "avoided", {}, due)


@mutant(Pool, "release", "pool/test_pool.py::test_gates_get_all_details_of_a_request")
def elapsed_and_retry_after_are_lost(
    self: Any,
    lease: Lease[Any],
    now: float,
    ok: bool | None = True,
    elapsed: float | None = None,
    retry_after: float | None = None,
) -> None:
    Outcome(ok, elapsed, retry_after)
    pool_release(self, lease, now, ok)


@mutant(
    PoolLimit, "ended", "pool/test_pool_limit.py::test_requests_on_a_former_member_are_not_counted"
)
def requests_of_a_former_member_stay_counted(self: Any, requests: int, now: float) -> None:
    if requests == 1:
        self._in_flight -= 1


@mutant(
    GateSet,
    "changes",
    "gates/test_limits.py::test_the_order_of_gates_does_not_matter_when_two_backends_change_at_once",
)
def changes_are_applied_in_the_order_of_gates(self: Any, members: Any, now: float) -> Any:
    for member in members.values():
        member.generation = 0
    return gate_set_changes(self, members, now)


@mutant(Census, "update_panic", "pool/test_events.py::test_panic_begins_and_ends")
def panic_never_ends(self: Any) -> bool:
    return not self.panicking and census_update_panic(self)
