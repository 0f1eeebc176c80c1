"""An HTTP/1.1 reverse proxy over ``balancers`` and h11: routes, canaries, sticky cookies, retries.

    python http_proxy.py --listen HOST:PORT --config FILE [--keys FILE] …

Probes close backends, and so do requests, as ``http_attempts.py`` describes.  That module also
describes which requests are retried.

SIGTERM: finish requests and close idle connections.  SIGHUP: read configuration and keys again.
Each attempt, each refusal and each event is printed as one line of JSON.

This is an example.  Put a hardened server in front of it: the proxy has no TLS and no HTTP/2.  It
does not limit the connections, requests and memory of one client, the size of a body and the number
of headers.  A body and a response may be as slow as one byte per ``--silence`` seconds, and a
WebSocket may be idle for ever.
"""

import argparse
import asyncio
import contextlib
import json
import secrets
import signal
import time
from asyncio import StreamReader, StreamWriter
from collections import deque
from pathlib import Path

import h11

import balancers
from balancers.sessions import Binding, SessionTokens

from http_attempts import Forwarder, Job
from http_exchange import Body
from http_side import ClientLeft, Refused, Side
from http_site import Site, read_config
from http_upstream import Upstream
from proxy import address, describe, seconds


class Proxy:
    def __init__(self, settings: argparse.Namespace, tasks: asyncio.TaskGroup) -> None:
        self.settings = settings
        self.tasks = tasks
        self.clock = asyncio.get_running_loop().time
        self.events = deque[balancers.Event](maxlen=1000)
        self.upstreams: dict[str, Upstream] = {}
        self.probing: dict[str, asyncio.Task[None]] = {}
        self.forwarder = Forwarder(settings, self.log, self.in_flight)
        self.keys = [secrets.token_bytes(32)]
        self.connections: dict[Side, asyncio.Task[None] | None] = {}
        self.idle: set[Side] = set()
        self.stopping = False

    def configure(self) -> None:
        """Read the configuration; if anything is invalid, raise an error and change nothing."""
        config, keys = read_config(self.settings.config), self.keys
        if self.settings.keys:
            keys = [*filter(None, Path(self.settings.keys).read_bytes().splitlines())]
        tokens, pools = SessionTokens(keys), config["pools"]
        for name, pool in pools.items():
            Upstream(self.settings, deque(maxlen=1)).configure(name, tokens, **pool)
        self.site = Site(self.settings.listen, self.settings.secure, **config)
        for name in self.upstreams.keys() - pools.keys():
            del self.upstreams[name]
            self.probing.pop(name).cancel()
        for name, pool in pools.items():
            if name not in self.upstreams:
                self.upstreams[name] = upstream = Upstream(self.settings, self.events, self.log)
                self.probing[name] = self.tasks.create_task(upstream.keep_probing())
            self.upstreams[name].configure(name, tokens, **pool)

    def configure_again(self) -> None:
        try:
            self.configure()
        except Exception as error:  # noqa: BLE001 - whatever the files contain, the proxy goes on
            self.log(configuration=f"not read: {describe(error)}")
        else:
            self.log(configuration="read")

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        silence, head_timeout = self.settings.silence, self.settings.head_timeout
        client = Side(h11.SERVER, (reader, writer), silence, head_timeout)
        client.closing = self.stopping
        self.connections[client] = asyncio.current_task()
        try:
            with contextlib.suppress(ClientLeft, Refused):
                while await self.respond(client):
                    client.http.start_next_cycle()
            await client.linger()
        except asyncio.CancelledError:
            pass  # the time to finish is over
        finally:
            client.close()
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
            client.check_framing(head)
            routed = self.site.route(head, client.writer.get_extra_info("peername")[0])
            upstream, binding = self.upstreams[routed.pool], Binding[str]()
            if upstream.sessions:
                binding = upstream.sessions.resolve(routed.request, self.clock(), time.time())
            job = Job(client, routed, Body(client, head), upstream, binding)
            await self.forwarder.serve(job)
        except Refused as refused:
            self.log(refused=str(refused), status=refused.status)
            if client.response_unsent:
                await client.answer(refused, head)
        return client.reusable

    def in_flight(self) -> int:
        return len(self.connections) - len(self.idle)

    async def finish(self) -> None:
        """Wait for the open requests, at most the drain timeout."""
        self.stopping = True
        for client in self.connections:
            client.closing = True
        for client in self.idle:
            if not client.http.trailing_data[0]:  # otherwise a part of a head has arrived
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
        try:
            proxy = Proxy(settings, tasks)
            loop.add_signal_handler(signal.SIGTERM, stop.set)
            loop.add_signal_handler(signal.SIGHUP, proxy.configure_again)
            proxy.configure()
            listen = address(settings.listen)
            server = await asyncio.start_server(proxy.serve, *listen, backlog=1024)
        except Exception as error:  # noqa: BLE001 - whatever the options and files contain
            raise SystemExit(f"not started: {describe(error)}") from None
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
    parser.add_argument("--count-5xx", action="store_true", help="every 5xx closes backends")
    for name, default, text in (
        ("--algorithm", "WeightedLeastConnections", "a class of the package balancers"),
        ("--health-path", "/health", "the path of probes"),
        ("--fall", 3, "failures that close a backend"),
        ("--rise", 2, "successful probes that open it"),
        ("--interval", 1.0, "seconds between probes"),
        ("--timeout", 0.5, "seconds to connect, and to respond to a probe"),
        ("--head-timeout", 10.0, "seconds until a head is complete, from its first byte"),
        ("--silence", 60.0, "seconds to wait for a client or a backend"),
        ("--fail-timeout", 10.0, "seconds that failed requests close a backend"),
        ("--drain-timeout", 30.0, "seconds after which a drain ends"),
        ("--attempts", 3, "backends that a request is sent to at most"),
        ("--min-retries", 10, "retries in flight that are always allowed"),
    ):
        kind = seconds if isinstance(default, float) else type(default)
        parser.add_argument(name, default=default, type=kind, help=f"{text}, {default}")
    parser.add_argument(
        "--retry-share",
        default=0.5,
        type=float,
        help="share of the requests in flight that may be retries, 0.5",
    )
    settings = parser.parse_args()
    if settings.attempts < 1:
        parser.error("--attempts must be 1 or more")
    return settings


if __name__ == "__main__":
    asyncio.run(main(options()))
