"""A router of VRRP: the sockets, the addresses and the timer around ``VirtualRouter``.

    python vrrp_router.py --interface eth0 --vrid 51 --priority 150 \
        --address 192.0.2.10/24 --address fe80::10/64 --address 2001:db8::10/64 [-- COMMAND …]

The addresses of IPv4 and those of IPv6 are two virtual routers.  While one is active, its addresses
are on the interface.  A command, for example a proxy, lives and dies with the router: when it ends,
the router gives its addresses up at once and ends too.  With ``--ready``, the router takes part as
soon as the command accepts connections, so it does not take the addresses from another router while
its own proxy still starts.

SIGTERM: give the addresses up, and end.  Each change of the state is printed as one line of JSON.

Linux only, as root, with iproute2 and util-linux.
"""

import argparse
import fcntl
import json
import math
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
)

from balancers.redundancy.vrrp import (
    ALL_ROUTERS_IPV4,
    ALL_ROUTERS_IPV6,
    OWNER,
    PROTOCOL,
    Action,
    Announce,
    Datagram,
    Install,
    MalformedPacket,
    Send,
    StateChanged,
    VirtualRouter,
    Withdraw,
    ipv4_datagram,
)

IPV4, IPV6 = 4, 6
INTERNETWORK_CONTROL = 0xC0  # the type of service of routing protocols
LONGEST = 8192  # more bytes than an advertisement of 255 addresses
BURST = 1000  # datagrams that are read before the timers are looked at
INTERFACE_FLAGS, HARDWARE_ADDRESS = 0x8913, 0x8927  # SIOCGIFFLAGS, SIOCGIFHWADDR
RUNNING = 0x40  # IFF_RUNNING: up, and with a carrier
LINK_CHANGES = 1  # RTMGRP_LINK
ADD_ADDRESS, DELETE_ADDRESS = 20, 21  # RTM_NEWADDR, RTM_DELADDR
REQUEST, CREATE = 0x001, 0x600  # NLM_F_REQUEST, NLM_F_CREATE | NLM_F_EXCL
ADDRESS, LOCAL_ADDRESS = 1, 2  # IFA_ADDRESS, IFA_LOCAL
NO_DETECTION = 0x02  # IFA_F_NODAD: the address may be on another router for a moment
AnyInterface = IPv4Interface | IPv6Interface
AnyAddress = IPv4Address | IPv6Address
Process = subprocess.Popen[bytes]


class Interface:
    """A network interface: its addresses, its carrier, and frames to send."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.index = socket.if_nametoindex(name)
        self.query = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self.kernel.bind((0, LINK_CHANGES))
        self.kernel.setblocking(False)
        self.frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.frames.bind((name, 0))
        self.mac = self.ask(HARDWARE_ADDRESS)[2:8]

    def ask(self, request: int) -> bytes:
        answer = fcntl.ioctl(self.query, request, struct.pack("16s24x", self.name.encode()))
        return answer[16:]

    def works(self) -> bool:
        """Return whether the interface is up and has a carrier."""
        with suppress(OSError):  # nothing more, or more than there is room for
            while self.kernel.recv(65536):
                pass  # what has changed is asked for below
        (flags,) = struct.unpack("=H", self.ask(INTERFACE_FLAGS)[:2])
        return bool(flags & RUNNING)

    def source(self, version: int, virtual: Collection[AnyAddress]) -> str:
        """Return the first IPv4 address, or link-local IPv6 address, that is not virtual."""
        command = ["ip", "-json", f"-{version}", "address", "show", "dev", self.name]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        for entry in found[0]["addr_info"] if found else ():
            suits = version == IPV4 or entry["scope"] == "link"
            if suits and ip_address(entry["local"]) not in virtual:
                return str(entry["local"])
        raise SystemExit(f"not started: {self.name} has no IPv{version} address to send from")

    def add(self, address: AnyInterface) -> None:
        """Add an address; one that is there already is no error."""
        self.change(ADD_ADDRESS, CREATE, address)

    def delete(self, address: AnyInterface) -> None:
        """Delete an address; one that is not there is no error."""
        self.change(DELETE_ADDRESS, 0, address)

    def change(self, request: int, flags: int, address: AnyInterface) -> None:
        """Send a request to the kernel, which executes it at once and answers only errors."""
        family = socket.AF_INET if address.version == IPV4 else socket.AF_INET6
        length, packed = address.network.prefixlen, address.packed
        body = struct.pack("=BBBBI", family, length, NO_DETECTION, 0, self.index)
        for kind in (ADDRESS, LOCAL_ADDRESS):
            body += struct.pack("=HH", 4 + len(packed), kind) + packed
        self.kernel.send(
            struct.pack("=IHHII", 16 + len(body), request, REQUEST | flags, 0, 0) + body
        )


class Wire:
    """The raw socket of VRRP for one family."""

    def __init__(self, interface: Interface, version: int, source: str) -> None:
        self.index = interface.index
        family = socket.AF_INET if version == IPV4 else socket.AF_INET6
        self.source = socket.inet_pton(family, source)
        self.socket = socket.socket(family, socket.SOCK_RAW, PROTOCOL)
        self.socket.setblocking(False)
        device = interface.name.encode()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
        self.receive = self.receive_ipv4 if version == IPV4 else self.receive_ipv6
        if version == IPV4:
            group = struct.pack("4s4si", ALL_ROUTERS_IPV4, self.source, self.index)
            self.set(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
            self.set(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, group)
            self.set(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
            self.set(socket.IPPROTO_IP, socket.IP_TOS, INTERNETWORK_CONTROL)
        else:
            group = struct.pack("16si", ALL_ROUTERS_IPV6, self.index)
            self.set(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
            self.set(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, self.index)
            self.set(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
            self.set(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, INTERNETWORK_CONTROL)
            self.set(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            self.set(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)

    def set(self, level: int, option: int, value: int | bytes) -> None:
        self.socket.setsockopt(level, option, value)

    def receive_ipv4(self) -> Datagram:
        return ipv4_datagram(self.socket.recv(LONGEST))  # with its IP header

    def receive_ipv6(self) -> Datagram:
        payload, ancillary, _, (host, *_) = self.socket.recvmsg(LONGEST, 256)
        said = {kind: value for level, kind, value in ancillary if level == socket.IPPROTO_IPV6}
        source = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
        (hop_limit,) = struct.unpack("i", said[socket.IPV6_HOPLIMIT])
        return Datagram(source, said[socket.IPV6_PKTINFO][:16], hop_limit, payload)

    def send(self, datagram: Datagram) -> None:
        """Send from the address that the checksum contains."""
        source, destination, hop_limit, payload = datagram
        with suppress(OSError):  # the link is down, or there is no room: as lost on the way
            if self.socket.family == socket.AF_INET:
                self.set(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, hop_limit)
                self.socket.sendto(payload, (socket.inet_ntoa(destination), 0))
            else:
                self.set(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, hop_limit)
                info = struct.pack("16si", source, self.index)
                to = (socket.inet_ntop(socket.AF_INET6, destination), 0, 0, self.index)
                parts = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)]
                self.socket.sendmsg([payload], parts, 0, to)


class Router:
    """The virtual router of one family: it executes the actions."""

    def __init__(self, interface: Interface, version: int, settings: argparse.Namespace) -> None:
        self.interface, self.version = interface, version
        chosen = [each for each in settings.address if each.version == version]
        self.addresses = {each.ip: each for each in chosen}
        source = interface.source(version, self.addresses)
        self.router = VirtualRouter(
            settings.vrid,
            list(self.addresses),
            source,
            priority=settings.priority,
            interval=settings.interval,
            preempt=settings.preempt,
            preempt_delay=settings.preempt_delay,
            checksum=settings.checksum,
        )
        self.wire = Wire(interface, version, source)
        for address in chosen:  # a router that was killed may have left them
            interface.delete(address)
        self.repeat_at = math.inf

    @property
    def due(self) -> float:
        return min(self.router.due, self.repeat_at)

    def execute(self, actions: tuple[Action, ...], late: float = 0.0) -> None:
        for action in actions:
            match action:
                case Send(datagram):
                    self.wire.send(datagram)
                case Install(address):
                    self.interface.add(self.addresses[address])
                case Announce():
                    self.announce(action)
                    self.repeat_at = time.monotonic() + self.router.interval
                case Withdraw(address):
                    self.interface.delete(self.addresses[address])
                case StateChanged(before, after, reason):
                    self.log(before=before, state=after, reason=reason, late=round(late, 3))

    def announce(self, action: Announce) -> None:
        with suppress(OSError):  # the link is down
            self.interface.frames.send(action.frame(self.interface.mac, router=False))

    def repeat(self) -> None:
        """Announce again: the other router may have been asked while both were active."""
        self.repeat_at = math.inf
        if self.router.state == "active":
            for address in self.router.addresses:
                self.announce(Announce(address))

    def read(self) -> None:
        """Receive what has arrived."""
        with suppress(BlockingIOError):
            for _ in range(BURST):
                with suppress(MalformedPacket):
                    self.execute(self.router.receive(self.wire.receive(), time.monotonic()))

    def tick(self) -> None:
        now = time.monotonic()
        late = now - self.router.due
        self.execute(self.router.tick(now), late)
        if now >= self.repeat_at:
            self.repeat()

    def log(self, **fields: object) -> None:
        print(json.dumps({"at": time.monotonic(), "version": self.version, **fields}), flush=True)


def run(routers: list[Router], interface: Interface, process: Process | None) -> None:
    """Run until SIGTERM, or until the process ends."""
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    waker, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with selectors.DefaultSelector() as waiting:
        for file in (waker, interface.kernel, *(router.wire.socket for router in routers)):
            waiting.register(file, selectors.EVENT_READ)
        if process is not None:
            waiting.register(os.pidfd_open(process.pid), selectors.EVENT_READ)
        for router in routers:
            router.execute(router.router.link(interface.works(), time.monotonic()))
            router.execute(router.router.startup(time.monotonic()))
        while not stopping and (process is None or process.poll() is None):
            due = min(router.due for router in routers)
            waiting.select(max(due - time.monotonic(), 0.0) if due < math.inf else None)
            up = interface.works()
            for router in routers:
                router.execute(router.router.link(up, time.monotonic()))
                router.read()  # what has arrived counts before a timer that is late
                router.tick()
    for router in routers:
        router.execute(router.router.shutdown(time.monotonic()))


def endpoint(text: str) -> tuple[str, int]:
    """Read HOST:PORT.  Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host or not 0 < int(port) < 65536:  # noqa: PLR2004 - ports have 16 bits
        raise ValueError(text)
    return host.strip("[]"), int(port)


def wait_ready(place: tuple[str, int], process: Process | None) -> None:
    """Wait until an address accepts connections, or until the process ends."""
    while process is None or process.poll() is None:
        with suppress(OSError), socket.create_connection(place, 1.0):
            return
        time.sleep(0.05)


def main(settings: argparse.Namespace) -> int:
    try:
        interface = Interface(settings.interface)
        versions = sorted({each.version for each in settings.address})
        routers = [Router(interface, version, settings) for version in versions]
    except (OSError, ValueError) as error:
        raise SystemExit(f"not started: {error}") from None
    process = None
    if settings.command:  # the kernel kills it if this process is killed, also a frozen one
        command = ["setpriv", "--pdeathsig", "KILL", *settings.command]
        process = subprocess.Popen(command)
    try:
        if settings.ready:
            wait_ready(settings.ready, process)
        with suppress(PermissionError):  # a busy machine should not delay advertisements
            os.setpriority(os.PRIO_PROCESS, 0, -20)
        run(routers, interface, process)
    finally:
        if process is not None:
            process.terminate()
            process.wait()
    return 0 if process is None else process.returncode


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A router of VRRP version 3 over balancers.")
    parser.add_argument("--interface", required=True)
    parser.add_argument("--vrid", required=True, type=int, help="the virtual router, 1 to 255")
    parser.add_argument(
        "--address",
        required=True,
        action="append",
        type=ip_interface,
        metavar="ADDRESS/LENGTH",
        help="a virtual address; the first one of IPv6 must be link-local",
    )
    parser.add_argument(
        "--priority", default=100, type=int, choices=range(1, OWNER), metavar="1…254", help="100"
    )  # the owner has the addresses in any case; this program would remove them
    parser.add_argument("--interval", default=1.0, type=float, help="seconds, 1")
    parser.add_argument("--no-preempt", dest="preempt", action="store_false")
    parser.add_argument("--preempt-delay", default=0.0, type=float, help="seconds, 0")
    parser.add_argument(
        "--checksum", default="pseudo-header", choices=["pseudo-header", "plain", "either"]
    )
    parser.add_argument(
        "--ready", type=endpoint, metavar="HOST:PORT", help="where the command listens"
    )
    parser.add_argument("command", nargs="*", help="a program that lives and dies with the router")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main(options()))
