"""An HTTP backend for the drill: answers in one piece after a delay, and counts.

python backend.py HOST:PORT DELAY_SECONDS [COUNTS_FILE]

GET /health answers at once and is not counted.  SIGUSR1: the status is 500 now; SIGUSR2: 200.

The file outlives a SIGKILL.  It has, as ``COUNTS``: requests begun, those answered 200, those
answered 500, and the most in flight.
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


def counters(file: str = "") -> mmap.mmap:
    """Map the file of counts, made where there is none; without one they are kept nowhere."""
    if not file:
        return mmap.mmap(-1, COUNTS.size)
    with Path(file).open("a+b") as opened:
        opened.truncate(COUNTS.size)
        return mmap.mmap(opened.fileno(), COUNTS.size)


async def main(address: str, delay: float, counts: mmap.mmap) -> None:
    """Serve until killed."""
    name = address.encode()
    in_flight, status = 0, HTTPStatus.OK

    def count(begun: int, ok: int, failed: int) -> None:
        nonlocal in_flight
        in_flight += begun - ok - failed
        before = COUNTS.unpack_from(counts)
        most = max(before[3], in_flight)
        COUNTS.pack_into(counts, 0, before[0] + begun, before[1] + ok, before[2] + failed, most)

    def answer(code: HTTPStatus) -> None:
        nonlocal status
        status = code

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        code, body = status, b"%s %d %g" % (name, in_flight + 1, delay)
        if not head.startswith(b"GET /health "):
            count(1, 0, 0)
            await asyncio.sleep(delay)
            count(0, code == HTTPStatus.OK, code != HTTPStatus.OK)
        head = b"HTTP/1.1 %d %s\r\nConnection: close\r\n" % (code, code.phrase.encode())
        writer.write(head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()

    async def quietly(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass  # a client that left
        finally:
            writer.close()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, answer, HTTPStatus.INTERNAL_SERVER_ERROR)
    loop.add_signal_handler(signal.SIGUSR2, answer, HTTPStatus.OK)
    host, _, port = address.rpartition(":")
    server = await asyncio.start_server(quietly, host, int(port), backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), counters(*sys.argv[3:])))
