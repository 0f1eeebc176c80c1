"""A pool reports to its balancer why each member is open or closed."""

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from balancers import (
    BalancersError,
    ConnectionLimit,
    Drain,
    HealthChecks,
    NoBackendAvailable,
    Pool,
    RoundRobin,
)
from balancers.balancer import Condition
from balancers.gates import CoolDown
from balancers.pool import Lease


class Reporting(RoundRobin[str]):
    """Stores the last condition of each member, and when it was reported."""

    def __init__(self, backends: Any = None) -> None:
        self.conditions: dict[str, Condition] = {}
        self.refuses: str | None = None
        super().__init__(backends)

    def condition_changed(self, backend: str, condition: Condition) -> None:
        assert backend in self.weights, "reported before it joined"
        self.conditions[backend] = condition

    def put(self, backend: str, weight: float = 1) -> None:
        if backend == self.refuses:
            self.refuses = None
            raise ArithmeticError(backend)
        super().put(backend, weight)

    def discard(self, backend: str) -> None:
        super().discard(backend)
        self.conditions.pop(backend, None)


def expected(pool: Pool[str], backend: str) -> Condition:
    """Return the condition by the definition, from the reasons that the pool shows."""
    reasons = {*pool.state(backend)}
    if not reasons:
        return "open"
    if reasons & {"quiesced", "leaving", "draining"}:
        return "leaving"
    return "full" if reasons == {"saturated"} else "down"


def build() -> tuple[Pool[str], Reporting, HealthChecks[str], Drain[str]]:
    balancer = Reporting([*"abc"])
    checks: HealthChecks[str] = HealthChecks(unhealthy_threshold=1, healthy_threshold=1)
    drain: Drain[str] = Drain()
    cool: CoolDown[str] = CoolDown(rng=Random(2))
    pool = Pool(balancer, gates=[checks, drain, ConnectionLimit(2), cool], panic=0.5)
    return pool, balancer, checks, drain


@pytest.mark.parametrize("seed", range(40))
def test_the_condition_is_always_that_of_the_reasons(seed: int) -> None:
    draw = Random(seed)
    pool, balancer, checks, drain = build()
    now, leases = 0.0, list[Lease[str]]()

    def acquire() -> None:
        leases.append(pool.acquire(now, prefer=draw.choice([None, *"abc"])))

    def release() -> None:
        if leases:
            lease = leases.pop(draw.randrange(len(leases)))
            pause = draw.choice([None, None, 2.0])
            pool.release(lease, now, pause is None, retry_after=pause)

    def update() -> None:
        pool.update(draw.sample("abcd", 3), now, keep=draw.choice([None, 3.0]))

    def refused() -> None:
        balancer.refuses = draw.choice("abcdz")
        try:
            pool.update({b: draw.choice([0, 1, 2]) for b in draw.sample("abcdz", 3)}, now)
        except ArithmeticError:
            pass
        finally:
            balancer.refuses = None

    actions: list[Callable[[], object]] = [
        acquire,
        release,
        update,
        refused,
        lambda: pool.set_weight(draw.choice("abcd"), draw.choice([0, 1, 2]), now),
        lambda: checks.observe(draw.choice("abcd"), draw.choice([True, False]), now),
        lambda: drain.begin(draw.choice("abcd"), now),
        lambda: drain.cancel(draw.choice("abcd"), now),
    ]
    for _ in range(120):
        now += draw.choice([0.0, 0.1, 1.0])
        with suppress(BalancersError, KeyError):
            draw.choice(actions)()
        for backend in pool.backends:
            should = expected(pool, backend)  # applies the changes that are due
            assert balancer.conditions.get(backend, "open") == should


def test_ignored_reasons_still_count() -> None:
    pool, balancer, checks, _ = build()
    for backend in "ab":
        checks.observe(backend, False, 1.0)
    assert pool.panicking
    assert pool.effective_weight("a") == 1
    assert balancer.conditions["a"] == balancer.conditions["b"] == "down"


class Choosy(RoundRobin[str]):
    """Refuses with a reason of its own."""

    reason = "no engine has room"

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> str:
        raise NoBackendAvailable(self.reason)


def test_the_reason_of_the_balancer_is_kept() -> None:
    checks: HealthChecks[str] = HealthChecks(unhealthy_threshold=1, healthy_threshold=1)
    pool = Pool(Choosy([*"abc"]), gates=[checks])
    checks.observe("a", False, 0.0)
    explained = pool.explain(0.0).error
    with pytest.raises(NoBackendAvailable) as caught:
        pool.acquire(0.0)
    for error in (caught.value, explained):
        assert isinstance(error, NoBackendAvailable)
        assert (error.reason, error.counts) == (Choosy.reason, {"unhealthy": 1})
    assert pool.snapshot().refusals == {Choosy.reason: 1}


@pytest.mark.parametrize("reason", ["mixed", "avoided", "quiesced", "empty"])
def test_the_pool_knows_better_than_a_usual_reason(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Choosy, "reason", reason)
    with pytest.raises(NoBackendAvailable) as caught:
        Pool(Choosy([*"abc"])).acquire(0.0)
    assert (caught.value.reason, caught.value.counts) == ("avoided", {"avoided": 3})
