"""The session for aiohttp, with real servers on loopback.  No request and no lease is lost."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from http import HTTPStatus
from io import BytesIO
from typing import Any

import pytest

pytest.importorskip("aiohttp")
from aiohttp import ClientError, ClientResponseError

from balancers import Balancer, HashRing, HealthChecks, Pool, RoundRobin
from tests.system.recipes import LIMIT, all_in_flight, assert_idle, backends, cancelled, recipe

RECIPE = recipe("with_aiohttp")
ENDLESS = recipe("loopback").parts(*[b"x"] * 1000)
BUSY = HTTPStatus.SERVICE_UNAVAILABLE


@pytest.fixture
def servers() -> Generator[list[Any]]:
    with backends(3) as made:
        yield made


def run(
    servers: list[Any],
    test: Callable[[Any], Awaitable[None]],
    kind: Callable[[list[str]], Balancer[str]] = RoundRobin,
    **settings: Any,
) -> Pool[str]:
    """Run a test with a session.  Return its pool, in which no lease is left."""
    health = HealthChecks[str](3)
    pool = Pool(kind([server.name for server in servers]), [health])

    async def within() -> None:
        settings.setdefault("patience", LIMIT)
        async with asyncio.timeout(2 * LIMIT):
            async with RECIPE.BalancedSession(pool, **{"seconds": LIMIT, **settings}) as session:
                session.health = health
                await test(session)

    asyncio.run(within())
    assert_idle(pool)
    return pool


async def get(
    session: Any, method: str = "GET", path: str = "/", **options: Any
) -> tuple[int, str]:
    async with session.request(method, path, **options) as response:
        return response.status, (await response.json())["backend"]


@pytest.mark.parametrize("how", ["503", "breaks", "refuses"])
def test_requests_go_on_while_a_backend_fails(servers: list[Any], how: str) -> None:
    if how == "503":
        servers[0].status = BUSY
    servers[0].breaks = how == "breaks"
    if how == "refuses":
        servers[0].name = "127.0.0.1:1"

    async def test(session: Any) -> None:
        answers = [await get(session) for _ in range(12)]
        answers += await asyncio.gather(*(get(session) for _ in range(24)))
        assert {status for status, _ in answers} == {200}
        assert {name for _, name in answers} == {server.name for server in servers[1:]}

    pool = run(servers, test)
    assert [member.failures for member in pool.snapshot().members] == [3, 0, 0]


def test_retries_never_go_to_the_same_backend(servers: list[Any]) -> None:
    for server in servers:
        server.status = BUSY

    async def test(session: Any) -> None:
        assert await get(session) == (503, servers[2].name)
        assert [server.requests for server in servers] == [1, 1, 1]
        session.limit = 2
        assert await get(session) == (503, servers[1].name)
        assert await get(session, "POST", data=b"order") == (503, servers[2].name)
        assert sum(server.requests for server in servers) == 6

    assert run(servers, test, limit=9).snapshot().failures == 6


def test_a_post_is_repeated_only_if_it_was_not_sent(servers: list[Any]) -> None:
    servers[0].name, servers[1].breaks = "127.0.0.1:1", True

    async def test(session: Any) -> None:
        with pytest.raises(ClientError):
            await get(session, "POST", data=b"order")
        assert (await get(session, "POST", data=b"order"))[0] == 200

    assert run(servers, test).snapshot().requests == 3


def test_a_body_that_can_be_sent_once_is_not_repeated(servers: list[Any]) -> None:
    async def parts() -> AsyncGenerator[bytes]:
        yield b"part"

    async def test(session: Any) -> None:
        for server in servers:
            server.status = BUSY
        headers = {"Content-Length": "4"}
        assert (await get(session, "PUT", data=parts(), headers=headers))[0] == BUSY
        assert (await get(session, "PUT", data=BytesIO(b"part")))[0] == BUSY
        assert sum(server.requests for server in servers) == 2
        assert (await get(session, "PUT", data=b"part"))[0] == BUSY
        assert sum(server.requests for server in servers) == 5

    run(servers, test)


def test_an_error_of_the_request_is_no_failure_of_a_backend(servers: list[Any]) -> None:
    for server in servers:
        server.status, server.headers = HTTPStatus.FOUND, {"Location": "http://127.0.0.1:1/"}

    async def test(session: Any) -> None:
        with pytest.raises(ValueError, match="port"):
            await get(session, path="no-slash")
        assert (await get(session))[0] == HTTPStatus.FOUND
        for server in servers:
            server.status = HTTPStatus.NOT_FOUND
        with pytest.raises(ClientResponseError):
            async with session.request("GET", "/") as response:
                response.raise_for_status()

    assert run(servers, test).snapshot().failures == 0


def test_a_user_stays_on_a_backend_and_moves_while_it_fails(servers: list[Any]) -> None:
    async def test(session: Any) -> None:
        async def homes(user: str) -> set[str]:
            return {(await get(session, key=user))[1] for _ in range(5)}

        users = [f"user {number}" for number in range(20)]
        before = {user: await homes(user) for user in users}
        assert {len(names) for names in before.values()} == {1}
        servers[0].status = BUSY
        moved = {user: await homes(user) for user in users}
        failed = {servers[0].name}
        assert all(moved[user] == before[user] for user in users if before[user] != failed)
        assert all(failed.isdisjoint(names) for names in moved.values())
        servers[0].status = HTTPStatus.OK
        for _ in range(2):
            session.health.observe(servers[0].name, True, session.clock())
        assert {user: await homes(user) for user in users} == before

    run(servers, test, HashRing)


def test_cancelled_requests_and_bodies_release_their_leases(servers: list[Any]) -> None:
    for server in servers:
        server.answer, server.pause, server.delay = ENDLESS, 0.05, 0.2

    async def test(session: Any) -> None:
        begun = asyncio.Semaphore(0)

        async def read() -> None:
            async with session.request("GET", "/") as response:
                async for _ in response.content.iter_any():
                    begun.release()

        for in_body in (False, True):
            tasks = [asyncio.create_task(read()) for _ in range(12)]
            await all_in_flight(session.pool, 12)
            for _ in range(12 * in_body):
                await begun.acquire()
            await cancelled(tasks)
            assert_idle(session.pool)

    assert run(servers, test).snapshot().failures == 0


def test_a_stream_that_is_abandoned_releases_its_lease(servers: list[Any]) -> None:
    for server in servers:
        server.answer, server.pause = ENDLESS, 0.05

    async def test(session: Any) -> None:
        for _ in range(6):
            async with session.request("GET", "/") as response:
                await response.content.readany()
        with pytest.raises(KeyError):
            async with session.request("GET", "/"):
                raise KeyError

    assert run(servers, test).snapshot().failures == 0


def test_a_slow_backend_is_given_up_and_is_at_fault(servers: list[Any]) -> None:
    servers[0].delay = LIMIT

    async def test(session: Any) -> None:
        assert await get(session) == (200, servers[1].name)

    pool = run(servers, test, patience=0.4)
    assert [member.failures for member in pool.snapshot().members] == [1, 0, 0]


def test_one_deadline_for_all_attempts_and_the_body(servers: list[Any]) -> None:
    async def test(session: Any) -> None:
        began = session.clock()
        for server in servers:
            server.delay = LIMIT
        with pytest.raises(TimeoutError):
            await get(session)
        for server in servers:
            server.answer, server.pause, server.delay = ENDLESS, 0.05, 0.0
        with pytest.raises(TimeoutError):
            await get(session)
        assert session.clock() - began < LIMIT

    run(servers, test, seconds=0.5, patience=0.4)
