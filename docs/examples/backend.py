"""An HTTP backend for the drill: responds after a delay, and counts its requests.

python backend.py HOST:PORT DELAY_SECONDS [COUNTS_FILE]

GET /health is answered immediately and is not counted.  SIGUSR1 sets the status to 500, SIGUSR2
sets it to 200.

The file survives a SIGKILL.  It contains, in the format ``COUNTS``: requests started, responses
with status 200, responses with status 500, and the maximum in flight.
"""

import asyncio
import mmap
import signal
import struct
import sys
from asyncio import StreamReader, StreamWriter
from http import HTTPStatus
from pathlib import Path

COUNTS = struct.Struct("<4Q")
HEAD_TIMEOUT = 30.0  # seconds


def counters(file: str = "") -> mmap.mmap:
    """Map the file of counts, which is created if needed; without a file, map memory."""
    if not file:
        return mmap.mmap(-1, COUNTS.size)
    with Path(file).open("a+b") as opened:
        opened.truncate(COUNTS.size)
        return mmap.mmap(opened.fileno(), COUNTS.size)


async def main(address: str, delay: float, counts: mmap.mmap) -> None:
    """Serve until killed."""
    name = address.encode()
    in_flight, status = 0, HTTPStatus.OK

    def count(started: int, ok: int, failed: int) -> None:
        nonlocal in_flight
        in_flight += started - ok - failed
        before = COUNTS.unpack_from(counts)
        peak = max(before[3], in_flight)
        COUNTS.pack_into(counts, 0, before[0] + started, before[1] + ok, before[2] + failed, peak)

    def set_status(code: HTTPStatus) -> None:
        nonlocal status
        status = code

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        async with asyncio.timeout(HEAD_TIMEOUT):
            head = await reader.readuntil(b"\r\n\r\n")
        code, body = status, b"%s %d %g" % (name, in_flight + 1, delay)
        if not head.startswith(b"GET /health "):
            count(1, 0, 0)
            await asyncio.sleep(delay)
            count(0, code == HTTPStatus.OK, code != HTTPStatus.OK)
        head = b"HTTP/1.1 %d %s\r\nConnection: close\r\n" % (code, code.phrase.encode())
        writer.write(head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()

    async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass  # the client disconnected, or sent no request in time or too much
        finally:
            writer.close()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, set_status, HTTPStatus.INTERNAL_SERVER_ERROR)
    loop.add_signal_handler(signal.SIGUSR2, set_status, HTTPStatus.OK)
    host, _, port = address.rpartition(":")
    server = await asyncio.start_server(serve_client, host, int(port), backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), counters(*sys.argv[3:])))
