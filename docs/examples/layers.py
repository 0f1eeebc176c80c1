"""Two layers of balancers: a pair of L4 edges in front of two L7 proxies, which fail in turn.

    python layers.py [--sabotage random-edges]

The edges of ``l4_edge.py`` share a virtual address by ``vrrp_router.py``.  The L7 proxies are those
of ``http_proxy.py``.  Each is a network namespace.  Clients hold connections through all of it, and
send a request on each of them all the time.  The active edge is killed and comes back, then an L7
proxy is killed and comes back, then the active edge is killed again.

At the end it prints what became of the connections, and what was predicted.  The exit code is 0 if
every guarantee held.  With sabotage, the edges pick proxies at random and not by a hash.

Linux only, as root, with iproute2, nftables and util-linux.
"""

import argparse
import asyncio
import contextlib
import json
import socket
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Self

from balancers.flows import FlowKey
from balancers.hashing import Maglev
from balancers.redundancy.vrrp import longest_without_active

from lab_capture import Capture, wait_until
from lab_clients import Lateness
from namespaces import NEW_NETWORK, Lab, Node, call, missing

HERE = Path(__file__).parent
VIRTUAL, PORT = "10.77.0.100", 8080
CLIENTS = 24
EVERY = 0.1  # seconds between the requests of a connection
INTERVAL = 0.25  # seconds between advertisements
LIMIT = 30.0  # seconds for steps that take one or two
TOLERANCE = 0.3
PROBES = ["--interval=1", "--timeout=0.9"]
REQUEST = b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n"


class Connection:
    """A connection of a client: it sends requests until it breaks, and is then opened again."""

    def __init__(self) -> None:
        self.port = 0
        self.proxy = ""  # each proxy has one backend, whose name is that of the proxy
        self.opened = 0
        self.answered = 0
        self.renew = False  # whether to open another connection after the next answer

    async def use(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            with contextlib.suppress(OSError, EOFError, ValueError):
                async with asyncio.timeout(LIMIT):
                    reader, writer = await asyncio.open_connection(VIRTUAL, PORT)
                with contextlib.closing(writer):
                    self.port = writer.get_extra_info("sockname")[1]
                    self.opened += 1
                    self.renew = False
                    while not (stopping.is_set() or self.renew):
                        await self.request(reader, writer)
                        await asyncio.sleep(EVERY)
            await asyncio.sleep(EVERY)

    async def request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(REQUEST)
        async with asyncio.timeout(LIMIT):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
        if head.startswith(b"HTTP/1.1 200 "):
            self.proxy = json.loads(body)["backend"]
            self.answered += 1


class Clients(threading.Thread):
    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node
        self.connections = [Connection() for _ in range(CLIENTS)]
        self.stopping = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.join()

    def run(self) -> None:
        call("setns", self.node.file, NEW_NETWORK)  # this thread only
        asyncio.run(self.use_connections())

    async def use_connections(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for connection in self.connections:
                tasks.create_task(connection.use(self.stopping))


class Site:
    """Two edges, two proxies with a backend each, and clients."""

    def __init__(self, lab: Lab, folder: Path, algorithm: str) -> None:
        self.folder, self.algorithm = folder, algorithm
        self.capture = Capture(lab.bridge)
        self.edges = [lab.node("edge1"), lab.node("edge2")]
        self.proxies = {f"{node.address4}:{PORT}": node for node in map(lab.node, ("l7a", "l7b"))}
        self.maglev = Maglev(list(self.proxies))
        self.client = lab.node("client")
        for node in self.proxies.values():  # they have the address, but do not answer ARP for it
            node.run("ip", "address", "add", f"{VIRTUAL}/32", "dev", "lo")
            for setting, value in (("arp_ignore", 1), ("arp_announce", 2)):
                node.run("sh", "-c", f"echo {value} > /proc/sys/net/ipv4/conf/all/{setting}")
            self.start_proxy(node)
        rule = f"ip daddr {VIRTUAL} tcp dport {PORT} drop"
        chain = f"chain input {{ type filter hook input priority 0; {rule}; }}"
        for node, priority in zip(self.edges, (150, 100), strict=True):
            node.run("nft", "-f", "-", text=f"table inet edge {{\n{chain}\n}}\n")
            self.start_edge(node, priority)

    def start_proxy(self, node: Node) -> None:
        backend = f"{node.address4}:9000"
        self.run(node, "http_backend.py", backend)
        config = self.folder / f"{node.name}.json"
        pools = {"web": {"backends": {backend: 1}}}
        config.write_text(json.dumps({"pools": pools, "routes": [{"to": "web"}]}))
        self.run(node, "http_proxy.py", f"--listen=0.0.0.0:{PORT}", f"--config={config}")
        wait_until(lambda: self.serves(node), LIMIT, f"{node.name} serves")

    def start_edge(self, node: Node, priority: int) -> None:
        router = ["--interface=eth0", "--vrid=51", f"--priority={priority}"]
        router += [f"--interval={INTERVAL}", f"--address={VIRTUAL}/24", "--"]
        edge = [sys.executable, str(HERE / "l4_edge.py"), "--interface=eth0", *PROBES]
        edge += [f"--address={VIRTUAL}:{PORT}", f"--algorithm={self.algorithm}"]
        edge += [f"--proxy={name}" for name in self.proxies]
        self.run(node, "vrrp_router.py", *router, *edge)

    def run(self, node: Node, script: str, *arguments: str) -> None:
        command = [sys.executable, str(HERE / script), *arguments]
        node.start(*command, log=self.folder / f"{node.name}.log")

    def serves(self, node: Node) -> bool:
        with contextlib.closing(self.client.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
            probe.settimeout(1.0)
            return probe.connect_ex((node.address4, PORT)) == 0

    def wait_active(self, edge: Node, since: float) -> float:
        """Wait until an edge advertises and announces the address; return the first time."""
        self.capture.wait(edge, "announcement", 4, since=since, within=LIMIT)
        return self.capture.find(edge, "advert", 4, since=since)[0].at

    def picks(self, port: int) -> str:
        """Return the proxy of a connection with this port, by the hash."""
        flow = FlowKey("tcp", self.client.address4, port, VIRTUAL, PORT)
        return self.maglev.pick(flow)


class Missed(Exception):
    """A guarantee did not hold, and so the next ones mean nothing."""


class Drill:
    """The steps, and what was expected and found in each."""

    def __init__(self, site: Site, connections: list[Connection], lateness: Lateness) -> None:
        self.site, self.connections, self.lateness = site, connections, lateness
        self.begun = time.monotonic()

    def say(self, ok: bool, text: str) -> None:
        """Print a guarantee.  Raises Missed if it did not hold."""
        verdict = "ok" if ok else "MISSED"
        print(f"{time.monotonic() - self.begun:6.1f} s  {verdict}: {text}", flush=True)
        if not ok:
            raise Missed

    def all_answer(self, what: str) -> None:
        """Wait until each connection, or the one that replaces it, has got two more answers."""
        wanted = [connection.answered + 2 for connection in self.connections]

        def answered() -> bool:
            pairs = zip(self.connections, wanted, strict=True)
            return all(connection.answered >= least for connection, least in pairs)

        wait_until(answered, LIMIT, what)

    def survivors(self, before: list[int], among: list[int]) -> int:
        return sum(self.connections[each].opened == before[each] for each in among)

    def run(self) -> None:
        everyone = list(range(CLIENTS))
        site, (first, second) = self.site, self.site.edges
        site.wait_active(first, 0.0)
        self.all_answer("all connections are open")
        before = [each.opened for each in self.connections]
        self.lose_active(first, second)
        kept = self.survivors(before, everyone)
        self.say(kept == CLIENTS, f"{kept} of {CLIENTS} connections survived the loss of an edge")

        back = time.monotonic()
        site.start_edge(first, 150)
        site.wait_active(first, back)
        self.all_answer("the first edge is active again")
        kept = self.survivors(before, everyone)
        self.say(kept == CLIENTS, f"{kept} of {CLIENTS} survived its return with an empty table")
        by_hash = sum(self.where(each) == site.picks(each.port) for each in self.connections)
        self.say(by_hash == CLIENTS, f"{by_hash} of {CLIENTS} are on the proxy of their hash")

        name, lost = list(site.proxies.items())[1]
        on_lost = [each for each in everyone if self.where(self.connections[each]) == name]
        others = [each for each in everyone if each not in on_lost]
        lost.kill()
        wait_until(lambda: self.on(name) == 0, LIMIT, "no connection is on the lost proxy")
        self.all_answer("all connections are answered by the other proxy")
        kept, rest = self.survivors(before, others), len(others)
        self.say(kept == rest, f"{kept} of {rest} survived the loss of the other proxy")
        again, rest = len(on_lost) - self.survivors(before, on_lost), len(on_lost)
        self.say(again == rest, f"{again} of {rest} of the lost proxy were opened again")

        self.wait_edges(name, healthy=False)
        before = [each.opened for each in self.connections]
        for connection in self.connections:
            connection.renew = True
        wait_until(lambda: self.survivors(before, everyone) == 0, LIMIT, "all have been renewed")
        before = [each.opened for each in self.connections]
        site.start_proxy(lost)
        self.wait_edges(name, healthy=True)
        self.all_answer("the proxy is back")
        kept = self.survivors(before, everyone)
        self.say(kept == CLIENTS, f"{kept} of {CLIENTS} opened meanwhile stayed when it came back")

        moved = sum(site.picks(each.port) == name for each in self.connections)
        self.lose_active(first, second)
        gone = CLIENTS - self.survivors(before, everyone)
        text = f"{gone} broke when the edge was lost again; {moved} have the hash of that proxy"
        self.say(gone == moved, text)

    def where(self, connection: Connection) -> str:
        """Return the proxy of a connection."""
        return f"{connection.proxy.partition(':')[0]}:{PORT}"

    def on(self, proxy: str) -> int:
        return sum(self.where(each) == proxy for each in self.connections)

    def lose_active(self, first: Node, second: Node) -> None:
        """Kill the first edge, and check how long the other one takes to take over."""
        failed = time.monotonic()
        first.kill()
        at = self.site.wait_active(second, failed)
        last = self.site.capture.find(first, "advert", 4, until=at)[-1].at
        self.all_answer("the second edge is active")
        down, measured = longest_without_active(100, INTERVAL), at - last
        text = f"the other edge was active after {measured:.3f} s, the bound is {down:.3f} s"
        self.say(measured <= down + TOLERANCE + 2 * self.lateness.worst, text)

    def wait_edges(self, proxy: str, healthy: bool) -> None:
        """Wait until both edges have found a proxy healthy, or unhealthy."""
        for edge in self.site.edges:
            log = self.site.folder / f"{edge.name}.log"
            wait_until(partial(found, log, proxy, healthy), LIMIT, f"{edge.name}: {healthy=}")


def found(log: Path, proxy: str, healthy: bool) -> bool:
    """Return whether the last change in the log of an edge is that a proxy is healthy, or not."""
    lines = map(json.loads, log.read_text().rpartition("\n")[0].splitlines())
    about = [line for line in lines if line.get("backend") == proxy]
    changes = [line["began"] for line in about if line["reason"] == "unhealthy"]
    return changes[-1:] == [not healthy]


def main() -> int:
    parser = argparse.ArgumentParser(description="L4 edges in front of L7 proxies.")
    parser.add_argument("--sabotage", choices=["random-edges"])
    settings = parser.parse_args()
    if reason := missing():
        raise SystemExit(reason)
    algorithm = "RandomChoice" if settings.sabotage else "Maglev"
    try:
        with tempfile.TemporaryDirectory() as folder, Lateness() as lateness, Lab() as lab:
            site = Site(lab, Path(folder), algorithm)
            with Clients(site.client) as clients:
                Drill(site, clients.connections, lateness).run()
    except TimeoutError as error:
        print(f"MISSED: {error}\na guarantee did not hold")
        return 1
    except Missed:
        print("a guarantee did not hold")
        return 1
    print("all guarantees held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
