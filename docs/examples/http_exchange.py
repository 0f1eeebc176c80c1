"""One request on both sides of the proxy: the body, the response, and upgraded connections.

This module contains no load balancing.  It streams a request to a backend and the response to the
client.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from http import HTTPStatus

import h11

from http_side import (
    CHUNK,
    CLOSE,
    WEBSOCKET,
    BackendFailed,
    ClientLeft,
    Headers,
    Refused,
    Side,
    end_to_end,
    list_values,
)

FRAMING = (b"content-length", b"transfer-encoding")
INTERIM = 20  # responses with a status of 1xx that a backend may send before the final one


class Body:
    """The body of a request: forwarded as it arrives, and stored for a retry while it is short."""

    def __init__(self, client: Side, head: h11.Request) -> None:
        self.client = client
        self.exists = bool(client.chunks) or list_values(head, b"content-length") not in (
            [],
            [b"0"],
        )
        self.stored = bytearray()
        self.size = 0
        self.ended = False

    @property
    def incomplete(self) -> bool:
        """Whether the client has not yet sent all of it."""
        return self.exists and not self.ended

    @property
    def repeatable(self) -> bool:
        return self.size <= CHUNK

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        if self.stored:
            yield bytes(self.stored)
        while not self.ended:
            event = await self.client.receive()
            if isinstance(event, h11.Data):
                self.size += len(event.data)
                if self.repeatable:
                    self.stored += event.data
                else:
                    self.stored.clear()
                yield bytes(event.data)
            else:
                self.ended = True


async def exchange(
    client: Side, backend: Side, head: h11.Request, body: Body, answered: Callable[[int], Headers]
) -> int:
    """Forward a request to a backend and the response to the client.

    ``answered`` is called with the status, and returns more headers for the client.  Return the
    status.  An upgraded connection has ended when this returns.
    """
    uploading = asyncio.create_task(upload(client, backend, head, body))
    try:
        status = await download(client, backend, body, answered)
    except BackendFailed:
        if error := client.error or (client.response_unsent and backend.error):
            raise error from error.__cause__
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
    except BackendFailed as error:
        backend.error = error
        if client.response_unsent:  # otherwise the rest of the response may follow
            backend.writer.transport.abort()
    except (ClientLeft, Refused) as error:
        client.error = error
        backend.writer.transport.abort()


async def download(
    client: Side, backend: Side, body: Body, answered: Callable[[int], Headers]
) -> int:
    status = interim = 0
    ends_by_close = False
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
                headers = end_to_end(event) + WEBSOCKET + answered(status)
                await client.send(h11.InformationalResponse(status_code=status, headers=headers))
                return status
            case h11.InformationalResponse():
                interim += 1
                if interim > INTERIM:
                    raise BackendFailed(HTTPStatus.BAD_GATEWAY, "too many interim responses")
                await send_interim(client, event)
            case h11.Response():
                status = event.status_code
                headers = end_to_end(event) + answered(status)
                ends_by_close = not any(list_values(event, name) for name in FRAMING)
                client.closing |= body.incomplete  # the rest of it may not be read
                headers += CLOSE * client.closing
                answer = h11.Response(status_code=status, headers=headers, reason=event.reason)
                await client.send(answer)
            case h11.Data():
                await client.send(event)
            case _:
                if ends_by_close and client.error:  # the end is the one of the connection
                    raise client.error
                await client.send(h11.EndOfMessage())
                return status


async def send_interim(client: Side, event: h11.InformationalResponse) -> None:
    if client.http.their_http_version != b"1.0":
        code, headers, reason = event.status_code, end_to_end(event), event.reason
        await client.send(
            h11.InformationalResponse(status_code=code, headers=headers, reason=reason)
        )


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
