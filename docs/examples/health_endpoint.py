"""A backend's ``/health`` and ``/livez``, over a real PostgreSQL and a real Redis.

Readiness (``/health``) checks both at the same time on new connections, each for at most
``--timeout`` seconds.  The reason of a failed check is printed and is not part of the response.
Liveness (``/livez``) checks nothing.  SIGTERM: stop accepting, and answer open connections.
"""
# pyright: reportUnknownMemberType=false
# The line above is needed because the client of Redis has untyped **kwargs.

import argparse
import asyncio
import contextlib
import json
import signal
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from psycopg import AsyncConnection
from redis.asyncio import Redis

from balancers.http import CheckResult, HealthReport


class Health:
    def __init__(self, settings: argparse.Namespace) -> None:
        self.settings, self.started_at = settings, time.monotonic()

    async def postgres(self) -> None:
        async with await AsyncConnection.connect(self.settings.postgres) as connection:
            await connection.execute("SELECT 1")

    async def redis(self) -> None:
        async with Redis.from_url(self.settings.redis) as client:
            await client.ping()

    async def check(self, query: Callable[[], Awaitable[None]]) -> CheckResult:
        name, started = query.__name__, time.monotonic()
        running = asyncio.ensure_future(query())
        await asyncio.wait([running], timeout=self.settings.timeout)
        latency = time.monotonic() - started
        running.cancel()  # not awaited: a client may take long to cancel
        error = running.exception() if running.done() else TimeoutError("no response in time")
        if error:
            log("down", check=name, why=f"{type(error).__name__}: {error}")
        return CheckResult(name, not error, latency, critical=name not in self.settings.optional)

    async def answer(self, method: str, path: str) -> tuple[int, dict[str, object]]:
        if path not in {"/health", "/livez"}:
            return 404, {"error": "only /health and /livez exist"}
        if method not in {"GET", "HEAD"}:
            return 405, {"error": "only GET and HEAD are allowed"}
        queries = [self.postgres, self.redis] if path == "/health" else []
        checks = await asyncio.gather(*map(self.check, queries))
        uptime = time.monotonic() - self.started_at
        report = HealthReport(checks, uptime=uptime, version=self.settings.version)
        return report.http_status, report.as_dict()

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, EOFError):
            try:
                async with asyncio.timeout(self.settings.timeout):
                    head = await reader.readuntil(b"\r\n\r\n")
                method, target, _ = head.decode("latin-1").split(" ", 2)
                status, fields = await self.answer(method, urlsplit(target).path)
            except (ValueError, asyncio.LimitOverrunError):
                method, status, fields = "", 400, {"error": "this is not an HTTP request"}
            body = json.dumps(fields).encode()
            writer.write(
                f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nAllow: GET, HEAD\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                f"Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode()
                + (b"" if method == "HEAD" else body)
            )
            await writer.drain()


def log(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


async def main(settings: argparse.Namespace) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    host, _, port = settings.listen.rpartition(":")
    server = await asyncio.start_server(Health(settings).serve, host.strip("[]"), int(port))
    log("listening", address=f"{host}:{server.sockets[0].getsockname()[1]}")
    await stop.wait()
    server.close()
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others, timeout=3 * settings.timeout)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A backend that needs PostgreSQL and Redis.")
    parser.add_argument(
        "--listen", required=True, metavar="HOST:PORT", help="port 0: any free port"
    )
    parser.add_argument("--postgres", required=True, metavar="DSN")
    parser.add_argument("--redis", required=True, metavar="URL")
    parser.add_argument("--version", default="dev", help="version in the report")
    parser.add_argument("--timeout", type=float, default=1.0, help="seconds for each check")
    parser.add_argument("--optional", action="append", default=[], choices=["postgres", "redis"])
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(options()))
