"""Real servers for the tests: on loopback, each with a temporary folder."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from secrets import randbelow

from tests.system.programs import program

LIMIT = 30.0  # seconds for steps that take one or two


class Server:
    """A server that a test may start, stop, freeze and thaw; the port stays the same."""

    def __init__(self, folder: Path, port: int, command: list[str], end: signal.Signals) -> None:
        self.folder, self.port, self.command, self.end = folder, port, command, end
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, or thaw it if it runs, and wait until it listens."""
        if self.process is None:
            self.process = unprivileged(self.command, self.folder)
        self.thaw()
        wait_until(self.listens)

    def listens(self) -> bool:
        """Return whether the port accepts connections; AssertionError if the program has exited."""
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text(errors="replace")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def freeze(self) -> None:
        """Stop the process (SIGSTOP): it does not even refuse connections."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue the process (SIGCONT)."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Terminate the server, frozen or not; kill it if it does not exit."""
        if self.process is None:
            return
        self.thaw()
        self.process.send_signal(self.end)
        try:
            self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


@contextlib.contextmanager
def postgres() -> Generator[Server]:
    """Create a PostgreSQL cluster with the superuser ``postgres``; it is not started."""
    initdb = Path(program("initdb", "postgresql"))
    with own_folder() as folder:
        data = str(folder / "data")
        make = [str(initdb), "-D", data, "-U", "postgres", "--auth=trust", "--no-sync"]
        making = unprivileged([*make, "--locale=C", "--encoding=UTF8"], folder)
        try:
            assert making.wait(120) == 0, (folder / "log").read_text(errors="replace")
        finally:
            making.kill()
            making.wait()
        port = free_port()
        command = [str(initdb.resolve().with_name("postgres")), "-D", data, "-p", str(port)]
        for setting in ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"):
            command += ["-c", setting]
        with running(Server(folder, port, command, signal.SIGINT)) as server:  # fast shutdown
            yield server


@contextlib.contextmanager
def redis() -> Generator[Server]:
    """Create a Redis without persistence; it is not started."""
    command = [program("redis-server", "redis-server"), "--bind", "127.0.0.1", "--save", ""]
    with own_folder() as folder:
        port = free_port()
        command += ["--appendonly", "no", "--dir", str(folder), "--port", str(port)]
        with running(Server(folder, port, command, signal.SIGTERM)) as server:
            yield server


@contextlib.contextmanager
def running(server: Server) -> Generator[Server]:
    """Stop the server at the end of the block."""
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def own_folder() -> Generator[Path]:
    """Create a folder for the user of the servers, and remove it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="balancers-"))
    try:
        if os.geteuid() == 0:
            account = pwd.getpwnam("nobody")
            os.chown(folder, account.pw_uid, account.pw_gid)
        yield folder
    finally:
        shutil.rmtree(folder)


def unprivileged(command: list[str], folder: Path) -> "subprocess.Popen[bytes]":
    """Start a program in its folder, not as root, because PostgreSQL refuses root."""
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=account and account.pw_uid,
            group=account and account.pw_gid,
            extra_groups=account and [],
        )


def free_port() -> int:
    """Return a port below the ephemeral range, so that it stays free while the server is down."""
    while True:
        port = 20_000 + randbelow(10_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(condition: Callable[[], bool], seconds: float = LIMIT) -> None:
    """Wait until a condition holds; AssertionError after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        time.sleep(0.02)
