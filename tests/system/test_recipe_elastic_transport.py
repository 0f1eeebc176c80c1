"""The transports for elastic-transport, with real servers: no request and no lease is lost."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

import pytest

pytest.importorskip("elastic_transport")
pytest.importorskip("aiohttp")
from elastic_transport import ConnectionTimeout, TransportError

from balancers import HealthChecks, LeastConnections, Pool, RoundRobin, WeightedRoundRobin
from tests.system.recipes import LIMIT, all_in_flight, assert_idle, backends, cancelled, recipe

RECIPE = recipe("with_elastic_transport")
BUSY = HTTPStatus.SERVICE_UNAVAILABLE


@pytest.fixture
def servers() -> Generator[list[Any]]:
    with backends(3) as made:
        yield made


def upstream(servers: list[Any], *gates: Any, kind: Any = RoundRobin, **settings: Any) -> Any:
    pool = Pool(kind([server.name for server in servers]), gates)
    return RECIPE.Upstream(pool, **{"seconds": LIMIT, "patience": LIMIT, **settings})


def get(transport: Any, method: str = "GET") -> tuple[int, str]:
    answer = transport.perform_request(method, "/_search")
    return answer.meta.status, answer.body["backend"]


def run(of: Any, test: Callable[[Any], Awaitable[None]]) -> None:
    async def limited() -> None:
        transport = RECIPE.AsyncBalancedTransport(of)
        async with asyncio.timeout(2 * LIMIT):
            await test(transport)
        await transport.close()

    asyncio.run(limited())
    assert_idle(of.pool)


@pytest.mark.parametrize("how", ["503", "breaks", "refuses"])
def test_requests_go_on_while_a_node_fails(servers: list[Any], how: str) -> None:
    if how == "503":
        servers[0].status = BUSY
    servers[0].breaks = how == "breaks"
    if how == "refuses":
        servers[0].name = "127.0.0.1:1"
    of = upstream(servers, HealthChecks[str](3))
    transport = RECIPE.BalancedTransport(of)
    with ThreadPoolExecutor(6) as threads:
        answers = [get(transport) for _ in range(12)]
        answers += threads.map(get, [transport] * 48)
    transport.close()
    assert {status for status, _ in answers} == {200}
    places = Counter(name for _, name in answers)
    assert set(places) == {server.name for server in servers[1:]}
    assert [member.failures for member in of.pool.snapshot().members] == [3, 0, 0]
    assert_idle(of.pool)

    async def test(transport: Any) -> None:
        many = (transport.perform_request("GET", "/_search") for _ in range(24))
        assert {answer.meta.status for answer in await asyncio.gather(*many)} == {200}

    run(upstream(servers), test)


def test_retries_never_go_to_the_same_node(servers: list[Any]) -> None:
    for server in servers:
        server.status = BUSY
    of = upstream(servers, kind=WeightedRoundRobin)
    of.pool.set_weight(servers[1].name, 10**9)  # without avoid, it is picked each time
    transport = RECIPE.BalancedTransport(of)
    assert get(transport)[0] == 503
    assert [server.requests for server in servers] == [1, 1, 1]
    assert of.pool.snapshot().failures == 3
    servers[1].status = HTTPStatus.OK
    assert {get(transport)[0] for _ in range(9)} == {200}
    transport.close()
    assert_idle(of.pool)


def test_a_slow_node_gets_fewer_requests_and_one_that_is_silent_is_at_fault(
    servers: list[Any],
) -> None:
    of = upstream(servers, kind=LeastConnections, patience=0.5)
    transport = RECIPE.BalancedTransport(of)
    servers[0].delay, servers[1].delay, servers[2].delay = 0.3, 0.005, 0.005
    with ThreadPoolExecutor(6) as threads:
        places = Counter(name for _, name in threads.map(get, [transport] * 60))
    assert places[servers[0].name] < 15
    failures = of.pool.snapshot().failures
    servers[0].delay = LIMIT
    assert {get(transport)[0] for _ in range(3)} == {200}
    assert of.pool.snapshot().failures == failures + 1
    transport.close()
    assert_idle(of.pool)


def test_one_deadline_for_all_attempts(servers: list[Any]) -> None:
    for server in servers:
        server.delay = LIMIT
    of = upstream(servers, seconds=0.5, patience=0.4)
    transport = RECIPE.BalancedTransport(of)
    began = time.monotonic()
    with pytest.raises(ConnectionTimeout):
        get(transport)
    assert time.monotonic() - began < LIMIT / 3
    transport.close()
    assert [member.failures for member in of.pool.snapshot().members][2] == 0
    assert_idle(of.pool)


def test_the_last_node_alive_has_a_lease_too(servers: list[Any]) -> None:
    of = upstream(servers[:1])
    transport = RECIPE.BalancedTransport(of)
    servers[0].status = BUSY
    assert get(transport)[0] == 503
    assert of.pool.snapshot().requests >= 1
    assert of.pool.snapshot().failures == of.pool.snapshot().requests
    of.pool.update([])
    servers[0].status = HTTPStatus.OK
    assert get(transport)[0] == 200  # without a lease: there is no other node
    transport.close()


def test_a_request_that_ends_before_its_node_is_called_has_no_lease(servers: list[Any]) -> None:
    of = upstream(servers)
    transport = RECIPE.BalancedTransport(of)
    with of.call():
        transport.node_pool.get()
        assert of.pool.snapshot().in_flight == 1
    assert_idle(of.pool)
    assert of.pool.snapshot().failures == 0
    transport.close()


def test_without_a_node_the_error_is_one_of_the_transport(servers: list[Any]) -> None:
    of = upstream(servers)
    transport = RECIPE.BalancedTransport(of)
    of.pool.update([])
    with pytest.raises(TransportError, match="empty"):
        get(transport)
    transport.close()


def test_cancelled_requests_release_their_leases(servers: list[Any]) -> None:
    for server in servers:
        server.delay = LIMIT
    of = upstream(servers)

    async def test(transport: Any) -> None:
        requests = [transport.perform_request("GET", "/_search") for _ in range(12)]
        tasks = [asyncio.create_task(request) for request in requests]
        await all_in_flight(of.pool, 12)
        await cancelled(tasks)
        assert_idle(of.pool)

    run(of, test)
    assert of.pool.snapshot().failures == 0
