"""A request that started before a backend opened is ignored, whichever call noticed the opening."""

from typing import Any

import pytest

from balancers import HealthChecks, Pool, RoundRobin
from balancers.gates import OutlierEjection, PassiveChecks


@pytest.mark.parametrize("another_call", [True, False])
@pytest.mark.parametrize("ok", [True, False])
@pytest.mark.parametrize("name", ["health", "ejection", "passive"])
def test_a_request_of_a_panic_that_started_before_the_end_is_ignored_after_it(
    name: str, ok: bool, another_call: bool
) -> None:
    """With and without another call between the end and the result."""
    gate: Any = {
        "health": HealthChecks[str](1, 2, 10.0),
        "ejection": OutlierEjection[str](1, (), base_ejection_time=10.0, max_ejected_share=0.5),
        "passive": PassiveChecks[str](1, 10.0),
    }[name]
    pool = Pool(RoundRobin(["a", "b"]), [gate], panic=1.0)
    pool.release(pool.acquire(1.0, prefer="a"), 1.0, ok=False)  # closed until 11
    lease = pool.acquire(10.5, prefer="a", strict=True)
    if another_call:
        pool.release(pool.acquire(11.2, prefer="b"), 11.2)
    pool.release(lease, 11.5, ok)
    assert gate.factor("a", 11.5) == 1
    if name == "passive":
        assert gate._members["a"].on_trial


def test_a_removal_ends_expired_ejections_at_their_own_time() -> None:
    outliers: OutlierEjection[str] = OutlierEjection(
        1, (), base_ejection_time=10.0, max_ejected_share=0.5
    )
    pool = Pool(RoundRobin(["a", "b", "c", "d"]), [outliers])
    for backend in "ab":
        pool.release(pool.acquire(1.0, prefer=backend, strict=True), 1.0, ok=False)
    assert [one.backend for one in outliers.ejections()] == ["a", "b"]
    pool.remove("d", 20.0)
    pool.remove("c", 20.0)
    assert outliers.ejections() == []
    pool.release(pool.acquire(20.0, prefer="a", strict=True), 20.0, ok=False)
    assert [(one.backend, one.at) for one in outliers.ejections()] == [("a", 20.0)]
