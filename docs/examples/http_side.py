"""HTTP/1.1 from side to side: events of h11 over streams, and what may pass.

Nothing here balances.  A request goes to a backend and its answer to the client, both streamed;
what breaks is told apart: the client left (:class:`ClientLeft`), said what is no HTTP
(:class:`Refused`), or the backend failed (:class:`Failed`).
"""

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator, Generator
from http import HTTPStatus
from socket import SO_LINGER, SOL_SOCKET
from struct import pack

import h11

CHUNK = 65536  # bytes: read at once, of a head at most, and kept of a body for another try
AT_ONCE = pack("ii", 1, 0)  # a linger of no seconds
LINGER = 2.0  # seconds for a client to read an answer that came before it had said all

Headers = list[tuple[bytes, bytes]]
Head = h11.Request | h11.Response | h11.InformationalResponse
CLOSE: Headers = [(b"Connection", b"close")]
WEBSOCKET: Headers = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]

# RFC 9110, section 7.6.1; trailers are dropped, as section 6.5.1 allows, and so is their list
HOP_BY_HOP = frozenset(
    b"connection proxy-connection keep-alive te trailer transfer-encoding upgrade".split()
)


class Refused(Exception):
    """What the proxy answers by itself."""

    def __init__(self, status: HTTPStatus, why: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(why)
        self.status = status
        self.headers = headers


class Failed(Refused):
    """A backend failed the request; ``unsent`` when it cannot have seen any of it."""

    def __init__(self, status: HTTPStatus, why: str, unsent: bool = False) -> None:
        super().__init__(status, why)
        self.unsent = unsent


class ClientLeft(Exception):
    """Nobody is there to be answered, and no backend is to blame."""


class Side:
    """A connection, to a client or to a backend, that may be silent for ``patience`` seconds."""

    def __init__(
        self,
        role: type[h11.CLIENT] | type[h11.SERVER],
        streams: tuple[StreamReader, StreamWriter],
        patience: float,
    ) -> None:
        self.http = h11.Connection(role, max_incomplete_event_size=CHUNK)
        self.reader, self.writer = streams
        self.patience = patience
        self.last = False  # no other request may follow
        self.trouble: Exception | None = None  # met while the client's body was passed on

    async def receive(self) -> object:
        """Give the next event, or h11.PAUSED."""
        with self.blamed():
            while (event := self.http.next_event()) is h11.NEED_DATA:
                waits = (
                    self.http.they_are_waiting_for_100_continue
                )  # the backend's turn comes first
                async with asyncio.timeout(self.patience * (1 + waits)):
                    data = await self.reader.read(CHUNK)
                self.http.receive_data(data)
            return event

    async def send(self, event: h11.Event) -> None:
        with self.blamed():
            self.writer.write(self.http.send(event) or b"")
            async with asyncio.timeout(self.patience):
                await self.writer.drain()

    async def until_gone(self) -> None:
        """Raise ClientLeft when the client leaves; return if it sends its next request early.

        One that shuts down its sending side counts as gone, as in nginx.
        """
        with self.blamed():
            data = await self.reader.read(CHUNK)
        self.http.receive_data(data)
        if not data:
            raise ClientLeft

    @contextlib.contextmanager
    def blamed(self) -> Generator[None]:
        """Say whose fault it is that this side breaks."""
        try:
            yield
        except (OSError, h11.RemoteProtocolError) as error:
            silent = isinstance(error, TimeoutError)
            if self.http.our_role is h11.CLIENT:
                status = HTTPStatus.GATEWAY_TIMEOUT if silent else HTTPStatus.BAD_GATEWAY
                raise Failed(status, "no answer" if silent else "no whole answer") from error
            if isinstance(error, h11.RemoteProtocolError):
                raise Refused(HTTPStatus(error.error_status_hint), str(error)) from error
            raise ClientLeft from error

    @property
    def answerable(self) -> bool:
        """Whether the client has not been sent any of its answer."""
        return self.http.our_state in {h11.IDLE, h11.SEND_RESPONSE}

    @property
    def reusable(self) -> bool:
        """Whether the client may send another request."""
        return {self.http.our_state, self.http.their_state} == {h11.DONE} and not self.last

    async def answer(self, refused: Refused, head: object) -> None:
        """Answer the client with a line of text, and for the last time unless it has said all."""
        with contextlib.suppress(h11.RemoteProtocolError):
            self.http.next_event()
        self.last |= self.http.their_state is not h11.DONE
        status = refused.status
        body = f"{status} {status.phrase}: {refused}\n".encode()
        headers = [(b"Content-Type", b"text/plain"), (b"Content-Length", b"%d" % len(body))]
        headers += [*refused.headers, *CLOSE * self.last]
        reason = status.phrase.encode()
        await self.send(h11.Response(status_code=status, headers=headers, reason=reason))
        if not (isinstance(head, h11.Request) and head.method == b"HEAD"):
            await self.send(h11.Data(data=body))
        await self.send(h11.EndOfMessage())

    async def close(self) -> None:
        """Close; a client that is still sending gets the time to read its answer."""
        with contextlib.suppress(OSError):
            if self.http.our_state in {h11.SEND_BODY, h11.ERROR}:
                # half an answer must not be taken for a whole one: reset the connection
                self.writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, AT_ONCE)
                self.writer.transport.abort()
            elif self.http.their_state in {h11.SEND_BODY, h11.ERROR}:
                self.writer.write_eof()
                async with asyncio.timeout(LINGER):
                    while await self.reader.read(CHUNK):
                        pass
        self.writer.close()


class Body:
    """A request's body: passed on as it comes, and kept for another try while it is short."""

    def __init__(self, near: Side) -> None:
        self.near = near
        self.kept: tuple[bytes, ...] = ()
        self.size = 0
        self.ended = False

    @property
    def repeatable(self) -> bool:
        return self.size <= CHUNK

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        for data in self.kept:
            yield data
        while not self.ended:
            event = await self.near.receive()
            if isinstance(event, h11.Data):
                self.size += len(event.data)
                self.kept = (*self.kept, bytes(event.data)) if self.repeatable else ()
                yield bytes(event.data)
            else:
                self.ended = True


async def pass_on(near: Side, far: Side, head: h11.Request, body: Body, more: Headers) -> int:
    """Pass a request to a backend and its answer to the client, with more headers; its status.

    What is upgraded has ended when this returns.
    """
    uploading = asyncio.create_task(upload(near, far, head, body))
    try:
        status = await download(near, far, body, more)
    except Failed:
        if near.trouble:
            raise near.trouble from None
        raise
    finally:
        uploading.cancel()
        await asyncio.wait({uploading})
    if status == HTTPStatus.SWITCHING_PROTOCOLS:
        await tunnel(near, far)
    return status


async def upload(near: Side, far: Side, head: h11.Request, body: Body) -> None:
    try:
        await far.send(head)
        async for data in body.chunks():
            await far.send(h11.Data(data=data))
        await far.send(h11.EndOfMessage())
        await near.until_gone()
    except (ClientLeft, Refused) as trouble:
        if not isinstance(trouble, Failed):  # that is told where the answer is read
            near.trouble = trouble
        far.writer.transport.abort()


async def download(near: Side, far: Side, body: Body, more: Headers) -> int:
    status = 0
    while True:
        try:
            event = await far.receive()
        except Failed as failure:
            silent = failure.status == HTTPStatus.GATEWAY_TIMEOUT
            if silent and not body.ended and not near.http.they_are_waiting_for_100_continue:
                continue  # it is the client that keeps it waiting
            raise
        match event:
            case h11.InformationalResponse(status_code=HTTPStatus.SWITCHING_PROTOCOLS as status):
                headers = end_to_end(event) + WEBSOCKET + more
                await near.send(h11.InformationalResponse(status_code=status, headers=headers))
                return status
            case h11.InformationalResponse():
                if near.http.their_http_version != b"1.0":
                    await near.send(event)
            case h11.Response():
                status, headers = event.status_code, end_to_end(event) + more
                headers += CLOSE * near.last
                answer = h11.Response(status_code=status, headers=headers, reason=event.reason)
                await near.send(answer)
            case h11.Data():
                await near.send(event)
            case _:
                await near.send(h11.EndOfMessage())
                return status


async def tunnel(near: Side, far: Side) -> None:
    """Pass bytes both ways, until one side ends."""
    flows = {asyncio.create_task(pump(near, far)), asyncio.create_task(pump(far, near))}
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
    """Give what is meant for the other end: RFC 9110, section 7.6.1, and RFC 9112, section 6.3."""
    dropped = HOP_BY_HOP | set(listed(head, b"connection")) - {b"content-length"}
    if listed(head, b"transfer-encoding"):
        dropped |= {b"content-length"}
    return [
        (name, value) for name, value in head.headers.raw_items() if name.lower() not in dropped
    ]


def framing(head: h11.Request) -> Headers:
    """Give what is to be said of this hop: how the body is framed, and what becomes of the rest.

    WebSockets are let through and no other upgrade: one to HTTP/2 would bring requests that no
    route has seen.
    """
    chunked: Headers = [(b"Transfer-Encoding", b"chunked")]
    chunked *= bool(listed(head, b"transfer-encoding"))
    able = head.method == b"GET" and head.http_version != b"1.0"
    wanted = able and b"upgrade" in listed(head, b"connection")
    websocket = wanted and listed(head, b"upgrade") == [b"websocket"]
    return chunked + (WEBSOCKET if websocket else CLOSE)


def listed(head: Head, wanted: bytes) -> list[bytes]:
    """Give the elements of a header that is a list, in lower case."""
    lines = [value for name, value in head.headers if name == wanted]
    return [token.strip().lower() for line in lines for token in line.split(b",") if token.strip()]
