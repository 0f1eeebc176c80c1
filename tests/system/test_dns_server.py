"""The DNS server of the examples, asked by dig, while the servers of a region stop and start."""

import asyncio
import contextlib
import functools
import json
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("dns")

import dns.message

from balancers.gslb import TimeToLive
from tests.system.http_processes import EXAMPLES, LIMIT, wait_until
from tests.system.programs import program

if str(EXAMPLES) not in sys.path:
    sys.path.append(str(EXAMPLES))

import dns_answers
import dns_server

LONDON, TOKYO, NEW_YORK = (
    ["127.0.11.1", "127.0.11.2"],
    ["127.0.12.1", "127.0.12.2"],
    ["127.0.13.1", "127.0.13.2"],
)
TTL, DEGRADED = 300, 30


class Servers:
    """The servers of all regions: they accept connections, and close them."""

    def __init__(self) -> None:
        self.port = 0
        self.listening: dict[str, socket.socket] = {}

    def start(self, addresses: list[str]) -> None:
        for address in addresses:
            listener = socket.create_server((address, self.port))
            self.port = listener.getsockname()[1]
            self.listening[address] = listener
            threading.Thread(target=accept, args=(listener,), daemon=True).start()

    def stop(self, addresses: list[str]) -> None:
        for address in addresses:
            listener = self.listening.pop(address)
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # so that accept() returns
            listener.close()


def accept(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            listener.accept()[0].close()


class Answer(NamedTuple):
    """What dig has printed."""

    status: str
    flags: list[str]
    addresses: list[str]
    ttl: int | None
    subnet: str
    text: str


class Server(NamedTuple):
    """The running example."""

    process: "subprocess.Popen[bytes]"
    port: int
    output: Path
    dig: str

    def ask(self, *question: str) -> Answer:
        command = [self.dig, "@127.0.0.1", "-p", str(self.port), "+nocookie", "+tries=1"]
        run = subprocess.run(
            [*command, f"+time={LIMIT:.0f}", *question],
            capture_output=True,
            text=True,
            check=False,
            timeout=3 * LIMIT,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        text = run.stdout
        records = re.findall(r"^\S+\s+(\d+)\s+IN\s+A\s+(\S+)$", text, re.MULTILINE)
        subnet = re.search(r"^; CLIENT-SUBNET: (\S+)", text, re.MULTILINE)
        return Answer(
            re.findall(r"status: (\w+)", text)[0],
            re.findall(r"^;; flags: ([a-z ]*)", text, re.MULTILINE)[0].split(),
            [address for _, address in records],
            int(records[0][0]) if records else None,
            subnet[1] if subnet else "",
            text,
        )

    def www(self, subnet: str) -> Answer:
        """Ask for the addresses for a client, which must be answered."""
        answer = self.ask("www.example.test", "A", f"+subnet={subnet}")
        assert answer.status == "NOERROR"
        assert "aa" in answer.flags
        return answer

    def wait_for(self, subnet: str, addresses: list[str]) -> Answer:
        """Ask until the addresses are as expected."""
        answers: list[Answer] = []

        def as_expected() -> bool:
            answers.append(self.www(subnet))
            return sorted(answers[-1].addresses) == addresses

        wait_until(as_expected, f"{subnet} is answered {addresses}")
        return answers[-1]

    def wait_for_ttl(self, subnet: str, ttl: int) -> None:
        """Ask until the TTL is as expected."""
        wait_until(lambda: self.www(subnet).ttl == ttl, f"{subnet} has the TTL {ttl}")

    def tcp(self, *messages: bytes) -> list[bytes]:
        """Send messages on one TCP connection, and return what is received."""
        with socket.create_connection(("127.0.0.1", self.port), LIMIT) as client:
            for message in messages:
                client.sendall(struct.pack("!H", len(message)) + message)
            client.shutdown(socket.SHUT_WR)
            received = client.makefile("rb").read()
        answers: list[bytes] = []
        while received:
            [size] = struct.unpack("!H", received[:2])
            answers.append(received[2 : 2 + size])
            received = received[2 + size :]
        return answers

    def udp(self, *messages: bytes) -> bytes:
        """Send datagrams, and return the first answer."""
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.settimeout(LIMIT)
            for message in messages:
                client.sendto(message, ("127.0.0.1", self.port))
            return client.recv(65535)


@pytest.fixture(scope="module", name="servers")
def all_servers() -> Generator[Servers]:
    servers = Servers()
    servers.start([*LONDON, *TOKYO, *NEW_YORK])
    yield servers
    servers.stop(list(servers.listening))


@pytest.fixture(scope="module", name="server")
def a_server(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    dig = program("dig", "bind9-dnsutils")
    output = tmp_path_factory.mktemp("dns") / "output"
    command = [sys.executable, str(EXAMPLES / "dns_server.py"), "--listen", "127.0.0.1:0"]
    command += ["--port", str(servers.port), "--ttl", str(TTL), "--degraded-ttl", str(DEGRADED)]
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "\n" in output.read_text() or process.poll() is not None, "it listens")
        assert process.poll() is None, output.read_text()
        address = json.loads(output.read_text().splitlines()[0])["address"]
        yield Server(process, int(address.rpartition(":")[2]), output, dig)
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))):
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT) == 0
        assert "Traceback" not in output.read_text()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("subnet", "region", "announced"),
    [
        ("198.51.100.0/24", LONDON, "198.51.100.0/24/24"),
        ("203.0.113.0/25", TOKYO, "203.0.113.0/25/24"),  # Seoul has the same order of regions
        ("203.0.113.200/32", TOKYO, "203.0.113.200/32/24"),
        ("192.0.2.0/23", NEW_YORK, "192.0.2.0/23/24"),
        ("2001:db8:81::/56", TOKYO, "2001:db8:81::/56/48"),
        ("::ffff:203.0.113.0/120", TOKYO, "::ffff:203.0.113.0/120/120"),
        ("100.64.0.0/16", LONDON, "100.64.0.0/16/1"),  # in no known network
        ("0/0", LONDON, "0.0.0.0/0/0"),
    ],
)
def test_each_client_gets_the_nearest_region_with_its_scope(
    server: Server, subnet: str, region: list[str], announced: str
) -> None:
    answer = server.www(subnet)
    assert sorted(answer.addresses) == region
    assert (answer.ttl, answer.subnet) == (TTL, announced)


def test_a_query_without_the_option_gets_none(server: Server) -> None:
    answer = server.ask("www.example.test", "A")
    assert sorted(answer.addresses) == LONDON  # 127.0.0.1 is in no known network
    assert answer.subnet == ""
    assert "EDNS: version: 0" in answer.text
    plain = server.ask("www.example.test", "A", "+noedns")
    assert sorted(plain.addresses) == LONDON
    assert "EDNS" not in plain.text


def test_addresses_are_rotated(server: Server) -> None:
    first = [server.www("203.0.113.0/25").addresses[0] for _ in range(6)]
    assert first in ([*TOKYO] * 3, [*TOKYO[::-1]] * 3)


def test_a_region_dies_and_returns(server: Server, servers: Servers) -> None:
    assert server.wait_for("203.0.113.0/25", TOKYO).ttl == TTL
    servers.stop(TOKYO)
    moved = server.wait_for("203.0.113.0/25", LONDON)
    assert (moved.ttl, moved.subnet) == (DEGRADED, "203.0.113.0/25/24")
    assert server.www("198.51.100.0/24").ttl == TTL, "other clients do not notice"
    servers.start(TOKYO[:1])
    back = server.wait_for("203.0.113.0/25", TOKYO[:1])
    assert back.ttl == TTL
    servers.start(TOKYO[1:])
    server.wait_for("203.0.113.0/25", TOKYO)
    events = [json.loads(line) for line in server.output.read_text().splitlines()[1:]]
    assert [each["healthy"] for each in events if each["name"] == "tokyo"] == [False, True]


def test_with_every_region_down_the_nearest_is_answered(server: Server, servers: Servers) -> None:
    servers.stop([*LONDON, *TOKYO, *NEW_YORK])
    try:
        for subnet, region in (("192.0.2.0/24", NEW_YORK), ("203.0.113.0/24", TOKYO)):
            server.wait_for_ttl(subnet, DEGRADED)
            server.wait_for(subnet, region)
    finally:
        servers.start([*LONDON, *TOKYO, *NEW_YORK])
    for subnet, region in (("192.0.2.0/24", NEW_YORK), ("203.0.113.0/24", TOKYO)):
        server.wait_for_ttl(subnet, TTL)
        server.wait_for(subnet, region)


@pytest.mark.parametrize(
    ("name", "kind", "status", "authoritative"),
    [
        ("www.example.test", "AAAA", "NOERROR", True),
        ("example.test", "A", "NOERROR", True),
        ("none.example.test", "A", "NXDOMAIN", True),
        ("www.example.com", "A", "REFUSED", False),
        ("test", "A", "REFUSED", False),
    ],
)
def test_other_names_and_types_have_no_records(
    server: Server, name: str, kind: str, status: str, authoritative: bool
) -> None:
    answer = server.ask(name, kind, "+subnet=203.0.113.0/24")
    assert (answer.status, answer.addresses) == (status, [])
    assert ("aa" in answer.flags, "hostmaster" in answer.text) == (authoritative, authoritative)
    assert answer.subnet == "203.0.113.0/24/0"


@pytest.mark.parametrize(
    "option",
    [
        "000118180c0107",
        "000114000c0107",
        "000118000c010709",
        "000118000c01",
        "000121000c01070900",
        "000318000c0107",
        "000118",
        "",
    ],
)
def test_a_malformed_option_is_refused(server: Server, option: str) -> None:
    """The options of the recordings, and an empty one."""
    answer = server.ask("www.example.test", "A", f"+ednsopt=8:{option}")
    assert (answer.status, answer.addresses, answer.subnet) == ("FORMERR", [], "")


def test_other_versions_classes_and_operations_are_refused(server: Server) -> None:
    version = server.ask("www.example.test", "A", "+edns=1", "+noednsnegotiation")
    assert (version.status, version.addresses) == ("BADVERS", [])
    assert server.ask("www.example.test", "A", "-c", "CH").status == "REFUSED"
    assert server.ask("www.example.test", "A", "+opcode=2").status == "NOTIMP"


def test_queries_over_tcp(server: Server) -> None:
    answer = server.ask("www.example.test", "A", "+tcp", "+subnet=203.0.113.0/25")
    assert (sorted(answer.addresses), answer.subnet) == (TOKYO, "203.0.113.0/25/24")
    query = bytes.fromhex(
        "0001 0000 0001 0000 0000 0000 03777777 076578616d706c65 0474657374 00 00010001"
    )
    first, second, third = server.tcp(query, b"\x00\x02garbage, 16 bytes", b"\x00\x03" + query[2:])
    assert [answer[:2] for answer in (first, second, third)] == [b"\0\1", b"\0\2", b"\0\3"]
    assert [answer[3] & 15 for answer in (first, second, third)] == [0, 1, 0]


def test_a_tcp_client_that_reads_no_answers_is_disconnected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dns_server, "IDLE", 0.2)
    answers = dns_answers.Server(dns_answers.Balancer(2, 0.5), TimeToLive(60, 5))
    query = dns.message.make_query("www.example.test", "A").to_wire()
    queries = 1000 * (struct.pack("!H", len(query)) + query)

    async def send_for_ever() -> None:
        serve = functools.partial(dns_server.stream, answers)
        accepting = await asyncio.start_server(serve, "127.0.0.1", 0)
        listener = accepting.sockets[0]
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # is full early
        async with accepting, asyncio.timeout(LIMIT):
            loop = asyncio.get_running_loop()
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.setblocking(False)
                await loop.sock_connect(client, listener.getsockname())
                while True:
                    await loop.sock_sendall(client, queries)

    with pytest.raises(ConnectionError):
        asyncio.run(send_for_ever())


@pytest.mark.parametrize(
    "options",
    [
        ["--listen=5300", "--port=8080"],
        ["--listen=127.0.0.1:65536", "--port=8080"],
        ["--listen=127.0.0.1:0"],
        ["--listen=127.0.0.1:0", "--port=8080", "--interval=nan"],
        ["--listen=127.0.0.1:0", "--port=8080", "--ttl=-1"],
        ["--listen=192.0.2.1:0", "--port=8080"],  # of no interface
    ],
    ids=lambda options: options[-1],
)
def test_wrong_options_have_a_message(options: list[str]) -> None:
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / "dns_server.py"), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    assert run.returncode in {1, 2}
    assert "not started: " in run.stderr or "error: " in run.stderr
    assert "Traceback" not in run.stderr


QUERY = bytes.fromhex(
    "0001 0120 0001 0000 0000 0001 03777777 076578616d706c65 0474657374 00 0001 0001"
    "00 0029 04d0 00000000 000b 0008 0007 0001 18 00 cb0071"
)


def test_damaged_messages_are_survived(server: Server) -> None:
    rng = random.Random(14)
    damaged: list[bytes] = [QUERY[:size] for size in range(len(QUERY))]
    for _ in range(1000):
        message = bytearray(QUERY)
        for _ in range(rng.randint(1, 4)):
            message[rng.randrange(2, len(message))] = rng.randrange(256)
        damaged.append(bytes(message))
    for start in range(0, len(damaged), 20):
        server.udp(*damaged[start : start + 20], QUERY)  # waits for one answer at least
    assert server.www("203.0.113.0/25").ttl == TTL
    assert "Traceback" not in server.output.read_text()


def test_answers_and_messages_without_a_header_get_no_answer(server: Server) -> None:
    """Only the last message is answered."""
    for silent in (QUERY[:2] + b"\x80" + QUERY[3:], QUERY[:2] + b"\xff\xff", QUERY[:11], b""):
        assert server.udp(silent, b"\xff\xff" + QUERY[2:])[:2] == b"\xff\xff"
    assert server.udp(QUERY[:12])[:4] == bytes.fromhex("0001 8101")


def test_the_show_ends_by_itself() -> None:
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / "dns_server.py")],
        capture_output=True,
        text=True,
        check=False,
        timeout=6 * LIMIT,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stderr == ""
    down, _, back = run.stdout.partition("start again")
    assert "Tokyo: london, 127.0.11.1 127.0.11.2, TTL 5, scope /24" in down
    assert "Tokyo: tokyo, 127.0.12.1 127.0.12.2, TTL 60, scope /24" in back
