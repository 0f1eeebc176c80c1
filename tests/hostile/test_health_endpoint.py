"""Raw sockets against the running health endpoint, with servers that count their connections."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from importlib.util import module_from_spec, spec_from_file_location
from itertools import product
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

pytest.importorskip("psycopg")
pytest.importorskip("redis")

from tests.system.servers import LIMIT, wait_until

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "health_endpoint.py"
TIMEOUT = 2.0  # seconds for a check and for a head
ALIVE = b"GET /livez HTTP/1.1\r\n\r\n"
HEALTH = b"GET /health HTTP/1.1\r\n\r\n"
BAD = b"HTTP/1.1 400 "


class Silent:
    """A server that accepts connections, counts them, and never responds."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0), backlog=500)
        self.port: int = self.server.getsockname()[1]
        self.accepted: list[socket.socket] = []
        Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                self.accepted.append(self.server.accept()[0])

    def close(self) -> None:
        with suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        for connection in self.accepted:
            connection.close()


class Endpoint:
    """The running example, and its two silent servers."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", port: int, servers: list[Silent]
    ) -> None:
        self.process, self.port, self.servers = process, port, servers

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), LIMIT)

    def ask(self, request: bytes, *, half_close: bool = False) -> bytes:
        """Send a request in one piece; return everything that is received."""
        with self.connect() as client:
            client.sendall(request)
            if half_close:
                client.shutdown(socket.SHUT_WR)
            return client.makefile("rb").read()

    def checks(self) -> list[int]:
        """Return the number of connections that each server has accepted."""
        return [len(server.accepted) for server in self.servers]


Start = Callable[..., AbstractContextManager[Endpoint]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Return a function that starts the example; at its end, nothing was written to its stderr."""

    @contextmanager
    def endpoint(*options: str, timeout: float = TIMEOUT) -> Generator[Endpoint]:
        out, err = tmp_path / "out", tmp_path / "err"
        with ExitStack() as stack:
            servers = [stack.enter_context(closing(Silent())) for _ in range(2)]
            command = [sys.executable, str(EXAMPLE), "--listen", "127.0.0.1:0", *options]
            command += ["--postgres", f"host=127.0.0.1 port={servers[0].port} user=postgres"]
            command += ["--redis", f"redis://127.0.0.1:{servers[1].port}"]
            command += ["--timeout", str(timeout)]
            with out.open("wb") as stdout, err.open("wb") as stderr:
                process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
            try:
                wait_until(lambda: "\n" in out.read_text() or process.poll() is not None)
                assert process.poll() is None, err.read_text()
                listening = json.loads(out.read_text().splitlines()[0])
                yield Endpoint(process, int(listening["address"].rpartition(":")[2]), servers)
                process.send_signal(signal.SIGTERM)
                assert process.wait(LIMIT) == 0
                assert err.read_text() == ""
            finally:
                process.kill()
                process.wait()

    return endpoint


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def report(answer: bytes) -> Any:
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def test_150_requests_at_once_open_one_connection_to_each_server(start: Start) -> None:
    """They opened 150.  The check takes its whole timeout, in which all requests come."""
    with start(timeout=3.0) as endpoint, ExitStack() as stack:
        clients = [stack.enter_context(endpoint.connect()) for _ in range(150)]
        for client in clients:
            client.sendall(HEALTH)
        assert status(endpoint.ask(ALIVE)) == 200
        wait_until(lambda: endpoint.checks() == [1, 1])
        for client in clients:
            answer = client.makefile("rb").read()
            assert status(answer) == 503
            checks = report(answer)["checks"]
            assert {name: check["status"] for name, check in checks.items()} == {
                "postgres": "down", "redis": "down",
            }  # fmt: skip
        assert endpoint.checks() == [1, 1]


def test_clients_that_leave_do_not_end_the_check_of_the_others(start: Start) -> None:
    with start() as endpoint, ExitStack() as stack:
        leaving = [stack.enter_context(endpoint.connect()) for _ in range(20)]
        for client in leaving[:10]:
            client.sendall(HEALTH)
        wait_until(lambda: endpoint.checks() == [1, 1])
        staying = stack.enter_context(endpoint.connect())
        staying.sendall(HEALTH)
        for client in leaving[10:]:
            client.sendall(HEALTH)
        linger = b"\1\0\0\0\0\0\0\0"  # closing sends a reset
        for client in leaving:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.close()
        assert status(staying.makefile("rb").read()) == 503
        assert endpoint.checks() == [1, 1]
        assert status(endpoint.ask(ALIVE)) == 200


def test_checks_of_one_server_start_at_least_an_interval_apart(start: Start) -> None:
    """Requests one after another: each waits for a check that begins after it came."""
    with start("--interval", "0.5", timeout=0.05) as endpoint:
        began = time.monotonic()
        for number in range(1, 5):
            assert status(endpoint.ask(HEALTH)) == 503
            assert endpoint.checks() == [number, number]
            assert time.monotonic() - began >= 0.5 * (number - 1)


def test_every_waiting_request_gets_the_timeout(start: Start) -> None:
    with start(timeout=1.0) as endpoint, ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(endpoint.ask, [HEALTH] * 8))
        for answer in answers:
            for check in report(answer)["checks"].values():
                assert check["status"] == "down"
                assert check["latency_ms"] >= 1000


def test_waiting_requests_are_answered_before_the_exit(start: Start) -> None:
    with start() as endpoint, ExitStack() as stack:
        clients = [stack.enter_context(endpoint.connect()) for _ in range(20)]
        for client in clients:
            client.sendall(HEALTH)
        wait_until(lambda: endpoint.checks() == [1, 1])
        assert status(endpoint.ask(ALIVE)) == 200
        endpoint.process.send_signal(signal.SIGTERM)
        for client in clients:
            assert status(client.makefile("rb").read()) == 503
        assert endpoint.process.wait(LIMIT) == 0


GARBAGE = {
    "empty": b"\r\n\r\n", "null bytes": b"\0" * 100 + b"\r\n\r\n", "two words": b"GET /\r\n\r\n",
    "four words": b"GET / HTTP/1.1 x\r\n\r\n", "tls": b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http/0.9": b"GET /livez\r\n\r\n",
    "version": b"GET /livez HTTP/9.9\r\n\r\n", "long version": b"GET /livez HTTP/1.11\r\n\r\n",
    "lower case": b"get /livez HTTP/1.1\r\n\r\n", "tab": b"GET\t/livez\tHTTP/1.1\r\n\r\n",
    "space before": b" GET /livez HTTP/1.1\r\n\r\n",
    "line before": b"\r\nGET /livez HTTP/1.1\r\n\r\n",
    "tab in path": b"GET /li\tvez HTTP/1.1\r\n\r\n",
    "feed in path": b"GET /li\nvez HTTP/1.1\r\n\r\n",
    "latin-1": b"GET /liv\xe9z HTTP/1.1\r\n\r\n", "bracket": b"GET http://[ HTTP/1.1\r\n\r\n",
    "proxy protocol": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\nGET /livez HTTP/1.1\r\n\r\n",
    "redis": b"*1\r\n$4\r\nPING\r\n\r\n", "every byte": bytes(range(256)) + b"\r\n\r\n",
}  # fmt: skip


def test_garbage_is_answered_with_400_and_does_no_harm(start: Start) -> None:
    with start() as endpoint:
        for name, garbage in GARBAGE.items():
            for half_close in (True, False):
                assert endpoint.ask(garbage, half_close=half_close).startswith(BAD), name
        for length in range(len(ALIVE)):
            assert endpoint.ask(ALIVE[:length], half_close=True) == b""
        for target in (
            b"//livez",
            b"/LIVEZ",
            b"/livez/",
            b"/%6civez",
            b"/livez;x",
            b"*",
            b"/../livez",
        ):
            assert status(endpoint.ask(b"GET " + target + b" HTTP/1.1\r\n\r\n")) == 404
        assert endpoint.checks() == [0, 0]
        assert status(endpoint.ask(ALIVE)) == 200


def test_a_head_that_is_too_large_is_answered_with_400(start: Start) -> None:
    """Whole, or without an end: the answer arrives although the client still sends."""
    with start() as endpoint:
        for part, size, end in product(
            (b"GET /livez HTTP/1.1\r\nX: ", b"GET /livez?", b"GET /l\r\n", b""),
            ((1 << 16) + 8, 1 << 17, 1 << 22),
            (b"\r\n\r\n", b""),
        ):
            answer = endpoint.ask(part + b"x" * size + end, half_close=True)
            assert answer.startswith(BAD), (part, size, end)
            assert answer.count(b"HTTP/1.1 ") == 1
        assert status(endpoint.ask(ALIVE)) == 200


def test_a_head_that_comes_slowly_is_cut_off_in_total(start: Start) -> None:
    """Each byte comes in time, but the time is for the whole head."""
    with start(timeout=1.0) as endpoint, endpoint.connect() as client:
        began = time.monotonic()
        with suppress(ConnectionError):
            client.sendall(b"GET /livez HTTP/1.1\r\nX: ")
            client.settimeout(0.1)
            while time.monotonic() < began + LIMIT:
                client.sendall(b"x")
                with suppress(TimeoutError):
                    assert client.recv(1) == b""
                    break
        assert 1.0 <= time.monotonic() - began < LIMIT
        assert status(endpoint.ask(ALIVE)) == 200


def test_pipelined_requests_get_one_answer_and_the_end(start: Start) -> None:
    with start() as endpoint:
        for request in (ALIVE * 2, ALIVE * 500, ALIVE + HEALTH, ALIVE + b"\0" * 1000,
                        b"POST /livez HTTP/1.1\r\nContent-Length: 9\r\n\r\n" + ALIVE):  # fmt: skip
            answer = endpoint.ask(request, half_close=True)
            assert answer.count(b"HTTP/1.1 ") == 1
            assert b"Connection: close\r\n" in answer
        assert endpoint.checks() == [0, 0]


def test_silent_connections_do_not_keep_a_probe_out(start: Start) -> None:
    """The oldest make room, so that 3 times as many connections as allowed do no harm."""
    with start("--max-connections", "50", timeout=10.0) as endpoint, ExitStack() as stack:
        for _ in range(150):
            stack.enter_context(endpoint.connect()).sendall(b"GET /livez HTTP/1.1\r\n")
        for _ in range(5):
            assert status(endpoint.ask(ALIVE)) == 200


def test_many_silent_connections_are_closed_after_the_timeout(start: Start) -> None:
    with start(timeout=1.0) as endpoint, ExitStack() as stack:
        clients = [stack.enter_context(endpoint.connect()) for _ in range(300)]
        assert status(endpoint.ask(ALIVE)) == 200
        for client in clients:
            assert client.recv(1) == b""  # closed by the server, or else a TimeoutError
        assert status(endpoint.ask(ALIVE)) == 200


def refusal(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    """Read the options of the example in this process; it must refuse them."""
    spec = spec_from_file_location("health_endpoint", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    fixed = ["health_endpoint.py", "--listen", "127.0.0.1:0", "--postgres", "host=a"]
    monkeypatch.setattr(sys, "argv", [*fixed, "--redis", "redis://127.0.0.1:1", *options])
    with pytest.raises(SystemExit) as end:
        module.options()
    assert end.value.code == 2


@pytest.mark.parametrize("options", [["--postgres", "host=a hunter2"], ["--postgres", "hunter2"],
                                     ["--redis", "redis://me:hunter2/x@127.0.0.1:1"],
                                     ["--redis", "hunter2"], ["--postgres", "postgres://[hunter2"],
                                     ["--redis", "redis://me:p@127.0.0.1:hunter2"]])  # fmt: skip
def test_an_invalid_address_of_a_server_is_refused_and_not_shown(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may contain a password, and the messages of both clients can contain a part of it."""
    refusal(monkeypatch, *options)
    printed = "".join(capsys.readouterr())
    assert "must be a connection string" in printed
    assert "hunter2" not in printed


@pytest.mark.parametrize("option", ["--timeout", "--interval"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "-inf", "", "x"])
def test_an_invalid_duration_is_refused(
    option: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal(monkeypatch, f"{option}={value}")
    assert option in capsys.readouterr().err
