"""The TCP proxy of the examples against hostile clients, backends and files."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.addresses import NAMES
from tests.system.http_processes import (
    EXAMPLES,
    LIMIT,
    Process,
    ScriptedBackend,
    connect,
    free_address,
    read_all,
    scripted,
    wait_until,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
GOOD = "127.0.0.1:9=1\n"


class Proxy(Process):
    """The TCP proxy, its file of backends and its log."""

    def __init__(self, folder: Path, backends: str) -> None:
        super().__init__("127.0.0.1")
        self.file, self.log, self.errors = folder / "backends", folder / "log", folder / "errors"
        self.file.write_text(backends)

    def run(self, **settings: object) -> "Proxy":
        settings = {"interval": 0.3, "timeout": 0.25, **settings}
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        listen, backends = f"--listen={self.name}", f"--backends={self.file}"
        self.start("proxy.py", listen, backends, *arguments, log=self.log)
        return self

    def lines_with(self, field: str) -> list[dict[str, Any]]:
        complete, _, _ = self.log.read_text().rpartition("\n")
        return [line for line in map(json.loads, complete.splitlines()) if field in line]

    def read_again(self) -> str:
        """Make the proxy read its file; return what it prints about it."""
        before = len(self.lines_with("configuration"))
        self.signal(signal.SIGHUP)
        lines = wait_until(lambda: self.lines_with("configuration")[before:], "the file is read")
        return str(lines[0]["configuration"])

    def members(self) -> set[str]:
        """Return the backends that the proxy has."""
        before = len(self.lines_with("counts"))
        self.signal(signal.SIGUSR1)
        lines = wait_until(lambda: self.lines_with("counts")[before:], "counts are printed")
        return set(lines[0]["counts"])


@contextlib.contextmanager
def running(folder: Path, backends: str, **settings: object) -> Generator[Proxy]:
    """Run a proxy.  At the end it must still run, and must have written no error."""
    proxy = Proxy(folder, backends)
    assert proxy.errors
    try:
        yield proxy.run(**settings)
        assert proxy.process
        assert proxy.process.poll() is None
        assert proxy.errors.read_text() == ""
    finally:
        proxy.kill()


def answer(connection: socket.socket, _: bytes) -> None:
    connection.sendall(OK)
    connection.shutdown(socket.SHUT_WR)
    read_all(connection)


def exchange(proxy: Proxy, data: bytes, half_close: bool = False) -> bytes:
    """Send bytes; return everything until the proxy closes the connection."""
    received = b""
    with connect(proxy.name) as client, contextlib.suppress(ConnectionError):
        client.sendall(data)
        if half_close:
            client.shutdown(socket.SHUT_WR)
        while more := client.recv(65536):
            received += more
    return received


FILES: dict[str, str | bytes] = {
    **{f"backend {name!r}": GOOD + f"{name}=1\n" for name in NAMES if "\n" not in name},
    "a line without a weight": GOOD + "127.0.0.1:8\n",
    "a line with an empty weight": GOOD + "127.0.0.1:8=\n",
    "only a weight": GOOD + "=1\n",
    "only a separator": GOOD + "=\n",
    "a comment": GOOD + "# nothing\n",
    "a text as a weight": GOOD + "127.0.0.1:8=heavy\n",
    "a negative weight": GOOD + "127.0.0.1:8=-1\n",
    "a weight of NaN": GOOD + "127.0.0.1:8=nan\n",
    "an endless weight": GOOD + "127.0.0.1:8=inf\n",
    "a huge weight": GOOD + f"127.0.0.1:8=1{'0' * 400}\n",
    "two weights": GOOD + "127.0.0.1:8=1 2\n",
    "two separators": GOOD + "127.0.0.1:8==1\n",
    "a separator at the start": GOOD + "=127.0.0.1:8=1\n",
    "a mark as a weight": GOOD + "127.0.0.1:8=1=drain\n",
    "a weight with an underscore": GOOD + "127.0.0.1:8=1_0\n",
    "a weight in other digits": GOOD + "127.0.0.1:8=\u0661\n",
    "an unknown mark": GOOD + "127.0.0.1:8=1 drian\n",
    "a mark twice": GOOD + "127.0.0.1:8=1 drain drain\n",
    "a backend twice": GOOD + GOOD,
    "a backend twice, once draining": GOOD + GOOD.replace("\n", " drain\n"),
    "JSON": '{"127.0.0.1:9": 1}\n',
    "no text": b"\xff\xfe" * 1000,
    "NUL": b"127.0.0.1:9\x00=1\n",
    "a long line": "x" * 100_000 + "=1\n",
}


def write(file: Path, content: str | bytes) -> None:
    file.write_bytes(content.encode() if isinstance(content, str) else content)


def test_no_file_that_is_read_again_stops_the_proxy(tmp_path: Path) -> None:
    """All files, one after another, are not read; the backend of the first one still answers."""
    with scripted(answer) as [backend], running(tmp_path, f"{backend.name}=1\n") as proxy:
        for name, content in FILES.items():
            write(proxy.file, content)
            refused = proxy.read_again()
            assert refused.startswith("not read: "), name
            assert len(refused) < 1000
            assert proxy.members() == {backend.name}, name
        proxy.file.unlink()
        assert proxy.read_again().startswith("not read: FileNotFoundError: ")
        assert exchange(proxy, GET) == OK
        write(proxy.file, f"{backend.name}=2 drain\n[::1]:9=1\nlocalhost:9 3\n")
        assert proxy.read_again() == "read"
        assert proxy.members() == {backend.name, "[::1]:9", "localhost:9"}


def test_names_that_are_no_addresses_are_not_probed(tmp_path: Path) -> None:
    """Probes of such a name stopped the proxy, after it had read the file."""
    with scripted(answer) as [backend], running(tmp_path, f"{backend.name}=1\n") as proxy:
        for name in ("localhost", "127.0.0.1:99999", "a..b:80"):
            write(proxy.file, f"{backend.name}=1\n{name}=1\n")
            refused = proxy.read_again()
            assert refused.startswith("not read: ValueError: ")
            assert repr(name) in refused
        time.sleep(1.0)  # several intervals of probes
        assert exchange(proxy, GET) == OK


@pytest.mark.parametrize(
    "name", ["backend 'localhost'", "a line without a weight", "a backend twice", "no text"]
)
def test_an_invalid_file_is_a_short_message_at_start(tmp_path: Path, name: str) -> None:
    write(tmp_path / "backends", FILES[name])
    assert_not_started(f"--backends={tmp_path / 'backends'}")


@pytest.mark.parametrize(
    "argument",
    [
        *("--backend=localhost=1", "--backend=127.0.0.1:9", "--backends=/missing"),
        *("--listen=localhost", "--algorithm=nope", "--fall=0", "--timeout=5"),
    ],
)
def test_invalid_options_are_a_short_message_at_start(argument: str) -> None:
    assert_not_started("--backend=127.0.0.1:9=1", argument)


def assert_not_started(*arguments: str) -> None:
    command = [sys.executable, str(EXAMPLES / "proxy.py"), f"--listen={free_address()}", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("not started: ")
    assert "Traceback" not in ended.stderr


def garbage(connection: socket.socket) -> None:
    connection.sendall(b"\0\xff" * 50_000)


def too_little(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1")


def reset(connection: socket.socket) -> None:
    linger_of_0 = b"\1\0\0\0\0\0\0\0"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_of_0)


@pytest.mark.parametrize("behave", [garbage, too_little, reset])
def test_backends_that_answer_probes_with_garbage_stop_nothing(
    tmp_path: Path, behave: Callable[[socket.socket], None]
) -> None:
    class Faulty(ScriptedBackend):
        def serve_connection(self, connection: socket.socket) -> None:
            with contextlib.suppress(OSError), contextlib.closing(connection):
                connection.recv(65536)
                behave(connection)

    backend = Faulty(answer)
    with running(tmp_path, f"{backend.name}=1\n", fall=1) as proxy:
        wait_until(
            lambda: [x for x in proxy.lines_with("reason") if x["reason"] == "unhealthy"],
            "the backend is unhealthy",
        )
        exchange(proxy, GET)
    backend.close()


def test_a_health_path_that_cannot_be_sent_is_a_failed_probe(tmp_path: Path) -> None:
    """The bytes of this path are no UTF-8, so the request of a probe cannot be encoded."""
    with (
        scripted(answer) as [backend],
        running(tmp_path, f"{backend.name}=1\n", fall=1, health_path="/\udcff") as proxy,
    ):
        wait_until(
            lambda: [x for x in proxy.lines_with("reason") if x["reason"] == "unhealthy"],
            "the backend is unhealthy",
        )
        assert exchange(proxy, GET) == OK


GARBAGE = [
    b"",
    b"G",
    b"\0" * 10,
    b"\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n",
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"X" * 200_000,
    b"GET /" + b"y" * 100_000 + b" HTTP/1.1\r\n\r\n",
]


def test_no_bytes_of_a_client_stop_the_proxy(tmp_path: Path) -> None:
    """A request that is never complete reaches no backend, and its connection is closed."""
    with (
        scripted(answer) as [backend],
        running(tmp_path, f"{backend.name}=1\n", head_timeout=0.5) as proxy,
        ThreadPoolExecutor(8) as clients,
    ):
        for half_close in (False, True):
            send = partial(exchange, proxy, half_close=half_close)
            assert list(clients.map(send, GARBAGE)) == [b""] * len(GARBAGE)
        assert backend.heads == []
        assert exchange(proxy, GET) == OK


def test_a_head_that_comes_byte_by_byte_has_a_total_time(tmp_path: Path) -> None:
    with (
        scripted(answer) as [backend],
        running(tmp_path, f"{backend.name}=1\n", head_timeout=1) as proxy,
        connect(proxy.name) as client,
    ):
        client.settimeout(0.1)
        started, open_ = time.monotonic(), True
        while open_ and time.monotonic() < started + LIMIT:
            try:
                client.sendall(b"X")
                open_ = client.recv(1) != b""
            except TimeoutError:
                pass
            except ConnectionError:
                open_ = False
        assert not open_
        assert time.monotonic() - started >= 0.9
        assert exchange(proxy, GET) == OK


def test_each_connection_reaches_one_backend_whatever_it_carries(tmp_path: Path) -> None:
    """The proxy forwards bytes, so no request can hide in another one between two backends."""
    hidden = (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    hidden += b"0\r\n\r\nGET /admin HTTP/1.1\r\nHost: x\r\n\r\n"
    seen: list[bytes] = []

    def record(connection: socket.socket, head: bytes) -> None:
        connection.settimeout(1)
        data = head
        with contextlib.suppress(TimeoutError):
            while more := connection.recv(65536):
                data += more
        seen.append(data)
        connection.sendall(OK)

    with (
        scripted(record, record) as backends,
        running(tmp_path, "".join(f"{backend.name}=1\n" for backend in backends)) as proxy,
    ):
        assert exchange(proxy, hidden) == OK
    assert seen == [hidden]
    assert sorted(len(backend.heads) for backend in backends) == [0, 1]


def test_names_with_spaces_between_the_parts_are_read(tmp_path: Path) -> None:
    """``NAME WEIGHT drain`` was always accepted beside ``NAME=WEIGHT drain``."""
    with (
        scripted(answer) as [backend],
        running(tmp_path, f"  {backend.name}   1.5  drain \n\n \n") as proxy,
    ):
        assert proxy.members() == {backend.name}
