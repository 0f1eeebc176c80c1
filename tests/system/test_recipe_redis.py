"""The clients for redis-py, with real servers: replicas by turns, and keys on a hash ring."""

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

pytest.importorskip("redis")
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from balancers import HashRing, HealthChecks, Pool, WeightedRoundRobin
from tests.system.programs import program
from tests.system.recipes import LIMIT, all_in_flight, assert_idle, cancelled, recipe, until

RECIPE = recipe("with_redis")


def run(test: Callable[[], Awaitable[None]]) -> None:
    program("redis-server", "redis-server")

    async def limited() -> None:
        async with asyncio.timeout(2 * LIMIT):
            await test()

    asyncio.run(limited())


async def replicated(servers: Any, *extra: str, **settings: Any) -> Any:
    """Return a client of a primary with replicas that have the keys "page" and "list"."""
    primary, *replicas = servers
    pool = Pool(WeightedRoundRobin([*replicas, *extra]), [HealthChecks[str](3)])
    client = RECIPE.ReplicatedRedis(
        primary, pool, **{"seconds": LIMIT, "patience": LIMIT, **settings}
    )
    await client.set("page", "home")
    await client.rpush("list", "first")
    while await client.wait(len(replicas), 1000) < len(replicas):
        pass
    return client


async def gets(servers: Any) -> Counter[str]:
    """Return how often each server has executed the command GET."""
    counts: Counter[str] = Counter()
    for name in servers:
        async with RECIPE.Redis(**RECIPE.settings(name, LIMIT)) as client:
            stats = await client.info("commandstats")
        counts[name] = stats.get("cmdstat_get", {}).get("calls", 0)
    return counts


def test_reads_go_to_the_replicas_by_turns_and_writes_to_the_primary() -> None:
    async def test() -> None:
        with RECIPE.redis_servers(4, replicas=True) as servers:
            client = await replicated(servers)
            assert {await client.get("page") for _ in range(15)} == {"home"}
            assert [*(await gets(servers)).values()] == [0, 5, 5, 5]
            answers = await asyncio.gather(*(client.get("page") for _ in range(30)))
            assert set(answers) == {"home"}
            assert [*(await gets(servers)).values()] == [0, 15, 15, 15]
            async with client.pipeline() as pipeline:
                assert await pipeline.incr("n").get("n").execute() == [1, "1"]
            assert client.pool.snapshot().requests == 45
            assert_idle(client.pool)
            await client.aclose()

    run(test)


def test_a_scan_finds_all_keys_because_its_cursor_stays_on_one_server() -> None:
    async def test() -> None:
        with RECIPE.redis_servers(3, replicas=True) as servers:
            client = await replicated(servers)
            await client.mset({f"key {number}": "" for number in range(300)})
            await client.hset("hash", mapping={f"field {number}": "" for number in range(1000)})
            await client.wait(2, 10_000)
            assert len([key async for key in client.scan_iter("key *", count=10)]) == 300
            assert len({field async for field in client.hscan_iter("hash", count=10)}) == 1000
            assert client.pool.snapshot().requests == 0
            await client.aclose()

    run(test)


def test_reads_go_on_while_replicas_are_killed_one_after_another() -> None:
    async def test() -> None:
        with RECIPE.redis_servers(3, replicas=True) as servers:
            client = await replicated(servers, "127.0.0.1:1")
            primary, *others = servers
            for name in others:
                assert {await client.get("page") for _ in range(12)} == {"home"}
                servers[name].kill()
                servers[name].wait()
            assert {await client.get("page") for _ in range(12)} == {"home"}
            failures = [member.failures for member in client.pool.snapshot().members]
            assert failures[2] >= 3  # it always refused
            assert min(failures) >= 3
            assert (await gets([primary]))[primary] >= 6  # the primary
            assert_idle(client.pool)
            await client.aclose()

    run(test)


def test_retries_never_go_to_the_same_replica() -> None:
    async def test() -> None:
        with RECIPE.redis_servers(1) as servers:
            client = await replicated(servers, "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
            client.pool.set_weight("127.0.0.1:2", 10**9)  # without avoid, it is picked each time
            assert await client.get("page") == "home"
            assert [member.failures for member in client.pool.snapshot().members] == [1, 1, 1]
            await client.aclose()

    run(test)


def test_a_replica_that_has_lost_its_primary_has_failed() -> None:
    async def test() -> None:
        with RECIPE.redis_servers(3, replicas=True) as servers:
            client = await replicated(servers)
            lost = next(iter(client.clients.values()))
            await lost.config_set("replica-serve-stale-data", "no")
            await lost.replicaof("127.0.0.1", 1)
            assert {await client.get("page") for _ in range(10)} == {"home"}
            assert [member.failures for member in client.pool.snapshot().members] == [3, 0]
            await client.aclose()

    run(test)


def test_an_error_of_a_command_is_an_answer() -> None:
    async def test() -> None:
        with RECIPE.redis_servers(2, replicas=True) as servers:
            client = await replicated(servers)
            with pytest.raises(ResponseError, match="WRONGTYPE"):
                await client.get("list")
            snapshot = client.pool.snapshot()
            assert (snapshot.requests, snapshot.failures, snapshot.in_flight) == (1, 0, 0)
            await client.aclose()

    run(test)


def test_a_frozen_replica_is_given_up_and_cancelled_commands_release_their_leases() -> None:
    async def test() -> None:
        with RECIPE.redis_servers(3, replicas=True) as servers:
            client = await replicated(servers)
            primary, slow, _ = servers
            servers[slow].send_signal(signal.SIGSTOP)
            try:
                tasks = [asyncio.create_task(client.get("page")) for _ in range(8)]
                await all_in_flight(client.pool, 4)
                await until(lambda: sum(task.done() for task in tasks) == 4)
                await cancelled([task for task in tasks if not task.done()])
                assert_idle(client.pool)
                assert client.pool.snapshot().failures == 0
                hasty = RECIPE.ReplicatedRedis(primary, client.pool, LIMIT, 0.3)
                assert [await hasty.get("page") for _ in range(2)] == ["home"] * 2
                failures = [member.failures for member in client.pool.snapshot().members]
                assert failures[0] >= 1
                assert failures[1] == 0
                client.seconds = 0.3
                with pytest.raises(TimeoutError):
                    await asyncio.gather(client.get("page"), client.get("page"))
                assert_idle(client.pool)
                await hasty.aclose()
            finally:
                servers[slow].send_signal(signal.SIGCONT)
            await client.aclose()

    run(test)


def test_keys_are_divided_and_only_those_of_a_lost_server_move() -> None:
    async def test() -> None:
        with RECIPE.redis_servers(4) as servers:
            shards = RECIPE.Shards(Pool(HashRing([*servers]), [HealthChecks[str](1)]), LIMIT)
            keys = [f"user {number}" for number in range(200)]

            async def place(key: str) -> str:
                async with shards.of(key) as client:
                    await client.set(key, "here")
                    return str(client.connection_pool.connection_kwargs["port"])

            before = {key: await place(key) for key in keys}
            assert len(set(before.values())) == 4
            lost = [*servers][2]
            servers[lost].kill()
            servers[lost].wait()
            port = lost.rpartition(":")[2]
            one = next(key for key in keys if before[key] == port)
            with pytest.raises(RedisConnectionError):
                await place(one)
            after = {key: await place(key) for key in keys}
            assert port not in after.values()
            assert all(after[key] == before[key] for key in keys if before[key] != port)
            assert shards.pool.snapshot().failures == 1
            assert_idle(shards.pool)
            await shards.aclose()

    run(test)


def test_without_a_gate_keys_of_a_lost_server_stay_where_they_are() -> None:
    async def test() -> None:
        with RECIPE.redis_servers(1) as servers:
            shards = RECIPE.Shards(Pool(HashRing([*servers, "127.0.0.1:1"])))
            failed = Counter[bool]()
            for key in range(40):
                try:
                    async with shards.of(key) as client:
                        await client.set(key, "here")
                except RedisConnectionError:
                    failed[True] += 1
            assert 0 < failed[True] < 40
            assert shards.pool.snapshot().failures == failed[True]
            assert_idle(shards.pool)
            await shards.aclose()

    run(test)
