"""Who stands behind the programs: servers that answer with their own name, or refuse."""

import asyncio
import socket
from contextlib import closing, suppress

__all__ = ["Address", "Backends"]

Address = tuple[str, int]

_ENOUGH = 256
"""Connections that may wait to be accepted."""


def name_of(address: Address) -> str:
    """Write an address as configurations do."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Backends:
    """Servers of one loop.  A request names itself; one that is held is answered when let go."""

    def __init__(self) -> None:
        self.sick: set[str] = set()
        """Whose health is bad, when a program asks for it."""
        self._servers: list[asyncio.Server] = []
        self._refusing: list[socket.socket] = []
        self._arrivals: dict[str, asyncio.Future[str]] = {}
        self._held: dict[str, asyncio.Event] = {}
        self._serving: set[asyncio.Task[None]] = set()

    async def listen(self, address: Address) -> None:
        """Serve there.  Raises OSError where somebody else does."""
        bound = _bound(address)
        bound.listen(_ENOUGH)

        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._serve(name_of(address), reader, writer))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

        self._servers.append(await asyncio.start_server(serve, sock=bound))

    def refuse(self, address: Address) -> None:
        """Have connections refused there, by nobody who listens.  Raises OSError as above."""
        self._refusing.append(_bound(address))

    def expect(self, number: str, held: bool) -> asyncio.Future[str]:
        """Give what will be the name of the server that a request comes to."""
        if held:
            self._held[number] = asyncio.Event()
        arrival = self._arrivals[number] = asyncio.get_running_loop().create_future()
        return arrival

    def let_go(self, number: str) -> None:
        """Have a request answered."""
        self._held.pop(number).set()

    async def close(self) -> None:
        """Close everything; what is held is never answered."""
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
        self.sick.clear()

    async def _serve(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                number = _number(head)
                if number in self._arrivals:
                    self._arrivals.pop(number).set_result(name)
                if number in self._held:
                    await self._held[number].wait()
                status = b"503 Sick" if not number and name in self.sick else b"200 OK"
                writer.write(
                    b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b"
                    % (status, len(name), name.encode())
                )


def _number(head: bytes) -> str:
    """Find what a request names itself, or nothing."""
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
