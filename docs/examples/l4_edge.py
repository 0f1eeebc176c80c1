"""An L4 edge: it sends the packets of each connection to one of several L7 proxies.

    python l4_edge.py --interface eth0 --address 192.0.2.10:8080 \
        --proxy 192.0.2.3:8080 --proxy 192.0.2.4:8080

It forwards as Maglev does, and IPVS with direct routing: a packet to the virtual address is sent on
unchanged, to the Ethernet address of the proxy.  The proxy has the virtual address on its loopback
interface, and responds directly to the client.  A ``FlowTable`` keeps each connection on its proxy.
``Maglev`` picks the proxy of a new connection, and of one that is not in the table.  So another
edge with an empty table sends a connection to the same proxy, and the connection survives.

Probes to the proxies pass through them to a backend.  SIGTERM ends the edge.  Each change of a
proxy is printed as one line of JSON.

This is an example for TCP over IPv4, without fragments and IP options.  Linux only, as root.  The
kernel must drop the packets to the virtual address itself, because it knows no connection and would
reset all of them:

    nft add rule inet TABLE INPUT ip daddr 192.0.2.10 tcp dport 8080 drop
"""

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import struct
from collections import deque
from pathlib import Path

import balancers
from balancers.flows import FlowKey, FlowTable
from balancers.sessions import SessionTokens

from http_upstream import Upstream
from proxy import address, seconds

IPV4 = 0x0800  # ETH_P_IP
SOL_PACKET, PACKET_VNET_HDR = 263, 15
FRAME = struct.Struct("!10x6s6sHBxxxxxxxxB2x4s4sHHxxxxxxxxxB")
"""What the kernel writes about checksums and sizes, which is passed on; then the Ethernet header:
destination, source, type; then version and length, protocol, addresses; then ports and flags."""
MAC_ADDRESSES = slice(10, 22)
SIMPLE, TCP = 0x45, 6  # version 4 and a header without options; the protocol
FIN, SYN, RST, ACK = 1, 2, 4, 16
LONGEST = 10 + 14 + 65535
BURST = 64  # frames that are forwarded before anything else happens
NEIGHBOURS = Path("/proc/self/net/arp")
NEIGHBOURS_AGE = 1.0  # seconds for which the Ethernet addresses are kept
COMPLETE = 0x2  # the flag of a neighbour that has answered


class Edge:
    def __init__(self, settings: argparse.Namespace) -> None:
        self.clock = asyncio.get_running_loop().time
        host, self.port = address(settings.address)
        self.address = socket.inet_aton(host)
        self.table = FlowTable[str](max_flows=100_000)
        self.events = deque[balancers.Event](maxlen=1000)
        self.upstream = Upstream(settings, self.events, self.log)
        self.upstream.configure(
            "proxies", SessionTokens([bytes(32)]), dict.fromkeys(settings.proxy, 1)
        )
        self.frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.frames.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self.frames.bind((settings.interface, IPV4))
        self.frames.setblocking(False)
        self.own_mac: bytes = self.frames.getsockname()[4]
        self.macs: dict[str, bytes] = {}
        self.macs_read = float("-inf")

    def forward(self) -> None:
        """Forward the frames that have arrived."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(BURST):
                data, (_, _, kind, *_) = self.frames.recvfrom(LONGEST)
                if kind == socket.PACKET_HOST and len(data) >= FRAME.size:
                    self.forward_frame(bytearray(data))

    def forward_frame(self, frame: bytearray) -> None:
        fields = FRAME.unpack_from(frame)
        _, _, kind, header, protocol, source, destination, source_port, port, flags = fields
        if (kind, header, protocol) != (IPV4, SIMPLE, TCP):
            return
        if (destination, port) != (self.address, self.port):
            return
        flow = FlowKey(TCP, source, source_port, destination, port)
        if (proxy := self.proxy_of(flow, flags)) is None:
            return
        if (mac := self.mac(proxy)) is not None:  # otherwise the client sends it again
            frame[MAC_ADDRESSES] = mac + self.own_mac
            with contextlib.suppress(OSError):  # no room: the client sends it again
                self.frames.send(frame)

    def proxy_of(self, flow: FlowKey, flags: int) -> str | None:
        """Return the proxy of a connection, and keep the connection on it."""
        now, pool = self.clock(), self.upstream.pool
        known = self.table.find(flow, now)
        try:
            lease = pool.acquire(now, key=flow, prefer=known)
        except balancers.NoBackendAvailable:
            return None
        pool.release(lease, now, None)
        if flags & (FIN | RST):
            self.table.keep(flow, lease.backend, now, "closing")
        elif known == lease.backend and flags & ACK:
            self.table.keep(flow, lease.backend, now, "established")
        else:
            self.table.keep(flow, lease.backend, now, "new")
        return lease.backend

    def mac(self, proxy: str) -> bytes | None:
        """Return the Ethernet address of a proxy, which the kernel knows from the probes."""
        now = self.clock()
        if now - self.macs_read > NEIGHBOURS_AGE:
            self.macs_read = now
            for line in NEIGHBOURS.read_text().splitlines()[1:]:
                host, _, known, mac, *_ = line.split()
                if int(known, 16) & COMPLETE:
                    self.macs[host] = bytes.fromhex(mac.replace(":", ""))
        return self.macs.get(address(proxy)[0])

    def log(self) -> None:
        while self.events:
            print(json.dumps(self.events.popleft()._asdict()), flush=True)


async def main(settings: argparse.Namespace) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    edge = Edge(settings)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(edge.frames, edge.forward)
    async with asyncio.TaskGroup() as tasks:
        probing = tasks.create_task(edge.upstream.keep_probing())
        await stop.wait()
        probing.cancel()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="An L4 edge over balancers, with direct routing.")
    parser.add_argument("--interface", required=True)
    parser.add_argument("--address", required=True, metavar="HOST:PORT", help="the virtual address")
    parser.add_argument(
        "--proxy", action="append", required=True, metavar="HOST:PORT", help="with the same port"
    )
    parser.add_argument("--algorithm", default="Maglev", help="a class of the package balancers")
    parser.add_argument("--health-path", default="/health", help="the path of probes, /health")
    parser.add_argument("--interval", default=1.0, type=seconds, help="seconds between probes, 1")
    parser.add_argument("--timeout", default=0.5, type=seconds, help="seconds for a probe, 0.5")
    parser.set_defaults(
        fall=3, rise=2, fail_timeout=10.0, drain_timeout=30.0,
        silence=60.0, head_timeout=10.0, secure=False,
    )  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(options()))
