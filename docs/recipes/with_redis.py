"""redis-py: reads from replicas by turns, and keys that a hash ring divides among servers."""

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from shutil import which
from socket import create_connection, create_server
from time import sleep
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.cluster import READ_COMMANDS
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MasterDownError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from balancers import HashRing, HealthChecks, Key, NoBackendAvailable, Pool, RoundRobin

from deadline import Attempts

Server = subprocess.Popen[bytes]
FAILURES = (RedisConnectionError, RedisTimeoutError, MasterDownError)
# A cursor is only valid on the server that returned it, and XREAD can block.
READS = READ_COMMANDS - {"SCAN", "HSCAN", "SSCAN", "ZSCAN", "XREAD"}


def settings(backend: str, patience: float) -> dict[str, Any]:
    """Return the settings of a client that does not retry, because a pool has other servers."""
    host, _, port = backend.rpartition(":")
    retry = Retry(NoBackoff(), 0)
    common = {"socket_timeout": patience, "socket_connect_timeout": patience}
    return {"host": host, "port": int(port), "retry": retry, "decode_responses": True, **common}


class ReplicatedRedis(Redis):
    """A client of a primary that sends single commands that only read to replicas.

    If all replicas fail, the primary executes the command.  A command that reads ends after
    ``seconds``, and an attempt after ``patience`` seconds.
    """

    def __init__(
        self, primary: str, pool: Pool[str], seconds: float = 5.0, patience: float = 1.0
    ) -> None:
        client: Any = super()
        client.__init__(**settings(primary, patience))
        self.pool, self.seconds, self.patience = pool, seconds, patience
        self.clients: dict[str, Any] = {
            name: Redis(**settings(name, patience)) for name in pool.backends
        }

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        primary: Any = super()
        if args[0] not in READS:
            return await primary.execute_command(*args, **options)
        clock = asyncio.get_running_loop().time
        attempts = Attempts(clock() + self.seconds, len(self.clients), self.patience)
        async with asyncio.timeout_at(attempts.end):
            while attempts.more(clock()):
                try:
                    lease = self.pool.acquire(clock(), avoid=attempts.tried)
                except NoBackendAvailable:
                    break
                attempts.tried.add(lease.backend)
                ok: bool | None = None  # the outcome of a cancelled command is unknown
                try:
                    answer = await self.clients[lease.backend].execute_command(*args, **options)
                    ok = True
                    return answer  # noqa: TRY300 - the attempt that succeeds ends the loop
                except FAILURES:
                    ok = False
                except ResponseError:
                    ok = True  # the server has answered: the command is at fault
                    raise
                finally:
                    self.pool.release(lease, clock(), ok)
            return await primary.execute_command(*args, **options)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        for each in self.clients.values():
            await each.aclose()


class Shards:
    """Servers that divide the keys among them.  Each key has one server."""

    def __init__(self, pool: Pool[str], patience: float = 1.0) -> None:
        self.pool, self.clock = pool, asyncio.get_running_loop().time
        self.clients: dict[str, Any] = {
            name: Redis(**settings(name, patience)) for name in pool.backends
        }

    @asynccontextmanager
    async def of(self, key: Key) -> AsyncGenerator[Any]:
        """Return a context with the client of the server that has a key."""
        lease = self.pool.acquire(self.clock(), key)
        ok: bool | None = None
        try:
            yield self.clients[lease.backend]
            ok = True
        except FAILURES:
            ok = False
            raise
        finally:
            self.pool.release(lease, self.clock(), ok)

    async def aclose(self) -> None:
        for each in self.clients.values():
            await each.aclose()


@contextmanager
def redis_servers(count: int, *, replicas: bool = False) -> Generator[dict[str, Server]]:
    """Run servers without persistence.  With ``replicas``, the first one is their primary."""
    sockets = [create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    command = [which("redis-server") or "redis-server", "--bind", "127.0.0.1", "--save", ""]
    command += ["--loglevel", "warning", "--repl-diskless-sync-delay", "0", "--port"]
    servers: dict[str, Server] = {}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        for port in ports:
            follow = ["--replicaof", "127.0.0.1", ports[0]] if replicas and servers else []
            process = subprocess.Popen(
                [*command, port, *follow], cwd=folder, stdout=subprocess.DEVNULL
            )
            servers[f"127.0.0.1:{port}"] = process
            stack.callback(process.wait)
            stack.callback(process.terminate)
        for port in ports:
            wait_for(int(port))
        yield servers


def wait_for(port: int) -> None:
    """Wait until a port accepts connections, for about ten seconds."""
    for _ in range(1000):
        try:
            create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            sleep(0.01)
        else:
            return


async def read_from_replicas(primary: str, *replicas: str) -> None:
    pool: Pool[str] = Pool(RoundRobin([*replicas, "127.0.0.1:1"]), [HealthChecks[str]()])
    redis: Any
    async with ReplicatedRedis(primary, pool, seconds=60.0, patience=20.0) as redis:
        await redis.set("page", "home")
        await redis.wait(len(replicas), 15_000)  # until the replicas have it
        answers = [await redis.get("page") for _ in range(20)]
    counts = pool.snapshot()
    print(f"{answers.count('home')} answered, {counts.failures} attempts failed")
    print(f"in flight: {counts.in_flight}")


async def divide_keys(*servers: str) -> None:
    shards = Shards(Pool(HashRing(servers)), patience=20.0)
    for user in range(300):
        async with shards.of(f"user {user}") as redis:
            await redis.set(f"user {user}", "here")
    keys = [await client.dbsize() for client in shards.clients.values()]
    print(f"{sum(keys)} keys, on each server: {min(keys) > 0}")
    await shards.aclose()


def main() -> None:
    """Read from two replicas of a primary, and divide 300 keys among three servers."""
    with redis_servers(3, replicas=True) as servers:
        asyncio.run(read_from_replicas(*servers))
    with redis_servers(3) as servers:
        asyncio.run(divide_keys(*servers))


if __name__ == "__main__":
    main()
