"""httpx: transports, sync and async, that choose a backend for each attempt of a request."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from math import inf
from threading import Lock
from typing import TypeVar

import httpx

from balancers import HealthChecks, Key, Lease, LeastConnections, NoBackendAvailable, Pool
from balancers.sessions import LearnedSessions

from deadline import Attempts
from loopback import backends

T = TypeVar("T")
RETRIED = {429, 502, 503, 504}
IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}  # RFC 9110, section 9.2.2
OWN_FAULTS = httpx.PoolTimeout | httpx.UnsupportedProtocol | httpx.LocalProtocolError


class Call:
    """One request of a client: its attempts, and the lease of the latest one."""

    lease: Lease[str] | None = None

    def __init__(self, upstream: "Upstream", request: httpx.Request) -> None:
        self.upstream, self.request = upstream, request
        end = upstream.clock() + upstream.seconds
        self.attempts = Attempts(end, upstream.limit, upstream.patience)
        self.session: Key | None = request.extensions.get("session")
        self.repeatable = isinstance(request.stream, httpx.ByteStream)  # a generator is not
        self.allotted = inf

    def begin(self) -> httpx.Request:
        """Acquire a lease, and return the request for its backend."""
        upstream, tried = self.upstream, self.attempts.tried
        with upstream.lock:
            upstream.release_abandoned()
            now = upstream.clock()
            home = upstream.sessions.resolve(self.session, now).backend
            lease = self.lease = upstream.pool.acquire(now, prefer=home, avoid=tried)
        tried.add(lease.backend)
        self.allotted = self.attempts.seconds(now)
        host, _, port = lease.backend.rpartition(":")
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), self.allotted)
        own = {"timeout": timeout, "sni_hostname": self.request.url.host}
        return httpx.Request(
            self.request.method,
            self.request.url.copy_with(host=host, port=int(port)),
            headers=self.request.headers,  # the field Host keeps the name that the client used
            stream=self.request.stream,
            extensions={**self.request.extensions, **own},
        )

    def first(self) -> httpx.Request:
        """Return the request for the first backend.  Raises httpx.ConnectError."""
        try:
            return self.begin()
        except NoBackendAvailable as refusal:
            raise httpx.ConnectError(str(refusal)) from refusal

    def another(self, error: httpx.TransportError | None = None) -> httpx.Request | None:
        """Return the request for another backend, or None if it must not be repeated."""
        unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        safe = unsent or self.request.method in IDEMPOTENT
        if self.repeatable and safe and self.attempts.more(self.upstream.clock()):
            with suppress(NoBackendAvailable):
                return self.begin()
        return None

    def failed(self, error: httpx.TransportError) -> None:
        """Release the lease of an attempt without a response."""
        ok: bool | None = False
        if isinstance(error, OWN_FAULTS):
            ok = None
        elif isinstance(error, httpx.TimeoutException):
            ok = self.attempts.timed_out(self.allotted)
        self.release(ok)

    def answered(self, response: httpx.Response) -> bool:
        """Return whether the response is final.  If it is not, release the lease."""
        if response.status_code not in RETRIED:
            self.upstream.learn(self.session, self.lease)
            return True
        seconds = response.headers.get("retry-after", "")
        # A backend can send any number, so it is believed for an hour at most.
        retry_after = min(float(seconds), 3600.0) if seconds.isdecimal() else None
        self.release(False, response.status_code, retry_after)
        return False

    async def before_deadline(self, step: Awaitable[T]) -> T:
        """Return the result of a step.  Raises httpx.ReadTimeout at the deadline."""
        try:
            async with asyncio.timeout(self.attempts.end - self.upstream.clock()):
                return await step
        except TimeoutError as error:
            raise self.too_late() from error

    def too_late(self) -> httpx.ReadTimeout:
        """Release the lease at the deadline, and return the error."""
        self.release(None)
        return httpx.ReadTimeout("the deadline is over")

    def response(self, response: httpx.Response) -> httpx.Response:
        """Return the response, with a stream that releases the lease."""
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=LeasedStream(self, response.stream),
            extensions=response.extensions,
        )

    def release(
        self, ok: bool | None, status: int | None = None, retry_after: float | None = None
    ) -> None:
        """Release the lease, if it is not released yet."""
        upstream, lease = self.upstream, self.lease
        with upstream.lock:
            if lease is not None and not lease.released:
                now = upstream.clock()
                upstream.pool.release(lease, now, ok, retry_after=retry_after, status=status)


class LeasedStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a response.  Its end, or ``close``, releases the lease of the request."""

    def __init__(self, call: Call, stream: httpx.SyncByteStream | httpx.AsyncByteStream) -> None:
        self.call, self.stream = call, stream

    def __iter__(self) -> Iterator[bytes]:
        assert isinstance(self.stream, httpx.SyncByteStream)
        try:
            for part in self.stream:
                if self.call.upstream.clock() >= self.call.attempts.end:
                    raise self.call.too_late()
                yield part
            self.call.release(True)
        except httpx.TransportError as error:
            self.call.failed(error)
            raise

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self.stream, httpx.AsyncByteStream)
        parts = aiter(self.stream)
        try:
            while (part := await self.call.before_deadline(anext(parts, None))) is not None:
                yield part
            self.call.release(True)
        except httpx.TransportError as error:
            self.call.failed(error)
            raise

    def close(self) -> None:
        assert isinstance(self.stream, httpx.SyncByteStream)
        try:
            self.stream.close()
        finally:
            self.call.release(None)

    async def aclose(self) -> None:
        assert isinstance(self.stream, httpx.AsyncByteStream)
        try:
            await self.stream.aclose()
        finally:
            self.call.release(None)

    def __del__(self) -> None:
        lease = self.call.lease
        if lease is not None and not lease.released:  # a response that was neither read nor closed
            self.call.upstream.abandoned.append(lease)


class Upstream:
    """The backends of a client: a pool, its sessions, and the limits of each request.

    No attempt of a request begins later than ``seconds`` after its start, and its body ends then.
    There are at most ``limit`` attempts.  A backend fails if it is silent for ``patience`` seconds.
    """

    def __init__(
        self,
        pool: Pool[str],
        seconds: float = 30.0,
        limit: int = 3,
        patience: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pool, self.clock = pool, clock
        self.seconds, self.limit, self.patience = seconds, limit, patience
        self.sessions = LearnedSessions(pool)
        self.lock = Lock()  # held to acquire and to release, not in between
        self.abandoned: deque[Lease[str]] = deque()

    def release_abandoned(self) -> None:
        """Release the leases of responses that Python has deleted.  The lock must be held.

        ``__del__`` does not do it, because it can run while this thread holds the lock.
        """
        while self.abandoned:
            self.pool.release(self.abandoned.popleft(), self.clock(), ok=None)

    def learn(self, session: Key | None, lease: Lease[str] | None) -> None:
        """Store the backend of a session."""
        if session is not None and lease is not None:
            with self.lock:
                self.sessions.learn(session, lease, self.clock())


class BalancedTransport(httpx.BaseTransport):
    """A transport for ``httpx.Client``."""

    def __init__(self, upstream: Upstream, inner: httpx.BaseTransport | None = None) -> None:
        self.upstream, self.inner = upstream, inner or httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        call = Call(self.upstream, request)
        try:
            attempt = call.first()
            while True:
                try:
                    response = self.inner.handle_request(attempt)
                except httpx.TransportError as error:
                    call.failed(error)
                    if (again := call.another(error)) is None:
                        raise
                else:
                    if call.answered(response) or (again := call.another()) is None:
                        return call.response(response)
                    response.close()
                attempt = again
        except BaseException:
            call.release(None)
            raise

    def close(self) -> None:
        self.inner.close()


class AsyncBalancedTransport(httpx.AsyncBaseTransport):
    """A transport for ``httpx.AsyncClient``."""

    def __init__(self, upstream: Upstream, inner: httpx.AsyncBaseTransport | None = None) -> None:
        self.upstream, self.inner = upstream, inner or httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        call = Call(self.upstream, request)
        try:
            attempt = call.first()
            while True:
                try:
                    sent = self.inner.handle_async_request(attempt)
                    response = await call.before_deadline(sent)
                except httpx.TransportError as error:
                    call.failed(error)
                    if (again := call.another(error)) is None:
                        raise
                else:
                    if call.answered(response) or (again := call.another()) is None:
                        return call.response(response)
                    await response.aclose()
                attempt = again
        except BaseException:  # a cancellation too
            call.release(None)
            raise

    async def aclose(self) -> None:
        await self.inner.aclose()


async def send_async(upstream: Upstream) -> tuple[list[httpx.Response], set[str]]:
    transport = AsyncBalancedTransport(upstream)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        answers = await asyncio.gather(*(client.get("/") for _ in range(12)))
        session = {"session": "alice"}
        homes = {(await client.get("/", extensions=session)).json()["backend"] for _ in range(6)}
    return answers, homes


def main() -> None:
    """Send requests of a session, and others, while one backend of three answers 503."""
    with backends(3) as servers:
        pool = Pool(LeastConnections(server.name for server in servers), [HealthChecks[str]()])
        servers[0].status = HTTPStatus.SERVICE_UNAVAILABLE
        upstream = Upstream(pool)
        with httpx.Client(transport=BalancedTransport(upstream), base_url="http://shop") as client:
            answers = [client.get("/") for _ in range(12)]
        more, homes = asyncio.run(send_async(upstream))
    answered, counts = sum(answer.is_success for answer in answers + more), pool.snapshot()
    print(f"{answered} answered, {counts.failures} attempts failed, in flight: {counts.in_flight}")
    print(f"the session has {len(homes)} backend")


if __name__ == "__main__":
    main()
