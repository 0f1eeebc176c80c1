"""A backend's ``/health`` and ``/livez``, over a real PostgreSQL and a real Redis.

Readiness (``/health``) checks both at the same time on new connections, each for at most
``--timeout`` seconds.  The reason of a failed check is printed and is not part of the response.
Liveness (``/livez``) checks nothing.  SIGTERM: stop accepting, and answer open connections.

Requests that come while a check runs share its result, and the next check of a server starts at
least ``--interval`` seconds after the previous one.  So many requests at once open one or two
connections to each server.  Nothing is cached: a result was never complete before the request
came.  The cost is that a response can be later by the interval.

A request must be complete within ``--timeout`` seconds and have at most 64 KiB.  If there are
``--max-connections``, a new one takes the place of the oldest whose request was not read yet.
"""
# pyright: reportUnknownMemberType=false
# The line above is needed because the client of Redis has untyped **kwargs.

import argparse
import asyncio
import contextlib
import json
import math
import re
import signal
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from psycopg import AsyncConnection, Error
from psycopg.conninfo import conninfo_to_dict
from redis.asyncio import Redis

from balancers.http import CheckResult, HealthReport

REQUEST = re.compile(r"\A([A-Z]+) ([!-~]+) HTTP/1\.[01]\r\n")


class Check:
    """Checks one server.  All requests that wait for a result share one running check."""

    def __init__(self, query: Callable[[], Awaitable[None]], settings: argparse.Namespace) -> None:
        self.query, self.settings, self.not_before = query, settings, -math.inf
        self.running: asyncio.Task[CheckResult] | None = None

    async def result(self) -> CheckResult:
        if self.running is None or self.running.done():
            self.running = asyncio.create_task(self.run())
        return await asyncio.shield(self.running)  # the end of one request does not end the check

    async def run(self) -> CheckResult:
        name = self.query.__name__
        await asyncio.sleep(self.not_before - time.monotonic())
        started = time.monotonic()
        self.not_before = started + self.settings.interval
        querying = asyncio.ensure_future(self.query())
        querying.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        await asyncio.wait([querying], timeout=self.settings.timeout)
        latency = time.monotonic() - started
        error: BaseException | None = TimeoutError("no response in time")
        if querying.done() and not querying.cancelled():
            error = querying.exception()
        querying.cancel()  # not awaited: a client may take long to cancel
        if error:
            log("down", check=name, why=f"{type(error).__name__}: {error}")
        return CheckResult(name, not error, latency, critical=name not in self.settings.optional)


class Health:
    def __init__(self, settings: argparse.Namespace) -> None:
        self.settings, self.started_at = settings, time.monotonic()
        self.checks = [Check(self.postgres, settings), Check(self.redis, settings)]
        self.open, self.reading = 0, dict[StreamWriter, None]()

    async def postgres(self) -> None:
        async with await AsyncConnection.connect(self.settings.postgres) as connection:
            await connection.execute("SELECT 1")

    async def redis(self) -> None:
        async with Redis.from_url(self.settings.redis) as client:
            await client.ping()

    async def answer(self, method: str, path: str) -> tuple[int, dict[str, object]]:
        if path not in {"/health", "/livez"}:
            return 404, {"error": "only /health and /livez exist"}
        if method not in {"GET", "HEAD"}:
            return 405, {"error": "only GET and HEAD are allowed"}
        checks = self.checks if path == "/health" else []
        results = await asyncio.gather(*(check.result() for check in checks))
        uptime = time.monotonic() - self.started_at
        report = HealthReport(results, uptime=uptime, version=self.settings.version)
        return report.http_status, report.as_dict()

    async def accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.open += 1
        self.reading[writer] = None
        if self.open > self.settings.max_connections:
            oldest = next(iter(self.reading))
            del self.reading[oldest]
            oldest.transport.abort()
        try:
            with contextlib.closing(writer), contextlib.suppress(OSError, EOFError):
                await self.serve(reader, writer)
        finally:
            self.open -= 1
            self.reading.pop(writer, None)

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            async with asyncio.timeout(self.settings.timeout):
                head = await reader.readuntil(b"\r\n\r\n")
            self.reading.pop(writer, None)
            method, target, _ = REQUEST.split(head.decode("latin-1"))[1:]
            status, fields = await self.answer(method, urlsplit(target).path)
        except (ValueError, asyncio.LimitOverrunError):
            method, status, fields = "", 400, {"error": "this is not a request of HTTP/1.1"}
        body = json.dumps(fields).encode()
        writer.write(
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nAllow: GET, HEAD\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode()
            + (b"" if method == "HEAD" else body)
        )
        await writer.drain()
        if not method:  # read the rest: closing before would reset the connection
            writer.write_eof()
            async with asyncio.timeout(self.settings.timeout):
                while await reader.read(1 << 16):
                    pass


def log(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


async def main(settings: argparse.Namespace) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    host, _, port = settings.listen.rpartition(":")
    server = await asyncio.start_server(Health(settings).accept, host.strip("[]"), int(port))
    log("listening", address=f"{host}:{server.sockets[0].getsockname()[1]}")
    await stop.wait()
    server.close()
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others, timeout=3 * settings.timeout + settings.interval)


def seconds(text: str) -> float:
    if not 0 <= float(text) < math.inf:
        raise ValueError(text)
    return float(text)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A backend that needs PostgreSQL and Redis.")
    parser.add_argument(
        "--listen", required=True, metavar="HOST:PORT", help="port 0: any free port"
    )
    parser.add_argument("--postgres", required=True, metavar="DSN")
    parser.add_argument("--redis", required=True, metavar="URL")
    parser.add_argument("--version", default="dev", help="version in the report")
    parser.add_argument("--timeout", type=seconds, default=1.0, help="seconds for each check")
    parser.add_argument(
        "--interval", type=seconds, default=0.1, help="seconds between checks of one server"
    )
    parser.add_argument("--max-connections", type=int, default=500, metavar="N")
    parser.add_argument("--optional", action="append", default=[], choices=["postgres", "redis"])
    settings = parser.parse_args()
    try:
        conninfo_to_dict(settings.postgres)
        Redis.from_url(settings.redis)
    except (Error, ValueError):  # their messages can contain a password
        parser.error("--postgres must be a connection string, and --redis a URL")
    return settings


if __name__ == "__main__":
    asyncio.run(main(options()))
