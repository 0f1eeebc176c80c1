"""``Pool.state`` with a later time: what it will be if nothing happens, and nothing changes."""

from copy import deepcopy
from math import nan
from random import Random

import pytest

from balancers import ConnectionLimit, Drain, Gate, HealthChecks, Pool, RoundRobin
from balancers.errors import InvalidTime, UnknownBackend
from balancers.gates import CoolDown
from balancers.pool import Lease
from tests.depth import runs


@pytest.mark.parametrize("seed", range(runs(100)))
def test_a_later_state_is_that_of_a_pool_that_was_used_then(seed: int) -> None:
    rng = Random(seed)
    checks, drain = HealthChecks[str](unhealthy_threshold=1, recovery_time=7.0), Drain[str]()
    cool_down = CoolDown[str](rng=Random(seed))
    gates: list[Gate[str]] = [checks, drain, cool_down, ConnectionLimit[str](2)]
    pool = Pool(RoundRobin(["a", "b", "c"]), gates=gates, limit=5)
    leases: list[Lease[str]] = []
    now = 0.0
    for _ in range(25):
        now += rng.choice([0.0, 0.5, 3.0])
        member = rng.choice("abc")
        event = rng.randrange(6)
        if event == 0:
            checks.observe(member, rng.random() < 0.5, now)
        elif event == 1:
            drain.begin(member, now)
        elif event == 2:
            drain.cancel(member, now)
        elif event == 3 and leases:
            after = rng.choice([None, 2.0, 9.0])
            pool.release(leases.pop(), now, ok=False, retry_after=after)
        elif pool.admits(member, now=now):
            leases.append(pool.acquire(now))
        later = now + rng.choice([0.0, 1.0, 5.0, 8.0, 100.0])
        at = pool.snapshot().at
        used = deepcopy(pool)
        used.set_weight(member, 1, later)
        for backend in "abc":
            assert pool.state(backend, later) == used.state(backend)
            assert pool.state(backend, at) == pool.state(backend, -5.0) == pool.state(backend)
        assert pool.snapshot().at == at


def test_wrong_arguments() -> None:
    pool = Pool(RoundRobin(["a"]))
    with pytest.raises(InvalidTime):
        pool.state("a", nan)
    with pytest.raises(UnknownBackend):
        pool.state("b", 1.0)
