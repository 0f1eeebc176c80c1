"""The waiting room of the recipe, on an event loop with a virtual clock.

Nothing is lost, equal requests keep their order, no limit is exceeded, and whenever the loop is
idle, no request waits that a backend is open for.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from balancers import (
    Balancer,
    ConnectionLimit,
    Drain,
    Gate,
    HashRing,
    HealthChecks,
    LeastConnections,
    NoBackendAvailable,
    Outcome,
    Pool,
    RoundRobin,
    WeightedLeastConnections,
)
from balancers.errors import MissingKey, QueueFull
from balancers.gates import CoolDown, CostLimit
from balancers.hashing import BoundedLoad
from balancers.overload import AdmissionQueue
from tests.depth import runs
from tests.overload.virtual_time import VirtualTimeLoop


def recipe() -> Any:
    path = Path(__file__).parents[2] / "docs" / "recipes" / "waiting_room.py"
    spec = spec_from_file_location("waiting_room", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["waiting_room"] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


RECIPE = recipe()
Wants, ANY = RECIPE.Wants, RECIPE.ANY


class Case:
    """A waiting room, and the requests that were served, in order."""

    def __init__(
        self,
        gates: list[Any],
        backends: str = "a",
        waiting: int = 100,
        timeout: float = 60.0,
        kind: Callable[[Any], Balancer[str]] = LeastConnections,
        limit: int | None = None,
    ) -> None:
        self.pool = Pool(kind(list(backends)), gates, panic=None, limit=limit)
        self.queue: AdmissionQueue[Any] = AdmissionQueue(waiting, timeout)
        self.room = RECIPE.WaitingRoom(self.pool, self.queue)
        self.served: list[tuple[object, str]] = []
        self.order: dict[object, int] = {}
        """The serial numbers of the leases, in the order in which they were acquired."""
        self.numbers: dict[object, int] = {}
        """The serial number of the lease of each request."""
        acquire: Any = self.pool.acquire

        def recorded(*arguments: Any, **options: Any) -> Any:
            lease = acquire(*arguments, **options)
            self.order[lease] = len(self.order)
            return lease

        self.pool.acquire = recorded  # type: ignore[method-assign] # to see the order
        self.tasks: dict[object, asyncio.Task[None]] = {}

    def send(self, name: object, lasts: float = 1.0, **options: Any) -> None:
        self.tasks[name] = asyncio.create_task(self.request(name, lasts, options))

    async def request(self, name: object, lasts: float, options: dict[str, Any]) -> None:
        async with self.room.request(**options) as lease:
            self.served.append((name, lease.backend))
            self.numbers[name] = self.order[lease]
            await asyncio.sleep(lasts)

    async def results(self) -> dict[object, BaseException | None]:
        done = await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        return dict(zip(self.tasks, done, strict=True))

    def check_empty(self) -> None:
        assert [self.pool.in_flight(backend) for backend in self.pool.backends] == [0] * len(
            self.pool
        )
        assert len(self.queue) == 0
        assert not self.room.waiting
        assert self.room.timer is None


def run(test: Callable[[VirtualTimeLoop], Awaitable[None]]) -> None:
    loop = VirtualTimeLoop()
    try:
        loop.run_until_complete(test(loop))
    finally:
        loop.close()


def test_equal_requests_are_served_in_order_and_urgent_ones_first() -> None:
    async def test(loop: VirtualTimeLoop) -> None:
        case = Case([ConnectionLimit(1)])
        for name in ("first", "second", "third"):
            case.send(name)
        case.send("urgent", priority=1)
        assert set((await case.results()).values()) == {None}
        assert [name for name, _ in case.served] == ["first", "urgent", "second", "third"]
        assert loop.now == 4.0
        case.check_empty()

    run(test)


def test_a_request_fails_at_once_where_waiting_does_not_help() -> None:
    async def test(loop: VirtualTimeLoop) -> None:
        health: HealthChecks[str] = HealthChecks(1, initial="down")
        case = Case([health, ConnectionLimit(1)], "ab")
        health.observe("a", True, 0.0)
        health.observe("a", True, 0.0)
        case.send("served")
        await asyncio.sleep(0)
        case.send("of a backend that is down", wants=Wants("b", strict=True))
        case.send("of no backend", wants=Wants("c", strict=True))
        case.send("avoids the open one", wants=Wants(avoid=frozenset("a")))
        case.send("waits")
        results = await case.results()
        assert [result is None for result in results.values()] == [True, False, False, False, True]
        assert loop.now == 2.0
        case.check_empty()

    run(test)


def test_a_request_that_waits_fails_when_waiting_helps_no_more() -> None:
    async def test(loop: VirtualTimeLoop) -> None:
        case = Case([ConnectionLimit(1)], "ab")
        for name in ("one", "two"):
            case.send(name, lasts=5.0)
        await asyncio.sleep(0)
        case.send("of b", wants=Wants("b", strict=True))
        case.send("of any")
        await asyncio.sleep(1.0)
        case.pool.remove("b", loop.now)
        case.room.serve()
        results = await case.results()
        assert isinstance(results["of b"], NoBackendAvailable)
        assert results["of any"] is None
        case.check_empty()

    run(test)


def test_a_cancelled_request_passes_its_turn_on() -> None:
    """Its lease was acquired for it, and its task is cancelled before it continues."""

    async def test(_: VirtualTimeLoop) -> None:
        case = Case([ConnectionLimit(1)])
        lease = await case.room.acquire()
        for name in ("first", "second", "third"):
            case.send(name)
        await asyncio.sleep(1.0)
        case.room.release(lease)
        case.tasks["first"].cancel()  # it has a lease
        case.tasks["third"].cancel()  # it has none
        results = await case.results()
        assert [type(result) for result in results.values()] == [
            asyncio.CancelledError,
            type(None),
            asyncio.CancelledError,
        ]
        assert case.served == [("second", "a")]
        case.check_empty()

    run(test)


def test_a_coroutine_that_is_closed_leaves_the_queue() -> None:
    async def test(_: VirtualTimeLoop) -> None:
        case = Case([ConnectionLimit(1)])
        lease = await case.room.acquire()
        for released_before in (False, True):
            waits = case.room.acquire()
            waits.send(None)
            if released_before:
                case.room.release(lease)
            waits.close()
        case.room.set_timer()
        case.check_empty()

    run(test)


def test_a_request_waits_until_its_deadline() -> None:
    async def test(loop: VirtualTimeLoop) -> None:
        case = Case([ConnectionLimit(1)], timeout=5.0)
        case.send("long", lasts=9.0)
        await asyncio.sleep(1.0)
        case.send("expires")
        await asyncio.wait([case.tasks["expires"]])
        assert loop.now == 6.0
        results = await case.results()
        assert isinstance(results["expires"], TimeoutError)
        case.check_empty()

    run(test)


def test_a_timeout_of_the_caller_frees_the_place() -> None:
    async def test(loop: VirtualTimeLoop) -> None:
        case = Case([ConnectionLimit(1)], waiting=1)
        case.send("long", lasts=9.0)
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.0):
                await case.room.acquire()
        case.send("next")
        assert set((await case.results()).values()) == {None}
        assert loop.now == 10.0
        case.check_empty()

    run(test)


def test_a_full_queue_does_not_stop_a_request_that_need_not_wait() -> None:
    async def test(_: VirtualTimeLoop) -> None:
        case = Case([ConnectionLimit(1)], "ab", waiting=2)
        session = Wants("a", strict=True)
        for number in range(4):
            case.send(number, wants=session)
        case.send("any")
        case.send("one too many")
        results = await case.results()
        assert isinstance(results[3], QueueFull)
        assert isinstance(results["one too many"], QueueFull)
        assert case.served == [(0, "a"), ("any", "b"), (1, "a"), (2, "a")]
        case.check_empty()

    run(test)


class RaisesAtTheEnd(Gate[str]):
    """A gate that raises an exception when a request of the first task ends."""

    reason = "none"
    ends = 0

    def factor(self, backend: str, now: float) -> float:
        return 1

    def changes(self, now: float) -> list[str]:
        return []

    def finished(
        self, backend: str, outcome: Outcome, in_flight: int, started_at: float, now: float
    ) -> None:
        self.ends += 1
        if self.ends == 1:
            raise ArithmeticError("the gate")


def test_a_gate_that_raises_at_the_end_of_a_request_stops_no_other() -> None:
    """The requests that waited were served by nothing any more."""

    async def test(loop: VirtualTimeLoop) -> None:
        case = Case([ConnectionLimit(1), RaisesAtTheEnd()])
        for number in range(3):
            case.send(number)
        results = await case.results()
        assert isinstance(results.pop(0), ArithmeticError)
        assert results == {1: None, 2: None}
        assert [name for name, _ in case.served] == [0, 1, 2]
        assert loop.now == 3.0
        case.check_empty()

    run(test)


def test_time_that_opens_a_backend_serves_a_request() -> None:
    """No request ends then: the pool announces the time."""

    async def test(_: VirtualTimeLoop) -> None:
        cool_down: CoolDown[str] = CoolDown(rng=Random(1))
        case = Case([cool_down, ConnectionLimit(1)], "ab")
        pauses = case.pool.acquire(0.0, prefer="b")
        case.pool.release(pauses, 0.0, ok=False, retry_after=3.0)
        case.send("long", lasts=50.0)
        await asyncio.sleep(1.0)
        case.send("waits", lasts=10.0)
        await asyncio.sleep(1.9)
        assert case.served == [("long", "a")]
        await asyncio.sleep(0.2)
        assert case.served == [("long", "a"), ("waits", "b")]
        await case.results()
        case.check_empty()

    run(test)


def test_the_request_that_waits_is_served_before_one_that_arrives_when_a_backend_opens() -> None:
    async def test(loop: VirtualTimeLoop) -> None:
        health: HealthChecks[str] = HealthChecks(1, 1)
        case = Case([health, ConnectionLimit(1)], "ab")
        health.observe("b", False, 0.0)
        case.send("long", lasts=50.0)
        await asyncio.sleep(1.0)
        case.send("waits")
        await asyncio.sleep(1.0)
        health.observe("b", True, loop.now)
        case.send("arrives later")
        await case.results()
        assert case.served == [("long", "a"), ("waits", "b"), ("arrives later", "b")]
        case.check_empty()

    run(test)


def test_a_request_of_a_session_is_served_by_a_draining_backend() -> None:
    """Other requests before it are refused, because no backend is open to them."""

    async def test(loop: VirtualTimeLoop) -> None:
        drain: Drain[str] = Drain()
        case = Case([drain, ConnectionLimit(1)], "ab")
        session = Wants("a", strict=True)
        case.send("of a", lasts=2.0, wants=session)
        case.send("of b", lasts=9.0, wants=Wants("b", strict=True))
        await asyncio.sleep(0)
        drain.begin("a", 0.0)
        for name, wants in (("any", ANY), ("session", session), ("last", session)):
            case.send(name, wants=wants)
        await case.results()
        assert [name for name, _ in case.served] == ["of a", "of b", "session", "last", "any"]
        assert loop.now == 10.0
        case.check_empty()

    run(test)


def test_every_request_is_served_when_there_is_capacity() -> None:
    """Users joined the queue only if the reason was "saturated": 12 of 400 were served."""

    async def test(loop: VirtualTimeLoop) -> None:
        health: HealthChecks[str] = HealthChecks(1)
        case = Case([health, ConnectionLimit(5)], "abc", waiting=400, timeout=41.0)
        health.observe("c", False, 0.0)  # the reasons are mixed
        for number in range(400):
            case.send(number)
        await case.results()
        assert len(case.served) == 400
        assert loop.now == 40.0
        case.check_empty()

    run(test)


def test_a_keyed_balancer_and_a_pool_with_a_limit() -> None:
    async def test(loop: VirtualTimeLoop) -> None:
        def bounded(backends: Any) -> Balancer[str]:
            return BoundedLoad(HashRing(backends))

        case = Case([ConnectionLimit(2)], "abc", kind=bounded, limit=5)
        for number in range(50):
            case.send(number, key=f"key {number}")
        case.send("without a key")
        results = await case.results()
        assert isinstance(results.pop("without a key"), MissingKey)
        assert set(results.values()) == {None}
        assert loop.now == 10.0
        assert [name for name, _ in case.served] == [*range(50)]
        case.check_empty()

    run(test)


class Stress:
    """Random requests, holding times, cancellations, deadlines, drains and probe results."""

    LIMIT = 2

    def __init__(self, loop: VirtualTimeLoop, seed: int) -> None:
        self.loop, self.rng = loop, Random(seed)
        self.drain: Drain[str] = Drain()
        self.health: HealthChecks[str] = HealthChecks(1, 1)
        gates = [self.drain, self.health, ConnectionLimit(self.LIMIT), CostLimit(10)]
        kind = self.rng.choice([LeastConnections, RoundRobin, WeightedLeastConnections])
        queue = self.rng.choice([5, 200])
        timeout = self.rng.choice([3.0, 500.0])
        self.case = Case(gates, "abc", queue, timeout, kind, self.rng.choice([None, 5]))
        self.joined: dict[object, list[object]] = {}
        loop.when_idle = self.check

    def wants(self) -> Any:
        backend = self.rng.choice("abc")
        wants = self.rng.choice(
            [
                ANY,
                ANY,
                Wants(backend),
                Wants(backend, strict=True),
                Wants(avoid=frozenset(backend)),
                Wants(self.rng.choice("abc"), avoid=frozenset(backend)),
            ]
        )
        return wants._replace(cost=self.rng.choice([0, 0, 0, 0, 4, 8, 11]))

    async def run(self) -> Counter[type[object]]:
        case, rng = self.case, self.rng
        for number in range(150):
            wants, priority = self.wants(), rng.choice([0, 0, 0, 1])
            self.joined.setdefault((wants, priority), []).append(number)
            case.send(number, rng.choice([0.0, 0.5, 1.0, 2.0]), wants=wants, priority=priority)
            if rng.random() < 0.5:
                await asyncio.sleep(rng.choice([0.0, 0.0, 0.1, 0.5]))
            if rng.random() < 0.2:
                case.tasks[rng.randrange(number + 1)].cancel()
            if rng.random() < 0.1:
                self.change(rng.choice("abc"))
        for backend in "abc":
            self.drain.cancel(backend, self.loop.now)
            self.health.observe(backend, True, self.loop.now)
        case.room.serve()
        results = await case.results()
        case.check_empty()
        names = {name for name, _ in case.served}
        cancelled = {name for name, result in results.items() if result is not None}
        assert len(case.served) == len(names), "each request is served at most once"
        assert names | cancelled == set(results)
        for equal in self.joined.values():
            numbers = [case.numbers[name] for name in equal if name in case.numbers]
            assert all(one < two for one, two in pairwise(numbers)), "an equal request overtook one"
        return Counter(type(result) for result in results.values())

    def change(self, backend: str) -> None:
        rng, now = self.rng, self.loop.now
        rng.choice([self.drain.begin, self.drain.cancel])(backend, now)
        self.health.observe(backend, rng.random() < 0.7, now)
        self.case.room.serve()

    def check(self) -> None:
        """Check the limits, and that no request waits that a backend is open for."""
        pool, now = self.case.pool, self.loop.now
        assert all(pool.in_flight(backend) <= self.LIMIT for backend in "abc")
        assert all(pool.cost_in_flight(backend) <= 10 for backend in "abc")
        for prefer, strict, avoid, cost in {entry.item.wants for entry in self.case.queue}:
            open_now = {each for each in "abc" if pool.admits(each, now=now, cost=cost)}
            bound = prefer is not None and pool.admits(prefer, bound=True, now=now, cost=cost)
            assert cost <= 10, cost
            assert not (bound and prefer not in avoid), prefer
            assert strict or not open_now - avoid, open_now


def test_random_requests_lose_nothing_and_overtake_no_equal() -> None:
    outcomes: Counter[type[object]] = Counter()
    for seed in range(runs(400)):

        async def test(loop: VirtualTimeLoop, seed: int = seed) -> None:
            outcomes.update(await Stress(loop, seed).run())

        run(test)
    for kind in (type(None), asyncio.CancelledError, QueueFull, TimeoutError, NoBackendAvailable):
        assert outcomes[kind] > 10, f"{kind} was rare: {outcomes}"
