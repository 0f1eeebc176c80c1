"""The transports for httpx, with real servers on loopback.  No request and no lease is lost."""

import asyncio
import gc
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from balancers import HealthChecks, LeastConnections, Pool, RoundRobin
from tests.system.recipes import (
    LIMIT,
    all_in_flight,
    assert_idle,
    backends,
    cancelled,
    recipe,
    slow_headers,
)

RECIPE = recipe("with_httpx")
ENDLESS = recipe("loopback").parts(*[b"x"] * 1000)
BUSY = HTTPStatus.SERVICE_UNAVAILABLE


@pytest.fixture
def servers() -> Generator[list[Any]]:
    with backends(3) as made:
        yield made


def upstream(servers: list[Any], *gates: Any, **settings: Any) -> Any:
    pool = Pool(RoundRobin([server.name for server in servers]), gates)
    return RECIPE.Upstream(pool, **{"seconds": LIMIT, "patience": LIMIT, **settings})


def sync_client(of: Any) -> httpx.Client:
    return httpx.Client(transport=RECIPE.BalancedTransport(of), base_url="http://shop")


def async_client(of: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=RECIPE.AsyncBalancedTransport(of), base_url="http://shop")


def break_one(servers: list[Any], how: str) -> None:
    if how == "503":
        servers[0].status = BUSY
    servers[0].breaks = how == "breaks"
    if how == "refuses":
        servers[0].name = "127.0.0.1:1"


FAULTS = ["503", "breaks", "refuses"]


@pytest.mark.parametrize("how", FAULTS)
def test_sync_requests_go_on_while_a_backend_fails(servers: list[Any], how: str) -> None:
    break_one(servers, how)
    of = upstream(servers, HealthChecks[str](unhealthy_threshold=3))
    with sync_client(of) as client:
        answers = [client.get("/x") for _ in range(30)]
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["backend"] for answer in answers} == {s.name for s in servers[1:]}
    failures = {member.backend: member.failures for member in of.pool.snapshot().members}
    assert failures == {servers[0].name: 3, servers[1].name: 0, servers[2].name: 0}
    assert_idle(of.pool)


@pytest.mark.parametrize("how", FAULTS)
def test_async_requests_go_on_while_a_backend_fails(servers: list[Any], how: str) -> None:
    break_one(servers, how)
    of = upstream(servers)

    async def run() -> list[Any]:
        async with async_client(of) as client:
            return await asyncio.gather(*(client.get("/x") for _ in range(30)))

    answers = asyncio.run(run())
    assert {answer.status_code for answer in answers} == {200}
    snapshot = of.pool.snapshot()
    assert (snapshot.requests, snapshot.failures) == (40, 10)
    assert_idle(of.pool)


def test_retries_never_go_to_the_same_backend(servers: list[Any]) -> None:
    for server in servers:
        server.status, server.headers = BUSY, {"Retry-After": "7"}
    of = upstream(servers, limit=9)
    with sync_client(of) as client:
        answer = client.get("/")
    assert (answer.status_code, answer.json()["path"]) == (503, "/")
    assert [server.requests for server in servers] == [1, 1, 1]
    assert of.pool.snapshot().failures == 3
    assert_idle(of.pool)


def test_a_post_is_repeated_only_if_it_was_not_sent(servers: list[Any]) -> None:
    servers[0].breaks = True
    of = upstream(servers)
    with sync_client(of) as client:
        with pytest.raises(httpx.TransportError):
            client.post("/", content=b"order")
        servers[0].breaks, servers[1].status = False, BUSY
        assert client.post("/", content=b"order").status_code == 503
    assert of.pool.snapshot().requests == 2
    servers[0].name = "127.0.0.1:1"
    of = upstream(servers)
    with sync_client(of) as client:
        servers[1].status = HTTPStatus.OK
        assert client.post("/", content=b"order").status_code == 200
    assert of.pool.snapshot().requests == 2


def test_a_body_that_is_a_generator_is_sent_once(servers: list[Any]) -> None:
    def parts() -> Iterator[bytes]:
        yield b"part"

    for server in servers:
        server.status = BUSY
    of = upstream(servers)
    with sync_client(of) as client:
        headers = {"Content-Length": "4"}
        assert client.put("/", content=parts(), headers=headers).status_code == 503
    assert sum(server.requests for server in servers) == 1
    assert_idle(of.pool)


def test_a_slow_backend_is_given_up_and_is_at_fault(servers: list[Any]) -> None:
    servers[0].delay = 5.0
    of = upstream(servers, patience=0.5)
    with sync_client(of) as client:
        assert client.get("/").json()["backend"] == servers[1].name
    assert [member.failures for member in of.pool.snapshot().members] == [1, 0, 0]
    assert_idle(of.pool)


def test_one_deadline_for_all_attempts(servers: list[Any]) -> None:
    for server in servers:
        server.delay = 3.0
    of = upstream(servers, seconds=0.5, patience=0.4)
    with sync_client(of) as client:
        began = time.monotonic()
        with pytest.raises(httpx.ReadTimeout):
            client.get("/")
        assert time.monotonic() - began < 2.0  # three attempts with 0.4 s each would be 1.2 s
    failures = [member.failures for member in of.pool.snapshot().members]
    assert failures in ([1, 0, 0], [0, 0, 0])  # the second attempt had less than its patience
    assert of.pool.snapshot().requests <= 2
    assert_idle(of.pool)


def test_a_body_that_never_ends_is_cut_at_the_deadline(servers: list[Any]) -> None:
    for server in servers:
        server.answer, server.pause = ENDLESS, 0.05
    of = upstream(servers, seconds=0.5)
    with sync_client(of) as client, pytest.raises(httpx.ReadTimeout, match="deadline"):
        client.get("/")
    assert of.pool.snapshot().failures == 0
    assert_idle(of.pool)


def test_asynchronous_steps_end_at_the_deadline(servers: list[Any]) -> None:
    """Headers that never end, and a body that never begins: no timeout of httpx ends these."""
    for server in servers:
        server.pause = LIMIT

    async def run() -> None:
        async with slow_headers() as slow, asyncio.timeout(LIMIT / 2):
            for names in ([slow], [server.name for server in servers]):
                of = RECIPE.Upstream(Pool(RoundRobin(names)), seconds=0.2, patience=LIMIT)
                async with async_client(of) as client:
                    with pytest.raises(httpx.ReadTimeout):
                        await client.get("/")
                    assert_idle(of.pool)

    asyncio.run(run())


def test_cancelled_requests_release_their_leases(servers: list[Any]) -> None:
    of = upstream(servers)
    for server in servers:
        server.delay = LIMIT

    async def run() -> None:
        async with async_client(of) as client:
            tasks = [asyncio.create_task(client.get("/")) for _ in range(12)]
            await all_in_flight(of.pool, 12)
            await cancelled(tasks)
            assert_idle(of.pool)

    asyncio.run(run())
    assert of.pool.snapshot().failures == 0


def test_a_cancelled_body_releases_its_lease(servers: list[Any]) -> None:
    of = upstream(servers)
    for server in servers:
        server.answer, server.pause = ENDLESS, 0.05

    async def run() -> None:
        async with async_client(of) as client:

            async def read() -> None:
                async with client.stream("GET", "/") as response:
                    async for _ in response.aiter_bytes():
                        begun.release()

            begun = asyncio.Semaphore(0)
            tasks = [asyncio.create_task(read()) for _ in range(6)]
            for _ in range(6):
                await begun.acquire()
            assert of.pool.snapshot().in_flight == 6
            await cancelled(tasks)
            assert_idle(of.pool)

    asyncio.run(run())


def test_a_response_that_is_closed_early_and_one_that_is_forgotten(servers: list[Any]) -> None:
    of = upstream(servers)
    with sync_client(of) as client:
        with client.stream("GET", "/") as response:
            assert of.pool.snapshot().in_flight == 1
        assert_idle(of.pool)
        response = client.send(client.build_request("GET", "/"), stream=True)
        assert of.pool.snapshot().in_flight == 1
        del response
        gc.collect()
        client.get("/")
        assert_idle(of.pool)


def test_a_session_stays_and_moves_when_its_backend_fails(servers: list[Any]) -> None:
    of = upstream(servers)
    with sync_client(of) as client:

        def homes(session: str, count: int) -> set[str]:
            extensions = {"session": session}
            answers = [client.get("/", extensions=extensions) for _ in range(count)]
            return {answer.json()["backend"] for answer in answers}

        (alice,), (bob,) = homes("alice", 5), homes("bob", 5)
        assert alice != bob
        by_name = {server.name: server for server in servers}
        by_name[alice].status = BUSY
        (moved,) = homes("alice", 5)
        assert moved != alice
        by_name[alice].status = HTTPStatus.OK
        assert (homes("alice", 3), homes("bob", 3)) == ({moved}, {bob})
    assert_idle(of.pool)


def test_threads_share_a_transport(servers: list[Any]) -> None:
    servers[0].status = BUSY
    of = upstream(servers)
    with sync_client(of) as client, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(client.get, ["/"] * 80))
    assert [answer.status_code for answer in answers] == [200] * 80
    assert_idle(of.pool)


def test_a_backend_can_send_any_number_as_retry_after(servers: list[Any]) -> None:
    servers[0].status, servers[0].headers = BUSY, {"Retry-After": "9" * 400}
    of = upstream(servers, HealthChecks[str]())
    with sync_client(of) as client:
        assert client.get("/").json()["backend"] == servers[1].name
    assert_idle(of.pool)


def test_a_backend_without_a_port_keeps_no_lease() -> None:
    of = RECIPE.Upstream(Pool(RoundRobin(["shop"])))
    with sync_client(of) as client, pytest.raises(ValueError, match="int"):
        client.get("/")
    assert_idle(of.pool)


def test_no_backend_is_an_error_of_httpx() -> None:
    of = RECIPE.Upstream(Pool(LeastConnections[str]()))
    with sync_client(of) as client, pytest.raises(httpx.ConnectError, match="empty"):
        client.get("/")


def test_the_name_of_the_service_stays_in_the_request(servers: list[Any]) -> None:
    of = upstream(servers)
    seen: list[tuple[str, str]] = []

    class Inner(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            seen.append((request.headers["host"], request.extensions["sni_hostname"]))
            return httpx.Response(200, content=b"")

    transport = RECIPE.BalancedTransport(of, Inner())
    with httpx.Client(mounts={"all://shop": transport}, base_url="http://shop:81") as client:
        client.get("/")
    assert seen == [("shop:81", "shop")]
    assert_idle(of.pool)
