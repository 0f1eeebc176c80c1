"""The HTTP proxy of the examples and backends for it: real processes, and scripted sockets."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
PATIENCE = 20.0  # seconds for what takes one or two
T = TypeVar("T")


def until(seen: Callable[[], T], what: str) -> T:
    """Ask again and again until the answer is true, and give it; fail when the time is over."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := seen()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {PATIENCE:.0f} s: {what}")
        time.sleep(0.02)
    return answer


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"{host}:{port}"


def free_address(host: str = "127.0.0.1") -> str:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return address_of(probe)


def connect(name: str) -> socket.socket:
    host, _, port = name.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def listens(name: str) -> bool:
    try:
        connect(name).close()
    except OSError:
        return False
    return True


class Process:
    """An example that listens."""

    def __init__(self, host: str) -> None:
        self.name = free_address(host)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, script: str, *arguments: str, told: Path) -> None:
        command = [sys.executable, str(EXAMPLES / script), *arguments]
        with told.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output)
        until(lambda: listens(self.name), f"{script} listens on {self.name}")

    def signal(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(PATIENCE)


class Backend(Process):
    """The backend of the HTTP drill."""

    def run(self) -> "Backend":
        self.start("http_backend.py", self.name, told=Path("/dev/null"))
        return self


class Proxy(Process):
    """The HTTP proxy, its configuration and what it told."""

    def __init__(self, folder: Path, **config: Any) -> None:
        super().__init__("127.0.0.1")
        self.config = config
        self.folder = folder

    @property
    def url(self) -> str:
        return f"http://{self.name}"

    def run(self, **settings: object) -> "Proxy":
        self.write()
        arguments = ["--listen", self.name, "--config", str(self.folder / "config")]
        settings = {"interval": 0.3, "timeout": 0.25, "fail-timeout": 1, **settings}
        arguments += [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        self.start("http_proxy.py", *arguments, told=self.folder / "told")
        return self

    def write(self) -> None:
        (self.folder / "config").write_text(json.dumps(self.config))

    def configure(self, **config: Any) -> str:
        """Change the configuration, and give what the proxy says of it."""
        self.config |= config
        before = len(self.told("configuration"))
        self.write()
        self.signal(signal.SIGHUP)
        told = until(lambda: self.told("configuration")[before:], "the configuration is read")
        return str(told[0]["configuration"])

    def told(self, about: str) -> list[dict[str, Any]]:
        """Give the lines that are about something."""
        whole, _, _ = (self.folder / "told").read_text().rpartition("\n")
        return [line for line in map(json.loads, whole.splitlines()) if about in line]

    def attempts(self, request: str) -> list[tuple[str, bool | None]]:
        """Give who was asked this, and how it went."""
        lines = [line for line in self.told("request") if line["request"] == request]
        return [(line["backend"], line["ok"]) for line in lines]


class Scripted:
    """A backend in a thread that answers as a test says; probes get what they want."""

    def __init__(self, play: Callable[[socket.socket, bytes], None]) -> None:
        self.play = play
        self.heads: list[bytes] = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.name = address_of(self.server)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):  # it was closed
            while True:
                connection, _ = self.server.accept()
                threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            head = read_head(connection)
            if head.startswith(b"GET /health "):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            elif head:
                self.heads.append(head)
                self.play(connection, head)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # it is closed
            self.server.shutdown(socket.SHUT_RDWR)  # so that accept returns
        self.server.close()

    def requests(self) -> list[bytes]:
        """Give the first lines of what it was asked."""
        return [head.partition(b"\r\n")[0] for head in self.heads]


@contextlib.contextmanager
def scripted(*plays: Callable[[socket.socket, bytes], None]) -> Generator[list[Scripted]]:
    """Run scripted backends."""
    backends = [Scripted(play) for play in plays]
    try:
        yield backends
    finally:
        for backend in backends:
            backend.close()


def read_head(connection: socket.socket) -> bytes:
    """Read up to an empty line, byte by byte, so that nothing of a body is taken."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = connection.recv(1)
        if not data:
            return head
        head += data
    return head


def read_exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            return data
        data += more
    return data


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))
