"""Examples of the pool: reasons, panic, preference, and leases in a with statement."""

import asyncio
from math import inf, nan
from typing import Any

import pytest

from balancers import (
    Balancer,
    ConnectionLimit,
    Drain,
    HashRing,
    HealthChecks,
    LeastConnections,
    NoBackendAvailable,
    Outcome,
    Pool,
    RoundRobin,
    SlowStart,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from balancers.errors import InvalidTime
from balancers.gates import MemberGate


def refused(pool: Pool[str], **arguments: Any) -> NoBackendAvailable:
    with pytest.raises(NoBackendAvailable) as refusal:
        pool.acquire(0.0, **arguments)
    return refusal.value


def test_a_refusal_has_reasons_and_counts() -> None:
    health, drain = HealthChecks[str](1), Drain[str]()
    pool = Pool(RoundRobin(["a", "b", "c"]), [health, drain])
    assert refused(Pool(RoundRobin())).reason == "empty"
    for backend in "abc":
        drain.begin(backend, 0.0)
    health.observe("a", False, 0.0)
    error = refused(pool)
    assert (error.reason, dict(error.counts)) == ("draining", {"draining": 3, "unhealthy": 1})
    drain.cancel("b", 0.0)
    error = refused(pool, avoid=["b", "c"])
    assert (error.reason, dict(error.counts)) == (
        "mixed",
        {"draining": 2, "unhealthy": 1, "avoided": 1},
    )
    assert error.retry_at == inf
    assert "2 draining" in str(error)


def test_two_gates_with_one_reason_count_once() -> None:
    first, second = Drain[str](), Drain[str]()
    pool = Pool(RoundRobin(["a"]), [first, second])
    first.begin("a", 0.0)
    second.begin("a", 0.0)
    assert dict(refused(pool).counts) == {"draining": 1}
    first.cancel("a", 0.0)
    assert dict(refused(pool).counts) == {"draining": 1}
    second.cancel("a", 0.0)
    assert pool.acquire(0.0).backend == "a"


def test_panic_begins_below_its_share_ignores_weight_zero_and_ends_at_calm() -> None:
    health: HealthChecks[str] = HealthChecks(1, 1)
    pool = Pool(RoundRobin([*"abcdefgh"]), [health], panic=0.5, calm=0.75)
    pool.set_weight("h", 0)
    pool.set_weight("g", 0)
    for backend in "abc":
        health.observe(backend, False, 0.0)
    assert not pool.acquire(0.0).panic  # 3 of 6 is not below half
    health.observe("d", False, 0.0)
    assert {pool.acquire(0.0).backend for _ in range(6)} == {*"abcdef"}
    assert pool.acquire(0.0).panic
    for backend in "cd":
        health.observe(backend, True, 1.0)
    assert pool.acquire(1.0).panic  # 4 of 6 is above half, but below calm
    health.observe("b", True, 2.0)
    assert not pool.acquire(2.0).panic
    assert not pool.panicking


def test_panic_compares_exactly() -> None:
    """0.55 · 20 is slightly above 11 as a float, but 11 of 20 is not below 0.55."""
    health: HealthChecks[int] = HealthChecks(1)
    pool = Pool(RoundRobin(range(20)), [health], panic=0.55)
    for backend in range(9):
        health.observe(backend, False, 0.0)
    assert not pool.acquire(0.0).panic


def test_panic_never_ignores_a_hard_gate() -> None:
    health, limit = HealthChecks[str](1), ConnectionLimit[str](1)
    pool = Pool(RoundRobin(["a", "b"]), [health, limit], panic=1.0)
    for backend in "ab":
        health.observe(backend, False, 0.0)
    limit.set("b", 3)
    assert "".join(pool.acquire(0.0).backend for _ in range(4)) == "abbb"
    error = refused(pool)
    assert dict(error.counts) == {"saturated": 2}


def test_admits_answers_for_a_later_time() -> None:
    health: HealthChecks[str] = HealthChecks(1, recovery_time=10.0)
    pool = Pool(RoundRobin(["a", "b"]), [health])
    pool.release(pool.acquire(0.0), 1.0, ok=False)
    for bound in (False, True):
        asked = [pool.admits("a", bound, now) for now in (None, 0.0, 10.9, 11.0)]
        assert asked == [False, False, False, True]
    assert not pool.admits("a")  # the calls changed nothing
    assert pool.due in {-inf, 11.0}


def test_prefer_and_strict() -> None:
    health: HealthChecks[str] = HealthChecks(1)
    pool = Pool(RoundRobin(["a", "b"]), [health])
    lease = pool.acquire(0.0, prefer="b")
    assert (lease.backend, lease.bound) == ("b", True)
    assert pool.acquire(0.0, prefer="no member").bound is False
    assert pool.acquire(0.0, prefer="b", avoid=["b"]).backend == "a"
    assert refused(pool, prefer="no member", strict=True).reason == "unknown"
    assert refused(pool, prefer="b", strict=True, avoid=["b"]).reason == "avoided"
    assert pool.acquire(0.0, strict=True).backend in "ab"
    pool.set_weight("b", 0)
    assert pool.acquire(0.0, prefer="b").backend == "b"  # quiesced, but bound requests are served
    health.observe("b", False, 0.0)
    assert refused(pool, prefer="b", strict=True).reason == "unhealthy"


def test_an_update_keeps_the_state_of_members_that_stay() -> None:
    health: HealthChecks[str] = HealthChecks(2)
    pool = Pool(LeastConnections(["a", "b"]), [health])
    lease = pool.acquire(0.0, prefer="b")
    health.observe("b", False, 0.0)
    pool.update({"c": 1, "b": 5}, 1.0)
    assert (list(pool.backends), pool.in_flight("b"), pool.weight("b")) == (["b", "c"], 1, 5)
    assert [pool.acquire(1.0).backend for _ in range(2)] == ["c", "b"]
    health.observe("b", False, 2.0)
    assert not health.healthy("b")
    pool.release(lease, 3.0)
    assert pool.in_flight("b") == 1


def test_gates_get_all_details_of_a_request() -> None:
    calls: list[tuple[object, ...]] = []

    class Recorder(ConnectionLimit[str]):
        def started(self, backend: str, in_flight: int, now: float) -> None:
            calls.append((backend, in_flight, now))

        def finished(
            self, backend: str, outcome: Outcome, in_flight: int, started_at: float, now: float
        ) -> None:
            calls.append((backend, outcome, in_flight, started_at, now))

    pool = Pool(RoundRobin(["a"]), [Recorder(9)])
    pool.release(pool.acquire(1.0), 2.5, False, 1.5, 30.0)
    assert calls == [("a", 1, 1.0), ("a", Outcome(False, 1.5, 30.0), 0, 1.0, 2.5)]


def test_reading_is_up_to_date() -> None:
    limit: ConnectionLimit[str] = ConnectionLimit(1)
    ramp: SlowStart[str] = SlowStart(10.0, 5)
    pool = Pool(WeightedRoundRobin({"a": 4}), [limit, ramp])
    ramp.begin("a", 0.0)
    assert pool.effective_weight("a") == 0.4
    lease = pool.acquire(5.0)
    for _ in range(2):
        assert pool.state("a") == ("saturated",)
        assert pool.effective_weight("a") == 0
        assert not pool.admits("a")
        assert pool.due == 6.0  # reading applies what a request would apply
    pool.release(lease, 5.0)
    assert pool.state("a") == ()
    assert pool.effective_weight("a") == 4 * 2 / 5
    assert (len(pool), "a" in pool, "b" in pool) == (1, True, False)
    assert "1 of 1 open, 0 in flight" in repr(pool)


def test_a_lease_in_a_with_statement() -> None:
    health: HealthChecks[str] = HealthChecks(1)
    pool = Pool(RoundRobin(["a"]), [health])
    with pool.lease(lambda: 1.0) as lease:
        assert pool.in_flight("a") == 1
    assert lease.released
    with pool.lease(lambda: 1.0) as lease:
        pool.release(lease, 1.0, ok=True)
    assert health.healthy("a")
    with pytest.raises(OSError, match="broken"), pool.lease(lambda: 2.0):
        raise OSError("broken")
    assert not health.healthy("a")
    assert pool.in_flight("a") == 0


def test_a_cancelled_task_releases_its_lease_and_is_not_a_failure() -> None:
    health: HealthChecks[str] = HealthChecks(1)
    pool = Pool(LeastConnections(["a"]), [health])

    async def request(started: asyncio.Event) -> None:
        with pool.lease(asyncio.get_running_loop().time):
            started.set()
            await asyncio.Event().wait()

    async def main() -> None:
        started = asyncio.Event()
        task = asyncio.create_task(request(started))
        await started.wait()
        assert pool.in_flight("a") == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert pool.in_flight("a") == 0
    assert health.healthy("a")


@pytest.mark.parametrize(("bad", "error"), [(nan, InvalidTime), (None, ZeroDivisionError)])
def test_a_clock_that_fails_at_the_end_leaks_no_count(bad: Any, error: type[Exception]) -> None:
    times = iter([1.0, bad])

    def clock() -> float:
        now: Any = next(times)
        return 1 / 0 if now is None else now

    pool = Pool(WeightedLeastConnections(["a"]))
    with pytest.raises(error), pool.lease(clock):
        pass
    assert pool.in_flight("a") == 0


def test_a_balancer_without_inheritance_works() -> None:
    class WithoutInheritance:
        keyed = fractional = False

        def __init__(self) -> None:
            self.weights: dict[str, float] = {}
            self.calls: list[str] = []

        def put(self, backend: str, weight: float = 1) -> None:
            self.weights[backend] = weight

        def discard(self, backend: str) -> None:
            self.weights.pop(backend, None)

        def pick(self, key: object = None, now: float = 0.0, avoid: object = ()) -> str:
            return next(backend for backend, weight in self.weights.items() if weight)

        def started(self, backend: str, now: float = 0.0, bound: bool = False) -> None:
            self.calls.append(f"started {backend} {bound}")

        def finished(self, backend: str, outcome: object = None, now: float = 0.0) -> None:
            self.calls.append(f"finished {backend}")

    balancer: Any = WithoutInheritance()
    assert isinstance(balancer, Balancer) is True
    drain: Drain[str] = Drain()
    pool: Pool[str] = Pool(balancer, [drain])
    pool.update(["a", "b"])
    drain.begin("a", 0.0)
    pool.release(pool.acquire(0.0), 0.0)
    pool.release(pool.acquire(0.0, prefer="a"), 0.0)
    assert balancer.calls == ["started b False", "finished b", "started a True", "finished a"]


def test_a_replacement_under_the_same_name_is_no_duplicate() -> None:
    class Node:
        def __init__(self, name: str) -> None:
            self.name = name

    old, new = Node("x"), Node("x")
    pool: Pool[Node] = Pool(HashRing(identity=lambda node: node.name))
    pool.update([old])
    pool.update([new])
    assert pool.acquire(0.0, "k").backend is new


class FailingOnce(MemberGate[str, list[float]]):
    """A soft gate whose factors are set by hand, and which raises once for chosen backends."""

    reason = "by hand"
    soft = True

    def __init__(self) -> None:
        super().__init__()
        self.failing: set[str] = set()

    def new_state(self, now: float) -> list[float]:
        return [1]

    def set(self, backend: str, factor: float) -> None:
        self.state_of(backend)[0] = factor
        self.notify_change(backend)

    def factor(self, backend: str, now: float) -> float:
        if backend in self.failing:
            self.failing.remove(backend)
            raise ArithmeticError(backend)
        return self.state_of(backend)[0]


def test_a_gate_that_raises_halfway_leaves_the_counts_right() -> None:
    gate = FailingOnce()
    pool = Pool(RoundRobin(["a", "b"]), [gate])
    for backend in ("a", "b"):
        gate.set(backend, 0)
    assert pool.acquire(1.0).panic
    for backend in ("a", "b"):
        gate.set(backend, 1)
    gate.failing = {"b"}
    with pytest.raises(ArithmeticError):
        pool.acquire(2.0)
    gate.set("b", 0)
    assert pool.acquire(3.0).backend == "a"
    assert repr(pool) == "<Pool of RoundRobin, FailingOnce: 1 of 2 open, 2 in flight>"
