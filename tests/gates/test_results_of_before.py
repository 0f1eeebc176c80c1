"""What began before a gate's last turn is not judged after it, whoever noticed the turn."""

from typing import Any

import pytest

from balancers import HealthChecks, Pool, RoundRobin
from balancers.gates import OutlierEjection, PassiveChecks


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("ok", [True, False])
@pytest.mark.parametrize("name", ["health", "ejection", "marks"])
def test_what_panic_let_in_before_the_end_is_not_judged_after_it(
    name: str, ok: bool, asked: bool
) -> None:
    """Whether or not anybody asked between the end and the result."""
    gate: Any = {
        "health": HealthChecks[str](1, 2, 10.0),
        "ejection": OutlierEjection[str](1, (), base_ejection_time=10.0, max_ejected=0.5),
        "marks": PassiveChecks[str](1, 10.0),
    }[name]
    pool = Pool(RoundRobin(["a", "b"]), [gate], panic=1.0)
    pool.release(pool.acquire(1.0, prefer="a"), 1.0, ok=False)  # closed until 11
    lease = pool.acquire(10.5, prefer="a", strict=True)
    if asked:
        pool.release(pool.acquire(11.2, prefer="b"), 11.2)
    pool.release(lease, 11.5, ok)
    assert gate.factor("a", 11.5) == 1
    if name == "marks":
        assert gate._members["a"].on_trial


def test_who_leaves_ends_what_is_over_at_its_own_time() -> None:
    outliers: OutlierEjection[str] = OutlierEjection(
        1, (), base_ejection_time=10.0, max_ejected=0.5
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
