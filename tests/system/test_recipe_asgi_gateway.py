"""The ASGI gateway under uvicorn, with real clients and backends on loopback."""

import asyncio
import socket
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import httpx
import pytest

pytest.importorskip("uvicorn")

from balancers import ConnectionLimit, HealthChecks, Pool, RoundRobin
from balancers.algorithms import LeastLoaded
from balancers.loads import PeakEwma
from balancers.overload import AdmissionQueue
from tests.system.recipes import LIMIT, assert_idle, backends, eventually, recipe

RECIPE = recipe("asgi_gateway")
ENDLESS = recipe("loopback").parts(*[b"x"] * 1000)
BUSY = HTTPStatus.SERVICE_UNAVAILABLE


@pytest.fixture
def servers() -> Generator[list[Any]]:
    with backends(3) as made:
        yield made


def pool_of(servers: list[Any], *gates: Any) -> Pool[str]:
    return Pool(RoundRobin([server.name for server in servers]), gates)


@contextmanager
def gateway(pool: Pool[str], **settings: Any) -> Generator[httpx.Client]:
    app = RECIPE.Gateway(pool, **{"seconds": LIMIT, "patience": LIMIT, **settings})
    with (
        RECIPE.serving(app) as address,
        httpx.Client(base_url=address, timeout=2 * LIMIT) as client,
    ):
        yield client
        eventually(lambda: pool.snapshot().in_flight == 0)
    assert_idle(pool)


@pytest.mark.parametrize("how", ["503", "breaks", "refuses"])
def test_no_client_sees_that_a_backend_fails(servers: list[Any], how: str) -> None:
    if how == "503":
        servers[0].status = BUSY
    servers[0].breaks = how == "breaks"
    if how == "refuses":
        servers[0].name = "127.0.0.1:1"
    pool = pool_of(servers, HealthChecks[str](unhealthy_threshold=3))
    with gateway(pool) as client, ThreadPoolExecutor(6) as threads:
        answers = [client.get("/a%2Fb?c=d") for _ in range(12)]
        answers += threads.map(client.get, ["/a%2Fb?c=d"] * 24)
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["path"] for answer in answers} == {"/a%2Fb?c=d"}
    assert [member.failures for member in pool.snapshot().members] == [3, 0, 0]


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        (b"*", []),
        (b"http://other/", []),
        (b"/", [(b"host", b"a"), (b"host", b"b")]),  # some servers pass both to the application
    ],
)
def test_a_request_that_cannot_be_forwarded_is_no_failure_of_a_backend(
    servers: list[Any], target: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    pool, sent = pool_of(servers), list[Any]()
    scope = {"type": "http", "method": "GET", "raw_path": target, "query_string": b""}
    messages = [{"type": "http.request"}]

    async def receive() -> Any:
        return messages.pop() if messages else await asyncio.sleep(LIMIT)

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        app = RECIPE.Gateway(pool)
        app.room = RECIPE.WaitingRoom(pool, AdmissionQueue(9, LIMIT))
        async with httpx.AsyncHTTPTransport() as app.transport:
            await app({**scope, "headers": headers}, receive, send)

    asyncio.run(run())
    assert sent[0]["status"] == 400
    assert sum(server.requests for server in servers) == 0
    assert pool.snapshot().failures == 0
    assert_idle(pool)


def test_fields_for_the_next_server_only_are_not_forwarded() -> None:
    headers = [(b"Connection", b"close, X-Mine"), (b"connection", b"x-other"), (b"TE", b"trailers")]
    headers += [
        (b"X-mine", b"1"),
        (b"x-other", b"2"),
        (b"Accept", b"*/*"),
        (b"x", b"a"),
        (b"x", b"b"),
    ]
    assert RECIPE.forwarded(headers) == [(b"accept", b"*/*"), (b"x", b"a"), (b"x", b"b")]


def test_retries_never_go_to_the_same_backend(servers: list[Any]) -> None:
    for server in servers:
        server.status = BUSY
    pool = pool_of(servers)
    with gateway(pool, limit=9) as client:
        answer = client.get("/")
        assert (answer.status_code, "avoided" in answer.text) == (503, True)
        assert client.post("/", content=b"order").json()["path"] == "/"
    assert [server.requests for server in servers] == [2, 1, 1]
    assert pool.snapshot().failures == 4


def test_a_client_that_leaves_releases_the_lease(servers: list[Any]) -> None:
    for server in servers:
        server.delay = 3 * LIMIT  # longer than the test waits
    pool = pool_of(servers)
    with gateway(pool, seconds=4 * LIMIT) as client:
        for _ in range(9):
            with pytest.raises(httpx.ReadTimeout):
                client.get("/", timeout=0.05)
        eventually(lambda: pool.snapshot().in_flight == 0)
        assert pool.snapshot().requests == 9
    assert pool.snapshot().failures == 0


def test_a_stream_that_is_abandoned_releases_the_lease(servers: list[Any]) -> None:
    for server in servers:
        server.answer, server.pause = ENDLESS, 0.05
    pool = pool_of(servers)
    with gateway(pool) as client:
        for _ in range(6):
            with client.stream("GET", "/") as response:
                assert next(response.iter_bytes()) == b"x"
        eventually(lambda: pool.snapshot().in_flight == 0)
    assert (pool.snapshot().requests, pool.snapshot().failures) == (6, 0)


def test_a_slow_backend_is_given_up_and_is_at_fault(servers: list[Any]) -> None:
    servers[0].delay = LIMIT
    pool = pool_of(servers)
    with gateway(pool, patience=0.4) as client:
        assert client.get("/").json()["backend"] == servers[1].name
    assert [member.failures for member in pool.snapshot().members] == [1, 0, 0]


def test_a_slow_backend_gets_less_by_the_time_to_the_first_byte(servers: list[Any]) -> None:
    names = [server.name for server in servers]
    pool = Pool(LeastLoaded(names, load=PeakEwma[str](first=True)))
    servers[0].delay = 0.5
    for server in servers[1:]:
        server.delay = 0.01
    with gateway(pool) as client, ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(client.get, ["/"] * 60))
        assert {answer.status_code for answer in answers} == {200}
    assert servers[0].requests < 10  # an even share is 20


def test_requests_wait_in_a_queue_and_all_are_served(servers: list[Any]) -> None:
    for server in servers:
        server.delay = 0.02
    pool = pool_of(servers, ConnectionLimit[str](1))
    with gateway(pool) as client, ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(client.get, ["/"] * 36))
    assert {answer.status_code for answer in answers} == {200}
    assert sum(server.requests for server in servers) == 36


def test_one_deadline_for_the_queue_and_all_attempts(servers: list[Any]) -> None:
    for server in servers:
        server.delay = LIMIT
    pool = pool_of(servers, ConnectionLimit[str](1))
    with gateway(pool, seconds=0.6) as client, ThreadPoolExecutor(9) as threads:
        began = time.monotonic()
        answers = list(threads.map(client.get, ["/"] * 9))
        assert time.monotonic() - began < LIMIT / 3
    assert {answer.status_code for answer in answers} == {504}
    assert pool.snapshot().failures == 0  # their time was shorter than the patience


def test_a_response_that_breaks_is_not_a_complete_one(servers: list[Any]) -> None:
    for server in servers:
        server.answer, server.pause = ENDLESS, 0.05
    with gateway(pool_of(servers), seconds=0.5) as client, pytest.raises(httpx.RemoteProtocolError):
        client.get("/")


def test_without_a_backend_the_gateway_says_why() -> None:
    health = HealthChecks[str](1, recovery_time=1e6)
    pool = Pool(RoundRobin(["127.0.0.1:1"]), [health], panic=None)
    with gateway(pool) as client:
        assert client.get("/").status_code == 502
        refused = client.get("/")
        assert (refused.status_code, "unhealthy" in refused.text) == (503, True)
        assert int(refused.headers["retry-after"]) > 9e5


def test_a_body_that_is_too_large_or_too_slow(servers: list[Any]) -> None:
    pool = pool_of(servers)
    with gateway(pool, seconds=0.5) as client:
        assert client.post("/", content=b"x" * 2_000_000).status_code == 413
        host, port = client.base_url.host, client.base_url.port
        assert port is not None
        with socket.create_connection((host, port), LIMIT) as slow:
            slow.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
            assert b" 408 " in slow.recv(100)
    assert pool.snapshot().requests == 0
