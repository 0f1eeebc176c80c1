"""A TCP proxy for HTTP over ``balancers``: it probes its backends, and marks who fails requests.

Probes and requests demote, ``--fall`` failures of either; refusals, silence and 5xx are failures.
What ActiveChecks closed, ``--rise`` probes open; what PassiveChecks closed, one request on trial.
A backend serves when both let it; when nobody is left, everyone is tried (panic).

SIGTERM: connections finish.  SIGHUP: backends are read anew.  SIGUSR1: counts are told.
"""

import argparse
import asyncio
import contextlib
import json
import signal
from asyncio import StreamReader, StreamWriter
from collections import Counter, defaultdict, deque
from pathlib import Path
from random import Random

import balancers
from balancers.gates import ActiveChecks, PassiveChecks, Probe

Streams = tuple[StreamReader, StreamWriter]
CHUNK = 65536  # bytes: what is read at once, and kept of a request for another try
STATUS = 10  # bytes of an answer that are looked at
WELL, BADLY = (b"HTTP/1.0 2", b"HTTP/1.1 2"), (b"HTTP/1.0 5", b"HTTP/1.1 5")
ENDED = {True: "ok", False: "failed", None: "unknown"}


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
        self.pool = balancers.Pool(make(settings.algorithm), gates, panic=1e-9, events=self.events)
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.planned = asyncio.Event()  # the next probe may be another one now
        self.serving: set[asyncio.Task[None] | None] = set()  # else a half-closed one is collected

    def configure(self) -> None:
        path = self.settings.backends
        lines = self.settings.backend + (Path(path).read_text().splitlines() if path else [])
        backends = [line.replace("=", " ").split() for line in lines if line.strip()]
        self.pool.update({name: float(weight) for name, weight, *_ in backends}, self.clock())
        for name, _, *marks in backends:
            (self.drain.begin if "drain" in marks else self.drain.cancel)(name, self.clock())
        self.planned.set()
        self.tell()

    async def keep_probing(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                self.planned.clear()
                for probe in self.checks.probes(self.clock()):
                    group.create_task(self.probe(probe))
                self.tell()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(self.checks.probes_due):
                        await self.planned.wait()

    async def probe(self, probe: Probe[str]) -> None:
        ok = False
        with contextlib.suppress(OSError, EOFError):
            async with asyncio.timeout_at(probe.deadline):
                reader, writer = await asyncio.open_connection(*address(probe.backend))
                with contextlib.closing(writer):
                    get = f"GET {self.settings.health_path} HTTP/1.1\r\nHost: {probe.backend}\r\n"
                    writer.write(f"{get}Connection: close\r\n\r\n".encode())
                    ok = (await reader.readexactly(STATUS)).startswith(WELL)
        self.checks.answer(probe, ok, self.clock())
        self.planned.set()

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        tried, request, task = set[str](), bytearray(), asyncio.current_task()
        self.serving.add(task)
        try:
            request += await reader.readuntil(b"\r\n\r\n")
            while not await self.attempt((reader, writer), request, tried):
                pass
        except (EOFError, OSError, asyncio.LimitOverrunError):
            pass  # it asked nothing
        except balancers.NoBackendAvailable as refusal:
            self.events.append(balancers.Event(self.clock(), "refused", True, None, str(refusal)))
        finally:
            writer.close()
            self.serving.discard(task)
            self.tell()

    async def attempt(self, near: Streams, request: bytearray, tried: set[str]) -> bool:
        client = near[1].get_extra_info("peername")[0]
        lease = self.pool.acquire(self.clock(), key=client, avoid=tried)
        tried.add(lease.backend)
        counts, ok, answer = self.counts[lease.backend], None, bytearray()
        counts["sent"] += 1
        try:
            async with asyncio.timeout(self.settings.timeout):
                far = await asyncio.open_connection(*address(lease.backend))
        except OSError:
            ok = False
        else:
            ok = await self.exchange(near, far, request, answer)
        finally:
            self.pool.release(lease, self.clock(), ok)
            counts.update([ENDED[ok], *["answered"] * bool(answer)])
        return bool(answer) or ok is None or len(request) > CHUNK  # or another may still do

    async def exchange(
        self, near: Streams, far: Streams, request: bytearray, answer: bytearray
    ) -> bool | None:
        (reader, writer), (far_reader, far_writer), whole = near, far, False
        far_writer.write(request)
        upward = asyncio.create_task(send(reader, far_writer, request))
        try:
            with contextlib.suppress(OSError), contextlib.closing(far_writer):
                async with asyncio.timeout(self.settings.answer_timeout) as silence:
                    while data := await far_reader.read(CHUNK):
                        silence.reschedule(None)
                        answer += data[: STATUS - len(answer)]
                        writer.write(data)
                        await writer.drain()
                    whole = True
        finally:
            upward.cancel()
        gone = writer.is_closing()  # the client: its leaving is nobody's failure
        if answer and (whole or gone):
            return not answer.startswith(BADLY)
        return None if gone else False

    def tell(self) -> None:
        self.drain.drained(self.clock())
        while self.events:
            print(json.dumps(self.events.popleft()._asdict()), flush=True)

    def tell_counts(self) -> None:
        none = dict.fromkeys(("sent", *ENDED.values(), "answered"), 0)
        flying = {name: {"in flight": self.pool.in_flight(name)} for name in self.pool.backends}
        told = {name: none | self.counts[name] | flying[name] for name in flying}
        print(json.dumps({"at": self.clock(), "counts": told}), flush=True)


async def send(reader: StreamReader, far_writer: StreamWriter, request: bytearray) -> None:
    with contextlib.suppress(OSError):  # whoever left is noticed where the answer is read
        while data := await reader.read(CHUNK):
            request += data if len(request) <= CHUNK else b""
            far_writer.write(data)
            await far_writer.drain()
        far_writer.write_eof()


def address(name: str) -> tuple[str, int]:
    host, _, port = name.rpartition(":")
    return host.strip("[]"), int(port)


async def main(settings: argparse.Namespace) -> None:
    proxy, stop, loop = Proxy(settings), asyncio.Event(), asyncio.get_running_loop()
    proxy.configure()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGHUP, proxy.configure)
    loop.add_signal_handler(signal.SIGUSR1, proxy.tell_counts)
    server = await asyncio.start_server(proxy.serve, *address(settings.listen), backlog=1024)
    async with asyncio.TaskGroup() as group:
        probing = group.create_task(proxy.keep_probing())
        await stop.wait()
        server.close()
        if proxy.serving:
            await asyncio.wait(filter(None, proxy.serving), timeout=settings.drain_timeout)
        probing.cancel()
    proxy.tell_counts()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A TCP proxy for HTTP over the library balancers.")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    parser.add_argument("--backend", action="append", default=[], metavar="HOST:PORT=WEIGHT")
    parser.add_argument("--backends", metavar="FILE", help="HOST:PORT=WEIGHT [drain] a line")
    for name, default, told in (
        ("--algorithm", "WeightedLeastConnections", "a class of balancers"),
        ("--health-path", "/health", "what probes get"),
        ("--fall", 3, "failures until down"),
        ("--rise", 2, "probes until up"),
        ("--interval", 1.0, "seconds between probes"),
        ("--timeout", 0.5, "seconds to connect, and to answer a probe"),
        ("--answer-timeout", 60.0, "seconds until a request's answer begins"),
        ("--fail-timeout", 10.0, "seconds without a backend that failed requests"),
        ("--drain-timeout", 30.0, "seconds until a drain is forced"),
    ):
        parser.add_argument(name, default=default, type=type(default), help=f"{told}, {default}")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(options()))
