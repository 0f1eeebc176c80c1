"""A DNS server on the loopback interface that answers from the global balancer.

``www.example.test`` has the addresses of the nearest healthy region.  The client is found by the
EDNS client subnet of the query, else by the address of the resolver.  The answer announces the
largest network of clients that get the same answer.  While a better region is down, the TTL is
shorter.  The addresses are rotated.  A region is up while enough of its servers accept connections.

    python docs/examples/dns_server.py
    python docs/examples/dns_server.py --listen 127.0.0.1:5300 --port 8080

The first command is a show: it starts the servers of the regions too, stops and starts those of one
region, prints the answers, and ends by itself.  The second one serves until SIGTERM.  The sockets,
the clock and the probes are here, and the answers in ``dns_answers.py``.
"""
# pyright: reportUnknownMemberType=false
# The line above is needed because dnspython does not say what the options of a message are.

import argparse
import asyncio
import contextlib
import functools
import json
import signal
import struct
import sys
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator, Callable
from typing import cast

import dns.asyncquery
import dns.edns
import dns.message
import dns.rcode

from balancers.gslb import ClientSubnet, Region, TimeToLive

from dns_answers import CITIES, WWW, Balancer, Server, addresses_of
from proxy import describe, seconds

IDLE = 5.0  # seconds before a TCP connection is closed that sends no query, or reads no answer
CONNECT = 1.0  # seconds for a connection of a probe
LIMIT = 15.0  # seconds for each change in the show
CLIENTS = {
    "London": ClientSubnet("198.51.100.0", 24),
    "Tokyo": ClientSubnet("203.0.113.0", 25),
    "New York": ClientSubnet("192.0.2.0", 24),
}


class Datagrams(asyncio.DatagramProtocol):
    """The UDP socket."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self.server.respond(data, addr[0], time.monotonic(), udp=True)
        if answer is not None:
            self.transport.sendto(answer, addr)


async def stream(server: Server, reader: StreamReader, writer: StreamWriter) -> None:
    """Answer the queries of a TCP connection in their order, until it is silent."""
    resolver = writer.get_extra_info("peername")[0]
    writer.transport.set_write_buffer_limits(0)  # so that drain() waits until all is sent
    ended = (OSError, EOFError, asyncio.CancelledError)  # by the client, or with the program
    with contextlib.closing(writer), contextlib.suppress(*ended):
        try:
            while True:
                async with asyncio.timeout(IDLE):
                    [size] = struct.unpack("!H", await reader.readexactly(2))
                    wire = await reader.readexactly(size)
                    answer = server.respond(wire, resolver, time.monotonic(), udp=False)
                    if answer is None:
                        return
                    writer.write(struct.pack("!H", len(answer)) + answer)
                    await writer.drain()
        except TimeoutError:
            writer.transport.abort()  # also if it does not read its answers


class Probes:
    """Reports again and again which servers accept connections, and logs what that changes."""

    def __init__(self, regions: list[Region], port: int, interval: float) -> None:
        self.port, self.interval = port, interval
        self.healthy = dict.fromkeys(regions, True)
        self.tasks = [
            asyncio.create_task(self.probe(region, address))
            for region in regions
            for address in region.members
        ]

    async def probe(self, region: Region, address: str) -> None:
        while True:
            began = time.monotonic()
            ok = False
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CONNECT):
                    _, writer = await asyncio.open_connection(address, self.port)
                writer.close()
                ok = True
            now = time.monotonic()
            region.observe(address, ok, now)
            if region.healthy(now) != self.healthy[region]:
                self.healthy[region] = region.healthy(now)
                log("region", name=region.name, healthy=region.healthy(now), why=region.status(now))
            await asyncio.sleep(began + self.interval - now)


async def listening(
    server: Server, host: str, port: int
) -> tuple[asyncio.Server, asyncio.DatagramTransport, int]:
    """Listen on TCP and on UDP, on the same port; port 0 is one that is free for both."""
    loop = asyncio.get_running_loop()
    while True:
        tcp = await asyncio.start_server(functools.partial(stream, server), host, port)
        bound = tcp.sockets[0].getsockname()[1]
        try:
            udp, _ = await loop.create_datagram_endpoint(lambda: Datagrams(server), (host, bound))
        except OSError:
            tcp.close()
            if port:
                raise
        else:
            return tcp, udp, bound


@contextlib.asynccontextmanager
async def serving(settings: argparse.Namespace, host: str, port: int) -> AsyncGenerator[int]:
    """Answer on UDP and on TCP, and probe the servers; give the port."""
    balancer = Balancer(settings.servers, settings.hold)
    server = Server(balancer, TimeToLive(settings.ttl, settings.degraded_ttl))
    tcp, udp, bound = await listening(server, host, port)
    probes = Probes(balancer.regions, settings.port, settings.interval)
    try:
        yield bound
    finally:
        for task in probes.tasks:
            task.cancel()
        udp.close()
        tcp.close()


def log(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


async def serve(settings: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        try:
            host, _, port = settings.listen.rpartition(":")
            context = serving(settings, host.strip("[]"), int(port))
            bound = await stack.enter_async_context(context)
        except (OSError, OverflowError, ValueError) as error:
            raise SystemExit(f"not started: {describe(error)}") from None
        log("listening", address=f"{host}:{bound}")
        await stop.wait()


async def accept(addresses: list[str], port: int) -> list[asyncio.Server]:
    """Accept connections on all addresses, and close them; port 0 is any free one."""

    async def close(_: StreamReader, writer: StreamWriter) -> None:
        writer.close()

    accepting: list[asyncio.Server] = []
    for address in addresses:
        accepting.append(await asyncio.start_server(close, address, port))
        port = port or accepting[0].sockets[0].getsockname()[1]
    return accepting


class Show:
    """Prints what clients of three cities are answered."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def ask(self, city: str) -> tuple[list[str], int, int]:
        """Return the addresses in order of their numbers, the TTL and the scope."""
        option = dns.edns.GenericOption(dns.edns.OptionType.ECS, CLIENTS[city].encode())
        query = dns.message.make_query(WWW, "A", use_edns=0, options=[option])
        answer = await dns.asyncquery.udp(query, "127.0.0.1", LIMIT, self.port)
        [rrset] = answer.answer
        announced: list[dns.edns.Option] = list(cast("tuple[dns.edns.Option, ...]", answer.options))
        subnet = ClientSubnet.parse(announced[0].to_wire() or b"", answer=True)
        addresses: list[str] = sorted(map(str, rrset))
        return addresses, rrset.ttl, subnet.scope

    async def wait_for(self, city: str, condition: Callable[[list[str]], bool]) -> bool:
        """Ask until the addresses are as expected; print them, and return whether they are."""
        deadline = time.monotonic() + LIMIT
        while True:
            addresses, ttl, scope = await self.ask(city)
            held = condition(addresses)
            if held or time.monotonic() > deadline:
                region = next(n for n, (_, net) in CITIES.items() if addresses[0].startswith(net))
                what = f"{region}, {' '.join(addresses)}, TTL {ttl}, scope /{scope}"
                print(f"  {city}: {what}{'' if held else ': NOT AS EXPECTED'}", flush=True)
                return held
            await asyncio.sleep(0.05)

    async def other(self, name: str, kind: str) -> None:
        """Print the code of another answer."""
        answer = await dns.asyncquery.udp(
            dns.message.make_query(name, kind), "127.0.0.1", LIMIT, self.port
        )
        records = sum(len(rrset) for rrset in answer.answer)
        print(f"  {name} {kind}: {dns.rcode.to_text(answer.rcode())}, {records} records")


async def show(settings: argparse.Namespace) -> int:
    """Print the answers while a region stops and starts; return 0 if all were as expected."""
    groups = {name: addresses_of(net, settings.servers) for name, (_, net) in CITIES.items()}
    accepting: dict[str, list[asyncio.Server]] = {}
    for name, addresses in groups.items():
        accepting[name] = await accept(addresses, settings.port or 0)
        settings.port = accepting[name][0].sockets[0].getsockname()[1]
    async with serving(settings, "127.0.0.1", 0) as port:
        asking = Show(port)
        print("every region is up:")
        nearest = zip(CLIENTS, groups.values(), strict=True)
        held = [await asking.wait_for(city, addresses.__eq__) for city, addresses in nearest]
        print("the servers in Tokyo stop:")
        for each in accepting["tokyo"]:
            each.close()
        held.append(await asking.wait_for("Tokyo", groups["tokyo"].__ne__))
        print("the servers in Tokyo start again:")
        await accept(groups["tokyo"], settings.port)
        held.append(await asking.wait_for("Tokyo", groups["tokyo"].__eq__))
        print("other questions:")
        await asking.other("www.example.test.", "AAAA")
        await asking.other("none.example.test.", "A")
        await asking.other("www.example.com.", "A")
    return 0 if all(held) else 1


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a function that reads an int in a range."""

    def read(text: str) -> int:
        if not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be {least} to {most}, not {text}")
        return int(text)

    return read


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A DNS server that answers the nearest region.")
    parser.add_argument("--listen", metavar="HOST:PORT", help="without it, a show that ends")
    parser.add_argument("--port", type=whole(1, 65535), help="TCP port of the servers to probe")
    parser.add_argument("--servers", type=whole(1, 254), default=2, help="of each region, 2")
    parser.add_argument("--interval", type=seconds, default=0.1, help="between probes, 0.1 s")
    parser.add_argument("--hold", type=float, default=0.5, help="before a region is back, 0.5 s")
    parser.add_argument("--ttl", type=int, default=60, help="seconds, 60")
    parser.add_argument("--degraded-ttl", type=int, default=5, help="seconds, 5")
    given = parser.parse_args()
    if given.listen and not given.port:
        parser.error("--listen needs --port")
    return given


if __name__ == "__main__":
    given = options()
    if given.listen:
        asyncio.run(serve(given))
    else:
        sys.exit(asyncio.run(show(given)))
