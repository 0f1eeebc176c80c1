"""The only member that can serve fails, while the other one drains, is quiesced or is unhealthy.

A soft gate may close it, because it counts members and knows nothing about other gates.  The pool
fails open by default, so this is never a total outage.
"""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from balancers import Drain, HealthChecks, NoBackendAvailable, Pool, RoundRobin
from balancers.gates import ActiveChecks, OutlierEjection, PassiveChecks

OTHERS = ["drains", "is quiesced", "is unhealthy", "has left"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: HealthChecks[str](1, 1, promotion="probes"),
        lambda: ActiveChecks[str](1, 1, rng=Random(1)),
        lambda: PassiveChecks[str](1, 10.0),
        lambda: OutlierEjection[str](1, max_ejected_share=1.0),
    ],
    ids=["health", "active", "passive", "ejection"],
)
@pytest.mark.parametrize("other", OTHERS)
def test_the_only_able_member_still_serves(make: Callable[[], Any], other: str) -> None:
    drain, health, gate = Drain[str](), HealthChecks[str](1, 1), make()
    pool = Pool(RoundRobin(["a", "b"]), [drain, health, gate])
    if other == "drains":
        drain.begin("b", 0.0)
    elif other == "is quiesced":
        pool.set_weight("b", 0)
    elif other == "is unhealthy":
        health.observe("b", False, 0.0)
    else:
        pool.remove("b")
    for now in range(1, 60):
        lease = pool.acquire(float(now))
        assert lease.backend == "a" or other == "is unhealthy"
        pool.release(lease, float(now), ok=False)
    assert gate.factor("a", 59.0) == 0 or (
        other == "has left" and isinstance(gate, PassiveChecks | OutlierEjection)
    )


@pytest.mark.parametrize("active", [True, False])
def test_what_was_never_proven_is_not_served_by_a_pool_that_fails_open(active: bool) -> None:
    gate: Any = (
        ActiveChecks[str](1, 2, rng=Random(1), initial="down")
        if active
        else HealthChecks[str](1, 2, initial="down")
    )
    pool = Pool(RoundRobin(["a", "b"]), [gate])
    with pytest.raises(NoBackendAvailable, match="unhealthy"):
        pool.acquire(1.0)
    gate.observe("a", False, 2.0)  # unhealthy, but known
    lease = pool.acquire(2.0)
    assert (lease.backend, lease.panic) == ("a", True)
    gate.observe("b", True, 3.0)  # one of two successes
    assert {pool.acquire(3.0).backend for _ in range(4)} == {"a", "b"}
    gate.observe("b", True, 4.0)
    assert {pool.acquire(4.0).backend for _ in range(4)} == {"b"}
