"""The backends of the programs: servers that answer with their own name, or refuse."""

import asyncio
import socket
from contextlib import suppress

__all__ = ["Address", "Backends"]

Address = tuple[str, int]

_BACKLOG = 256
"""The number of connections that can wait to be accepted."""


def name_of(address: Address) -> str:
    """Return an address as configurations write it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Backends:
    """Servers in one event loop.

    A request has a number in its header ``X-Ask``.  A held request is answered when released.
    """

    def __init__(self) -> None:
        self.unhealthy: set[str] = set()
        """The names of the servers that fail health checks."""
        self._servers: list[asyncio.Server] = []
        self._refusing: list[socket.socket] = []
        self._arrivals: dict[str, asyncio.Future[str]] = {}
        self._held: dict[str, asyncio.Event] = {}
        self._serving: set[asyncio.Task[None]] = set()

    async def listen(self, address: Address) -> None:
        """Serve at an address.  Raises OSError if it is in use."""
        bound = _bound(address)
        bound.listen(_BACKLOG)

        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._serve(name_of(address), reader, writer))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
            task.add_done_callback(lambda _: writer.close())

        self._servers.append(await asyncio.start_server(serve, sock=bound))

    def refuse(self, address: Address) -> None:
        """Reserve an address without listening, so that connections are refused.

        Raises OSError if it is in use.
        """
        self._refusing.append(_bound(address))

    def expect(self, number: str, held: bool) -> asyncio.Future[str]:
        """Return a future of the name of the server at which a request arrives."""
        if held:
            self._held[number] = asyncio.Event()
        arrival = self._arrivals[number] = asyncio.get_running_loop().create_future()
        return arrival

    def release(self, number: str) -> None:
        """Answer a held request."""
        self._held.pop(number).set()

    async def close(self) -> None:
        """Close every server; held requests are never answered."""
        for server in self._servers:
            server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        for refusing in self._refusing:
            refusing.close()
        self._servers.clear()
        self._refusing.clear()
        self._arrivals.clear()
        self._held.clear()
        self.unhealthy.clear()

    async def _serve(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                number = _number(head)
                if number in self._arrivals:
                    self._arrivals.pop(number).set_result(name)
                if number in self._held:
                    await self._held[number].wait()
                failed = not number and name in self.unhealthy
                status = b"503 Unhealthy" if failed else b"200 OK"
                writer.write(
                    b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b"
                    % (status, len(name), name.encode())
                )


def _number(head: bytes) -> str:
    """Return the number of a request, or an empty text."""
    for line in head.split(b"\r\n")[1:]:
        field, _, value = line.partition(b":")
        if field.lower() == b"x-ask":
            return value.strip().decode("ascii", "replace")
    return ""


def _bound(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    bound = socket.socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound
