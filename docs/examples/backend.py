"""An HTTP backend for the drill: answers in one piece after a delay, and counts.

python backend.py PORT DELAY_SECONDS
"""

import asyncio
import sys
from asyncio import StreamReader, StreamWriter


async def main(port: int, delay: float) -> None:
    """Serve until killed."""
    in_flight = 0

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal in_flight
        if await reader.readuntil(b"\r\n\r\n"):
            in_flight += 1
            body = f"{port} {in_flight} {delay}".encode()
            await asyncio.sleep(delay)
            in_flight -= 1
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    async def quietly(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            writer.close()  # a probe, or a client that left

    server = await asyncio.start_server(quietly, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
