"""One deadline for a queue and all attempts, on an event loop with a virtual clock."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from balancers import ConnectionLimit, LeastConnections, NoBackendAvailable, Pool
from balancers.overload import AdmissionQueue
from tests.depth import runs
from tests.overload.virtual_time import VirtualTimeLoop
from tests.system.recipes import assert_idle, recipe

RECIPE = recipe("deadline")
ROOM = recipe("waiting_room")


def run(test: Callable[[VirtualTimeLoop], Awaitable[None]]) -> None:
    loop = VirtualTimeLoop()
    try:
        loop.run_until_complete(test(loop))
    finally:
        loop.close()


def room(backends: str = "abc", limit: int = 1, timeout: float = 1800.0) -> Any:
    pool = Pool(LeastConnections(list(backends)), [ConnectionLimit[str](limit)])
    return ROOM.WaitingRoom(pool, AdmissionQueue(100, timeout))


def within(room: Any, seconds: float, send: Any, **settings: Any) -> Any:
    attempts = RECIPE.Attempts(room.loop.time() + seconds, **settings)
    return RECIPE.send_within(room, attempts, send)


async def never(backend: str) -> str:
    await asyncio.sleep(1e9)
    return backend


async def occupied(room: Any) -> list[Any]:
    """Hold every backend, for ever."""
    return [await room.acquire() for _ in range(len(room.pool))]


def test_a_retry_loop_around_a_queue_takes_the_sum_of_the_timeouts() -> None:
    """The fault that the recipe prevents: 3 · 1800 s, and the client gave up after 3600 s."""

    async def test(loop: VirtualTimeLoop) -> None:
        waiting = room()
        await occupied(waiting)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await waiting.acquire()
        assert loop.time() == 5400.0

    run(test)


@pytest.mark.parametrize("seconds", [0.0, 1.0, 1800.0, 3600.0])
def test_a_request_in_the_queue_ends_at_its_deadline(seconds: float) -> None:
    async def test(loop: VirtualTimeLoop) -> None:
        waiting = room(timeout=1e6)
        leases = await occupied(waiting)
        with pytest.raises(TimeoutError):
            await within(waiting, seconds, never)
        assert (loop.time(), len(waiting.queue)) == (seconds, 0)
        for lease in leases:
            waiting.release(lease)
        assert_idle(waiting.pool)

    run(test)


def test_attempts_and_waits_share_one_deadline() -> None:
    """1500 s in the queue, 1000 s on a backend that fails, then a backend that never responds."""

    async def test(loop: VirtualTimeLoop) -> None:
        waiting, used = room("ab"), list[str]()
        first, second = await occupied(waiting)
        loop.call_later(1500.0, waiting.release, first)
        loop.call_later(2000.0, waiting.release, second)

        async def send(backend: str) -> None:
            used.append(backend)
            await asyncio.sleep(1000.0 if len(used) == 1 else 1e9)
            raise ConnectionResetError(backend)

        with pytest.raises(TimeoutError):
            await within(waiting, 3600.0, send)
        assert (loop.time(), used) == (3600.0, ["a", "b"])
        assert [member.failures for member in waiting.pool.snapshot().members] == [1, 0]
        assert_idle(waiting.pool)

    run(test)


def test_only_an_attempt_that_had_all_its_patience_is_a_failure() -> None:
    async def test(loop: VirtualTimeLoop) -> None:
        waiting = room()
        with pytest.raises(TimeoutError):
            await within(waiting, 25.0, never, patience=10.0)
        assert loop.time() == 25.0
        snapshot = waiting.pool.snapshot()
        assert [member.failures for member in snapshot.members] == [1, 1, 0]
        assert (snapshot.requests, snapshot.in_flight) == (3, 0)

    run(test)


def test_an_attempt_with_less_than_its_patience_is_no_failure() -> None:
    attempts = RECIPE.Attempts(25.0, limit=2, patience=10.0)
    assert [attempts.seconds(now) for now in (0.0, 15.0, 20.0, 30.0)] == [10.0, 10.0, 5.0, 0.0]
    assert attempts.timed_out(10.0) is False
    assert attempts.timed_out(5.0) is None
    assert (attempts.more(24.0), attempts.more(25.0)) == (True, False)
    attempts.tried |= {"a", "b"}
    assert not attempts.more(0.0)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_number_of_attempts_is_limited_and_each_has_a_backend(limit: int) -> None:
    async def test(_: VirtualTimeLoop) -> None:
        waiting, used = room("abcd"), list[str]()

        async def send(backend: str) -> None:
            used.append(backend)
            raise ConnectionRefusedError(backend)

        with pytest.raises(ConnectionRefusedError):
            await within(waiting, 9.0, send, limit=limit)
        assert used == [*"abcd"][:limit]
        with pytest.raises(ConnectionRefusedError):
            await within(waiting, 9.0, send, limit=9)
        assert sorted(used[limit:]) == [*"abcd"]
        with pytest.raises(NoBackendAvailable, match="empty"):
            await within(room(""), 9.0, send)
        assert_idle(waiting.pool)

    run(test)


def test_a_cancellation_in_the_queue_and_one_in_an_attempt() -> None:
    async def test(_: VirtualTimeLoop) -> None:
        waiting = room("a")
        tasks = [asyncio.create_task(within(waiting, 99.0, never)) for _ in range(2)]
        await asyncio.sleep(1.0)
        assert len(waiting.queue) == 1
        for task in reversed(tasks):
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} == {asyncio.CancelledError}
        assert (len(waiting.queue), waiting.pool.snapshot().failures) == (0, 0)
        assert_idle(waiting.pool)

    run(test)


def test_no_request_of_a_busy_site_ends_later_than_its_deadline() -> None:
    rng = Random(22)
    for _ in range(runs(20)):

        async def test(loop: VirtualTimeLoop) -> None:
            waiting = room("abc", limit=2, timeout=rng.choice([5.0, 50.0]))

            async def send(backend: str) -> str:
                await asyncio.sleep(rng.expovariate(0.3))
                if backend == "a" or rng.random() < 0.2:
                    raise ConnectionResetError(backend)
                return backend

            async def request() -> None:
                await asyncio.sleep(rng.uniform(0, 20))
                seconds = rng.uniform(0, 20)
                end = loop.time() + seconds
                errors = TimeoutError, ConnectionResetError, NoBackendAvailable
                with suppress(*errors):
                    await within(waiting, seconds, send, patience=rng.choice([3.0, 30.0]))
                assert loop.time() <= end + 1e-9

            await asyncio.gather(*(request() for _ in range(40)))
            assert len(waiting.queue) == 0
            assert_idle(waiting.pool)

        run(test)
