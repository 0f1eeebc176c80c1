"""HTTP/1.1 on both sides of the proxy: h11 events over streams, and which headers are forwarded.

This module contains no load balancing.  It streams a request to a backend and the response to the
client.  It distinguishes three errors: the client disconnected (:class:`ClientLeft`), the client
sent invalid HTTP (:class:`Refused`), or the backend failed (:class:`BackendFailed`).
"""

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator, Generator
from http import HTTPStatus
from socket import SO_LINGER, SOL_SOCKET
from struct import pack

import h11

CHUNK = 65536  # bytes per read, of a head, and of a body that is stored for a retry
RESET = pack("ii", 1, 0)  # SO_LINGER with 0 seconds: close resets the connection
LINGER = 2.0  # seconds for a client to read a response that was sent before its request ended

Headers = list[tuple[bytes, bytes]]
Head = h11.Request | h11.Response | h11.InformationalResponse
CLOSE: Headers = [(b"Connection", b"close")]
WEBSOCKET: Headers = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]

# RFC 9110, section 7.6.1; trailers are dropped, as section 6.5.1 allows, and so is their list
HOP_BY_HOP = frozenset(
    b"connection proxy-connection keep-alive te trailer transfer-encoding upgrade".split()
)


class Refused(Exception):
    """Raised when the proxy itself answers the request, with this status and text."""

    def __init__(self, status: HTTPStatus, why: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(why)
        self.status = status
        self.headers = headers


class BackendFailed(Refused):
    """Raised when a backend failed a request; ``unsent`` if it has received none of it."""

    def __init__(self, status: HTTPStatus, why: str, unsent: bool = False) -> None:
        super().__init__(status, why)
        self.unsent = unsent


class ClientLeft(Exception):
    """Raised when the client disconnected; this is not a failure of the backend."""


class Side:
    """A connection to a client or a backend; each read or write may take ``timeout`` seconds."""

    def __init__(
        self,
        role: type[h11.CLIENT] | type[h11.SERVER],
        streams: tuple[StreamReader, StreamWriter],
        timeout: float,
    ) -> None:
        self.http = h11.Connection(role, max_incomplete_event_size=CHUNK)
        self.reader, self.writer = streams
        self.timeout = timeout
        self.closing = False  # whether this request is the last one
        self.error: Exception | None = None  # of the client, while its body was forwarded

    async def receive(self) -> object:
        """Return the next event, or h11.PAUSED."""
        with self.errors_attributed():
            while (event := self.http.next_event()) is h11.NEED_DATA:
                # a client that waits for "100 Continue" waits for the backend: allow both timeouts
                waits = self.http.they_are_waiting_for_100_continue
                async with asyncio.timeout(self.timeout * (1 + waits)):
                    data = await self.reader.read(CHUNK)
                self.http.receive_data(data)
            return event

    async def send(self, event: h11.Event) -> None:
        with self.errors_attributed():
            self.writer.write(self.http.send(event) or b"")
            async with asyncio.timeout(self.timeout):
                await self.writer.drain()

    async def wait_until_left(self) -> None:
        """Raise ClientLeft when the client disconnects; return if it sends its next request early.

        A client that shuts down its sending side counts as disconnected, as in nginx.
        """
        with self.errors_attributed():
            data = await self.reader.read(CHUNK)
        self.http.receive_data(data)
        if not data:
            raise ClientLeft

    @contextlib.contextmanager
    def errors_attributed(self) -> Generator[None]:
        """Translate an error on this side into one that names its cause: client or backend."""
        try:
            yield
        except (OSError, h11.RemoteProtocolError) as error:
            timed_out = isinstance(error, TimeoutError)
            if self.http.our_role is h11.CLIENT:
                status = HTTPStatus.GATEWAY_TIMEOUT if timed_out else HTTPStatus.BAD_GATEWAY
                raise BackendFailed(
                    status, "no response" if timed_out else "incomplete response"
                ) from error
            if isinstance(error, h11.RemoteProtocolError):
                raise Refused(HTTPStatus(error.error_status_hint), str(error)) from error
            raise ClientLeft from error

    @property
    def response_unsent(self) -> bool:
        """Whether the client has received no part of the response."""
        return self.http.our_state in {h11.IDLE, h11.SEND_RESPONSE}

    @property
    def reusable(self) -> bool:
        """Whether the client may send another request on this connection."""
        return {self.http.our_state, self.http.their_state} == {h11.DONE} and not self.closing

    async def answer(self, refused: Refused, head: object) -> None:
        """Respond with a line of text; close afterwards unless the request was complete."""
        with contextlib.suppress(h11.RemoteProtocolError):
            self.http.next_event()
        self.closing |= self.http.their_state is not h11.DONE
        status = refused.status
        body = f"{status} {status.phrase}: {refused}\n".encode()
        headers = [(b"Content-Type", b"text/plain"), (b"Content-Length", b"%d" % len(body))]
        headers += [*refused.headers, *CLOSE * self.closing]
        reason = status.phrase.encode()
        await self.send(h11.Response(status_code=status, headers=headers, reason=reason))
        if not (isinstance(head, h11.Request) and head.method == b"HEAD"):
            await self.send(h11.Data(data=body))
        await self.send(h11.EndOfMessage())

    async def close(self) -> None:
        """Close the connection; a client that is still sending gets time to read the response."""
        with contextlib.suppress(OSError):
            if self.http.our_state in {h11.SEND_BODY, h11.ERROR}:
                # an incomplete response must not look complete: reset the connection
                self.writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, RESET)
                self.writer.transport.abort()
            elif self.http.their_state in {h11.SEND_BODY, h11.ERROR}:
                self.writer.write_eof()
                async with asyncio.timeout(LINGER):
                    while await self.reader.read(CHUNK):
                        pass
        self.writer.close()


class Body:
    """The body of a request: forwarded as it arrives, and stored for a retry while it is short."""

    def __init__(self, client: Side) -> None:
        self.client = client
        self.stored: tuple[bytes, ...] = ()
        self.size = 0
        self.ended = False

    @property
    def repeatable(self) -> bool:
        return self.size <= CHUNK

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        for data in self.stored:
            yield data
        while not self.ended:
            event = await self.client.receive()
            if isinstance(event, h11.Data):
                self.size += len(event.data)
                self.stored = (*self.stored, bytes(event.data)) if self.repeatable else ()
                yield bytes(event.data)
            else:
                self.ended = True


async def exchange(
    client: Side, backend: Side, head: h11.Request, body: Body, more: Headers
) -> int:
    """Forward a request to a backend and the response to the client, with more headers.

    Return the status.  An upgraded connection has ended when this returns.
    """
    uploading = asyncio.create_task(upload(client, backend, head, body))
    try:
        status = await download(client, backend, body, more)
    except BackendFailed:
        if client.error:
            raise client.error from None
        raise
    finally:
        uploading.cancel()
        await asyncio.wait({uploading})
    if status == HTTPStatus.SWITCHING_PROTOCOLS:
        await tunnel(client, backend)
    return status


async def upload(client: Side, backend: Side, head: h11.Request, body: Body) -> None:
    try:
        await backend.send(head)
        async for data in body.chunks():
            await backend.send(h11.Data(data=data))
        await backend.send(h11.EndOfMessage())
        await client.wait_until_left()
    except (ClientLeft, Refused) as error:
        if not isinstance(error, BackendFailed):  # detected where the response is read
            client.error = error
        backend.writer.transport.abort()


async def download(client: Side, backend: Side, body: Body, more: Headers) -> int:
    status = 0
    while True:
        try:
            event = await backend.receive()
        except BackendFailed as failure:
            timed_out = failure.status == HTTPStatus.GATEWAY_TIMEOUT
            if timed_out and not body.ended and not client.http.they_are_waiting_for_100_continue:
                continue  # the backend waits for the client
            raise
        match event:
            case h11.InformationalResponse(status_code=HTTPStatus.SWITCHING_PROTOCOLS as status):
                headers = end_to_end(event) + WEBSOCKET + more
                await client.send(h11.InformationalResponse(status_code=status, headers=headers))
                return status
            case h11.InformationalResponse():
                if client.http.their_http_version != b"1.0":
                    await client.send(event)
            case h11.Response():
                status, headers = event.status_code, end_to_end(event) + more
                headers += CLOSE * client.closing
                answer = h11.Response(status_code=status, headers=headers, reason=event.reason)
                await client.send(answer)
            case h11.Data():
                await client.send(event)
            case _:
                await client.send(h11.EndOfMessage())
                return status


async def tunnel(client: Side, backend: Side) -> None:
    """Forward bytes in both directions until one side closes."""
    flows = {asyncio.create_task(pump(client, backend)), asyncio.create_task(pump(backend, client))}
    try:
        await asyncio.wait(flows, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for flow in flows:
            flow.cancel()


async def pump(source: Side, sink: Side) -> None:
    data, _ = source.http.trailing_data
    with contextlib.suppress(OSError):
        while data := data or await source.reader.read(CHUNK):
            sink.writer.write(data)
            await sink.writer.drain()
            data = b""


def end_to_end(head: Head) -> Headers:
    """Return the headers that are forwarded: RFC 9110, section 7.6.1; RFC 9112, section 6.3."""
    dropped = HOP_BY_HOP | set(list_values(head, b"connection")) - {b"content-length"}
    if list_values(head, b"transfer-encoding"):
        dropped |= {b"content-length"}
    return [
        (name, value) for name, value in head.headers.raw_items() if name.lower() not in dropped
    ]


def hop_headers(head: h11.Request) -> Headers:
    """Return the headers of this hop: the framing of the body, and Connection.

    Only upgrades to WebSocket are forwarded.  An upgrade to HTTP/2 would carry requests that bypass
    the routes.
    """
    chunked: Headers = [(b"Transfer-Encoding", b"chunked")]
    chunked *= bool(list_values(head, b"transfer-encoding"))
    able = head.method == b"GET" and head.http_version != b"1.0"
    wanted = able and b"upgrade" in list_values(head, b"connection")
    websocket = wanted and list_values(head, b"upgrade") == [b"websocket"]
    return chunked + (WEBSOCKET if websocket else CLOSE)


def list_values(head: Head, wanted: bytes) -> list[bytes]:
    """Return the elements of a list header, in lower case."""
    lines = [value for name, value in head.headers if name == wanted]
    return [token.strip().lower() for line in lines for token in line.split(b",") if token.strip()]
