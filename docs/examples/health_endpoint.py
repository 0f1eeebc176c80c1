"""A backend's ``/health`` and ``/livez``, over a real PostgreSQL and a real Redis.

Readiness asks both at once, on fresh connections and each for at most ``--timeout``; why one is
down is printed, not answered.  Liveness asks nobody.  SIGTERM: whoever has connected is answered.
"""
# pyright: reportUnknownMemberType=false
# Redis's client leaves its **kwargs untyped, so that the line above is needed.

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
        self.settings, self.begun = settings, time.monotonic()

    async def postgres(self) -> None:
        async with await AsyncConnection.connect(self.settings.postgres) as connection:
            await connection.execute("SELECT 1")

    async def redis(self) -> None:
        async with Redis.from_url(self.settings.redis) as client:
            await client.ping()

    async def check(self, ask: Callable[[], Awaitable[None]]) -> CheckResult:
        name, begun = ask.__name__, time.monotonic()
        asking = asyncio.ensure_future(ask())
        await asyncio.wait([asking], timeout=self.settings.timeout)
        latency = time.monotonic() - begun
        asking.cancel()  # and not waited for: a client may take long to give up
        why = asking.exception() if asking.done() else TimeoutError("no answer in time")
        if why:
            tell("down", check=name, why=f"{type(why).__name__}: {why}")
        return CheckResult(name, not why, latency, critical=name not in self.settings.optional)

    async def answer(self, method: str, path: str) -> tuple[int, dict[str, object]]:
        if path not in {"/health", "/livez"}:
            return 404, {"error": "only /health and /livez are here"}
        if method not in {"GET", "HEAD"}:
            return 405, {"error": "only GET and HEAD are allowed"}
        asks = [self.postgres, self.redis] if path == "/health" else []
        checks = await asyncio.gather(*map(self.check, asks))
        uptime = time.monotonic() - self.begun
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
                method, status, fields = "", 400, {"error": "this is no HTTP request"}
            body = json.dumps(fields).encode()
            writer.write(
                f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nAllow: GET, HEAD\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                f"Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode()
                + (b"" if method == "HEAD" else body)
            )
            await writer.drain()


def tell(event: str, **more: object) -> None:
    print(json.dumps({"event": event, **more}), flush=True)


async def main(settings: argparse.Namespace) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    host, _, port = settings.listen.rpartition(":")
    server = await asyncio.start_server(Health(settings).serve, host.strip("[]"), int(port))
    tell("listening", address=f"{host}:{server.sockets[0].getsockname()[1]}")
    await stop.wait()
    server.close()
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others, timeout=3 * settings.timeout)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A backend that needs PostgreSQL and Redis.")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT", help="port 0: any free one")
    parser.add_argument("--postgres", required=True, metavar="DSN")
    parser.add_argument("--redis", required=True, metavar="URL")
    parser.add_argument("--version", default="dev", help="what it says of itself")
    parser.add_argument("--timeout", type=float, default=1.0, help="seconds a check may take")
    parser.add_argument("--optional", action="append", default=[], choices=["postgres", "redis"])
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(options()))
