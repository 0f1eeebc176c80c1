"""A TCP proxy over ``balancers``.  SIGTERM: connections finish; SIGHUP: backends are read anew."""

import argparse
import asyncio
import contextlib
import json
import signal
from asyncio import StreamReader, StreamWriter
from pathlib import Path
from random import Random

import balancers

Streams = tuple[StreamReader, StreamWriter]
CHUNK = 65536  # bytes: what is read at once, and kept of a request for another try


def make(algorithm: str) -> balancers.Balancer[str]:
    random = {"rng": Random()} if algorithm in {"RandomChoice", "PowerOfTwoChoices"} else {}
    balancer: balancers.Balancer[str] = getattr(balancers, algorithm)(**random)
    return balancer


class Proxy:
    def __init__(self, settings: argparse.Namespace) -> None:
        self.settings = settings
        self.clock = asyncio.get_running_loop().time
        self.health: balancers.HealthChecks[str] = balancers.HealthChecks(settings.fall)
        self.drain: balancers.Drain[str] = balancers.Drain(settings.drain_timeout)
        self.pool = balancers.Pool(make(settings.algorithm), [self.health, self.drain])
        self.probes: dict[str, asyncio.Task[None]] = {}
        self.serving: set[asyncio.Task[None] | None] = set()  # else a half-closed one is collected

    def configure(self) -> None:
        path = self.settings.backends
        lines = self.settings.backend + (Path(path).read_text().splitlines() if path else [])
        backends = [line.replace("=", " ").split() for line in lines if line.strip()]
        self.pool.update({name: float(weight) for name, weight, *_ in backends}, self.clock())
        for name, _, *marks in backends:
            (self.drain.begin if "drain" in marks else self.drain.cancel)(name, self.clock())
        for name in self.pool.backends - self.probes.keys():
            self.probes[name] = asyncio.create_task(self.probe(name))
        for name in self.probes.keys() - self.pool.backends:
            self.probes.pop(name).cancel()
        self.tell("configured")

    async def probe(self, name: str) -> None:
        up = True
        while True:
            sent, ok = self.clock(), False
            with contextlib.suppress(OSError):
                (await self.connect(name))[1].close()
                ok = True
            self.health.observe(name, ok, self.clock(), started_at=sent)
            if up != (up := self.health.healthy(name)):
                self.tell("up" if up else "down", name)
            for end in self.drain.drained(self.clock()):
                self.tell("drained", str(end.backend), left=end.in_flight)
            await asyncio.sleep(self.settings.interval)

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        tried, request, task = set[str](), bytearray(), asyncio.current_task()
        self.serving.add(task)
        try:
            while not await self.attempt((reader, writer), request, tried):
                pass
        except balancers.NoBackendAvailable as refusal:
            self.tell("refused", why=str(refusal))
        finally:
            writer.close()
            self.serving.discard(task)

    async def attempt(self, near: Streams, request: bytearray, tried: set[str]) -> bool:
        reader, writer = near
        client = writer.get_extra_info("peername")[0]
        lease = self.pool.acquire(self.clock(), key=client, avoid=tried)
        tried.add(lease.backend)
        ok, answered = None, False
        try:
            back_reader, back_writer = await self.connect(lease.backend)
            back_writer.write(request)
            upward = asyncio.create_task(send(reader, back_writer, request))
            with contextlib.closing(back_writer):
                try:
                    while data := await back_reader.read(CHUNK):
                        answered = True
                        writer.write(data)
                        await writer.drain()
                finally:
                    upward.cancel()
            ok = answered or (False if request else None)
        except OSError:
            ok = None if writer.is_closing() else False
        finally:
            self.pool.release(lease, self.clock(), ok)
        return answered or ok is None or len(request) > CHUNK  # or another may still do

    async def connect(self, name: str) -> Streams:
        async with asyncio.timeout(self.settings.interval):
            return await asyncio.open_connection(*address(name))

    def tell(self, event: str, name: str = "", **more: object) -> None:
        print(json.dumps({"at": self.clock(), "event": event, "backend": name, **more}), flush=True)


async def send(reader: StreamReader, back_writer: StreamWriter, request: bytearray) -> None:
    with contextlib.suppress(OSError):  # whoever left is noticed where the answer is read
        while data := await reader.read(CHUNK):
            request += data if len(request) <= CHUNK else b""
            back_writer.write(data)
            await back_writer.drain()
        back_writer.write_eof()


def address(name: str) -> tuple[str, int]:
    host, _, port = name.rpartition(":")
    return host.strip("[]"), int(port)


async def main(settings: argparse.Namespace) -> None:
    proxy, stop, loop = Proxy(settings), asyncio.Event(), asyncio.get_running_loop()
    proxy.configure()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGHUP, proxy.configure)
    server = await asyncio.start_server(proxy.serve, *address(settings.listen), backlog=1024)
    proxy.tell("listening")
    await stop.wait()
    server.close()
    if proxy.serving:
        await asyncio.wait(filter(None, proxy.serving), timeout=settings.drain_timeout)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A TCP proxy over the library balancers.")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    parser.add_argument("--backend", action="append", default=[], metavar="HOST:PORT=WEIGHT")
    parser.add_argument(
        "--backends", metavar="FILE", help="a file: HOST:PORT=WEIGHT [drain] a line"
    )
    parser.add_argument("--algorithm", metavar="CLASS", default="WeightedLeastConnections")
    parser.add_argument(
        "--interval", type=float, default=1.0, help="seconds to connect, and between probes"
    )
    parser.add_argument("--fall", type=int, default=3, help="failures until down")
    parser.add_argument("--drain-timeout", type=float, default=30.0, help="seconds")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(options()))
