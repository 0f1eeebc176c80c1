"""What is seen on the wire of a lab: advertisements of VRRP, and announcements of addresses."""

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from math import inf
from typing import Literal, NamedTuple

from namespaces import Node

EVERYTHING = 0x0003  # ETH_P_ALL
STAMPS = 35  # SO_TIMESTAMPNS: the kernel adds the time at which a packet arrived
TIME = struct.Struct("ll")
IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
VRRP, ICMPV6, NEIGHBOUR_ADVERTISEMENT = 112, 58, 136
ETHERNET, IPV6_HEADER, ARP_LENGTH = 14, 40, 28
VRRP_HEADER = 8

Kind = Literal["advert", "announcement"]


class Seen(NamedTuple):
    """A packet; ``at`` is in seconds on the monotonic clock, which all namespaces share."""

    at: float
    mac: str
    kind: Kind
    family: int
    address: str  # the source of an advertisement, or the announced address
    priority: int = -1
    interval: float = 0.0  # seconds
    payload: bytes = b""


class Capture:
    """The packets that a node sees from now on; ``seen`` grows with each ``read``."""

    def __init__(self, node: Node) -> None:
        self.socket = node.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.setsockopt(socket.SOL_SOCKET, STAMPS, 1)
        self.socket.bind(("eth0", EVERYTHING))
        self.socket.setblocking(False)
        self.seen: list[Seen] = []

    def close(self) -> None:
        self.socket.close()

    def read(self) -> list[Seen]:
        """Read what has arrived; return all packets so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, ancillary, _, _ = self.socket.recvmsg(2048, 64)
                whole, nano = TIME.unpack(ancillary[0][2][: TIME.size])
                age = time.time() - whole - nano * 1e-9
                if seen := decoded(frame, time.monotonic() - age):
                    self.seen.append(seen)
        return self.seen

    def find(
        self,
        node: Node,
        kind: Kind,
        family: int,
        *,
        since: float = 0.0,
        until: float = inf,
    ) -> list[Seen]:
        """Return the packets of one kind that a node sent."""
        return [
            seen
            for seen in self.read()
            if (seen.mac, seen.kind, seen.family) == (node.mac, kind, family)
            and since <= seen.at <= until
        ]

    def wait(
        self, node: Node, kind: Kind, family: int, *, since: float, within: float, count: int = 1
    ) -> Seen:
        """Wait for a packet; return the first one, or number ``count``.  Raises TimeoutError."""
        wait_until(
            lambda: len(self.find(node, kind, family, since=since)) >= count,
            within,
            f"{count} of {kind} from {node.name}",
        )
        return self.find(node, kind, family, since=since)[count - 1]


def wait_until(condition: Callable[[], object], within: float, what: str) -> None:
    """Poll until a condition is true.  Raises TimeoutError after ``within`` seconds."""
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {within:.1f} s: {what}")
        time.sleep(0.01)


def decoded(frame: bytes, at: float) -> Seen | None:
    """Return what a frame is, or None if it is something else."""
    mac, (kind,) = frame[6:12].hex(":"), struct.unpack_from("!H", frame, 12)
    body = frame[ETHERNET:]
    if kind == ARP and len(body) >= ARP_LENGTH and body[14:18] == body[24:28]:
        return Seen(at, mac, "announcement", 4, socket.inet_ntoa(body[14:18]))
    if kind == IPV4 and body[9] == VRRP:
        source, payload = socket.inet_ntoa(body[12:16]), body[(body[0] & 15) * 4 :]
        return advert(at, mac, 4, source, payload)
    if kind == IPV6 and body[6] == VRRP:
        source = socket.inet_ntop(socket.AF_INET6, body[8:24])
        return advert(at, mac, 6, source, body[IPV6_HEADER:])
    if kind == IPV6 and body[6] == ICMPV6 and body[IPV6_HEADER] == NEIGHBOUR_ADVERTISEMENT:
        target = body[IPV6_HEADER + 8 : IPV6_HEADER + 24]
        return Seen(at, mac, "announcement", 6, socket.inet_ntop(socket.AF_INET6, target))
    return None


def advert(at: float, mac: str, family: int, source: str, payload: bytes) -> Seen | None:
    if len(payload) < VRRP_HEADER:
        return None
    priority, interval = payload[2], (payload[4] & 15) << 8 | payload[5]
    return Seen(at, mac, "advert", family, source, priority, interval / 100, payload)
