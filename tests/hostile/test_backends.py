"""Hostile clients of the two backends of the examples, over raw sockets."""

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from random import Random

import pytest

from tests.depth import runs
from tests.hostile.sockets import answers, exchange, status_of
from tests.system.http_processes import EXAMPLES, connect, free_address, listens, wait_until

HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
HOSTILE = {
    "nothing": b"",
    "an empty line": b"\r\n\r\n",
    "a NUL": b"\0" * 100 + b"\r\n\r\n",
    "random bytes": Random(1).randbytes(5000),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a PROXY header": b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n" + HEALTH,
    "a very long line": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
    "a line without an end": b"G" * 200_000,
    "very many fields": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    "a very long field": b"GET / HTTP/1.1\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
    "fields without a colon": b"GET / HTTP/1.1\r\nHost\r\nnothing\r\n\r\n",
    "folded fields": b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\tc\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: a\n\n",
    "another version": b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "a strange method": b"\xff\x00() / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a method of underscores": b"__class__ / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n",
    "a length that is no number": POST + b"Content-Length: five\r\n\r\nabcde",
    "a length in other digits": POST + "Content-Length: \u0665\r\n\r\nabcde".encode(),
    "a length with an underscore": POST + b"Content-Length: 1_0\r\n\r\n0123456789",
    "a huge length": POST + b"Content-Length: 99999999999999999999\r\n\r\nabc",
    "a length of 5000 digits": POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 36\r\n\r\n" + SMUGGLED,
    "chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n24\r\n" + SMUGGLED + b"\r\n0\r\n\r\n",
    "a line without a colon before a length": (
        POST + b"foo\r\nContent-Length: " + str(len(SMUGGLED)).encode() + b"\r\n\r\n" + SMUGGLED
    ),
    "a carriage return before a length": (
        POST + b"X: a\rfoo\r\nContent-Length: " + str(len(SMUGGLED)).encode() + b"\r\n\r\n"
    )
    + SMUGGLED,
    "both": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a bad cookie": b"GET / HTTP/1.1\r\nHost: a\r\nCookie: ;;=;\x01=\xff; session\r\n\r\n",
    "a cookie with a line": b'GET / HTTP/1.1\r\nCookie: session="a\\015\\012X: y"\r\n\r\n',
    "an absolute target": b"GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tunnel": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "an expectation": POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
}


class Example:
    """A running example with its errors."""

    def __init__(self, folder: Path, script: str, *arguments: str) -> None:
        self.name = free_address()
        self.errors = folder / "errors"
        command = [sys.executable, str(EXAMPLES / script), self.name, *arguments]
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        wait_until(lambda: listens(self.name), f"{script} listens on {self.name}")

    def assert_serves(self) -> None:
        """Assert that it answers the next request, and that nothing was raised in it."""
        (answer,) = answers(exchange(self.name, HEALTH))
        assert answer.status == 200
        assert self.process.poll() is None
        assert b"Traceback" not in self.errors.read_bytes()

    def arrived(self) -> int:
        """Return how many requests the HTTP backend has counted."""
        (answer,) = answers(exchange(self.name, HEALTH))
        return int(json.loads(answer.body)["requests"])


@pytest.fixture(scope="module", params=["backend.py", "http_backend.py"])
def example(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Example]:
    folder = tmp_path_factory.mktemp("backend")
    running = Example(folder, request.param, "0.001")
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait(20)


@pytest.fixture
def http_backend(tmp_path: Path) -> Generator[Example]:
    running = Example(tmp_path, "http_backend.py")
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait(20)


@pytest.mark.parametrize("sent", HOSTILE.values(), ids=HOSTILE)
def test_a_backend_serves_on_after_hostile_bytes(example: Example, sent: bytes) -> None:
    exchange(example.name, sent, end=True)
    exchange(example.name, sent[: len(sent) // 2], end=True)
    example.assert_serves()


def test_a_backend_serves_on_after_random_changes_of_a_request(example: Example) -> None:
    rng = Random(3)
    request = POST + b"Content-Length: 3\r\nCookie: session=a\r\n\r\nabc"
    for _ in range(runs(1000)):
        sent = bytearray(request)
        for _ in range(rng.randrange(1, 4)):
            sent[rng.randrange(len(sent))] = rng.randrange(256)
        exchange(example.name, bytes(sent), end=True)
    example.assert_serves()


def test_a_backend_serves_while_clients_hold_half_a_request(example: Example) -> None:
    with contextlib.ExitStack() as held:
        for part in (b"", b"GET", b"GET / HTTP/1.1\r\nHost:", POST + b"Content-Length: 5\r\n\r\na"):
            for _ in range(20):
                held.enter_context(connect(example.name)).sendall(part)
        started = time.monotonic()
        example.assert_serves()
        assert time.monotonic() - started < 10
    example.assert_serves()


def test_a_request_in_single_bytes_is_answered(example: Example) -> None:
    parts = [bytes([byte]) for byte in HEALTH]
    assert status_of(exchange(example.name, *parts)) == 200


FRAMING = [
    *("two lengths", "chunks", "both", "a negative length", "a length that is no number"),
    *("a length in other digits", "a length with an underscore", "a huge length"),
    *("a length of 5000 digits", "a line without a colon before a length"),
    "a carriage return before a length",
]


@pytest.mark.parametrize("name", FRAMING)
def test_a_body_of_unclear_length_is_refused_and_hides_no_request(
    http_backend: Example, name: str
) -> None:
    received = exchange(http_backend.name, HOSTILE[name] + SMUGGLED, within=5)
    (answer,) = answers(received)
    assert answer.status in {400, 413, 501}
    assert b"close" in answer.values(b"connection")
    assert http_backend.arrived() == 0
    http_backend.assert_serves()


def test_a_field_of_a_client_is_in_no_line_of_the_answer(http_backend: Example) -> None:
    for value in (b'"a\\015\\012X: y"', b"a\rX: y", b"\x85X: y", b"<script>"):
        sent = b"GET /%0d%0aX:y HTTP/1.1\r\nCookie: session=" + value + b"\r\n\r\n"
        (answer,) = answers(exchange(http_backend.name, sent, end=True))
        assert answer.values(b"x") == []
        for cookie in answer.values(b"set-cookie"):
            assert re.fullmatch(rb"session=[0-9a-f]{32}; Path=/; HttpOnly", cookie)
