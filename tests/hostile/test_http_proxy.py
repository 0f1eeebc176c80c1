"""The HTTP proxy of the examples against hostile clients, backends and configurations."""

import contextlib
import http.client
import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("h11")

from balancers.http import read_target
from tests.depth import runs
from tests.hostile.addresses import NAMES
from tests.hostile.smuggling import (
    HEADS,
    MARK,
    changed,
    is_strict_head,
    strict_request,
    strict_requests,
)
from tests.system.http_processes import (
    EXAMPLES,
    LIMIT,
    Proxy,
    ScriptedBackend,
    connect,
    free_address,
    read_all,
    read_exactly,
    read_head,
    scripted,
    wait_until,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Handler = Callable[[socket.socket, bytes], None]
BODILESS = {204, 304}


@contextlib.contextmanager
def quiet_proxy(folder: Path, **config: Any) -> Generator[Proxy]:
    """Yield a proxy that does not run yet.  At the end, it must have written no error."""
    proxy = Proxy(folder, **config)
    proxy.errors = folder / "errors"
    try:
        yield proxy
        assert proxy.errors.read_text() == ""
    finally:
        proxy.kill()


@contextlib.contextmanager
def proxy_over(folder: Path, *handlers: Handler, **settings: object) -> Generator[Any]:
    """Run a round-robin proxy over scripted backends; yield the proxy and the backends."""
    with scripted(*handlers) as backends:
        pools = {"all": {"backends": {backend.name: 1 for backend in backends}}}
        with quiet_proxy(folder, pools=pools, routes=[{"to": "all"}]) as proxy:
            yield proxy.run(algorithm="RoundRobin", **settings), *backends
            assert proxy.process
            assert proxy.process.poll() is None


def respond_with(data: bytes) -> Handler:
    """Return a handler that responds with ``data`` after it read the head."""

    def handle(connection: socket.socket, _: bytes) -> None:
        connection.sendall(data)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
            read_all(connection)

    return handle


def exchange(proxy: Proxy, data: bytes, wait: float = LIMIT) -> bytes:
    """Send bytes; return everything until the proxy closes the connection, or is silent."""
    with connect(proxy.name) as client:
        received = b""
        client.settimeout(wait)
        with contextlib.suppress(ConnectionError, *[TimeoutError] * (wait < LIMIT)):
            client.sendall(data)
            while more := client.recv(65536):
                received += more
        return received


def status_of(response: bytes) -> int:
    assert response.startswith(b"HTTP/1.1 "), response
    return int(response[9:12])


def break_off(*_: object) -> None:
    """Read the head and close the connection."""


def respond_after_chunks(connection: socket.socket, _: bytes) -> None:
    data = b""
    while not data.endswith(b"0\r\n\r\n"):
        more = connection.recv(65536)
        if not more:
            return
        data += more
    connection.sendall(OK)


def send_pieces(proxy: Proxy, data: bytes, size: int) -> bytes:
    """Send bytes in pieces, each in a packet of its own; return the response."""
    with connect(proxy.name) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):
            for place in range(0, len(data), size):
                client.sendall(data[place : place + size])
        return read_all(client)


@contextlib.contextmanager
def flood(proxy: Proxy, head: bytes, unit: bytes) -> Generator[None]:
    """Send ``unit`` again and again on one connection, and read all responses."""
    client = connect(proxy.name)
    client.sendall(head)

    def send() -> None:
        with contextlib.suppress(OSError):
            while unit:
                client.sendall(unit)

    def receive() -> None:
        with contextlib.suppress(OSError):
            while client.recv(1 << 20):
                pass

    threads = [threading.Thread(target=task) for task in (send, receive)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(LIMIT)
        client.close()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Proxy, ScriptedBackend]]:
    """Yield a proxy over one backend that answers every request; no test changes it."""
    with proxy_over(tmp_path_factory.mktemp("plain"), respond_with(OK)) as (proxy, backend):
        yield proxy, backend


# Requests that hide another one


class Recorder(ScriptedBackend):
    """A backend that records all bytes of each connection, and responds to one strict request."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.open = 0
        super().__init__(break_off)

    def serve_connection(self, connection: socket.socket) -> None:
        self.open += 1
        data, answered = b"", False
        connection.settimeout(LIMIT)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            while more := connection.recv(65536):
                data += more
                if b"100-continue" in data and not data.endswith(b"hello"):
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                if not answered and strict_request(data):
                    answered = True
                    connection.sendall(OK.replace(b"ok", b"") if data[:4] == b"HEAD" else OK)
        if data and not data.startswith(b"GET /health "):
            self.received.append(data)
        self.open -= 1


def received_by_backends(folder: Path, requests: list[bytes], wait: float) -> list[list[bytes]]:
    """Send all requests; return what backends received of each one, per connection.

    ``wait`` is how long a client waits for the end of the connection.
    """
    recorder = Recorder()
    pools = {"all": {"backends": {recorder.name: 1}}}
    seen: list[list[bytes]] = [[] for _ in requests]
    sent = [data.replace(MARK, b"%04d" % n) for n, data in enumerate(requests)]
    with quiet_proxy(folder, pools=pools, routes=[{"to": "all"}]) as proxy:
        proxy.run(silence=1.5, head_timeout=1.5)
        with ThreadPoolExecutor(16) as clients:
            list(clients.map(partial(exchange, proxy, wait=wait), sent))
        wait_until(lambda: recorder.open == 0, "all connections are closed")
        assert status_of(exchange(proxy, b"GET / HTTP/1.0\r\n\r\n")) == 200
    recorder.close()
    for data in recorder.received:
        if number := re.search(rb"\b([0-9]{4})\b", data):
            seen[int(number[1])].append(data)
        else:
            assert is_strict_head(data), data
    return seen


def normal(target: bytes) -> bytes:
    """Return the target that is forwarded: the path without its spellings, and the query."""
    path = read_target(target.decode())
    return f"{path.path}{'?' * bool(path.query)}{path.query}".encode()


def assert_strict(sent: bytes, received: list[bytes], number: int) -> None:
    """Check that backends received at most what a strict reader sees."""
    expected = strict_requests(sent.replace(MARK, b"%04d" % number))
    remaining = [(method, normal(target), body) for method, target, body in expected]
    for data in received:
        # what reaches a backend is strict HTTP itself, with one request per connection
        assert is_strict_head(data), data
        if read := strict_request(data):  # otherwise the proxy has cut the body off
            request, rest, last = read
            assert rest == b"", data
            assert last or b"\r\nUpgrade: websocket\r\n" in data
            assert request in remaining, (sent, received)
            remaining.remove(request)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[list[bytes]]:
    """Return the bytes that backends received of each request of the battery."""
    folder = tmp_path_factory.mktemp("battery")
    return received_by_backends(folder, [head.data for head in HEADS], LIMIT)


@pytest.fixture(scope="module")
def chunked(tmp_path_factory: pytest.TempPathFactory) -> Generator[Proxy]:
    """Yield a proxy over one backend that answers after the last chunk; no test changes it."""
    with proxy_over(tmp_path_factory.mktemp("chunked"), respond_after_chunks) as (proxy, _):
        yield proxy


def test_the_battery_is_large() -> None:
    assert len(HEADS) >= 200
    assert len({head.name for head in HEADS}) == len(HEADS)


@pytest.mark.parametrize("number", range(len(HEADS)), ids=[head.name for head in HEADS])
def test_a_backend_receives_at_most_what_a_strict_reader_sees(
    seen: list[list[bytes]], number: int
) -> None:
    assert_strict(HEADS[number].data, seen[number], number)


def test_random_changes_do_not_let_more_through(tmp_path: Path) -> None:
    rng = Random(11)
    requests = [changed(rng) for _ in range(runs(3000))]
    seen = received_by_backends(tmp_path, requests, wait=0.3)
    for number, request in enumerate(requests):
        assert_strict(request, seen[number], number)
    assert sum(map(bool, seen)) > len(requests) // 20


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("two requests", 2),
        ("a length", 2),
        ("chunks", 2),
        ("a request in a body", 2),
        ("CL.TE plain", 1),
        ("TE.CL plain", 1),
        ("chunk size extension", 2),
        ("trailers a trailer", 2),
        ("absolute form with another host", 1),
        ("upgrade to HTTP/2", 2),
        ("after Connection: close", 1),
        ("Expect", 2),
        ("after a path that is refused", 1),
    ],
)
def test_requests_that_are_valid_reach_a_backend(
    seen: list[list[bytes]], name: str, count: int
) -> None:
    [number] = [n for n, head in enumerate(HEADS) if head.name == name]
    assert len(seen[number]) == count


def test_the_host_of_an_absolute_target_replaces_the_header(seen: list[list[bytes]]) -> None:
    [number] = [n for n, head in enumerate(HEADS) if head.name == "absolute form with another host"]
    [data] = seen[number]
    assert re.findall(rb"(?i)\r\nhost: ([^\r]*)", data) == [b"y"]
    assert data.startswith(b"GET /%04d/first HTTP/1.1\r\n" % number)


def test_two_lengths_close_the_connection_after_the_response(
    plain: tuple[Proxy, ScriptedBackend],
) -> None:
    chunks = b"Transfer-Encoding: chunked\r\n"
    first = b"POST / HTTP/1.1\r\nHost: x\r\n%sContent-Length: 45\r\n\r\n0\r\n\r\n" % chunks
    proxy, backend = plain
    before = len(backend.heads)
    started = time.monotonic()
    response = exchange(proxy, first + b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n")
    assert time.monotonic() - started < LIMIT  # less than the 60 s of --silence
    assert response.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close\r\n" in response
    assert backend.requests()[before:] == [b"POST / HTTP/1.1"]


def test_one_length_keeps_the_connection(plain: tuple[Proxy, ScriptedBackend]) -> None:
    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    last = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    proxy, backend = plain
    before = len(backend.heads)
    assert exchange(proxy, chunked * 3 + last).count(b"HTTP/1.1 200 OK\r\n") == 4
    assert len(backend.heads) == before + 4


@pytest.mark.parametrize("version", [b"0.9", b"1.2", b"1.9", b"2.0", b"2", b"3", b"1.10", b"3.0"])
def test_other_versions_are_505(plain: tuple[Proxy, ScriptedBackend], version: bytes) -> None:
    proxy, backend = plain
    before = len(backend.heads)
    response = exchange(proxy, b"GET / HTTP/%s\r\nHost: x\r\n\r\n" % version)
    assert status_of(response) == 505
    assert b"Connection: close\r\n" in response
    assert len(backend.heads) == before


def test_the_preface_of_http_2_is_505(plain: tuple[Proxy, ScriptedBackend]) -> None:
    proxy, _ = plain
    assert status_of(exchange(proxy, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")) == 505


@pytest.mark.parametrize("request_head", [b"CONNECT x:80", b"CONNECT /x", b"CONNECT http://x/"])
def test_no_tunnel_is_opened(plain: tuple[Proxy, ScriptedBackend], request_head: bytes) -> None:
    proxy, backend = plain
    before = len(backend.heads)
    data = b"%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % request_head
    assert status_of(exchange(proxy, data)) in {400, 501}
    assert len(backend.heads) == before


@pytest.mark.parametrize("pieces", [1, 2, 64, 1000])
@pytest.mark.parametrize("size", [65536, 65537, 70_000, 131_072])
def test_a_head_has_at_most_64_kib_whatever_its_pieces(
    plain: tuple[Proxy, ScriptedBackend], size: int, pieces: int
) -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: %s\r\n\r\n"
    head %= b"y" * (size - len(head) + 2)
    assert len(head) == size
    proxy, backend = plain
    before = len(backend.heads)
    with connect(proxy.name) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        response = b""
        with contextlib.suppress(ConnectionError):
            for place in range(0, size, size // pieces):
                client.sendall(head[place : place + size // pieces])
            response = read_all(client)
        assert len(backend.heads) - before == (size <= 65536)
        assert status_of(response) == (200 if size <= 65536 else 431)


def test_a_second_head_has_the_same_limit(plain: tuple[Proxy, ScriptedBackend]) -> None:
    first, rest = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX: "
    proxy, _ = plain
    response = exchange(proxy, first + rest + b"y" * 65536 + b"\r\n\r\n")
    assert response.count(b"HTTP/1.1 200 ") == 1
    assert response.count(b"HTTP/1.1 431 ") == 1


@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_a_head_that_comes_byte_by_byte_has_a_total_time(tmp_path: Path, before: bytes) -> None:
    with (
        proxy_over(tmp_path, respond_with(OK), head_timeout=1, silence=30) as (proxy, _),
        connect(proxy.name) as client,
    ):
        client.sendall(before)
        if before:
            read_head(client)
            assert read_exactly(client, 2) == b"ok"
        client.settimeout(0.1)
        response, started = b"", time.monotonic()
        while not response and time.monotonic() < started + LIMIT:
            client.sendall(b"G")
            with contextlib.suppress(TimeoutError):
                response = client.recv(65536)
        assert status_of(response) == 408
        assert time.monotonic() - started >= 0.9


LARGE: dict[str, Callable[[int], bytes]] = {
    "a chunk size": lambda size: b"5;%s\r\nhello\r\n0\r\n\r\n" % (b"x" * (size - 4)),
    "a second chunk size": lambda size: (
        b"1\r\nx\r\n5;%s\r\nhello\r\n0\r\n\r\n" % (b"x" * (size - 4))
    ),
    "a trailer": lambda size: b"5\r\nhello\r\n0\r\nX: %s\r\n\r\n" % (b"y" * (size - 7)),
    "trailers": lambda size: (
        b"5\r\nhello\r\n0\r\nX: %s\r\n%s\r\n"
        % (b"y" * (size - 7 - 700 * 80), (b"Y: %s\r\n" % (b"z" * 75)) * 700)
    ),
}


@pytest.mark.parametrize("size", [65536, 65537, 66_000, 100_000, 130_000])
@pytest.mark.parametrize("name", LARGE)
def test_lines_between_chunks_have_one_limit_whatever_the_packets(
    chunked: Proxy, name: str, size: int
) -> None:
    head = b"PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    data = head + LARGE[name](size)
    for piece in (len(data), 16_384, 1000):
        assert status_of(send_pieces(chunked, data, piece)) == (200 if size <= 65536 else 431)


@pytest.mark.parametrize(
    ("line", "valid"),
    [
        (b"5", True),
        (b"05", True),
        (b"5;", True),
        (b"5;x=y", True),
        (b"5 ;x", False),
        (b"5\t ; x", False),
        (b"5 ", False),
        (b"5\t", False),
        (b"5 \t ", False),
        (b" 5", False),
        (b"5 x", False),
        (b"5 ;\0", False),
    ],
)
def test_blanks_after_a_chunk_size_are_refused(chunked: Proxy, line: bytes, valid: bool) -> None:
    head = b"PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    response = exchange(chunked, head + line + b"\r\nhello\r\n0\r\n\r\n")
    assert status_of(response) == (200 if valid else 400)
    response = exchange(chunked, head + b"5\r\nhello\r\n" + line.replace(b"5", b"0") + b"\r\n\r\n")
    assert status_of(response) == (200 if valid else 400)


@pytest.mark.parametrize("status", [413, 417])
def test_an_early_response_says_that_the_connection_is_closed(tmp_path: Path, status: int) -> None:
    early = respond_with(b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno" % status)
    with proxy_over(tmp_path, early) as (proxy, _):
        for framing in (b"Content-Length: 9", b"Transfer-Encoding: chunked"):
            for expect in (b"", b"Expect: 100-continue\r\n"):
                head = b"POST / HTTP/1.1\r\nHost: x\r\n%s\r\n%s\r\n" % (framing, expect)
                response = exchange(proxy, head)
                assert status_of(response) == status
                assert response.lower().count(b"\r\nconnection: close\r\n") == 1
                assert response.endswith(b"\r\n\r\nno")


def test_a_response_after_the_whole_body_keeps_the_connection(chunked: Proxy) -> None:
    head = b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n%s\r\n"
    data = head % b"" + b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n"
    last = head % b"Connection: close\r\n" + b"0\r\n\r\n"
    response = exchange(chunked, data * 5 + last)
    assert response.count(b"HTTP/1.1 200 OK\r\n") == 6
    assert response.lower().count(b"connection: close") == 1


def test_half_a_head_is_no_error_of_the_proxy(plain: tuple[Proxy, ScriptedBackend]) -> None:
    proxy, _ = plain
    for data in (b"", b"G", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00", b"\0" * 70_000):
        with connect(proxy.name) as client, contextlib.suppress(ConnectionError):
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            read_all(client)
    assert status_of(exchange(proxy, b"GET / HTTP/1.0\r\n\r\n")) == 200


# Headers that a backend may believe


FORGED = """
    X-Real-IP X-Client-IP True-Client-IP Client-IP X-Cluster-Client-IP CF-Connecting-IP
    X-Remote-Addr X-Forwarded X-Forwarded-Host X-Forwarded-Port X-Forwarded-Server
    X-Forwarded-Prefix
    X-Forwarded-Scheme X-Forwarded-Ssl X-Forwarded-Uri X-Forwarded-Method X-Forwarded-User
    Forwarded Forwarded-For X-Original-URL X-Original-Host X-Original-Method X-Rewrite-URL X-Host
    X-Http-Method-Override X-HTTP-Method X-Method-Override X-Scheme Front-End-Https Proxy
    X-HTTP-Host-Override X-Override-URL X-Envoy-Original-Path X-Sendfile-Type X-Accel-Mapping
    X-Forward-For Http-Client-IP Real-IP Remote-Addr
"""


@pytest.mark.parametrize("source", ["127.0.0.1", "127.9.0.1"])
def test_what_a_backend_may_believe_is_not_forwarded(tmp_path: Path, source: str) -> None:
    names = FORGED.split()
    names += [name.lower() for name in names] + [name.upper() for name in names]
    names += [name.replace("-", twin) for name in names if "-" in name for twin in "_.~!"]
    lines = "".join(f"{name}: forged\r\n" for name in names)
    lines += "X_FORWARDED_FOR: forged\r\nx_forwarded-Proto: forged\r\nHost_: forged\r\n"
    lines += "Content_Length: 1\r\nTransfer_Encoding: chunked\r\nX-Kept: kept\r\n"
    with scripted(respond_with(OK)) as [backend]:
        pools = {"all": {"backends": {backend.name: 1}}}
        config: dict[str, Any] = {"pools": pools, "routes": [{"to": "all"}]}
        with quiet_proxy(tmp_path, trusted=["127.9.0.0/16"], **config) as proxy:
            proxy.run()
            host, _, port = proxy.name.rpartition(":")
            with socket.create_connection((host, int(port)), LIMIT, (source, 0)) as client:
                client.sendall(f"GET / HTTP/1.0\r\n{lines}\r\n".encode())
                assert status_of(read_all(client)) == 200
        [head] = backend.heads
    assert b"forged" not in head
    assert b"_" not in head
    assert b"X-Kept: kept\r\n" in head
    assert head.lower().count(b"x-forwarded-for:") == head.lower().count(b"x-forwarded-proto:") == 1


# Outcomes that a client can cause


def events_of(proxy: Proxy, reason: str) -> int:
    return sum(x["reason"] == reason and x["began"] for x in proxy.lines_with("reason"))


def break_off_at_die(connection: socket.socket, head: bytes) -> None:
    """Break the connection for one path, like a process that a request kills."""
    if b" /die " not in head.partition(b"\r\n")[0]:
        respond_with(OK)(connection, head)


def test_a_request_that_breaks_every_backend_closes_none(tmp_path: Path) -> None:
    handlers = [break_off_at_die] * 3
    with proxy_over(tmp_path, *handlers, fall=1, fail_timeout=60) as (proxy, *backends):
        for _ in range(6):
            assert status_of(exchange(proxy, b"GET /die HTTP/1.0\r\n\r\n")) == 502
        assert {ok for _, ok in proxy.attempts("GET /die", 18)} == {None}
        assert events_of(proxy, "failing") == 0
        for _ in range(3):
            assert status_of(exchange(proxy, b"GET / HTTP/1.0\r\n\r\n")) == 200
        names = {name for name, _ in proxy.attempts("GET /", 3)}
        assert names == {backend.name for backend in backends}


def test_a_broken_connection_counts_if_another_backend_answers(tmp_path: Path) -> None:
    with proxy_over(tmp_path, break_off, respond_with(OK), fall=3, fail_timeout=60) as (
        proxy,
        bad,
        good,
    ):
        for _ in range(12):
            assert status_of(exchange(proxy, b"GET / HTTP/1.0\r\n\r\n")) == 200
        assert [ok for name, ok in proxy.attempts("GET /", 15) if name == bad.name] == [False] * 3
        assert len(good.heads) == 12


def test_a_broken_connection_counts_if_the_request_is_not_repeated(tmp_path: Path) -> None:
    with proxy_over(tmp_path, break_off, respond_with(OK), fall=3, fail_timeout=60) as (
        proxy,
        bad,
        _,
    ):
        for _ in range(12):
            exchange(proxy, b"POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
        assert len(bad.heads) == 3


def test_a_client_that_stops_sending_closes_no_backend(tmp_path: Path) -> None:
    def lose_patience(connection: socket.socket, _: bytes) -> None:
        read_exactly(connection, 3)

    with proxy_over(tmp_path, lose_patience, lose_patience, fall=1, fail_timeout=60) as (proxy, *_):
        for _ in range(3):
            data = b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"
            assert status_of(exchange(proxy, data)) == 502
        assert {ok for _, ok in proxy.attempts("POST /slow", 3)} == {None}
        assert events_of(proxy, "failing") == 0


@pytest.mark.parametrize(
    "limits", [{"attempts": 1}, {"retry_share": 0, "min_retries": 0}, {"min_retries": 1}, {}]
)
def test_a_request_that_could_not_be_repeated_closes_none(
    tmp_path: Path, limits: dict[str, object]
) -> None:
    handlers = [break_off_at_die] * 3
    with (
        proxy_over(tmp_path, *handlers, fall=1, fail_timeout=60, **limits) as (proxy, *backends),
        ThreadPoolExecutor(30) as clients,
    ):
        responses = clients.map(partial(exchange, proxy), [b"GET /die HTTP/1.0\r\n\r\n"] * 60)
        assert {status_of(response) for response in responses} == {502}
        assert {ok for _, ok in proxy.attempts("GET /die", 60)} == {None}
        assert events_of(proxy, "failing") == 0
        for _ in range(3):
            assert status_of(exchange(proxy, b"GET / HTTP/1.0\r\n\r\n")) == 200
        names = {name for name, _ in proxy.attempts("GET /", 3)}
        assert names == {backend.name for backend in backends}


HALVES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhalf\r\n",
]


@pytest.mark.parametrize("half", HALVES)
def test_a_page_that_breaks_off_in_its_response_counts_on_its_one_backend(
    tmp_path: Path, half: bytes
) -> None:
    def break_off_at_half(connection: socket.socket, head: bytes) -> None:
        respond_with(half if b" /half " in head else OK)(connection, head)

    handlers = [break_off_at_half] * 2
    with proxy_over(tmp_path, *handlers, fall=3, fail_timeout=60) as (proxy, *_):
        for _ in range(2):
            exchange(proxy, b"GET /half HTTP/1.0\r\n\r\n")
        assert [ok for _, ok in proxy.attempts("GET /half", 2)] == [False, False]
        exchange(proxy, b"POST /half HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
        assert [ok for _, ok in proxy.attempts("POST /half", 1)] == [False]


def test_a_body_that_is_not_read_during_a_response_closes_none(tmp_path: Path) -> None:
    """A client could close each backend by a large body for a page that takes long to send."""

    def stream(connection: socket.socket, head: bytes) -> None:
        if b" /stream " not in head:
            respond_with(OK)(connection, head)
            return
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n")
        for _ in range(12):
            connection.sendall(b"x")
            time.sleep(0.2)

    limits = {"fall": 1, "fail_timeout": 60, "silence": 1, "interval": 30, "timeout": 20}
    with proxy_over(tmp_path, stream, **limits) as (proxy, _), connect(proxy.name) as client:
        length = 1 << 24
        client.sendall(b"POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length)
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                client.send(bytes(65536))
        client.settimeout(LIMIT)
        with contextlib.suppress(ConnectionError):
            read_all(client)
        [(_, ok)] = proxy.attempts("POST /stream", 1)
        assert ok is not False
        assert events_of(proxy, "failing") == 0


def test_a_broken_connection_counts_if_there_is_no_other_backend(tmp_path: Path) -> None:
    with proxy_over(tmp_path, break_off, fall=3, fail_timeout=60) as (proxy, _):
        for _ in range(3):
            assert status_of(exchange(proxy, b"GET / HTTP/1.0\r\n\r\n")) == 502
        assert [ok for _, ok in proxy.attempts("GET /", 3)] == [False] * 3
        wait_until(lambda: events_of(proxy, "failing"), "the backend is closed")


def test_a_backend_that_breaks_all_connections_is_closed_by_probes(tmp_path: Path) -> None:
    class Broken(ScriptedBackend):
        def serve_connection(self, connection: socket.socket) -> None:
            with contextlib.suppress(OSError), contextlib.closing(connection):
                read_head(connection)
                connection.sendall(self.data)

        data = b""

    for number, data in enumerate([b"", *HALVES]):
        broken = Broken(break_off)
        broken.data = data
        (folder := tmp_path / str(number)).mkdir()
        with scripted(respond_with(OK)) as [good]:
            pools = {"all": {"backends": {broken.name: 1, good.name: 1}}}
            with quiet_proxy(folder, pools=pools, routes=[{"to": "all"}]) as proxy:
                proxy.run(fall=2, interval=0.6, timeout=0.5, algorithm="RoundRobin")
                wait_until(partial(events_of, proxy, "unhealthy"), "the backend is unhealthy")
                for _ in range(4):
                    assert status_of(exchange(proxy, b"GET / HTTP/1.0\r\n\r\n")) == 200
                assert len(good.heads) == 4
        broken.close()


def test_a_backend_that_does_not_read_the_body_has_failed(tmp_path: Path) -> None:
    done = threading.Event()

    def ignore(*_: object) -> None:
        done.wait(LIMIT)

    with proxy_over(tmp_path, ignore, silence=1) as (proxy, backend):
        with connect(proxy.name) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n\r\n")

            def upload() -> None:
                with contextlib.suppress(OSError):
                    for _ in range(60):
                        client.sendall(b"x" * 1_000_000)

            uploading = threading.Thread(target=upload)
            uploading.start()
            assert read_head(client).startswith(b"HTTP/1.1 504 ")
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            uploading.join(LIMIT)
        assert proxy.attempts("POST /", 1) == [(backend.name, False)]
        [line] = proxy.lines_with("request")
        assert line["why"].startswith("no response: ")
        done.set()


@pytest.mark.parametrize(("attempts", "expected"), [(1, 1), (2, 2), (3, 3), (9, 5)])
def test_attempts_have_a_limit(tmp_path: Path, attempts: int, expected: int) -> None:
    with proxy_over(tmp_path, *[break_off] * 5, attempts=attempts) as (proxy, *backends):
        assert status_of(exchange(proxy, b"GET / HTTP/1.0\r\n\r\n")) == 502
        assert sum(len(backend.heads) for backend in backends) == expected


def test_by_default_three_backends_are_tried(tmp_path: Path) -> None:
    with proxy_over(tmp_path, *[break_off] * 5) as (proxy, *backends):
        assert status_of(exchange(proxy, b"GET / HTTP/1.0\r\n\r\n")) == 502
        assert sum(len(backend.heads) for backend in backends) == 3


def test_a_page_that_answers_500_moves_no_session(tmp_path: Path) -> None:
    failing = respond_with(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
    with scripted(failing, failing) as backends:
        shop = {"backends": [backend.name for backend in backends], "cookie": "home"}
        config: dict[str, Any] = {"pools": {"shop": shop}, "routes": [{"to": "shop"}]}
        with quiet_proxy(tmp_path, **config) as proxy:
            proxy.run(fall=3, fail_timeout=60)
            response = exchange(proxy, b"GET /home HTTP/1.0\r\n\r\n")
            cookie = re.findall(rb"Set-Cookie: (home=[^;]+)", response)
            for _ in range(10):
                exchange(proxy, b"GET /broken HTTP/1.0\r\n\r\n")
            for _ in range(3):
                exchange(proxy, b"GET /home HTTP/1.0\r\nCookie: %s\r\n\r\n" % cookie[0])
            assert len({name for name, _ in proxy.attempts("GET /home", 4)}) == 1
            assert {ok for _, ok in proxy.attempts("GET /broken", 10)} == {True}
            assert events_of(proxy, "failing") == 0


# Hostile backends


HEADERS = b"Content-Length: 2\r\n"
RESPONSES = {
    "splitting by LF": b"HTTP/1.1 200 OK\nX: y\nContent-Length: 2\n\nok",
    "CR in a value": b"HTTP/1.1 200 OK\r\nX: y\rSet-Cookie: a=b\r\n" + HEADERS + b"\r\nok",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nX: \0\r\n" + HEADERS + b"\r\nok",
    "folded": b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n" + HEADERS + b"\r\nok",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\nok",
    "equal lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + HEADERS + b"\r\nok",
    "length and chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
    + HEADERS
    + b"\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "more than the length": b"HTTP/1.1 200 OK\r\n" + HEADERS + b"\r\nok" + OK * 2,
    "less than the length": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2_0\r\nok",
    "HTTP/1.0 with chunks": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\nok",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n" + HEADERS + b"\r\nok",
    "HTTP/0.9": b"ok",
    "empty": b"",
    "only a line end": b"\r\n\r\n",
    "no reason": b"HTTP/1.1 200\r\n" + HEADERS + b"\r\nok",
    "strange reason": b"HTTP/1.1 200 \x01\xff\r\n" + HEADERS + b"\r\nok",
    "status 0": b"HTTP/1.1 000 ?\r\n\r\n",
    "status 99": b"HTTP/1.1 099 ?\r\n\r\n",
    "status 600": b"HTTP/1.1 600 ?\r\n" + HEADERS + b"\r\nok",
    "status 999": b"HTTP/1.1 999 ?\r\n" + HEADERS + b"\r\nok",
    "status of four digits": b"HTTP/1.1 2000 ?\r\n" + HEADERS + b"\r\nok",
    "101 without asking": b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\nGET / HTTP/1.1\r\n",
    "204 with a length": b"HTTP/1.1 204 No\r\n" + HEADERS + b"\r\nok",
    "204 with chunks": b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "304 with a length": b"HTTP/1.1 304 Same\r\nContent-Length: 99\r\n\r\n",
    "304 with a body": b"HTTP/1.1 304 Same\r\n" + HEADERS + b"\r\nok",
    "205 with a length": b"HTTP/1.1 205 Reset\r\n" + HEADERS + b"\r\nok",
    "1xx with a length": b"HTTP/1.1 103 Early\r\n" + HEADERS + b"Link: x\r\n\r\n" + OK,
    "1xx with hop-by-hop headers": b"HTTP/1.1 103 Early\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\n"
    b"Keep-Alive: 5\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\nLink: x\r\n\r\n" + OK,
    "1xx of HTTP/1.0": b"HTTP/1.0 103 Early\r\nLink: x\r\n\r\n" + OK,
    "100 without asking": b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    "endless 1xx": b"HTTP/1.1 102 Processing\r\n\r\n" * 5000,
    "20 times 1xx": b"HTTP/1.1 102 Processing\r\n\r\n" * 20 + OK,
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
    "endless line": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000,
    "endless trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"
    + b"X: y\r\n" * 50_000,
    "trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nok\r\n0\r\nX: y\r\n\r\n",
    "hop-by-hop headers": b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n"
    b"Keep-Alive: 5\r\nProxy-Connection: x\r\nUpgrade: h2c\r\n" + HEADERS + b"\r\nok",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
}
ACCEPTED = {
    *("splitting by LF", "folded", "equal lengths", "length and chunks", "more than the length"),
    *("HTTP/1.0 with chunks", "HTTP/1.0", "HTTP/2", "no reason", "strange reason", "status 600"),
    *("status 999", "205 with a length", "1xx with a length", "1xx with hop-by-hop headers"),
    *("1xx of HTTP/1.0", "100 without asking", "20 times 1xx", "trailers", "hop-by-hop headers"),
}


@pytest.fixture(scope="module")
def received(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, bytes]]:
    """Return what a client receives whose backend sends one of the responses, and then ``OK``."""

    def handle(connection: socket.socket, head: bytes) -> None:
        number = re.match(rb"GET /([0-9]+) ", head)
        data = [*RESPONSES.values()][int(number[1])] if number else OK
        respond_with(data)(connection, head)

    with scripted(handle) as [backend]:
        pools = {"all": {"backends": {backend.name: 1}}}
        config: dict[str, Any] = {"pools": pools, "routes": [{"to": "all"}]}
        with quiet_proxy(tmp_path_factory.mktemp("responses"), **config) as proxy:
            proxy.run(silence=3)
            last = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            sent = [
                b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n%s" % (n, last) for n in range(len(RESPONSES))
            ]
            with ThreadPoolExecutor(8) as clients:
                answers = list(clients.map(partial(exchange, proxy), sent))
        yield dict(zip(RESPONSES, answers, strict=True))


class Bytes:
    """A socket for http.client that contains a response."""

    def __init__(self, data: io.BytesIO) -> None:
        self.data = data

    def makefile(self, *_: object) -> io.BytesIO:
        return self.data


@pytest.mark.parametrize("name", RESPONSES)
def test_whatever_a_backend_sends_the_client_gets_valid_responses(
    received: dict[str, bytes], name: str
) -> None:
    data = received[name]
    while data.startswith(b"HTTP/1.1 1"):
        interim, _, data = data.partition(b"\r\n\r\n")
        lines = interim.lower().split(b"\r\n")[1:]
        assert all(line.startswith(b"link: ") for line in lines), interim
    if not data:
        return  # an incomplete response: the proxy reset the connection
    stream = io.BytesIO(data)
    answers: list[tuple[int, bytes]] = []
    while stream.tell() < len(data):
        assert data[stream.tell() :].startswith(b"HTTP/1.1 "), data
        response: Any = http.client.HTTPResponse(Bytes(stream), method="GET")  # type: ignore[arg-type]  # has makefile
        stream.close = lambda: None  # type: ignore[method-assign]  # the next response follows
        response.begin()
        headers = [header.lower() for header in response.headers]
        assert len(headers) == len(set(headers))
        assert not {"content-length", "transfer-encoding"} <= set(headers)
        assert not {"keep-alive", "proxy-connection", "x-hop", "upgrade"} & set(headers)
        if response.status == 204:
            assert "content-length" not in headers
        try:
            body = response.read()
        except http.client.IncompleteRead:
            assert stream.tell() == len(data)
            break
        assert body == b"" or response.status not in BODILESS
        answers.append((response.status, body))
    if name in ACCEPTED:
        assert answers[0][1] == b"ok"
    if name.startswith(("204", "304")):
        assert answers[0][0] == int(name[:3])
    assert answers[1:] in ([], [(200, b"ok")])
    if answers and answers[0][0] < 500:
        assert len(answers) == 2, data  # the connection is still usable


@pytest.mark.parametrize("name", sorted(RESPONSES.keys() - ACCEPTED))
def test_a_faulty_response_is_502_or_breaks_off(received: dict[str, bytes], name: str) -> None:
    if not name.startswith(("204", "304")):
        final = re.sub(rb"(?s)\A(?:HTTP/1.1 1.*?\r\n\r\n)*", b"", received[name])
        partial = name in {"less than the length", "bad chunk", "endless trailers"}
        assert final.startswith(b"HTTP/1.1 502 ") or (partial and b"\r\n0\r\n\r\n" not in final)


def test_a_length_of_304_stays(received: dict[str, bytes]) -> None:
    assert b"Content-Length: 99\r\n" in received["304 with a length"]


def test_a_response_head_that_comes_byte_by_byte_is_502(tmp_path: Path) -> None:
    def trickle(connection: socket.socket, _: bytes) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    with proxy_over(tmp_path, trickle, head_timeout=0.5, silence=30) as (proxy, _):
        assert status_of(exchange(proxy, b"GET / HTTP/1.0\r\n\r\n")) == 502


# Configurations


GOOD = {"pools": {"all": {"backends": {"127.0.0.1:9": 1}}}, "routes": [{"to": "all"}]}


def with_pool(**fields: object) -> str:
    pool: dict[str, object] = {"backends": {"127.0.0.1:9": 1}, **fields}
    return json.dumps({**GOOD, "pools": {"all": pool}})


FILES = {
    **{f"backend {name!r}": with_pool(backends={"127.0.0.1:9": 1, name: 1}) for name in NAMES},
    **{f"backend {name!r} in a list": with_pool(backends=[name]) for name in NAMES[:3]},
    "backends as a text": with_pool(backends="127.0.0.1:9"),
    "backends null": with_pool(backends=None),
    "backend as a number": with_pool(backends=[9]),
    "a backend twice": with_pool().replace(
        '"127.0.0.1:9": 1', '"127.0.0.1:9": 1, "127.0.0.1:9": 2'
    ),
    "a weight of NaN": with_pool(backends={"127.0.0.1:9": float("nan")}),
    "an endless weight": with_pool(backends={"127.0.0.1:9": float("inf")}),
    "a negative weight": with_pool(backends={"127.0.0.1:9": -1}),
    "a text as a weight": with_pool(backends={"127.0.0.1:9": "1"}),
    "null as a weight": with_pool(backends={"127.0.0.1:9": None}),
    "a huge weight": with_pool().replace(": 1}", ": 1" + "0" * 400 + "}"),
    "drain of an unknown backend": with_pool(drain=["127.0.0.1:8"]),
    "drain as a text": with_pool(drain="127.0.0.1:9"),
    "drain null": with_pool(drain=None),
    "drain as an empty text": with_pool(drain=""),
    "drain as an object": with_pool(drain={}),
    "an unknown key of a pool": with_pool(cooky="home"),
    "a private key of a pool": with_pool(own_name="x", tokens=1),
    "a bad cookie name": with_pool(cookie="a b"),
    "a cookie name with a line end": with_pool(cookie="a\r\nX: y"),
    "a number as a cookie": with_pool(cookie=5),
    "an empty cookie name": with_pool(cookie=""),
    "0 as a cookie": with_pool(cookie=0),
    "a list as a cookie": with_pool(cookie=[]),
    "an unknown key": json.dumps({**GOOD, "nonsense": 1}),
    "no pools": json.dumps({"routes": []}),
    "no routes": json.dumps({"pools": {}}),
    "pools as a list": json.dumps({"pools": [], "routes": []}),
    "pools null": json.dumps({"pools": None, "routes": []}),
    "a pool as a list": json.dumps({"pools": {"all": []}, "routes": []}),
    "routes null": json.dumps({**GOOD, "routes": None}),
    "routes as an object": json.dumps({**GOOD, "routes": {}}),
    "routes as an empty text": json.dumps({**GOOD, "routes": ""}),
    "rules of paths as a list": json.dumps({**GOOD, "paths": []}),
    "routes as a number": json.dumps({**GOOD, "routes": 5}),
    "a route as a text": json.dumps({**GOOD, "routes": ["all"]}),
    "a route to nothing": json.dumps({**GOOD, "routes": [{"to": None}]}),
    "a route to a number": json.dumps({**GOOD, "routes": [{"to": 5}]}),
    "an empty split": json.dumps({**GOOD, "routes": [{"to": {}}]}),
    "a split of NaN": json.dumps({**GOOD, "routes": [{"to": {"all": float("nan")}}]}),
    "an unknown condition": json.dumps({**GOOD, "routes": [{"to": "all", "pathh": "/"}]}),
    "a bad network": json.dumps({**GOOD, "trusted": ["10.0.0.0/99"]}),
    "networks as a text": json.dumps({**GOOD, "trusted": "10.0.0.0/8"}),
    "networks as a number": json.dumps({**GOOD, "trusted": 5}),
    "a bad visitor": json.dumps({**GOOD, "visitor": "a;b"}),
    "an empty visitor": json.dumps({**GOOD, "visitor": ""}),
    "a number as a visitor": json.dumps({**GOOD, "visitor": 5}),
    "one name for the visitor and a session": json.dumps(
        {**json.loads(with_pool(cookie="home")), "visitor": "home"}
    ),
    "unknown rules of paths": json.dumps({**GOOD, "paths": {"slashes": "keep"}}),
    "a bad rule of paths": json.dumps({**GOOD, "paths": {"parameters": "maybe"}}),
    "rules of paths as a text": json.dumps({**GOOD, "paths": "keep"}),
    "an empty file": "",
    "no JSON": "{",
    "a list": "[]",
    "null": "null",
    "a number": "5",
    "a text": '"x"',
    "deep lists": "[" * 200_000,
    "deep objects": '{"pools":' * 100_000,
    "a number of many digits": "9" * 5000,
}


def start(folder: Path, text: str | bytes, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Start the proxy with a configuration that is invalid; return how it ended."""
    config = folder / "config"
    config.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    command = [sys.executable, str(EXAMPLES / "http_proxy.py"), f"--listen={free_address()}"]
    command += [f"--config={config}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)


def assert_not_started(ended: "subprocess.CompletedProcess[str]") -> None:
    assert ended.returncode == 1
    assert ended.stderr.startswith("not started: ")
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr) < 1000


@pytest.mark.parametrize("name", ["backend 'localhost'", "null", "deep lists"])
def test_an_invalid_configuration_is_a_short_message_at_start(tmp_path: Path, name: str) -> None:
    assert_not_started(start(tmp_path, FILES[name]))


@pytest.mark.parametrize("keys", [b"\n\n", b"x" * 16 + b"\n" + b"x" * 16])
def test_invalid_keys_are_a_short_message_at_start(tmp_path: Path, keys: bytes) -> None:
    (tmp_path / "keys").write_bytes(keys)
    ended = start(tmp_path, json.dumps(GOOD), f"--keys={tmp_path / 'keys'}")
    assert_not_started(ended)
    assert "xxxx" not in ended.stderr


@pytest.mark.parametrize(
    "option",
    [
        *("--attempts=0", "--silence=0", "--silence=-1", "--head-timeout=nan", "--interval=0"),
        *("--timeout=inf", "--drain-timeout=x", "--fall=1.5"),
    ],
)
def test_numbers_out_of_range_are_refused_with_the_name_of_the_option(
    tmp_path: Path, option: str
) -> None:
    ended = start(tmp_path, json.dumps(GOOD), option)
    assert ended.returncode == 2
    assert option.partition("=")[0] in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        *("--listen=a..b:80", "--keys=/missing", "--retry-share=2", "--min-retries=-1"),
        *("--algorithm=nope", "--fall=0", "--timeout=5"),
    ],
)
def test_invalid_options_are_a_short_message_at_start(tmp_path: Path, arguments: str) -> None:
    assert_not_started(start(tmp_path, json.dumps(GOOD), arguments))


def test_bytes_that_are_no_text_are_a_short_message_at_start(tmp_path: Path) -> None:
    assert_not_started(start(tmp_path, b"\xff\xfe" + b"x" * 10_000))


def test_no_file_that_is_read_again_stops_the_proxy(tmp_path: Path) -> None:
    """All files, one after another, are not read; the backend of the first one still answers."""
    with scripted(respond_with(OK)) as [backend]:
        pool = {"backends": {backend.name: 1}}
        keys = tmp_path / "keys"
        keys.write_bytes(b"a secret of 16 bytes or more")
        config: dict[str, Any] = {"pools": {"all": pool}, "routes": [{"to": "all"}]}
        with quiet_proxy(tmp_path, **config) as proxy:
            proxy.run(keys=keys)
            for name, text in FILES.items():
                (tmp_path / "config").write_bytes(text.encode("utf-8", "surrogatepass"))
                assert proxy.read_again().startswith("not read: "), name
            (tmp_path / "config").write_bytes(b"\xff")
            assert proxy.read_again().startswith("not read: UnicodeDecodeError: ")
            (tmp_path / "config").unlink()
            assert proxy.read_again().startswith("not read: FileNotFoundError: ")
            proxy.write()
            keys.write_bytes(b"short, but secret")
            keys.write_bytes(b"secret")
            refused = proxy.read_again()
            assert refused.startswith("not read: InvalidSetting: ")
            assert "secret" not in refused.replace("InvalidSetting", "")
            assert all(
                len(line["configuration"]) < 1000 for line in proxy.lines_with("configuration")
            )
            assert status_of(exchange(proxy, b"GET / HTTP/1.0\r\n\r\n")) == 200
            assert proxy.attempts("GET /", 1) == [(backend.name, True)]
            keys.write_bytes(b"a secret of 16 bytes or more")
            assert proxy.read_again() == "read"


def test_a_configuration_that_is_not_read_keeps_the_keys(tmp_path: Path) -> None:
    with scripted(respond_with(OK), respond_with(OK)) as backends:
        shop = {"backends": [backend.name for backend in backends], "cookie": "home"}
        config: dict[str, Any] = {"pools": {"shop": shop}, "routes": [{"to": "shop"}]}
        keys = tmp_path / "keys"
        keys.write_bytes(b"the first secret of the shop")
        with quiet_proxy(tmp_path, **config) as proxy:
            proxy.run(keys=keys)
            response = exchange(proxy, b"GET / HTTP/1.0\r\n\r\n")
            [cookie] = re.findall(rb"Set-Cookie: (home=[^;]+)", response)
            keys.write_bytes(b"another secret of the shop")
            (tmp_path / "config").write_text("{")
            assert proxy.read_again().startswith("not read: ")
            for _ in range(4):
                exchange(proxy, b"GET / HTTP/1.0\r\nCookie: %s\r\n\r\n" % cookie)
            assert len({name for name, _ in proxy.attempts("GET /", 5)}) == 1


@pytest.mark.parametrize("path", ["no slash", "/x y", "/\r\nX: y", "/ü", ""])
def test_an_odd_health_path_is_a_failed_probe(tmp_path: Path, path: str) -> None:
    both = respond_with(OK), respond_with(OK)
    with proxy_over(tmp_path, *both, health_path=path, fall=1) as (proxy, *_):
        wait_until(lambda: events_of(proxy, "unhealthy") == 2, "both backends are unhealthy")
        assert status_of(exchange(proxy, b"GET / HTTP/1.0\r\n\r\n")) == 200


def test_a_backend_that_sends_garbage_to_probes_stops_nothing(tmp_path: Path) -> None:
    class Garbage(ScriptedBackend):
        def serve_connection(self, connection: socket.socket) -> None:
            with contextlib.suppress(OSError), contextlib.closing(connection):
                read_head(connection)
                connection.sendall(b"\0\xff" * 50_000)

    backend = Garbage(break_off)
    pools = {"all": {"backends": {backend.name: 1}}}
    with quiet_proxy(tmp_path, pools=pools, routes=[{"to": "all"}]) as proxy:
        proxy.run(fall=1)
        wait_until(lambda: events_of(proxy, "unhealthy"), "the backend is unhealthy")
        assert status_of(exchange(proxy, b"GET / HTTP/1.0\r\n\r\n")) == 502
        proxy.signal(signal.SIGTERM)
        assert proxy.process
        assert proxy.process.wait(LIMIT) == 0
    backend.close()


# Rules of paths, and contexts of sessions


TARGETS: list[tuple[dict[str, str], str, str | None]] = [
    ({}, "/;x/admin", None),
    ({}, "/admin;x/users", None),
    ({}, "/admin%3Bx/users", None),
    ({}, "/a%2Fb", None),
    ({}, "/a//b", "/a/b"),
    ({"parameters": "keep"}, "/a;x/b", "/a;x/b"),
    ({"parameters": "strip"}, "/a;x/b?q=;", "/a/b?q=;"),
    ({"encoded_slash": "keep"}, "/a%2fb", "/a%2Fb"),
    ({"encoded_backslash": "keep"}, "/a%5cb", "/a%5Cb"),
    ({"repeated_slashes": "keep"}, "/a//b", "/a//b"),
    ({"repeated_slashes": "refuse"}, "/a//b", None),
]


def test_the_path_that_was_matched_is_forwarded(tmp_path: Path) -> None:
    with scripted(respond_with(OK)) as [backend]:
        pools = {"all": {"backends": {backend.name: 1}}}
        config: dict[str, Any] = {"pools": pools, "routes": [{"to": "all"}]}
        with quiet_proxy(tmp_path, **config) as proxy:
            proxy.run()
            for rules, target, forwarded in TARGETS:
                if rules:
                    assert proxy.configure(paths=rules) == "read"
                before = len(backend.heads)
                status = status_of(exchange(proxy, f"GET {target} HTTP/1.0\r\n\r\n".encode()))
                assert status == (200 if forwarded else 400), target
                expected = [f"GET {forwarded} HTTP/1.1".encode()] * bool(forwarded)
                assert backend.requests()[before:] == expected


def test_a_token_of_one_pool_is_forged_in_another(tmp_path: Path) -> None:
    with scripted(respond_with(OK)) as [backend]:
        pool = {"backends": {backend.name: 1}, "cookie": "home"}
        routes = [{"prefix": "/shop", "to": "shop"}, {"prefix": "/admin", "to": "admin"}]
        with quiet_proxy(tmp_path, pools={"shop": pool, "admin": pool}, routes=routes) as proxy:
            proxy.run()
            response = exchange(proxy, b"GET /shop HTTP/1.0\r\n\r\n")
            [cookie] = re.findall(rb"Set-Cookie: (home=[^;]+)", response)
            for path in (b"/shop", b"/admin"):
                exchange(proxy, b"GET %s HTTP/1.0\r\nCookie: %s\r\n\r\n" % (path, cookie))
            proxy.attempts("GET /admin", 1)
            sessions = [line["session"] for line in proxy.lines_with("session")]
        assert sessions == ["absent", "", "forged"]


def test_many_clients_that_send_nothing_do_not_stop_others(tmp_path: Path) -> None:
    with proxy_over(tmp_path, respond_with(OK)) as (proxy, _), contextlib.ExitStack() as idle:
        for _ in range(200):
            idle.enter_context(connect(proxy.name)).sendall(b"GET / HTTP/1.1\r\n")
        threads = [
            threading.Thread(target=exchange, args=(proxy, b"GET / HTTP/1.0\r\n\r\n"))
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)
        assert len(proxy.attempts("GET /", 20)) == 20


# Connections that send very much at once


CHUNKED = b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\n"
SMALL_CHUNKS = b"1\r\nx\r\n" * 10_000
FLOODS = {
    "chunks": (b"POST /sink HTTP/1.1\r\n" + CHUNKED, SMALL_CHUNKS),
    "requests that are refused": (b"", b"GET /;x HTTP/1.1\r\nHost: x\r\n\r\n" * 2000),
    "chunks of a response": (b"GET /source HTTP/1.1\r\nHost: x\r\n\r\n", b""),
    "chunks for a client of HTTP/1.0": (b"GET /source HTTP/1.0\r\n\r\n", b""),
}


@pytest.mark.parametrize("name", FLOODS)
def test_many_small_events_of_one_connection_do_not_stop_others(tmp_path: Path, name: str) -> None:
    def handle(connection: socket.socket, head: bytes) -> None:
        if head.startswith(b"POST /sink "):
            read_all(connection)
        elif head.startswith(b"GET /source "):
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                connection.sendall(SMALL_CHUNKS)
        else:
            respond_with(OK)(connection, head)

    limits = {"fall": 1, "interval": 1.5, "timeout": 1}
    with proxy_over(tmp_path, handle, handle, **limits) as (proxy, *_), flood(proxy, *FLOODS[name]):
        time.sleep(0.5)  # until the buffers are full
        for _ in range(10):
            assert status_of(exchange(proxy, b"GET / HTTP/1.0\r\n\r\n")) == 200
            time.sleep(0.1)
        assert events_of(proxy, "unhealthy") == events_of(proxy, "failing") == 0


def test_a_stored_body_of_small_chunks_is_sent_again(tmp_path: Path) -> None:
    with proxy_over(tmp_path, break_off_after_chunks, respond_after_chunks) as (proxy, bad, good):
        data = b"PUT / HTTP/1.1\r\nConnection: close\r\n" + CHUNKED
        data += b"1\r\nx\r\n" * 65_536 + b"0\r\n\r\n"
        assert status_of(exchange(proxy, data)) == 200
        assert proxy.attempts("PUT /", 2) == [(bad.name, False), (good.name, True)]


def break_off_after_chunks(connection: socket.socket, _: bytes) -> None:
    data = b""
    while not data.endswith(b"0\r\n\r\n"):
        data += connection.recv(65536)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the memory is read in /proc")
def test_pipelined_requests_are_not_read_before_their_turn(tmp_path: Path) -> None:
    def memory(proxy: Proxy) -> int:
        assert proxy.process
        text = Path(f"/proc/{proxy.process.pid}/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0]) * 1024

    requests = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20_000
    with proxy_over(tmp_path, respond_with(OK), interval=1.5, timeout=1) as (proxy, backend):
        exchange(proxy, b"GET / HTTP/1.0\r\n\r\n")
        before = memory(proxy)
        with flood(proxy, b"", requests):
            wait_until(lambda: len(backend.heads) > 500, "500 requests are served")
            assert memory(proxy) - before < 500 * 65_536 / 2


# The end


def test_a_request_that_has_begun_is_finished_on_sigterm(tmp_path: Path) -> None:
    with proxy_over_that_ends(tmp_path, respond_with(OK)) as proxy, connect(proxy.name) as client:
        with connect(proxy.name) as idle:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
            time.sleep(0.5)  # until it has arrived
            proxy.signal(signal.SIGTERM)
            assert read_all(idle) == b""
        client.sendall(b"\r\n")
        response = read_all(client)
        assert status_of(response) == 200
        assert b"\r\nConnection: close\r\n" in response
        assert proxy.process
        assert proxy.process.wait(LIMIT) == 0


def test_a_client_that_still_sends_does_not_delay_the_end(tmp_path: Path) -> None:
    def end() -> float:
        with (
            proxy_over_that_ends(tmp_path, respond_with(OK), drain_timeout=0.5) as proxy,
            connect(proxy.name) as client,
        ):
            client.sendall(b"POST /;x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab")
            read_head(client)
            client.sendall(b"c")
            with connect(proxy.name) as other:
                other.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab")
                time.sleep(0.2)
                started = time.monotonic()
                proxy.signal(signal.SIGTERM)
                assert proxy.process
                assert proxy.process.wait(LIMIT) == 0
                return time.monotonic() - started

    # a busy machine may delay some, but not all
    assert any(end() < 1.9 for _ in range(4))


@contextlib.contextmanager
def proxy_over_that_ends(folder: Path, handler: Handler, **settings: object) -> Generator[Proxy]:
    with scripted(handler) as [backend]:
        pools = {"all": {"backends": {backend.name: 1}}}
        with quiet_proxy(folder, pools=pools, routes=[{"to": "all"}]) as proxy:
            yield proxy.run(**settings)
