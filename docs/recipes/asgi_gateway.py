"""An ASGI gateway under uvicorn: it queues, balances, retries, and follows clients that leave."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, MutableMapping
from contextlib import contextmanager
from http import HTTPStatus
from threading import Thread
from typing import Any

import httpx
import uvicorn

from balancers import HealthChecks, Lease, NoBackendAvailable, Pool
from balancers.algorithms import LeastLoaded
from balancers.errors import QueueFull
from balancers.loads import PeakEwma
from balancers.overload import AdmissionQueue

from deadline import Attempts
from loopback import backends
from waiting_room import WaitingRoom, Wants

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

RETRIED = {429, 502, 503, 504}
IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}  # RFC 9110, section 9.2.2
INVALID = httpx.LocalProtocolError, httpx.InvalidURL  # a request that cannot be forwarded
FAILURES = httpx.TransportError, httpx.InvalidURL
MAX_BODY = 1_048_576  # bytes, kept in memory so that a request can be repeated
NONE: Headers = []
HOP_BY_HOP = {
    *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te"),
    *(b"trailer", b"transfer-encoding", b"upgrade", b"content-length"),
}


class Exchange:
    """A request of a client, and its response."""

    def __init__(self, scope: Message, send: Send, attempts: Attempts) -> None:
        self.method: str = scope["method"]
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        query: bytes = scope["query_string"]
        self.target = path + b"?" * bool(query) + query
        self.headers = forwarded(scope["headers"])
        self.body, self.send, self.attempts = b"", send, attempts
        self.begun = False  # whether the client has received a part of the response

    async def read_body(self, receive: Receive) -> bool:
        """Return whether the client has sent a complete body that is not too large."""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            self.body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(self.body) > MAX_BODY:
                await self.say(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large")
                return False
        return True

    def request(self, backend: str, seconds: float) -> httpx.Request:
        host, _, port = backend.rpartition(":")
        return httpx.Request(
            self.method,
            httpx.URL(scheme="http", host=host, port=int(port), raw_path=self.target),
            headers=self.headers,
            content=self.body,
            extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), seconds)},
        )

    def may_repeat(self, now: float, error: httpx.TransportError | None = None) -> bool:
        """Return whether another attempt is safe, and allowed."""
        unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        safe = unsent or self.method in IDEMPOTENT
        return safe and not self.begun and self.attempts.more(now)

    async def begin(self, status: int, headers: Headers) -> None:
        self.begun = True
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def part(self, body: bytes, more: bool = True) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def say(self, status: HTTPStatus, why: str, headers: Headers = NONE) -> None:
        """Respond without a backend."""
        await self.begin(status, [(b"content-type", b"text/plain"), *headers])
        await self.part(why.encode(), more=False)


class Gateway:
    """An ASGI application that forwards each request to a backend of a pool.

    A request ends after ``seconds``, with its time in the queue and all its attempts.  A backend
    that is silent for ``patience`` seconds has failed.
    """

    room: WaitingRoom
    transport: httpx.AsyncHTTPTransport

    def __init__(
        self,
        pool: Pool[str],
        seconds: float = 30.0,
        limit: int = 3,
        patience: float = 10.0,
        waiting: int = 1000,
    ) -> None:
        self.pool, self.seconds, self.limit, self.patience = pool, seconds, limit, patience
        self.waiting = waiting

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.lifespan(receive, send)
        elif scope["type"] == "http":
            await self.serve(scope, receive, send)

    async def lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self.room = WaitingRoom(self.pool, AdmissionQueue(self.waiting, self.seconds))
        limits = httpx.Limits(max_connections=None)  # the pool limits what is in flight
        async with httpx.AsyncHTTPTransport(limits=limits) as self.transport:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def serve(self, scope: Message, receive: Receive, send: Send) -> None:
        """Respond to a request, and stop when the client leaves.

        An ASGI server cancels nothing when a client leaves: it sends "http.disconnect".
        """
        end = self.room.loop.time() + self.seconds
        exchange = Exchange(scope, send, Attempts(end, self.limit, self.patience))
        try:
            async with asyncio.timeout_at(end):
                complete = await exchange.read_body(receive)
        except TimeoutError:
            await exchange.say(HTTPStatus.REQUEST_TIMEOUT, "the body is too slow")
            return
        if not complete:
            return
        responding = asyncio.create_task(self.respond(exchange))
        leaving = asyncio.create_task(left(receive))
        try:
            await asyncio.wait({responding, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            responding.cancel()
            leaving.cancel()
            await asyncio.wait({responding, leaving})
        if not responding.cancelled():
            responding.result()

    async def respond(self, exchange: Exchange) -> None:
        """Forward a request, or say why that is not possible.

        If the response has begun, an error is raised.  Then the server closes the connection, so
        the client knows that the response is not complete.
        """
        try:
            async with asyncio.timeout_at(exchange.attempts.end):
                await self.forward(exchange)
        except (NoBackendAvailable, QueueFull, TimeoutError, *FAILURES) as error:
            if exchange.begun:
                raise
            headers: Headers = []
            if isinstance(error, NoBackendAvailable) and error.retry_at < math.inf:
                seconds = math.ceil(error.retry_at - self.room.loop.time())
                headers = [(b"retry-after", b"%d" % max(0, seconds))]
            await exchange.say(status_of(error), str(error), headers)

    async def forward(self, exchange: Exchange) -> None:
        """Send a request to one backend after another, until one of them responds."""
        attempts, clock = exchange.attempts, self.room.loop.time
        failure: httpx.TransportError | None = None
        while True:
            try:
                lease = await self.room.acquire(wants=Wants(avoid=frozenset(attempts.tried)))
            except NoBackendAvailable as refusal:
                raise failure or refusal from None  # a failure is more useful than the refusal
            attempts.tried.add(lease.backend)
            seconds = attempts.seconds(clock())
            ok = None  # the outcome is unknown if the client leaves
            try:
                if await self.attempt(exchange, lease, seconds):
                    ok = True
                    return
            except INVALID:  # no backend is at fault, and no other one helps
                raise
            except httpx.TransportError as error:
                timeout = isinstance(error, httpx.TimeoutException)
                ok = attempts.timed_out(seconds) if timeout else False
                failure = error
                if not exchange.may_repeat(clock(), error):
                    raise
            finally:
                self.room.release(lease, ok)

    async def attempt(self, exchange: Exchange, lease: Lease[str], seconds: float) -> bool:
        """Forward the response of one backend.  Return False if another backend is needed."""
        request = exchange.request(lease.backend, seconds)
        response = await self.transport.handle_async_request(request)
        try:
            if response.status_code in RETRIED:
                lease.failed(status=response.status_code)
                if exchange.may_repeat(self.room.loop.time()):
                    return False
            else:
                self.pool.progress(lease, self.room.loop.time())  # measures the time until now
            await exchange.begin(response.status_code, forwarded(response.headers.raw))
            async for part in response.aiter_raw():
                await exchange.part(part)
            await exchange.part(b"", more=False)
        finally:
            await response.aclose()
        return True


def forwarded(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return the fields that are not only for the next server: RFC 9110, section 7.6.1."""
    lower = [(name.lower(), value) for name, value in headers]
    named = b",".join(value for name, value in lower if name == b"connection")
    dropped = HOP_BY_HOP.union(name.strip().lower() for name in named.split(b","))
    return [(name, value) for name, value in lower if name not in dropped]


def status_of(error: Exception) -> HTTPStatus:
    if isinstance(error, INVALID):
        return HTTPStatus.BAD_REQUEST
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return HTTPStatus.GATEWAY_TIMEOUT
    if isinstance(error, httpx.TransportError):
        return HTTPStatus.BAD_GATEWAY
    return HTTPStatus.SERVICE_UNAVAILABLE


async def left(receive: Receive) -> None:
    """Wait until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


@contextmanager
def serving(app: Gateway) -> Generator[str]:
    """Run uvicorn in a thread until the end of the block, and return its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="on"))
    thread = Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()


def main() -> None:
    """Send requests while one backend of three answers 503."""
    with backends(3) as servers:
        servers[0].status = HTTPStatus.SERVICE_UNAVAILABLE
        balancer = LeastLoaded((server.name for server in servers), load=PeakEwma[str](first=True))
        pool = Pool(balancer, [HealthChecks[str]()])
        with serving(Gateway(pool)) as address, httpx.Client(base_url=address) as client:
            answers = [client.get("/") for _ in range(24)]
    answered, counts = sum(answer.is_success for answer in answers), pool.snapshot()
    print(f"{answered} answered, {counts.failures} attempts failed, in flight: {counts.in_flight}")


if __name__ == "__main__":
    main()
