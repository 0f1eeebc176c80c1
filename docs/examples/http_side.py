"""HTTP/1.1 on one side of the proxy: h11 events over streams, and which headers are forwarded.

This module contains no load balancing.  It distinguishes three errors: the client disconnected
(:class:`ClientLeft`), the client sent invalid HTTP (:class:`Refused`), or the backend failed
(:class:`BackendFailed`).
"""

import asyncio
import contextlib
import re
from asyncio import StreamReader, StreamWriter
from collections.abc import Generator
from http import HTTPStatus
from socket import SO_LINGER, SOL_SOCKET
from struct import pack

import h11

from http_strict import LIMIT, Chunks, check_head

CHUNK = LIMIT  # bytes per read, and of a body that is stored for a retry
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


BLANK_LINE = re.compile(rb"\n\r?\n")


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
        head_timeout: float,
    ) -> None:
        self.http = h11.Connection(role, max_incomplete_event_size=LIMIT)
        self.reader, self.writer = streams
        self.timeout = timeout
        self.head_timeout = head_timeout
        self.chunks: Chunks | None = None  # of the body of this request
        self.closing = False  # whether this request is the last one
        self.error: Exception | None = None  # of this side, while the body was forwarded

    async def receive(self) -> object:
        """Return the next event, or h11.PAUSED.

        One read may contain thousands of events, so other connections get a turn before each one.
        """
        await asyncio.sleep(0)
        with self.errors_attributed():
            if self.http.their_state in {h11.IDLE, h11.SEND_RESPONSE}:
                await self.receive_head()
            while (event := self.http.next_event()) is h11.NEED_DATA:
                # a client that waits for "100 Continue" waits for the backend: allow both timeouts
                waits = self.http.they_are_waiting_for_100_continue
                async with asyncio.timeout(self.timeout * (1 + waits)):
                    await self.read()
            return event

    async def read(self) -> bytes:
        data = await self.reader.read(CHUNK)
        if self.chunks:
            self.chunks.check(data)
        self.http.receive_data(data)
        return data

    async def receive_head(self) -> None:
        """Read the next head, if it is not yet received.

        It has at most ``LIMIT`` bytes, whatever a read returns.  Its first byte may take
        ``timeout`` seconds, and all others together ``head_timeout`` seconds.
        """
        head, end = bytearray(self.http.trailing_data[0]), None
        if not head:
            async with asyncio.timeout(self.timeout):
                head += await self.read()
        start = 0
        try:
            async with asyncio.timeout(self.head_timeout):
                while not (end := BLANK_LINE.search(head, start)) and len(head) <= LIMIT:
                    start = max(0, len(head) - 2)
                    if head[:1] <= b" " or not (data := await self.read()):
                        return  # a head that h11 refuses, or the end of the connection
                    head += data
        except TimeoutError:
            message = f"the head was not complete after {self.head_timeout:g} s"
            raise h11.RemoteProtocolError(message, HTTPStatus.REQUEST_TIMEOUT) from None
        size = end.end() if end else len(head)
        if size > LIMIT:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise h11.RemoteProtocolError(f"the head is longer than {LIMIT} bytes", status)
        if self.http.our_role is h11.SERVER:
            check_head(head[:size])

    def check_framing(self, request: h11.Request) -> None:
        """Refuse faulty framing, or make this request the last one: RFC 9112, section 6.1.

        A proxy in front may have used the other length, and then what follows is no request.
        """
        self.chunks = Chunks() if list_values(request, b"transfer-encoding") else None
        if not self.chunks:
            return
        self.closing |= request.http_version == b"1.0" or bool(
            list_values(request, b"content-length")
        )
        if request.http_version == b"1.0":
            raise Refused(HTTPStatus.BAD_REQUEST, "Transfer-Encoding in HTTP/1.0")
        with self.errors_attributed():
            self.chunks.check(self.http.trailing_data[0])

    async def send(self, event: h11.Event) -> None:
        with self.errors_attributed():
            self.writer.write(self.http.send(event) or b"")
            async with asyncio.timeout(self.timeout):
                await self.writer.drain()

    async def wait_until_left(self) -> None:
        """Raise ClientLeft when the client disconnects; return if it sends its next request early.

        A client that shuts down its sending side counts as disconnected, as in nginx.  If its next
        request has already arrived, nothing is read, so that a client cannot fill the memory with
        requests; then it is not detected that the client disconnects.
        """
        if self.http.trailing_data[0]:
            return
        with self.errors_attributed():
            data = await self.read()
        if not data:
            raise ClientLeft

    @contextlib.contextmanager
    def errors_attributed(self) -> Generator[None]:
        """Translate an error on this side into one that names its cause: client or backend."""
        try:
            yield
        except (OSError, h11.ProtocolError) as error:
            timed_out = isinstance(error, TimeoutError)
            if self.http.our_role is h11.CLIENT:
                status = HTTPStatus.GATEWAY_TIMEOUT if timed_out else HTTPStatus.BAD_GATEWAY
                raise BackendFailed(
                    status, "no response" if timed_out else "incomplete response"
                ) from error
            if isinstance(error, h11.ProtocolError):
                self.closing = True
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

    @property
    def sending(self) -> bool:
        """Whether the client may still send something that is not read."""
        unread = self.closing and (self.http.trailing_data[0] or self.http.their_state is h11.IDLE)
        return bool(unread) or self.http.their_state in {h11.SEND_BODY, h11.ERROR}

    async def answer(self, refused: Refused, head: object) -> None:
        """Respond with a line of text; close afterwards unless the request was complete."""
        if isinstance(head, h11.Request):
            with contextlib.suppress(h11.RemoteProtocolError):
                self.http.next_event()  # a request without a body is complete
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

    async def linger(self) -> None:
        """Wait while a client is still sending, so that it can read the response."""
        if self.sending and not self.broken_off:
            with contextlib.suppress(OSError):
                self.writer.write_eof()
                async with asyncio.timeout(LINGER):
                    while await self.reader.read(CHUNK):
                        pass

    @property
    def broken_off(self) -> bool:
        """Whether the response is incomplete."""
        return self.http.our_state in {h11.SEND_BODY, h11.ERROR}

    def close(self) -> None:
        if self.broken_off:  # it must not look complete: reset the connection
            with contextlib.suppress(OSError):
                self.writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, RESET)
            self.writer.transport.abort()
        self.writer.close()


def end_to_end(head: Head) -> Headers:
    """Return the headers that are forwarded: RFC 9110, sections 7.6.1 and 8.6; RFC 9112, 6.3."""
    dropped = HOP_BY_HOP | set(list_values(head, b"connection")) - {b"content-length"}
    bodiless = isinstance(head, h11.InformationalResponse) or (
        isinstance(head, h11.Response) and head.status_code == HTTPStatus.NO_CONTENT
    )
    if bodiless or list_values(head, b"transfer-encoding"):
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
    able = able and not chunked and not list_values(head, b"content-length")
    wanted = able and b"upgrade" in list_values(head, b"connection")
    websocket = wanted and list_values(head, b"upgrade") == [b"websocket"]
    return chunked + (WEBSOCKET if websocket else CLOSE)


def list_values(head: Head, wanted: bytes) -> list[bytes]:
    """Return the elements of a list header, in lower case."""
    lines = [value for name, value in head.headers if name == wanted]
    return [token.strip().lower() for line in lines for token in line.split(b",") if token.strip()]
