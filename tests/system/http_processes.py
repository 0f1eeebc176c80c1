"""The HTTP proxy of the examples, with real backend processes and scripted backends."""

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
LIMIT = 20.0  # seconds for steps that take one or two
T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str) -> T:
    """Poll a condition until its value is true, and return the value; fail after the limit."""
    deadline = time.monotonic() + LIMIT
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {LIMIT:.0f} s: {what}")
        time.sleep(0.02)
    return value


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"{host}:{port}"


def free_address(host: str = "127.0.0.1") -> str:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return address_of(probe)


def connect(name: str) -> socket.socket:
    host, _, port = name.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=LIMIT)


def listens(name: str) -> bool:
    try:
        connect(name).close()
    except OSError:
        return False
    return True


class Process:
    """A process that runs an example and listens."""

    def __init__(self, host: str) -> None:
        self.name = free_address(host)
        self.errors: Path | None = None  # the file of the standard error; None inherits it
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, script: str, *arguments: str, log: Path) -> None:
        command = [sys.executable, str(EXAMPLES / script), *arguments]
        with contextlib.ExitStack() as files:
            output = files.enter_context(log.open("ab"))
            errors = files.enter_context(self.errors.open("ab")) if self.errors else None
            self.process = subprocess.Popen(command, stdout=output, stderr=errors)
        wait_until(lambda: listens(self.name), f"{script} listens on {self.name}")

    def signal(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(LIMIT)


class Backend(Process):
    """The backend of the HTTP drill."""

    def run(self) -> "Backend":
        self.start("http_backend.py", self.name, log=Path("/dev/null"))
        return self


class Proxy(Process):
    """The HTTP proxy, its configuration and its log."""

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
        for name, value in settings.items():
            arguments.append(f"--{name.replace('_', '-')}" + f"={value}" * (value is not True))
        self.start("http_proxy.py", *arguments, log=self.folder / "log")
        return self

    def write(self) -> None:
        (self.folder / "config").write_text(json.dumps(self.config))

    def configure(self, **config: Any) -> str:
        """Change the configuration; return what the proxy logs about it."""
        self.config |= config
        self.write()
        return self.read_again()

    def read_again(self) -> str:
        """Make the proxy read its configuration; return what it logs about it."""
        before = len(self.lines_with("configuration"))
        self.signal(signal.SIGHUP)
        lines = wait_until(
            lambda: self.lines_with("configuration")[before:], "the configuration is read"
        )
        return str(lines[0]["configuration"])

    def lines_with(self, field: str) -> list[dict[str, Any]]:
        """Return the log lines that have a field."""
        complete, _, _ = (self.folder / "log").read_text().rpartition("\n")
        return [line for line in map(json.loads, complete.splitlines()) if field in line]

    def attempts(self, request: str, logged: int = 0) -> list[tuple[str, bool | None]]:
        """Return the backend and the outcome of each attempt of a request.

        The proxy logs an attempt after the client has its response.  So wait until ``logged``
        attempts, or more, are there.
        """

        def lines() -> list[dict[str, Any]]:
            return [line for line in self.lines_with("request") if line["request"] == request]

        wait_until(lambda: len(lines()) >= logged, f"{logged} attempts of {request} are logged")
        return [(line["backend"], line["ok"]) for line in lines()]


class ScriptedBackend:
    """A backend in a thread with a handler per request; probes are answered with 200."""

    def __init__(self, handle: Callable[[socket.socket, bytes], None]) -> None:
        self.handle = handle
        self.heads: list[bytes] = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.name = address_of(self.server)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):  # the server was closed
            while True:
                connection, _ = self.server.accept()
                threading.Thread(
                    target=self.serve_connection, args=(connection,), daemon=True
                ).start()

    def serve_connection(self, connection: socket.socket) -> None:
        connection.settimeout(LIMIT)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            head = read_head(connection)
            if head.startswith(b"GET /health "):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            elif head:
                self.heads.append(head)
                self.handle(connection, head)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the server is closed
            self.server.shutdown(socket.SHUT_RDWR)  # so that accept returns
        self.server.close()

    def requests(self) -> list[bytes]:
        """Return the first line of each request."""
        return [head.partition(b"\r\n")[0] for head in self.heads]


@contextlib.contextmanager
def scripted(*handlers: Callable[[socket.socket, bytes], None]) -> Generator[list[ScriptedBackend]]:
    """Run scripted backends, one per handler."""
    backends = [ScriptedBackend(handler) for handler in handlers]
    try:
        yield backends
    finally:
        for backend in backends:
            backend.close()


def read_head(connection: socket.socket) -> bytes:
    """Read up to an empty line, byte by byte, so that the body is not read."""
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
