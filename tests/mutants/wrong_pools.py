"""Wrong ways to count requests, to apply changes, and to keep members that vanish."""

from typing import Any

from balancers import Lease, Outcome, Pool
from balancers.pool import LeaseContext
from balancers.pool._departures import Departures
from balancers.pool._limit import PoolLimit
from balancers.pool._members import Members
from balancers.pool._weights import Weights
from tests.mutants.mutant import genuine, mutant

lease_exit = genuine(LeaseContext, "__exit__")
pool_release = genuine(Pool, "release")
pool_acquire = genuine(Pool, "acquire")
pool_update = genuine(Pool, "update")
weights_change = genuine(Weights, "change")


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
    lease._report = None


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


@mutant(Pool, "acquire", "pool/test_pool.py::test_gates_get_all_details_of_a_request")
def gates_are_not_called_for_a_request(self: Any, *arguments: Any, **named: Any) -> Any:
    hooks, self._gates_started = self._gates_started, []
    self._gates_finished = []
    try:
        return pool_acquire(self, *arguments, **named)
    finally:
        self._gates_started = hooks


@mutant(
    Weights,
    "restore",
    "pool/test_refused_updates.py::test_costs_return_with_a_member_that_was_removed_and_put_again",
)
def a_refused_update_is_not_undone(self: Any, undo: Any, now: float) -> None:
    return


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


@mutant(Pool, "update", "pool/test_keep.py::test_a_flap_forgives_nothing_with_keep")
def a_member_that_returns_is_a_new_member(
    self: Any, weights: Any, now: float = 0.0, keep: float | None = None
) -> None:
    for backend in weights:
        if backend in self and self._members.find(backend).departing:
            self.remove(backend, now)
    pool_update(self, weights, now, keep)


@mutant(
    Weights, "change", "pool/test_keep.py::test_every_balancer_keeps_and_forgets[LeastConnections]"
)
def a_kept_member_serves_new_requests(
    self: Any, joined: Any, change: Any, undo: Any, now: float
) -> None:
    weights_change(self, joined, change._replace(kept=()), undo, now)


@mutant(
    Members,
    "remove_expired",
    "pool/test_keep.py::test_a_vanished_member_is_forgotten_when_it_is_idle_and_the_time_is_over",
)
def a_kept_member_is_never_forgotten(self: Any, now: float) -> None:
    self._departures.expired(now)
    self._departures.update_due()


@mutant(
    Departures,
    "released",
    "pool/test_keep.py::test_a_vanished_member_is_forgotten_when_it_is_idle_and_the_time_is_over",
)
def an_overdue_member_is_not_forgotten_when_it_becomes_idle(self: Any, member: Any) -> None:
    return


@mutant(
    Departures,
    "expired",
    "pool/test_keep.py::test_a_vanished_member_is_forgotten_when_it_is_idle_and_the_time_is_over",
)
def a_kept_member_is_forgotten_while_it_is_busy(self: Any, now: float) -> list[Any]:
    self._overdue.update(dict.fromkeys(self._timers.take(now)))
    return [*self._overdue]
