"""What a refusal says about waiting, beside what the pool does when one has waited.

``full`` is about the end of all other requests, and ``retry_at`` about the time alone.
"""

from collections import Counter
from math import inf, nextafter
from random import Random
from typing import Any

import pytest

from balancers import (
    ConnectionLimit,
    Drain,
    HealthChecks,
    Lease,
    LeastConnections,
    NoBackendAvailable,
    Pool,
    RoundRobin,
    WeightedRoundRobin,
)
from balancers.gates import CostLimit, CostRateLimit, RequestRateLimit
from tests.depth import runs

LBS: list[Any] = [LeastConnections, RoundRobin, WeightedRoundRobin]


class History:
    """A pool with random gates, and its leases."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        self.health, self.drain = HealthChecks[str](1, 1), Drain[str]()
        limits: list[Any] = [ConnectionLimit(2), CostLimit(9)]
        rates: list[Any] = [CostRateLimit(60, 60.0, 20), RequestRateLimit(30, 60.0, burst=3)]
        closing: list[Any] = [self.health, self.drain]
        parts = closing + rng.choice([limits, rates, limits + rates])
        gates = [gate for gate in parts if rng.random() < 0.6]
        rng.shuffle(gates)
        self.gates = gates
        self.pool: Pool[str] = Pool(
            rng.choice(LBS)([*"abc"]), gates, panic=None, limit=rng.choice([None, None, None, 3])
        )
        self.leases: list[Lease[str]] = []
        self.refusals: Counter[str] = Counter()

    def step(self, now: float) -> None:
        """Release, report progress, close or open a backend."""
        rng, what, backend = self.rng, self.rng.randrange(5), self.rng.choice("abc")
        if what < 2 and self.leases:
            self.pool.release(self.leases.pop(rng.randrange(len(self.leases))), now)
        elif what == 2 and self.leases:
            self.pool.progress(rng.choice(self.leases), now, cost=rng.choice([0, 3, 12]))
        elif what == 3 and self.health in self.gates:
            self.health.observe(backend, rng.random() < 0.5, now)
        elif what == 4 and self.drain in self.gates:
            (self.drain.begin if rng.random() < 0.7 else self.drain.cancel)(backend, now)

    def request(self) -> dict[str, Any]:
        rng = self.rng
        request: dict[str, Any] = {
            "cost": rng.choice([0, 1, 4, 8, 8, 10, 25]),
            "prefer": rng.choice([None, *"abc"]),
            "avoid": rng.choice([(), (), (), ["a"], ["b", "c"]]),
            "strict": rng.random() < 0.3,
        }
        if rng.random() < 0.5:
            request["among"] = rng.sample("abcx", rng.randrange(1, 4))
        return request

    def serving(self, request: dict[str, Any], now: float) -> set[str]:
        """End all requests, and return the backends that can serve this one then."""
        for lease in self.leases:
            self.pool.release(lease, now)
        cost, prefer, avoid = request["cost"], request["prefer"], request["avoid"]
        listed: list[str] = request.get("among", ["a", "b", "c"])
        asked = set[str]() if request["strict"] and prefer else {*listed}
        found = {b for b in asked - {"x", *avoid} if self.pool.admits(b, cost=cost)}
        if prefer is not None and prefer not in avoid:
            try:
                self.pool.acquire(now, prefer=prefer, strict=True, cost=cost)
            except NoBackendAvailable:
                pass
            else:
                found.add(prefer)
        return found


def waits_until(history: History, request: dict[str, Any], now: float, retry_at: float) -> None:
    """The request is refused before ``retry_at``.  If it is served later, this time is known."""
    before = max(now, min(nextafter(retry_at, -inf), now + 500))
    with pytest.raises(NoBackendAvailable):
        history.pool.acquire(before, **request)
    try:
        history.pool.acquire(before + 60, **request)
    except NoBackendAvailable:
        return
    assert retry_at <= before + 60, request


@pytest.mark.parametrize("seed", range(runs(30)))
def test_full_and_retry_at_say_what_it_helps_to_wait_for(seed: int) -> None:
    for number in range(100):
        history = History(seed * 100 + number)
        now = 0.0
        for _ in range(40):
            now += history.rng.choice([0.0, 0.0, 0.1, 2.0])
            if history.rng.random() < 0.5:
                history.step(now)
                continue
            request = history.request()
            try:
                history.leases.append(history.pool.acquire(now, **request))
            except NoBackendAvailable as error:
                what, full, retry_at = history.rng.randrange(4), error.full, error.retry_at
                history.refusals[error.reason] += 1
            else:
                continue
            assert history.pool.snapshot().refusals == history.refusals
            if what == 0:
                waits_until(history, request, now, retry_at)
                break
            if what == 1:
                assert full == len(history.serving(request, now)), request
                break
