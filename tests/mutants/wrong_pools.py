"""Wrong ways to keep the books."""

from typing import Any

from balancers import Lease, Outcome, Pool
from balancers.pool import LeaseContext
from balancers.pool._books import Books
from balancers.pool._limit import PoolLimit
from tests.mutants.mutant import genuine, mutant

lease_exit = genuine(LeaseContext, "__exit__")
pool_release = genuine(Pool, "release")
pool_acquire = genuine(Pool, "acquire")
books_hear = genuine(Books, "_hear")
books_weigh_panic = genuine(Books, "_weigh_panic")


@mutant(
    LeaseContext,
    "__exit__",
    "pool/test_pool.py::test_a_cancelled_task_gives_its_lease_back_and_blames_nobody",
)
def a_cancelled_request_leaks_its_count(self: Any, kind: Any, error: Any, trace: Any) -> None:
    if error is None or isinstance(error, Exception):
        lease_exit(self, kind, error, trace)


@mutant(Pool, "release", "bad_input/test_bad_leases.py::test_a_lease_is_released_once[RoundRobin]")
def a_lease_may_be_released_twice(self: Any, lease: Any, now: float, ok: Any = True) -> None:
    account = lease.account
    pool_release(self, lease, now, ok)
    lease.account = account


@mutant(
    Pool,
    "release",
    "bad_input/test_bad_leases.py::"
    "test_a_former_generations_lease_changes_no_current_count[LeastConnections]",
)
def a_former_generation_is_taken_for_this_one(
    self: Any, lease: Any, now: float, ok: Any = True
) -> None:
    current = self._accounts.get(lease.backend)
    if not lease.released and current is not None:
        lease.account = current
    pool_release(self, lease, now, ok)


@mutant(Pool, "update", "pool/test_pool.py::test_an_update_keeps_what_survivors_have")
def an_update_begins_anew(self: Any, weights: Any, now: float = 0.0) -> None:
    for backend in [*self.backends]:
        self.remove(backend, now)
    for backend in weights:
        self.add(backend, weights[backend] if isinstance(weights, dict) else 1, now)


@mutant(Pool, "_honoured", "pool/test_pool.py::test_preference")
def a_preference_overrides_every_gate(self: Any, prefer: Any, strict: bool, avoid: Any) -> bool:
    return prefer in self._accounts


@mutant(Pool, "acquire", "pool/test_pool.py::test_an_outcome_is_told_with_all_that_is_known")
def a_request_is_never_told(self: Any, *arguments: Any, **named: Any) -> Any:
    hooks, self._gates_started = self._gates_started, []
    self._gates_finished = []
    try:
        return pool_acquire(self, *arguments, **named)
    finally:
        self._gates_started = hooks


@mutant(Books, "_reckon", "pool/test_pool.py::test_panic_never_ignores_a_hard_gate")
def panic_opens_everything(self: Any, account: Any, weight: float, factors: list[float]) -> None:
    account.usual = weight if all(factors) else 0
    account.in_panic = weight


@mutant(
    Books,
    "_restore",
    "bad_input/test_bad_updates.py::test_a_failed_update_gives_a_leaver_its_counts_back",
)
def what_was_refused_half_way_stays(self: Any, undo: Any, now: float) -> None:
    return


@mutant(Books, "refusal", "pool/test_pool.py::test_a_refusal_says_why")
def a_refusal_without_reasons(self: Any) -> Any:
    return self.balancer.refusal()


@mutant(Pool, "release", "pool/test_pool.py::test_an_outcome_is_told_with_all_that_is_known")
def how_long_it_took_is_lost(
    self: Any,
    lease: Lease[Any],
    now: float,
    ok: bool | None = True,
    elapsed: float | None = None,
    retry_after: float | None = None,
) -> None:
    Outcome(ok, elapsed, retry_after)
    pool_release(self, lease, now, ok)


@mutant(PoolLimit, "left", "gates/test_limits.py::test_what_left_with_its_backend_counts_no_more")
def who_leaves_is_counted_for_ever(self: Any, requests: int, now: float) -> None:
    if requests == 1:
        self._in_flight -= 1


@mutant(
    Books,
    "_hear",
    "gates/test_limits.py::test_no_order_of_gates_shows_when_two_backends_move_at_once",
)
def backends_are_heard_in_the_order_of_gates(self: Any, now: float) -> Any:
    for account in self.accounts.values():
        account.number = 0
    return books_hear(self, now)


@mutant(Books, "_weigh_panic", "pool/test_events.py::test_panic_begins_and_ends")
def panic_never_ends(self: Any, now: float) -> None:
    if not self.panicking:
        books_weigh_panic(self, now)
