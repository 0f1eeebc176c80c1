"""Wrong ways to refuse a request, and to say what a pool counts."""

from typing import Any

from balancers import Lease, NoBackendAvailable
from balancers._internal import checks
from balancers.pool import LeaseContext
from balancers.pool._census import Census
from balancers.pool._gate_set import GateSet
from balancers.pool._reader import PoolReader
from balancers.pool._refusals import Refusals
from tests.mutants.mutant import genuine, mutant

census_refusal = genuine(Census, "refusal")
refusals_honours = genuine(Refusals, "honours")
pool_snapshot = genuine(PoolReader, "snapshot")


@mutant(Refusals, "honours", "pool/test_pool.py::test_prefer_and_strict")
def prefer_ignores_every_gate(self: Any, prefer: Any, strict: bool, avoid: Any) -> bool:
    return prefer in self._by_backend


@mutant(Refusals, "honours", "pool/test_refusals.py::test_a_strict_refusal_says_when_to_try_again")
def a_strict_refusal_does_not_say_when_to_try_again(
    self: Any, prefer: Any, strict: bool, avoid: Any
) -> bool:
    try:
        return bool(refusals_honours(self, prefer, strict, avoid))
    except NoBackendAvailable as refusal:
        raise NoBackendAvailable(refusal.reason, refusal.counts, full=refusal.full) from None


@mutant(
    Refusals,
    "honours",
    "pool/test_refusals.py::test_a_strict_refusal_says_whether_the_home_is_only_full",
)
def a_strict_refusal_does_not_count_a_full_home(
    self: Any, prefer: Any, strict: bool, avoid: Any
) -> bool:
    try:
        return bool(refusals_honours(self, prefer, strict, avoid))
    except NoBackendAvailable as refusal:
        raise NoBackendAvailable(refusal.reason, refusal.counts, refusal.retry_at) from None


@mutant(Census, "refusal", "pool/test_pool.py::test_a_refusal_has_reasons_and_counts")
def a_refusal_without_reasons(
    self: Any, due: float, more_full: int = 0, limit: str | None = None
) -> Any:
    return NoBackendAvailable(limit or "avoided", {}, due, more_full)


@mutant(
    Refusals,
    "refusal",
    "pool/test_refusals.py::test_full_is_the_number_of_backends_for_which_it_helps_to_wait[0.0]",
)
def full_counts_avoided_backends(self: Any, avoid: Any, prefer: Any, limit: Any = None) -> Any:
    return self._census.refusal(self._gates.due, 0, limit)


@mutant(
    GateSet,
    "only_limits",
    "pool/test_refusals.py::test_a_refusal_tells_a_full_backend_from_a_dead_one",
)
def full_counts_unhealthy_backends(self: Any, combination: int, ignorable: int = 0) -> bool:
    return bool(combination & self.limits)


@mutant(
    Census,
    "refusal",
    "pool/test_refusals.py::test_the_limit_of_the_pool_counts_the_backends_that_could_serve",
)
def full_does_not_count_what_the_limit_of_the_pool_closes(
    self: Any, due: float, more_full: int = 0, limit: str | None = None, *more: Any
) -> Any:
    refusal = census_refusal(self, due, more_full, limit, *more)
    refusal.full -= 0 if limit is None else self.eligible
    return refusal


@mutant(
    LeaseContext, "__enter__", "bad_input/test_first_use.py::test_a_lease_context_is_entered_once"
)
def a_context_may_be_entered_twice(self: Any) -> Any:
    self._lease = self._acquire(self._clock())
    return self._lease


@mutant(Lease, "failed", "bad_input/test_first_use.py::test_a_failed_status_is_a_failure")
def a_reported_failure_is_ignored(self: Any, retry_after: Any = None, status: Any = None) -> None:
    return


@mutant(PoolReader, "_settle", "pool/test_pool.py::test_reading_is_up_to_date")
def a_reader_does_not_apply_what_a_request_would(self: Any) -> None:
    return


@mutant(PoolReader, "snapshot", "pool/test_snapshot.py::test_a_snapshot_is_not_what_the_pool_keeps")
def a_snapshot_contains_the_counts_that_the_pool_keeps(self: Any) -> Any:
    return pool_snapshot(self)._replace(refusals=self._census.refusals)


@mutant(
    PoolReader,
    "snapshot",
    "pool/test_snapshot.py::test_a_snapshot_counts_requests_failures_and_refusals",
)
def totals_forget_the_backends_that_left(self: Any) -> Any:
    self._members.former_requests = self._members.former_failures = 0
    return pool_snapshot(self)


@mutant(
    checks,
    "_refuse_weighted_pair",
    "bad_input/test_first_use.py::test_pairs_of_backends_and_weights_are_no_backends[('a', 1.0)]",
)
def pairs_of_backends_and_weights_are_backends(pair: Any, known: Any) -> None:
    return


@mutant(
    checks,
    "_fits_float",
    "bad_input/test_huge_numbers.py::"
    "test_a_setting_beyond_the_range_of_a_float_is_refused[stdev_factor-int of 1329 bits]",
)
def every_number_is_in_the_range_of_a_float(value: Any) -> bool:
    return True
