"""``admits`` and ``full`` at a later time say what a request at that time will find."""

import copy
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from balancers import (
    ConnectionLimit,
    Drain,
    HealthChecks,
    NoBackendAvailable,
    Pool,
    WeightedRoundRobin,
)
from balancers.gates import CoolDown, PassiveChecks, SlowStart
from tests.depth import runs

NAMES = "abcd"


Answers = dict[str, tuple[bool, bool, bool]]


def found(pool: Pool[str], now: float) -> Answers:
    """Return what the pool says after a request at ``now``, which leaves no trace."""
    later = copy.deepcopy(pool)
    with suppress(NoBackendAvailable):
        later.release(later.acquire(now), now, ok=None)
    found = {
        b: (later.admits(b), later.admits(b, bound=True), later.full(b)) for b in later.backends
    }
    return {b: found.get(b, (False, False, False)) for b in pool.backends}  # a kept one has left


def busy_pool(rng: Random) -> Pool[str]:
    """Return a pool in which gates have closed some members, until different times."""
    health, drain = HealthChecks[str](1, 1, 4.0), Drain[str](5.0, last_resort=rng.random() < 0.5)
    passive, limit = PassiveChecks[str](1, 3.0), ConnectionLimit[str](2)
    cool = CoolDown[str](1, 2.0, rng=Random(1))
    gates: list[Any] = [health, drain, passive, limit, cool, SlowStart[str](3.0)]
    rng.shuffle(gates)
    settings: list[dict[str, Any]] = [
        {},
        {"panic": None},
        {"panic": 0.6},
        {"panic": 0.3, "calm": 0.8},
    ]
    more: dict[str, Any] = rng.choice(settings)
    if rng.random() < 0.2:
        more = more | {"limit": 5}
    pool = Pool(WeightedRoundRobin[str](), gates[: rng.randint(2, 6)], **more)
    used = [gate for gate in gates if getattr(gate, "taken", False)]
    weights = {name: rng.choice([1, 1, 2, 0]) for name in NAMES}
    pool.update(weights)
    now = 0.0
    for _ in range(rng.randint(3, 12)):
        now += rng.choice([0.0, 0.5, 1.0, 2.0])
        backend = rng.choice(NAMES)
        action = rng.choice(["fail", "fail", "pass", "hold", "drain", "probe", "keep"])
        if action == "drain" and drain in used and backend in pool:
            drain.begin(backend, now)
        elif action == "probe" and health in used and backend in pool:
            health.observe(backend, rng.random() < 0.5, now)
        elif action == "keep":
            pool.update({**weights, backend: 1} if rng.random() < 0.5 else [*"ab"], now, keep=2.0)
        else:
            try:
                lease = pool.acquire(now, prefer=backend)
            except NoBackendAvailable:
                continue
            if action != "hold":
                pool.release(lease, now, ok=action == "pass")
    return pool


@pytest.mark.parametrize("part", range(4))
def test_a_later_time_is_foreseen(part: int) -> None:
    for seed in range(runs(200)):
        pool = busy_pool(Random(4 * seed + part))
        now = pool.snapshot().at
        before = pool.snapshot()
        for later in (now, now + 0.5, now + 2.0, now + 3.5, now + 4.0, now + 5.0, now + 60.0):
            foreseen = {
                b: (pool.admits(b, now=later), pool.admits(b, True, later), pool.full(b, later))
                for b in pool.backends
            }
            assert foreseen == found(pool, later), (seed, now, later)
        assert pool.snapshot() == before
