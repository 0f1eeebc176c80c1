"""Which gates a pool ignores when no member is open: fail-open, panic threshold, last resort."""

import copy
import pickle
from collections import deque
from itertools import product
from math import inf
from random import Random
from typing import Any

import pytest

from balancers import (
    ConnectionLimit,
    Drain,
    Event,
    HealthChecks,
    NoBackendAvailable,
    Pool,
    RoundRobin,
    SlowStart,
    WeightedRoundRobin,
)
from balancers.errors import IncompatibleGate, InvalidSetting
from balancers.gates import ActiveChecks, CoolDown, MemberGate, OutlierEjection, PassiveChecks


def refusal_of(pool: Pool[str], now: float = 0.0, **options: Any) -> NoBackendAvailable:
    with pytest.raises(NoBackendAvailable) as refusal:
        pool.acquire(now, **options)
    return refusal.value


def served(pool: Pool[str], now: float = 0.0) -> set[str]:
    """Return the backends that serve new requests."""
    backends: set[str] = set()
    for _ in range(4 * len(pool)):
        lease = pool.acquire(now)
        backends.add(lease.backend)
        pool.release(lease, now, ok=None)
    assert backends == {backend for backend in pool.backends if pool.admits(backend)}
    return backends


def test_a_short_failure_of_all_backends_is_no_outage() -> None:
    """Every backend fails for 0.2 s.  Only the requests of this time fail; none is refused."""
    health: HealthChecks[str] = HealthChecks(3, recovery_time=10.0)
    limit: ConnectionLimit[str] = ConnectionLimit(100)
    pool = Pool(WeightedRoundRobin([*"abc"]), [health, Drain(), limit, SlowStart(30.0)])
    failed = 0
    for step in range(3000):
        now = step / 100
        lease = pool.acquire(now)
        ok = not 5.0 <= now < 5.2
        failed += not ok
        pool.release(lease, now, ok=ok)
    assert failed == 20


@pytest.mark.parametrize(
    "gate",
    [
        HealthChecks[str](1),
        PassiveChecks[str](),
        OutlierEjection[str](1, max_ejected_share=1.0),
        ActiveChecks[str](1, rng=Random(1)),
    ],
    ids=lambda gate: type(gate).__name__,
)
@pytest.mark.parametrize("other", ["draining", "quiesced", "unhealthy", "full"])
def test_the_only_backend_that_can_serve_is_never_lost(gate: Any, other: str) -> None:
    """One failure of it is no outage, whatever the reason that closes the other backend."""
    drain, health, limit = Drain[str](), HealthChecks[str](1), ConnectionLimit[str](1000)
    pool = Pool(RoundRobin(["a", "b"]), [copy.deepcopy(gate), drain, health, limit])
    if other == "draining":
        drain.begin("b", 0.0)
    elif other == "quiesced":
        pool.set_weight("b", 0)
    elif other == "unhealthy":
        health.observe("b", False, 0.0)
    else:
        limit.set("b", 1)
        pool.acquire(0.0, prefer="b")
    for step in range(10):
        pool.release(pool.acquire(float(step), avoid=["b"]), float(step), ok=False)
        lease = pool.acquire(float(step))
        pool.release(lease, float(step), ok=False)


def test_the_lease_and_an_event_say_that_the_pool_failed_open() -> None:
    health: HealthChecks[str] = HealthChecks(1)
    events: deque[Event] = deque(maxlen=10)
    pool = Pool(RoundRobin(["a", "b"]), [health], events=events)
    assert not pool.acquire(0.0).panic
    for backend in "ab":
        health.observe(backend, False, 1.0)
    lease = pool.acquire(2.0)
    assert lease.panic
    assert pool.state(lease.backend) == ("unhealthy",)
    assert events[-1] == Event(2.0, "panic", True, None, "0 of 2 open")
    health.observe("a", True, 3.0)
    health.observe("a", True, 3.0)
    assert not pool.acquire(3.0).panic
    assert [event.began for event in events if event.reason == "panic"] == [True, False]


def test_without_a_panic_soft_gates_are_never_ignored() -> None:
    health: HealthChecks[str] = HealthChecks(1)
    pool = Pool(RoundRobin(["a"]), [health], panic=None)
    health.observe("a", False, 0.0)
    assert refusal_of(pool).reason == "unhealthy"
    assert not pool.panicking


def test_a_positive_panic_also_fails_open_when_no_member_is_open() -> None:
    health: HealthChecks[str] = HealthChecks(1)
    pool = Pool(RoundRobin([*"abcd"]), [health], panic=0.5)
    expected = [set("abcd"), set("bcd"), set("cd"), set("abcd"), set("abcd")]
    for failed, backends in enumerate(expected):
        for backend in "abcd"[:failed]:
            health.observe(backend, False, 0.0)
        assert served(pool) == backends


def test_hard_gates_are_never_ignored() -> None:
    health, drain, limit = HealthChecks[str](1), Drain[str](), ConnectionLimit[str](1)
    pool = Pool(RoundRobin([*"abc"]), [health, drain, limit])
    for backend in "abc":
        health.observe(backend, False, 0.0)
    drain.begin("a", 0.0)
    pool.set_weight("b", 0)
    assert served(pool) == {"c"}
    pool.acquire(0.0)
    assert refusal_of(pool).full == 1


def test_calm_needs_a_share() -> None:
    for panic in (0.0, None):
        with pytest.raises(InvalidSetting, match="calm"):
            Pool(RoundRobin[str](), panic=panic, calm=0.5)


@pytest.mark.parametrize("kind", ["health", "active"])
def test_what_is_down_until_proven_is_not_served_before_its_first_result(kind: str) -> None:
    """Neither by default nor with a panic threshold, until a result arrived."""
    for panic in (0.0, 0.9):
        gate: Any = (
            HealthChecks[str](1, 2, initial="down")
            if kind == "health"
            else ActiveChecks[str](rng=Random(1), initial="down")
        )
        pool = Pool(RoundRobin(["a", "b"]), [gate], panic=panic)
        assert refusal_of(pool).reason == "unhealthy"
        assert not pool.admits("a")
        assert not pool.admits("a", bound=True)
        assert refusal_of(pool, prefer="a", strict=True).reason == "unhealthy"
        if kind == "active":
            probes = [probe for at in (1.0, 2.0, 3.0) for probe in gate.probes(at)]
            gate.answer(next(probe for probe in probes if probe.backend == "a"), False, 3.1)
        else:
            gate.observe("a", False, 100.0)
        assert {pool.acquire(100.0).backend for _ in range(4)} == {"a"}
        for copied in (copy.deepcopy(pool), pickle.loads(pickle.dumps(pool))):  # noqa: S301 - own
            assert {copied.acquire(100.0).backend for _ in range(4)} == {"a"}
        pool.remove("a", 100.0)
        pool.add("a", now=100.0)
        assert refusal_of(pool, 100.0).reason == "unhealthy"


class Closing(MemberGate[str, bool]):
    """Closes what is in ``closed``."""

    def __init__(self, reason: str, soft: bool, last_resort: bool) -> None:
        super().__init__()
        self.reason, self.soft, self.last_resort = reason, soft, last_resort
        self.closed: set[str] = set()

    def new_state(self, now: float) -> bool:
        del now
        return False

    def factor(self, backend: str, now: float) -> float:
        del now
        return 0 if backend in self.closed else 1

    def close(self, backends: set[str]) -> None:
        changed, self.closed = self.closed ^ backends, backends
        for backend in changed:
            self.notify_change(backend)


def expected_backends(closed: dict[str, set[str]], panic: float | None, members: str) -> set[str]:
    """Return what serves if the closing reasons per backend are these: read from the rule."""

    def opened(ignored: set[str]) -> set[str]:
        return {backend for backend in members if not closed[backend] - ignored}

    if opened(set()):
        return opened(set())
    if opened({"last"}):
        return opened({"last"})
    if panic is None:
        return set()
    return opened({"soft"}) or opened({"soft", "last"})


@pytest.mark.parametrize("panic", [0.0, None])
def test_as_few_gates_as_possible_are_ignored(panic: float | None) -> None:
    """Every combination of reasons over three members: last resort first, soft next, then both."""
    reasons = ["soft", "last", "hard"]
    choices = [
        {reason for reason, bit in zip(reasons, bits, strict=True) if bit}
        for bits in product([0, 1], repeat=3)
    ]
    gates = {
        "soft": Closing("soft", soft=True, last_resort=False),
        "last": Closing("last", soft=False, last_resort=True),
        "hard": Closing("hard", soft=False, last_resort=False),
    }
    pool = Pool(RoundRobin([*"abc"]), gates.values(), panic=panic)
    for combination in product(choices, repeat=3):
        closed = dict(zip("abc", combination, strict=True))
        for reason, gate in gates.items():
            gate.close({backend for backend in "abc" if reason in closed[backend]})
        expected = expected_backends(closed, panic, "abc")
        if expected:
            assert served(pool) == expected, closed
        else:
            assert refusal_of(pool).full == 0


@pytest.mark.parametrize("why", ["unhealthy", "quiesced", "cooling down", "full"])
def test_a_last_resort_drain_serves_when_the_other_member_cannot(why: str) -> None:
    """It did not help when the other member was down or of weight 0."""
    for panic in (0.0, None):
        drain: Drain[str] = Drain(last_resort=True)
        health, limit = HealthChecks[str](1), ConnectionLimit[str](5)
        cool = CoolDown[str](1, rng=Random(1))
        events: deque[Event] = deque(maxlen=20)
        pool = Pool(
            RoundRobin(["a", "b"]), [drain, health, limit, cool], panic=panic, events=events
        )
        drain.begin("a", 0.0)
        assert served(pool) == {"b"}
        if why == "unhealthy":
            health.observe("b", False, 0.0)
        elif why == "quiesced":
            pool.set_weight("b", 0)
        elif why == "cooling down":
            pool.release(pool.acquire(0.0), 0.0, ok=None, retry_after=5.0)
        else:
            limit.set("b", 1)
            pool.acquire(0.0)
        lease = pool.acquire(0.0)
        assert (lease.backend, lease.panic) == ("a", False)
        assert [(e.began, e.backend) for e in events if e.reason == "last resort"] == [(True, None)]
        assert pool.state("a") == ("draining",)
        pool.add("c")
        assert served(pool) == {"c"}
        assert [e.began for e in events if e.reason == "last resort"] == [True, False]


def test_a_last_resort_for_a_cool_down() -> None:
    cool = CoolDown[str](1, last_resort=True, rng=Random(1))
    pool = Pool(RoundRobin(["a", "b"]), [cool])
    for _ in range(2):
        pool.release(pool.acquire(0.0), 0.0, ok=False)
    assert served(pool, 0.1) == {"a", "b"}
    hard = CoolDown[str](1, rng=Random(1))
    pool = Pool(RoundRobin(["a"]), [hard])
    pool.release(pool.acquire(0.0), 0.0, ok=False)
    assert refusal_of(pool, 0.1).reason == "cooling down"


def test_a_gate_of_last_resort_must_be_hard() -> None:
    with pytest.raises(IncompatibleGate, match="last_resort"):
        Pool(RoundRobin(["a"]), [Closing("x", soft=True, last_resort=True)])


def test_a_drain_over_an_unhealthy_member_does_not_hide_the_rest() -> None:
    """Two operators at once: one drains, and everything is sick."""
    drain: Drain[str] = Drain(last_resort=True)
    health: HealthChecks[str] = HealthChecks(1)
    pool = Pool(RoundRobin(["a", "b"]), [drain, health])
    drain.begin("a", 0.0)
    for backend in "ab":
        health.observe(backend, False, 0.0)
    assert served(pool) == {"b"}
    drain.begin("b", 0.0)
    assert served(pool) == {"a", "b"}
    health.observe("a", True, 0.0)
    health.observe("a", True, 0.0)
    assert served(pool) == {"a"}


def test_fractions_of_ignored_gates_do_not_count() -> None:
    health, ramp = HealthChecks[str](1), SlowStart[str](10.0, 4)
    pool = Pool(WeightedRoundRobin({"a": 4}), [health, ramp])
    ramp.begin("a", 0.0)
    assert pool.effective_weight("a") == 0.4
    health.observe("a", False, 0.0)
    assert pool.effective_weight("a") == 4
    assert pool.due < inf
