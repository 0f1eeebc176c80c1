"""An HTTP/1.1 reverse proxy over ``balancers`` and h11: routes, canaries, sticky cookies, retries.

    python http_proxy.py --listen HOST:PORT --config FILE [--keys FILE] …

Probes and requests demote, as in the TCP proxy next door.  A request goes to another backend when
one fails it before the client was answered, if it is idempotent or no backend can have seen it.

SIGTERM: requests finish, idle connections close.  SIGHUP: configuration and keys are read anew.
Every attempt, refusal and transition is told, a line of JSON each.
"""

import argparse
import asyncio
import json
import math
import secrets
import signal
import time
from asyncio import StreamReader, StreamWriter
from collections import deque
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from random import SystemRandom

import h11

import balancers
from balancers.overload import RetryBudget
from balancers.sessions import Binding, SessionTokens

from http_side import Body, ClientLeft, Failed, Headers, Refused, Side, pass_on
from http_site import Asked, Site
from http_upstream import Upstream
from proxy import address

IDEMPOTENT = {b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"}  # RFC 9110, section 9.2.2


@dataclass
class Exchange:
    """A request on its way."""

    near: Side
    asked: Asked
    body: Body
    upstream: Upstream
    found: Binding[str]


class Proxy:
    def __init__(self, settings: argparse.Namespace, tasks: asyncio.TaskGroup) -> None:
        self.settings = settings
        self.tasks = tasks
        self.clock = asyncio.get_running_loop().time
        self.events = deque[balancers.Event](maxlen=1000)
        self.upstreams: dict[str, Upstream] = {}
        self.probing: dict[str, asyncio.Task[None]] = {}
        self.retries = RetryBudget(settings.retry_share, settings.least_retries)
        self.keys = [secrets.token_bytes(32)]
        self.connections: dict[Side, asyncio.Task[None] | None] = {}
        self.idle: set[Side] = set()
        self.stopping = False

    def configure(self) -> None:
        """Read everything; where anything is wrong, nothing changes."""
        told = json.loads(Path(self.settings.config).read_text())
        if self.settings.keys:
            self.keys = [*filter(None, Path(self.settings.keys).read_bytes().splitlines())]
        tokens, pools = SessionTokens(self.keys, rng=SystemRandom()), told["pools"]
        for pool in pools.values():
            Upstream(self.settings, deque(maxlen=1)).configure(tokens, **pool)
        self.site = Site(self.settings.listen, self.settings.secure, **told)
        for name in self.upstreams.keys() - pools.keys():
            del self.upstreams[name]
            self.probing.pop(name).cancel()
        for name, pool in pools.items():
            if name not in self.upstreams:
                self.upstreams[name] = upstream = Upstream(self.settings, self.events, self.tell)
                self.probing[name] = self.tasks.create_task(upstream.keep_probing())
            self.upstreams[name].configure(tokens, **pool)

    def configure_again(self) -> None:
        try:
            self.configure()
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            self.tell(configuration=f"not read: {error!r}")
        else:
            self.tell(configuration="read")

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        near = Side(h11.SERVER, (reader, writer), self.settings.silence)
        near.last = self.stopping
        self.connections[near] = asyncio.current_task()
        try:
            while await self.respond(near):
                near.http.start_next_cycle()
        except (ClientLeft, asyncio.CancelledError):
            pass  # or the time to finish is over
        finally:
            await near.close()
            del self.connections[near]

    async def respond(self, near: Side) -> bool:
        """Serve a request, and say whether another may follow."""
        head: object = None
        try:
            self.idle.add(near)
            try:
                head = await near.receive()
            finally:
                self.idle.remove(near)
            if not isinstance(head, h11.Request):
                return False
            asked = self.site.ask(head, near.writer.get_extra_info("peername")[0])
            upstream, found = self.upstreams[asked.pool], Binding[str]()
            if upstream.sessions:
                found = upstream.sessions.resolve(asked.facts, self.clock(), time.time())
            await self.forward(Exchange(near, asked, Body(near), upstream, found))
        except Refused as refused:
            self.tell(refused=str(refused), status=refused.status)
            if near.answerable:
                await near.answer(refused, head)
        return near.reusable

    async def forward(
        self,
        exchange: Exchange,
        tried: frozenset[str] = frozenset(),
        failure: Failed | None = None,
    ) -> None:
        """Attempt it, and again on another backend while that is safe and within the budget."""
        asked, found, now = exchange.asked, exchange.found, self.clock()
        acquire = exchange.upstream.pool.acquire
        try:
            lease = acquire(now, asked.client, found.backend, found.strict, tried)
        except balancers.NoBackendAvailable as refusal:
            later: Headers = []
            if now < refusal.retry_at < math.inf:
                later = [(b"Retry-After", b"%d" % math.ceil(refusal.retry_at - now))]
            why = f"no backend available: {refusal.reason}"
            raise failure or Refused(HTTPStatus.SERVICE_UNAVAILABLE, why, *later) from refusal
        try:
            await self.attempt(exchange, lease)
        except Failed as failed:
            again = asked.head.method in IDEMPOTENT and exchange.body.repeatable
            safe = exchange.near.answerable and (again or failed.unsent)
            if not safe or not self.retries.begin(len(self.connections) - len(self.idle)):
                raise
            try:
                await self.forward(exchange, tried | {lease.backend}, failed)
            finally:
                self.retries.end()

    async def attempt(self, exchange: Exchange, lease: balancers.Lease[str]) -> None:
        """Let one backend serve it, and tell its pool how that went."""
        asked, ok, why = exchange.asked, None, ""
        try:
            far = await exchange.upstream.connect(lease.backend)
            with closing(far.writer):
                more = self.cookies(exchange, lease)
                status = await pass_on(exchange.near, far, asked.head, exchange.body, more)
            ok = status < HTTPStatus.INTERNAL_SERVER_ERROR
        except Failed as failed:
            ok, why = False, f"{failed}: {failed.__cause__}"
            raise
        finally:
            exchange.upstream.pool.release(lease, self.clock(), ok)
            self.tell(
                request=f"{asked.facts.method} {asked.facts.target}",
                client=asked.client,
                route=asked.route,
                session=exchange.found.reason,
                backend=lease.backend,
                ok=ok,
                why=why,
            )

    def cookies(self, exchange: Exchange, lease: balancers.Lease[str]) -> Headers:
        """Give the headers that the client keeps its visit and its session by."""
        said, sessions = list(exchange.asked.cookies), exchange.upstream.sessions
        if sessions and (fresh := sessions.issue(lease, time.time(), exchange.found)):
            said.append(fresh)
        told = [(b"Set-Cookie", line.encode()) for line in said]
        return told + [(b"Cache-Control", b"private")] * bool(told)

    async def finish(self) -> None:
        """Let requests end, for as long as a drain may take."""
        self.stopping = True
        for near in self.connections:
            near.last = True
        for near in self.idle:
            near.writer.close()
        if serving := [task for task in self.connections.values() if task]:
            await asyncio.wait(serving, timeout=self.settings.drain_timeout)
        for task in self.probing.values():
            task.cancel()

    def tell(self, **told: object) -> None:
        while self.events:
            print(json.dumps(self.events.popleft()._asdict()), flush=True)
        if told:
            print(json.dumps({"at": self.clock(), **told}), flush=True)


async def main(settings: argparse.Namespace) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        proxy = Proxy(settings, tasks)
        proxy.configure()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGHUP, proxy.configure_again)
        server = await asyncio.start_server(proxy.serve, *address(settings.listen), backlog=1024)
        await stop.wait()
        server.close()
        await proxy.finish()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="An HTTP reverse proxy over balancers and h11.")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    parser.add_argument("--config", required=True, metavar="FILE", help="pools and routes, JSON")
    parser.add_argument("--keys", metavar="FILE", help="secrets of the cookie, the first one seals")
    parser.add_argument("--secure", action="store_true", help="cookies for https only")
    for name, default, told in (
        ("--algorithm", "WeightedLeastConnections", "a class of balancers"),
        ("--health-path", "/health", "what probes get"),
        ("--fall", 3, "failures until down"),
        ("--rise", 2, "probes until up"),
        ("--interval", 1.0, "seconds between probes"),
        ("--timeout", 0.5, "seconds to connect, and to answer a probe"),
        ("--silence", 60.0, "seconds that a client or a backend may keep us waiting"),
        ("--fail-timeout", 10.0, "seconds without a backend that failed requests"),
        ("--drain-timeout", 30.0, "seconds until a drain is forced"),
        ("--retry-share", 0.5, "of the requests in flight that may be retries"),
        ("--least-retries", 10, "retries in flight that are always allowed"),
    ):
        parser.add_argument(name, default=default, type=type(default), help=f"{told}, {default}")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(options()))
