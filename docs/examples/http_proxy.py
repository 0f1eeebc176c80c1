"""An HTTP/1.1 reverse proxy over ``balancers`` and h11: routes, canaries, sticky cookies, retries.

    python http_proxy.py --listen HOST:PORT --config FILE [--keys FILE] …

Probes and requests close backends, as in the TCP proxy of ``proxy.py``.  A request is retried on
another backend if a backend failed before the client received any of the response, and if the
request is idempotent or no backend has received any of it.

SIGTERM: finish requests and close idle connections.  SIGHUP: read configuration and keys again.
Each attempt, each refusal and each event is printed as one line of JSON.
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

from http_side import BackendFailed, Body, ClientLeft, Headers, Refused, Side, exchange
from http_site import Routed, Site
from http_upstream import Upstream
from proxy import address

IDEMPOTENT = {b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"}  # RFC 9110, section 9.2.2


@dataclass
class Job:
    """One request, and what is needed to forward it."""

    client: Side
    routed: Routed
    body: Body
    upstream: Upstream
    binding: Binding[str]


class Proxy:
    def __init__(self, settings: argparse.Namespace, tasks: asyncio.TaskGroup) -> None:
        self.settings = settings
        self.tasks = tasks
        self.clock = asyncio.get_running_loop().time
        self.events = deque[balancers.Event](maxlen=1000)
        self.upstreams: dict[str, Upstream] = {}
        self.probing: dict[str, asyncio.Task[None]] = {}
        self.retries = RetryBudget(settings.retry_share, settings.min_retries)
        self.keys = [secrets.token_bytes(32)]
        self.connections: dict[Side, asyncio.Task[None] | None] = {}
        self.idle: set[Side] = set()
        self.stopping = False

    def configure(self) -> None:
        """Read the configuration; if anything is invalid, nothing changes."""
        config = json.loads(Path(self.settings.config).read_text())
        if self.settings.keys:
            self.keys = [*filter(None, Path(self.settings.keys).read_bytes().splitlines())]
        tokens, pools = SessionTokens(self.keys, rng=SystemRandom()), config["pools"]
        for pool in pools.values():
            Upstream(self.settings, deque(maxlen=1)).configure(tokens, **pool)
        self.site = Site(self.settings.listen, self.settings.secure, **config)
        for name in self.upstreams.keys() - pools.keys():
            del self.upstreams[name]
            self.probing.pop(name).cancel()
        for name, pool in pools.items():
            if name not in self.upstreams:
                self.upstreams[name] = upstream = Upstream(self.settings, self.events, self.log)
                self.probing[name] = self.tasks.create_task(upstream.keep_probing())
            self.upstreams[name].configure(tokens, **pool)

    def configure_again(self) -> None:
        try:
            self.configure()
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            self.log(configuration=f"not read: {error!r}")
        else:
            self.log(configuration="read")

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        client = Side(h11.SERVER, (reader, writer), self.settings.silence)
        client.closing = self.stopping
        self.connections[client] = asyncio.current_task()
        try:
            while await self.respond(client):
                client.http.start_next_cycle()
        except (ClientLeft, asyncio.CancelledError):
            pass  # cancelled when the time to finish is over
        finally:
            await client.close()
            del self.connections[client]

    async def respond(self, client: Side) -> bool:
        """Serve one request; return whether another one may follow."""
        head: object = None
        try:
            self.idle.add(client)
            try:
                head = await client.receive()
            finally:
                self.idle.remove(client)
            if not isinstance(head, h11.Request):
                return False
            routed = self.site.route(head, client.writer.get_extra_info("peername")[0])
            upstream, binding = self.upstreams[routed.pool], Binding[str]()
            if upstream.sessions:
                binding = upstream.sessions.resolve(routed.request, self.clock(), time.time())
            await self.forward(Job(client, routed, Body(client), upstream, binding))
        except Refused as refused:
            self.log(refused=str(refused), status=refused.status)
            if client.response_unsent:
                await client.answer(refused, head)
        return client.reusable

    async def forward(
        self,
        job: Job,
        tried: frozenset[str] = frozenset(),
        failure: BackendFailed | None = None,
    ) -> None:
        """Send it to a backend, and retry on another one if that is safe and within the budget."""
        routed, binding, now = job.routed, job.binding, self.clock()
        acquire = job.upstream.pool.acquire
        try:
            lease = acquire(now, routed.client, binding.backend, binding.strict, tried)
        except balancers.NoBackendAvailable as refusal:
            headers: Headers = []
            if now < refusal.retry_at < math.inf:
                headers = [(b"Retry-After", b"%d" % math.ceil(refusal.retry_at - now))]
            why = f"no backend available: {refusal.reason}"
            raise failure or Refused(HTTPStatus.SERVICE_UNAVAILABLE, why, *headers) from refusal
        try:
            await self.attempt(job, lease)
        except BackendFailed as failed:
            repeatable = routed.head.method in IDEMPOTENT and job.body.repeatable
            safe = job.client.response_unsent and (repeatable or failed.unsent)
            if not safe or not self.retries.begin(len(self.connections) - len(self.idle)):
                raise
            try:
                await self.forward(job, tried | {lease.backend}, failed)
            finally:
                self.retries.end()

    async def attempt(self, job: Job, lease: balancers.Lease[str]) -> None:
        """Send the request to one backend, and report the outcome to its pool."""
        routed, ok, status, why = job.routed, None, None, ""
        try:
            backend = await job.upstream.connect(lease.backend)
            with closing(backend.writer):
                more = self.cookies(job, lease)
                status = await exchange(job.client, backend, routed.head, job.body, more)
            ok = status < HTTPStatus.INTERNAL_SERVER_ERROR
        except BackendFailed as failed:
            ok, why = False, f"{failed}: {failed.__cause__}"
            raise
        finally:
            job.upstream.pool.release(lease, self.clock(), ok, status=status)
            self.log(
                request=f"{routed.request.method} {routed.request.target}",
                client=routed.client,
                route=routed.route,
                session=job.binding.reason,
                backend=lease.backend,
                ok=ok,
                why=why,
            )

    def cookies(self, job: Job, lease: balancers.Lease[str]) -> Headers:
        """Return the headers that set the cookies of the visitor and of the session."""
        cookies, sessions = list(job.routed.cookies), job.upstream.sessions
        if sessions and (session := sessions.issue(lease, time.time(), job.binding)):
            cookies.append(session)
        headers = [(b"Set-Cookie", cookie.encode()) for cookie in cookies]
        return headers + [(b"Cache-Control", b"private")] * bool(headers)

    async def finish(self) -> None:
        """Wait for the open requests, at most the drain timeout."""
        self.stopping = True
        for client in self.connections:
            client.closing = True
        for client in self.idle:
            client.writer.close()
        if serving := [task for task in self.connections.values() if task]:
            await asyncio.wait(serving, timeout=self.settings.drain_timeout)
        for task in self.probing.values():
            task.cancel()

    def log(self, **fields: object) -> None:
        while self.events:
            print(json.dumps(self.events.popleft()._asdict()), flush=True)
        if fields:
            print(json.dumps({"at": self.clock(), **fields}), flush=True)


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
    parser.add_argument(
        "--keys", metavar="FILE", help="secrets of the cookie; new cookies use the first"
    )
    parser.add_argument("--secure", action="store_true", help="cookies for https only")
    for name, default, text in (
        ("--algorithm", "WeightedLeastConnections", "a class of the package balancers"),
        ("--health-path", "/health", "the path of probes"),
        ("--fall", 3, "failures that close a backend"),
        ("--rise", 2, "successful probes that open it"),
        ("--interval", 1.0, "seconds between probes"),
        ("--timeout", 0.5, "seconds to connect, and to respond to a probe"),
        ("--silence", 60.0, "seconds to wait for a client or a backend"),
        ("--fail-timeout", 10.0, "seconds that failed requests close a backend"),
        ("--drain-timeout", 30.0, "seconds after which a drain ends"),
        ("--retry-share", 0.5, "share of the requests in flight that may be retries"),
        ("--min-retries", 10, "retries in flight that are always allowed"),
    ):
        parser.add_argument(name, default=default, type=type(default), help=f"{text}, {default}")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(options()))
