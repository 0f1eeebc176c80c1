"""aiohttp: a session that chooses a backend for each attempt of a request."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Self

import aiohttp
from yarl import URL

from balancers import HashRing, HealthChecks, Key, Lease, NoBackendAvailable, Pool

from deadline import Attempts
from loopback import backends

RETRIED = {429, 502, 503, 504}
IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}  # RFC 9110, section 9.2.2
UNSENT = aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError
BROKEN = aiohttp.ClientConnectionError, aiohttp.ClientPayloadError


class BalancedSession:
    """A client for one service.  Its pool contains the hosts and ports of the backends.

    A request ends after ``seconds``, with all of its attempts and with the body of the response.
    An attempt fails if a backend is silent for ``patience`` seconds.
    """

    def __init__(
        self, pool: Pool[str], seconds: float = 30.0, limit: int = 3, patience: float = 10.0
    ) -> None:
        self.pool, self.seconds, self.limit, self.patience = pool, seconds, limit, patience
        self.clock = asyncio.get_running_loop().time

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0)  # the pool limits what is in flight
        self.session = aiohttp.ClientSession(connector=connector)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    @asynccontextmanager
    async def request(
        self, method: str, path: str, key: Key | None = None, **options: Any
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Return a context with the response.  Its end releases the lease."""
        attempts = Attempts(self.clock() + self.seconds, self.limit, self.patience)
        async with asyncio.timeout_at(attempts.end):
            response, lease = await self.send(attempts, method, path, key, options)
            ok: bool | None = None  # the outcome is unknown if the program stops to read
            try:
                async with response:
                    yield response
                    ok = True
            except BROKEN:
                ok = False
                raise
            finally:
                if not lease.released:
                    self.pool.release(lease, self.clock(), ok)

    async def send(
        self, attempts: Attempts, method: str, path: str, key: Key | None, options: dict[str, Any]
    ) -> tuple[aiohttp.ClientResponse, Lease[str]]:
        """Send a request to one backend after another, until one responds."""
        failure: aiohttp.ClientError | None = None
        refused: tuple[aiohttp.ClientResponse, Lease[str]] | None = None
        # The parts of any other body are gone after the first attempt.
        repeatable = isinstance(options.get("data"), bytes | str | None)
        while True:
            try:
                lease = self.pool.acquire(self.clock(), key, avoid=attempts.tried)
            except NoBackendAvailable as refusal:
                if refused is not None:
                    return refused
                raise failure or refusal from None  # a failure is more useful than the refusal
            if refused is not None:
                refused[0].release()
                refused = None
            attempts.tried.add(lease.backend)
            seconds = attempts.seconds(self.clock())
            timeout = aiohttp.ClientTimeout(sock_connect=seconds, sock_read=seconds)
            ok, keep = None, False  # the outcome of a cancelled request is unknown
            try:
                url = URL(f"http://{lease.backend}{path}")
                response = await self.session.request(
                    method,
                    url,
                    timeout=timeout,
                    allow_redirects=False,  # they can lead to a server that is no backend
                    raise_for_status=False,  # an error of the request is no failure of a backend
                    **options,
                )
                keep = response.status not in RETRIED
                if keep:
                    return response, lease
                ok, refused = False, (response, lease)
                again = repeatable and method in IDEMPOTENT
                if not (again and attempts.more(self.clock())):
                    return refused
            except aiohttp.ClientError as error:
                late = isinstance(error, aiohttp.ServerTimeoutError)
                ok, failure = attempts.timed_out(seconds) if late else False, error
                again = repeatable and (method in IDEMPOTENT or isinstance(error, UNSENT))
                if not (again and attempts.more(self.clock())):
                    raise
            finally:
                if not keep:
                    self.pool.release(lease, self.clock(), ok)


async def main() -> None:
    """Send requests of ten users while one backend of three answers 503."""
    with backends(3) as servers:
        pool = Pool(HashRing(server.name for server in servers), [HealthChecks[str]()])
        servers[0].status = HTTPStatus.SERVICE_UNAVAILABLE
        homes: dict[int, list[str]] = {user: [] for user in range(10)}
        async with BalancedSession(pool) as session:
            for user in [*homes] * 5:
                async with session.request("GET", "/", key=user) as response:
                    homes[user].append((await response.json())["backend"])
    answered = sum(len(names) for names in homes.values())
    most = max(len({*names}) for names in homes.values())
    print(f"{answered} answered, those of each user by {most} backend")
    print(f"in flight: {pool.snapshot().in_flight}")


if __name__ == "__main__":
    asyncio.run(main())
