"""Requests with costs in the waiting room of the recipe."""

from asyncio import sleep

from balancers import NoBackendAvailable
from balancers.gates import CostLimit, CostRateLimit
from tests.overload.test_waiting_room import Case, Wants, run
from tests.overload.virtual_time import VirtualTimeLoop


def test_a_request_waits_for_room_and_one_above_the_limit_fails_at_once() -> None:
    async def test(_: VirtualTimeLoop) -> None:
        case = Case([CostLimit(10)])
        case.send("large", 5.0, wants=Wants(cost=8))
        case.send("waits", 1.0, wants=Wants(cost=3))
        case.send("never", 1.0, wants=Wants(cost=11))
        case.send("small", 1.0, wants=Wants(cost=2))
        await sleep(0.5)
        assert case.tasks["never"].done()
        assert [name for name, _ in case.served] == ["large", "small"]
        results = await case.results()
        assert [name for name, _ in case.served] == ["large", "small", "waits"]
        assert isinstance(results["never"], NoBackendAvailable)
        assert results["never"].reason == "too large"
        case.check_empty()

    run(test)


def test_a_request_that_waits_fails_when_its_cost_is_above_a_new_limit() -> None:
    async def test(loop: VirtualTimeLoop) -> None:
        limit = CostLimit[str](10)
        case = Case([limit])
        case.send("first", 2.0, wants=Wants(cost=8))
        case.send("waits", 1.0, wants=Wants(cost=6))
        await sleep(1.0)
        limit.set("a", 5, loop.time())
        results = await case.results()
        assert str(results["waits"]) == "no backend available: too large (1 too large)"
        case.check_empty()

    run(test)


def test_progress_makes_room_for_a_request_that_waits() -> None:
    async def test(_: VirtualTimeLoop) -> None:
        case = Case([CostLimit(10)])
        lease = await case.room.acquire(wants=Wants(cost=8))
        case.send("waits", 1.0, wants=Wants(cost=6))
        await sleep(1.0)
        assert not case.served
        case.room.progress(lease, 4)
        await sleep(0.5)
        assert case.served == [("waits", "a")]
        case.room.release(lease)
        await case.results()
        case.check_empty()

    run(test)


def test_time_that_makes_room_serves_a_request() -> None:
    async def test(_: VirtualTimeLoop) -> None:
        rate, limit = CostRateLimit[str](10, period=10.0), CostLimit[str](100)
        case = Case([rate, limit], "ab")
        limit.set("a", 9)
        rate.set("a", 1000)
        first = await case.room.acquire(wants=Wants("a", cost=8))
        case.send("second", 50.0, wants=Wants("b", cost=8))
        await sleep(0.0)
        case.send("waits", 1.0, wants=Wants(cost=5))  # a has no room, b has some after 3 seconds
        await sleep(2.9)
        assert len(case.served) == 1
        await sleep(0.2)
        assert case.served[1:] == [("waits", "b")]
        case.room.release(first)
        await case.results()
        case.check_empty()

    run(test)
