"""A refusal says whether it helps to wait: how many backends are closed by nothing but limits."""

import pickle
from collections import deque
from itertools import product
from random import Random
from typing import Any

import pytest

from balancers import ConnectionLimit, Drain, HealthChecks, NoBackendAvailable, Pool, RoundRobin
from balancers.gates import ActiveChecks, DynamicLimit, MemberGate
from balancers.pool import Lease


def refusal_of(pool: Pool[str], now: float = 0.0, **options: Any) -> NoBackendAvailable:
    with pytest.raises(NoBackendAvailable) as refusal:
        pool.acquire(now, **options)
    return refusal.value


def test_a_refusal_tells_a_full_backend_from_a_dead_one() -> None:
    """Reason and counts are the same with and without the backend that is merely full."""
    seen: list[tuple[str, int]] = []
    for full in (False, True):
        health, limit, drain = HealthChecks[str](1), ConnectionLimit[str](1), Drain[str]()
        pool = Pool(RoundRobin(["a", "b"]), [health, limit, drain], panic=None)
        for backend in "ab":
            pool.acquire(0.0, prefer=backend)
        health.observe("a", False, 0.0)
        if not full:
            drain.begin("b", 0.0)
        refusal = refusal_of(pool)
        seen.append((refusal.reason, refusal.full))
    assert seen == [("saturated", 0), ("saturated", 1)]


class Closing(MemberGate[str, None]):
    """Closes what is in ``closed``."""

    def __init__(self, reason: str, soft: bool = False) -> None:
        super().__init__()
        self.reason, self.soft = reason, soft
        self.closed: set[str] = set()

    def new_state(self, now: float) -> None:
        del now

    def factor(self, backend: str, now: float) -> float:
        del now
        return 0 if backend in self.closed else 1

    def close(self, backends: set[str]) -> None:
        changed, self.closed = self.closed ^ backends, backends
        for backend in changed:
            self.notify_change(backend)


CHOICES: list[set[str]] = [
    set(),
    {"saturated"},
    {"down"},
    {"gone"},
    {"saturated", "down"},
    {"saturated", "gone"},
]


@pytest.mark.parametrize("panic", [0.0, None])
def test_full_is_the_number_of_backends_for_which_it_helps_to_wait(panic: float | None) -> None:
    """For every combination over three members and every ``avoid``: end a request, and look."""
    for combination in product(CHOICES, repeat=3):
        closed = dict(zip("abc", combination, strict=True))
        for avoid in ([], ["a"], ["b", "c"], [*"abc"]):
            refusal = answer(pool_with(closed, panic), avoid)
            if isinstance(refusal, NoBackendAvailable):
                full = [backend for backend in "abc" if "saturated" in closed[backend]]
                freed = [answer(pool_with(closed, panic, backend), avoid) for backend in full]
                assert refusal.full == sum(b in full for b in freed), (closed, avoid)


def answer(pool: Pool[str], avoid: list[str]) -> object:
    """Return the backend that serves a request, or the refusal."""
    try:
        return pool.acquire(0.0, avoid=avoid).backend
    except NoBackendAvailable as refusal:
        return refusal


def pool_with(closed: dict[str, set[str]], panic: float | None, free: str = "") -> Pool[str]:
    """Return a pool in which these reasons close the backends; ``free`` ends its request."""
    limit, soft, hard = ConnectionLimit[str](1), Closing("down", soft=True), Closing("gone")
    pool = Pool(RoundRobin([*"abc"]), [limit, soft, hard], panic=panic)
    leases = {b: pool.acquire(0.0, prefer=b) for b in "abc" if "saturated" in closed[b]}
    soft.close({b for b in "abc" if "down" in closed[b]})
    hard.close({b for b in "abc" if "gone" in closed[b]})
    if free:
        pool.release(leases[free], 0.0, ok=None)
    return pool


def test_the_limit_of_the_pool_counts_the_backends_that_could_serve() -> None:
    health: HealthChecks[str] = HealthChecks(1)
    pool = Pool(RoundRobin([*"abc"]), [health], limit=1, panic=None)
    lease = pool.acquire(0.0)
    assert refusal_of(pool).full == 3
    assert refusal_of(pool, avoid=["a", "x"]).full == 2
    assert refusal_of(pool, avoid=[*"abc"]).full == 0
    health.observe("a", False, 0.0)
    assert refusal_of(pool).full == 2
    strict = refusal_of(pool, prefer="b", strict=True)
    assert (strict.reason, strict.full) == ("saturated", 1)
    assert refusal_of(pool, prefer="a", strict=True).reason == "unhealthy"
    for backend in "bc":
        health.observe(backend, False, 0.0)
    assert (refusal_of(pool).reason, refusal_of(pool).full) == ("unhealthy", 0)
    pool.release(lease, 0.0)


def test_a_strict_refusal_says_whether_the_home_is_only_full() -> None:
    health, limit, drain = HealthChecks[str](1), ConnectionLimit[str](1), Drain[str]()
    pool = Pool(RoundRobin(["a", "b"]), [health, limit, drain])
    pool.acquire(0.0, prefer="a")
    refusal = refusal_of(pool, prefer="a", strict=True)
    assert (refusal.reason, refusal.full) == ("saturated", 1)
    assert pool.full("a")
    drain.begin("a", 0.0)  # spares bound requests
    assert refusal_of(pool, prefer="a", strict=True).full == 1
    health.observe("a", False, 7.0)
    refusal = refusal_of(pool, 7.0, prefer="a", strict=True)
    assert (refusal.reason, refusal.full) == ("mixed", 0)
    assert not pool.full("a")
    assert refusal_of(pool, prefer="x", strict=True).full == 0
    assert refusal_of(pool, prefer="b", strict=True, avoid=["b"]).full == 0


def test_a_strict_refusal_says_when_to_try_again() -> None:
    health: HealthChecks[str] = HealthChecks(1, recovery_time=10.0)
    pool = Pool(RoundRobin(["a", "b"]), [health])
    pool.release(pool.acquire(0.0), 1.0, ok=False)
    assert refusal_of(pool, 2.0, prefer="a", strict=True).retry_at == 11.0


def test_a_bound_request_that_waits_counts_its_home() -> None:
    """A draining home that is full serves the session as soon as a request ends."""
    drain, limit = Drain[str](), ConnectionLimit[str](1)
    pool = Pool(RoundRobin(["a", "b"]), [drain, limit])
    lease = pool.acquire(0.0, prefer="a")
    drain.begin("a", 0.0)
    pool.set_weight("b", 0)
    assert refusal_of(pool).full == 0
    assert refusal_of(pool, prefer="a").full == 1
    pool.release(lease, 0.0)
    assert pool.acquire(0.0, prefer="a").bound


def test_every_limit_counts() -> None:
    pool = Pool(RoundRobin(["a"]), [DynamicLimit[str](1, 1, 1)])
    pool.acquire(0.0)
    assert refusal_of(pool).full == 1


def test_full_survives_a_pickle() -> None:
    refusal = NoBackendAvailable("saturated", {"saturated": 2}, 3.0, 2)
    assert pickle.loads(pickle.dumps(refusal)).full == 2  # noqa: S301 - own


def test_a_waiting_client_is_served_whenever_a_backend_is_free() -> None:
    """400 clients want one of two backends, one of which is dead: all of them are served."""
    health, limit = HealthChecks[str](1), ConnectionLimit[str](5)
    pool = Pool(RoundRobin(["dead", "alive"]), [health, limit], panic=None)
    health.observe("dead", False, 0.0)
    waiting, held, served = deque(range(400)), deque[Any](), 0
    now = 0.0
    while waiting:
        if len(held) == 5:
            assert refusal_of(pool, now).full == 1
            now += 1.0
            pool.release(held.popleft(), now)
        held.append(pool.acquire(now))
        waiting.popleft()
        served += 1
    assert served == 400


def test_a_strict_request_waits_for_a_home_that_would_serve_when_the_pool_fails_open() -> None:
    health, limit = HealthChecks[str](1), ConnectionLimit[str](1)
    pool = Pool(RoundRobin(["a"]), [health, limit])
    lease = pool.acquire(1.0)
    health.observe("a", False, 1.0)
    for options in ({}, {"prefer": "a"}, {"prefer": "a", "strict": True}):
        assert refusal_of(pool, 1.0, **options).full == 1
    assert pool.full("a")
    pool.release(lease, 2.0)
    assert pool.acquire(2.0, prefer="a", strict=True).bound


def test_full_knows_a_last_resort_while_the_pool_fails_open() -> None:
    health, limit = HealthChecks[str](1), ConnectionLimit[str](1)
    drain = Drain[str](last_resort=True)
    pool = Pool(RoundRobin(["b", "d", "c"]), [health, limit, drain])
    health.observe("b", False, 0.0)
    lease = pool.acquire(0.0, prefer="c")
    pool.acquire(0.0, prefer="d")
    drain.begin("c", 0.0)
    assert refusal_of(pool, avoid={"b", "d"}).full == 1
    pool.release(lease, 1.0)
    assert pool.acquire(1.0, avoid={"b", "d"}).backend == "c"


def test_full_knows_that_the_end_of_a_request_can_begin_a_panic() -> None:
    health, limit = HealthChecks[str](1, 1), ConnectionLimit[str](1)
    pool = Pool(RoundRobin([*"abc"]), [health, limit], panic=0.5)
    lease = pool.acquire(0.0, prefer="a")
    for backend in "ab":
        health.observe(backend, False, 1.0)
    assert refusal_of(pool, 1.0, avoid=["c"]).full == 1
    pool.release(lease, 1.0, ok=None)
    assert pool.acquire(1.0, avoid=["c"]).panic


def test_full_at_a_later_time_is_about_that_time() -> None:
    checks: ActiveChecks[str] = ActiveChecks(1, 1, rng=Random(2), interval=3.0, timeout=1.0)
    pool = Pool(RoundRobin([*"abc"]), [checks, ConnectionLimit[str](1)])
    pool.acquire(5.0, prefer="a")
    for probe in checks.probes(5.0):
        if probe.backend != "a":
            checks.answer(probe, True, 5.1)
    later = 30.0
    assert not pool.admits("a", bound=True, now=later)
    assert pool.full("a", now=later) is False or checks.factor("a", later) == 1


BOUND_CHOICES = [
    {reason for reason, bit in zip(("saturated", "down", "draining"), bits, strict=True) if bit}
    for bits in product([0, 1], repeat=3)
]


def bound_request(
    closed: dict[str, set[str]], panic: float | None, free: str, **options: Any
) -> Lease[str] | NoBackendAvailable:
    """Return what a request gets after ``free`` ended its request; "c" serves nothing."""
    limit, soft, drain = ConnectionLimit[str](1), Closing("down", soft=True), Drain[str]()
    pool = Pool(RoundRobin([*"abc"]), [limit, soft, drain], panic=panic)
    pool.set_weight("c", 0)
    leases = {b: pool.acquire(0.0, prefer=b) for b in "ab" if "saturated" in closed[b]}
    soft.close({b for b in "ab" if "down" in closed[b]})
    for backend in "ab":
        if "draining" in closed[backend]:
            drain.begin(backend, 0.0)
    if free:
        pool.release(leases[free], 0.0, ok=None)
    try:
        return pool.acquire(0.0, **options)
    except NoBackendAvailable as refusal:
        return refusal


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("panic", [0.0, 0.6, None])
def test_full_of_a_bound_request_is_the_number_of_backends_for_which_it_helps_to_wait(
    panic: float | None, strict: bool
) -> None:
    """For every combination over two members, every ``avoid``: end a request, and look.

    Only backends that may serve the request count; with ``strict``, this is the preferred one.
    """
    for combination in product(BOUND_CHOICES, repeat=2):
        closed = dict(zip("ab", combination, strict=True))
        for avoid in ([], ["a"], ["b"], ["a", "c"]):
            options: dict[str, Any] = {"prefer": "a", "avoid": avoid, "strict": strict}
            refusal = bound_request(closed, panic, "", **options)
            if isinstance(refusal, NoBackendAvailable):
                named = [b for b in ("a" if strict else "ab") if b not in avoid]
                busy = [b for b in named if "saturated" in closed[b]]
                freed = [bound_request(closed, panic, b, **options) for b in busy]
                assert refusal.full == sum(isinstance(x, Lease) for x in freed), (closed, avoid)


@pytest.mark.parametrize("closing", [*BOUND_CHOICES[1:], {"avoided"}])
def test_a_strict_refusal_names_each_reason_of_the_home_once(closing: set[str]) -> None:
    closed, avoid = {"a": closing, "b": set[str]()}, ["a"] if closing == {"avoided"} else []
    refusal = bound_request(closed, None, "", prefer="a", strict=True, avoid=avoid)
    reasons = closing - {"draining"}  # a drain spares bound requests
    if not reasons:
        assert isinstance(refusal, Lease)
        return
    assert isinstance(refusal, NoBackendAvailable)
    assert refusal.counts == dict.fromkeys(reasons, 1)
    assert refusal.reason == ("mixed" if len(reasons) > 1 else next(iter(reasons)))


def test_the_limit_of_the_pool_counts_the_home_of_a_bound_request_once() -> None:
    drain: Drain[str] = Drain()
    pool = Pool(RoundRobin([*"abc"]), [drain], limit=1)
    lease = pool.acquire(0.0, prefer="c")
    drain.begin("a", 0.0)
    pool.set_weight("b", 0)
    assert refusal_of(pool).full == 1
    cases: list[tuple[dict[str, Any], int]] = [
        ({"prefer": "a"}, 2),  # a drain spares bound requests
        ({"prefer": "b"}, 2),  # and so does weight 0
        ({"prefer": "c"}, 1),
        ({"prefer": "unknown"}, 1),
        ({"prefer": "a", "avoid": ["a"]}, 1),
        ({"prefer": "a", "avoid": ["c"]}, 1),
        ({"prefer": "a", "avoid": ["a", "c"]}, 0),
        ({"prefer": "a", "strict": True}, 1),
        ({"prefer": "c", "strict": True}, 1),
        ({"strict": True}, 1),
        ({"strict": True, "avoid": ["c"]}, 0),
    ]
    for options, full in cases:
        refused = refusal_of(pool, **options)
        assert (refused.full, refused.retry_at) == (full, pool.due), options
        assert refused.counts["saturated"] == 3
    assert pool.snapshot().refusals == {"saturated": 12}
    for backend in "cab":
        pool.release(lease, 1.0)
        lease = pool.acquire(1.0, prefer=backend)
        assert (lease.backend, lease.bound) == (backend, True)
