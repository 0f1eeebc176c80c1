"""An HTTP client that sends requests exactly as given."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.parity.live.backends import Address

__all__ = ["Answer", "Client", "Wire"]

ANSWER_TIMEOUT = 30.0
"""Seconds to wait for an answer."""


@dataclass(frozen=True)
class Wire:
    """A request; ``client`` is sent by the PROXY protocol, on a separate connection."""

    target: str = "/"
    headers: Sequence[tuple[str, str]] = ()
    client: str = ""
    host: str = "site.example"


@dataclass(frozen=True)
class Answer:
    """The response to a request."""

    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict[str, str])


class Client:
    """One connection to a front: opened when needed, and reused while possible."""

    def __init__(self, front: Address) -> None:
        self._front = front
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, wire: Wire, number: str) -> Answer:
        """Send a request with its number in ``X-Ask``, and return the answer."""
        async with asyncio.timeout(ANSWER_TIMEOUT):
            if self._streams is None:
                self._streams = await asyncio.open_connection(*self._front)
                if wire.client:
                    self._streams[1].write(_proxied(wire.client))
            reader, writer = self._streams
            writer.write(_request(wire, number))
            answer = await _answer(reader)
        if wire.client or answer.headers.get("connection", "").lower() == "close":
            await self.close()
        return answer

    async def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def _request(wire: Wire, number: str) -> bytes:
    lines = [
        f"GET {wire.target} HTTP/1.1",
        f"Host: {wire.host}",
        f"X-Ask: {number}",
        *(f"{name}: {value}" for name, value in wire.headers),
    ]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def _proxied(client: str) -> bytes:
    family, here = ("TCP6", "::1") if ":" in client else ("TCP4", "127.0.0.1")
    return f"PROXY {family} {client} {here} 4711 80\r\n".encode()


async def _answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status, *lines = head[:-4].split("\r\n")
    fields = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    if "content-length" not in headers:
        raise ValueError(f"the answer must have a Content-Length: {head}")
    body = await reader.readexactly(int(headers["content-length"]))
    return Answer(int(status.split(" ")[1]), body.decode("latin-1"), headers)
