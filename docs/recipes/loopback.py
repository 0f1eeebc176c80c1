"""HTTP servers on loopback: the backends with which the recipes of this folder run."""

import asyncio
import json
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from threading import Thread

Answer = Callable[[str, bytes], tuple[str, list[bytes]]]


def parts(*parts: bytes, kind: str = "text/plain") -> Answer:
    """Return the function for a response with the same parts to every request."""

    def answer(*_: str | bytes) -> tuple[str, list[bytes]]:
        return kind, list(parts)

    return answer


class Backend:
    """A server that responds as its attributes say.  They can be changed while it runs."""

    def __init__(self) -> None:
        self.name = ""  # the host and the port
        self.status = HTTPStatus.OK
        self.headers: dict[str, str] = {}
        self.delay = 0.0  # seconds before the response
        self.pause = 0.0  # seconds before each part of the body
        self.breaks = False  # whether it closes the connection instead of a response
        self.answer: Answer = self.say_name  # from a path and a body to a media type and parts
        self.requests = 0
        self.connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def say_name(self, path: str, body: bytes) -> tuple[str, list[bytes]]:
        return "application/json", [json.dumps({"backend": self.name, "path": path}).encode()]

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self.serve(reader, writer))
        self.connections[task] = writer
        task.add_done_callback(self.connections.pop)

    def disconnect(self) -> None:
        for task, writer in self.connections.items():
            task.cancel()
            writer.transport.abort()  # a task that is cancelled before its start closes nothing

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while not self.breaks:
                await self.respond(await reader.readuntil(b"\r\n\r\n"), reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def respond(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        start, *lines = head.decode("latin-1").split("\r\n")
        fields = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        self.requests += 1
        began, left = time.monotonic(), self.delay
        while left > 0:
            await asyncio.sleep(min(left, 0.01))
            left = began + self.delay - time.monotonic()  # the delay can change in the meantime
        if self.breaks:
            return
        kind, parts = self.answer(start.split(" ")[1], body)
        headers = {"Content-Type": kind, "Transfer-Encoding": "chunked", **self.headers}
        text = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        status = f"HTTP/1.1 {self.status.value} {self.status.phrase}"
        writer.write(f"{status}\r\n{text}\r\n".encode("latin-1"))
        for part in parts:
            await writer.drain()
            await asyncio.sleep(self.pause)
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
        writer.write(b"0\r\n\r\n")
        await writer.drain()


async def serve(backends: list[Backend], ready: Future[Callable[[], object]]) -> None:
    servers = [await asyncio.start_server(backend.connected, "127.0.0.1") for backend in backends]
    for backend, server in zip(backends, servers, strict=True):
        host, port = server.sockets[0].getsockname()
        backend.name = f"{host}:{port}"
    stop = asyncio.Event()
    ready.set_result(partial(asyncio.get_running_loop().call_soon_threadsafe, stop.set))
    await stop.wait()
    # A connection that a closed server is just accepting would never be closed by asyncio.
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        for backend in backends:
            backend.disconnect()
        await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
    for server in servers:
        server.close()


@contextmanager
def backends(count: int) -> Generator[list[Backend]]:
    """Run servers in a thread of their own until the end of the block."""
    made, ready = [Backend() for _ in range(count)], Future[Callable[[], object]]()
    thread = Thread(target=asyncio.run, args=[serve(made, ready)])
    thread.start()
    stop = ready.result(10)
    try:
        yield made
    finally:
        stop()
        thread.join()
