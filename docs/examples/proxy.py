"""A TCP proxy for HTTP over ``balancers``, with active probes and passive checks.

``--fall`` failed probes or failed requests close a backend.  Refused connections, timeouts and 5xx
are failures.  ``--rise`` successful probes open a backend that probes closed (ActiveChecks); one
successful trial request opens a backend that requests closed (PassiveChecks).  A backend gets
requests while both gates are open.  If no backend is open, the pool ignores both gates (panic).

SIGTERM: stop accepting, and finish open connections.  SIGHUP: read the backends again; if any line
is invalid, nothing changes.  SIGUSR1: print the counts.

This is an example.  Put a hardened server in front of it: it has no TLS, and no limit on the
connections of a client, on their duration or on their rate.
"""

import argparse
import asyncio
import contextlib
import json
import math
import re
import signal
from asyncio import StreamReader, StreamWriter
from collections import Counter, defaultdict, deque
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from random import Random

import balancers
from balancers.gates import ActiveChecks, PassiveChecks, Probe

Streams = tuple[StreamReader, StreamWriter]
CHUNK = 65536  # bytes per read; also how much of a request is stored for a retry
STATUS = 10  # bytes of a response that show its status class
SUCCEEDED, FAILED = (b"HTTP/1.0 2", b"HTTP/1.1 2"), (b"HTTP/1.0 5", b"HTTP/1.1 5")
LABEL = "[0-9A-Za-z_](?:[0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?"  # of a host name
ADDRESS = re.compile(
    rf"(?P<host>\[[0-9A-Fa-f:.]+(?:%[0-9A-Za-z]+)?\]|{LABEL}(?:\.{LABEL})*\.?):(?P<port>[1-9][0-9]{{0,4}})"
)
LINE = re.compile(r"(?P<name>[^\s=]+)(?:\s*=\s*|\s+)(?P<weight>[0-9.eE+-]+)(?P<drain>\s+drain)?")
LONGEST_HOST, LAST_PORT, LONGEST_MESSAGE = 253, 65535, 500
OUTCOMES = {True: "ok", False: "failed", None: "unknown"}


def make(algorithm: str) -> balancers.Balancer[str]:
    random = {"rng": Random()} if algorithm in {"RandomChoice", "PowerOfTwoChoices"} else {}
    balancer: balancers.Balancer[str] = getattr(balancers, algorithm)(**random)
    return balancer


class Proxy:
    def __init__(self, settings: argparse.Namespace) -> None:
        self.settings = settings
        self.clock = asyncio.get_running_loop().time
        times = {"interval": settings.interval, "timeout": settings.timeout}
        self.checks = ActiveChecks[str](settings.fall, settings.rise, rng=Random(), **times)
        self.drain = balancers.Drain[str](settings.drain_timeout)
        marks = PassiveChecks[str](settings.fall, settings.fail_timeout)
        gates: list[balancers.Gate[str]] = [self.checks, marks, self.drain]
        self.events = deque[balancers.Event](maxlen=1000)
        self.pool = balancers.Pool(make(settings.algorithm), gates, events=self.events)
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.schedule_changed = asyncio.Event()  # the next probe may be due earlier now
        self.serving: set[asyncio.Task[None] | None] = set()  # keeps tasks alive

    def configure(self) -> None:
        """Read the backends; if any line is invalid, raise an error and change nothing."""
        path = self.settings.backends
        lines = self.settings.backend + (Path(path).read_text("utf-8").splitlines() if path else [])
        backends = [read_line(line) for line in lines if line.strip()]
        weights = {name: weight for name, weight, _ in backends}
        if len(weights) < len(backends):
            raise ValueError("a backend is listed twice")
        self.pool.update(weights, self.clock())
        for name, _, drain in backends:
            (self.drain.begin if drain else self.drain.cancel)(name, self.clock())
        self.schedule_changed.set()
        self.print_events()

    def configure_again(self) -> None:
        try:
            self.configure()
        except Exception as error:  # noqa: BLE001 - whatever the file contains, the proxy goes on
            result = f"not read: {describe(error)}"
        else:
            result = "read"
        print(json.dumps({"at": self.clock(), "configuration": result}), flush=True)

    async def keep_probing(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                self.schedule_changed.clear()
                for probe in self.checks.probes(self.clock()):
                    group.create_task(self.probe(probe))
                self.print_events()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(self.checks.probes_due):
                        await self.schedule_changed.wait()

    async def probe(self, probe: Probe[str]) -> None:
        ok = False
        with contextlib.suppress(Exception):  # a probe that raises anything has failed
            async with asyncio.timeout_at(probe.deadline):
                reader, writer = await asyncio.open_connection(*address(probe.backend))
                with contextlib.closing(writer):
                    get = f"GET {self.settings.health_path} HTTP/1.1\r\nHost: {probe.backend}\r\n"
                    writer.write(f"{get}Connection: close\r\n\r\n".encode())
                    ok = (await reader.readexactly(STATUS)).startswith(SUCCEEDED)
        self.checks.answer(probe, ok, self.clock())
        self.schedule_changed.set()

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        tried, request, task = set[str](), bytearray(), asyncio.current_task()
        self.serving.add(task)
        try:
            async with asyncio.timeout(self.settings.head_timeout):
                request += await reader.readuntil(b"\r\n\r\n")
            while not await self.attempt((reader, writer), request, tried):
                pass
        except (EOFError, OSError, asyncio.LimitOverrunError):
            pass  # the client sent no complete request
        except balancers.NoBackendAvailable as refusal:
            self.events.append(balancers.Event(self.clock(), "refused", True, None, str(refusal)))
        finally:
            writer.close()
            self.serving.discard(task)
            self.print_events()

    async def attempt(self, client: Streams, request: bytearray, tried: set[str]) -> bool:
        """Send the request to one backend; return whether it must not be sent to another one."""
        address_of_client = client[1].get_extra_info("peername")[0]
        lease = self.pool.acquire(self.clock(), key=address_of_client, avoid=tried)
        tried.add(lease.backend)
        counts, ok, answer = self.counts[lease.backend], None, bytearray()
        counts["sent"] += 1
        try:
            async with asyncio.timeout(self.settings.timeout):
                server = await asyncio.open_connection(*address(lease.backend))
        except Exception:  # noqa: BLE001 - whatever the socket or the name raises
            ok = False
        else:
            ok = await self.exchange(client, server, request, answer)
        finally:
            self.pool.release(lease, self.clock(), ok)
            counts.update([OUTCOMES[ok], *["answered"] * bool(answer)])
        return bool(answer) or ok is None or len(request) > CHUNK

    async def exchange(
        self, client: Streams, server: Streams, request: bytearray, answer: bytearray
    ) -> bool | None:
        (reader, writer), (server_reader, server_writer), complete = client, server, False
        server_writer.write(request)
        upload = asyncio.create_task(send(reader, server_writer, request))
        try:
            with contextlib.suppress(OSError), contextlib.closing(server_writer):
                async with asyncio.timeout(self.settings.answer_timeout) as timeout:
                    while data := await server_reader.read(CHUNK):
                        timeout.reschedule(None)
                        answer += data[: STATUS - len(answer)]
                        writer.write(data)
                        await writer.drain()
                    complete = True
        finally:
            upload.cancel()
        client_left = writer.is_closing()  # this is not a failure of the backend
        if answer and (complete or client_left):
            return not answer.startswith(FAILED)
        return None if client_left else False

    def print_events(self) -> None:
        self.drain.drained(self.clock())
        while self.events:
            print(json.dumps(self.events.popleft()._asdict()), flush=True)

    def print_counts(self) -> None:
        none = dict.fromkeys(("sent", *OUTCOMES.values(), "answered"), 0)
        in_flight = {name: {"in flight": self.pool.in_flight(name)} for name in self.pool.backends}
        counts = {name: none | self.counts[name] | in_flight[name] for name in in_flight}
        print(json.dumps({"at": self.clock(), "counts": counts}), flush=True)


async def send(reader: StreamReader, server_writer: StreamWriter, request: bytearray) -> None:
    with contextlib.suppress(OSError):  # a closed connection is detected where the response is read
        while data := await reader.read(CHUNK):
            request += data if len(request) <= CHUNK else b""
            server_writer.write(data)
            await server_writer.drain()
        server_writer.write_eof()


def read_line(line: str) -> tuple[str, float, bool]:
    """Read ``HOST:PORT=WEIGHT [drain]``: the name, the weight, and whether the backend drains."""
    if not (parts := LINE.fullmatch(line.strip())):
        raise ValueError(f"a line must be HOST:PORT=WEIGHT [drain], not {line!r}")
    address(parts["name"])
    return parts["name"], float(parts["weight"]), bool(parts["drain"])


def address(name: str) -> tuple[str, int]:
    """Return the host and the port of ``HOST:PORT``.  Raises ValueError if it is anything else.

    The host is a name, an IPv4 address, or an IPv6 address in brackets.
    """
    if (parts := ADDRESS.fullmatch(name)) and len(parts["host"].rstrip(".")) <= LONGEST_HOST:
        host, port = parts["host"], int(parts["port"])
        with contextlib.suppress(ValueError):
            if host.startswith("["):
                host = str(IPv6Address(host[1:-1]))
            elif host.rstrip(".").rpartition(".")[2].isdigit():
                host = str(IPv4Address(host))
            if port <= LAST_PORT:
                return host, port
    raise ValueError(f"an address must be HOST:PORT, with a port of 1 to {LAST_PORT}, not {name!r}")


def describe(error: Exception) -> str:
    """Return the kind of an error and the beginning of its message."""
    return f"{type(error).__name__}: {error}"[:LONGEST_MESSAGE]


def seconds(text: str) -> float:
    """Read a time that is finite and positive.  Raises ValueError."""
    if not 0 < float(text) < math.inf:
        raise ValueError(text)
    return float(text)


async def main(settings: argparse.Namespace) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    try:
        proxy = Proxy(settings)
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGHUP, proxy.configure_again)
        loop.add_signal_handler(signal.SIGUSR1, proxy.print_counts)
        proxy.configure()
        server = await asyncio.start_server(proxy.serve, *address(settings.listen), backlog=1024)
    except Exception as error:  # noqa: BLE001 - whatever the options contain
        raise SystemExit(f"not started: {describe(error)}") from None
    async with asyncio.TaskGroup() as group:
        probing = group.create_task(proxy.keep_probing())
        await stop.wait()
        server.close()
        if proxy.serving:
            await asyncio.wait(filter(None, proxy.serving), timeout=settings.drain_timeout)
        probing.cancel()
    proxy.print_counts()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A TCP proxy for HTTP over the library balancers.")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    parser.add_argument("--backend", action="append", default=[], metavar="HOST:PORT=WEIGHT")
    parser.add_argument("--backends", metavar="FILE", help="one HOST:PORT=WEIGHT [drain] per line")
    for name, default, text in (
        ("--algorithm", "WeightedLeastConnections", "a class of the package balancers"),
        ("--health-path", "/health", "the path of probes"),
        ("--fall", 3, "failures that close a backend"),
        ("--rise", 2, "successful probes that open it"),
        ("--interval", 1.0, "seconds between probes"),
        ("--timeout", 0.5, "seconds to connect, and to respond to a probe"),
        ("--head-timeout", 10.0, "seconds until a client has sent the head of its request"),
        ("--answer-timeout", 60.0, "seconds until the response to a request starts"),
        ("--fail-timeout", 10.0, "seconds that failed requests close a backend"),
        ("--drain-timeout", 30.0, "seconds after which a drain ends"),
    ):
        kind = seconds if isinstance(default, float) else type(default)
        parser.add_argument(name, default=default, type=kind, help=f"{text}, {default}")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(options()))
