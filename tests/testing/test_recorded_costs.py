"""A recording of requests with costs is replayed with the same leases and the same refusals."""

from random import Random
from typing import Any

import pytest

from balancers import Lease, NoBackendAvailable, Pool, PowerOfTwoChoices
from balancers.gates import CostLimit, CostRateLimit, RequestRateLimit
from balancers.loads import InFlightCost
from balancers.testing import Diverged, Header, Recorder, replay


def pool_of(rng: Random, limit: int = 50) -> Pool[str]:
    balancer: Any = PowerOfTwoChoices(["a", "b", "c"], rng=rng, load=InFlightCost())
    gates: list[Any] = [CostLimit(limit), CostRateLimit(100, 10.0, 80), RequestRateLimit(30, 5.0)]
    return Pool(balancer, gates)


def test_costs_are_recorded_and_replayed() -> None:
    lines: list[str] = []
    rng = Random(1)
    pool = pool_of(rng)
    choices = Random(2)
    leases: list[Lease[str]] = []
    refused = 0
    with Recorder(pool, write=lines.append, rng=rng):
        for step in range(400):
            now = step / 8
            try:
                leases.append(pool.acquire(now, cost=choices.choice([0, 1, 10, 30, 60, 90])))
            except NoBackendAvailable:
                refused += 1
            if leases and step % 3 == 0:
                pool.progress(choices.choice(leases), now, cost=choices.choice([None, 0, 20]))
            while len(leases) > 4:
                pool.release(leases.pop(choices.randrange(len(leases))), now)
        for lease in leases:
            pool.release(lease, 51.0)
    assert 20 < refused < 380

    def make(header: Header, limit: int = 50) -> Pool[str]:
        return pool_of(header.rngs[0], limit)

    assert replay(lines, make).requests == 400
    with pytest.raises(Diverged):
        replay(lines, lambda header: make(header, 49))
