"""Real servers for the tests: on loopback, each in a folder of its own that goes when it goes."""

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

PATIENCE = 30.0  # seconds for what takes one or two


class Server:
    """A program to start, stop, freeze and thaw as often as a test likes, always on one port."""

    def __init__(self, folder: Path, port: int, command: list[str], end: signal.Signals) -> None:
        self.folder, self.port, self.command, self.end = folder, port, command, end
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or thaw it if it runs, and wait until it listens."""
        if self.process is None:
            self.process = unprivileged(self.command, self.folder)
        self.thaw()
        until(self.listens)

    def listens(self) -> bool:
        """Whether someone accepts connections there; AssertionError if the program has ended."""
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text(errors="replace")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def freeze(self) -> None:
        """Let it do nothing, not even refuse a connection."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it, frozen or not, by force if it does not come to an end."""
        if self.process is None:
            return
        self.thaw()
        self.process.send_signal(self.end)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


@contextlib.contextmanager
def postgres() -> Generator[Server]:
    """Give a stopped PostgreSQL with a new cluster; its superuser is ``postgres``."""
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
        with running(Server(folder, port, command, signal.SIGINT)) as server:  # a fast shutdown
            yield server


@contextlib.contextmanager
def redis() -> Generator[Server]:
    """Give a stopped Redis that keeps nothing."""
    command = [program("redis-server", "redis-server"), "--bind", "127.0.0.1", "--save", ""]
    with own_folder() as folder:
        port = free_port()
        command += ["--appendonly", "no", "--dir", str(folder), "--port", str(port)]
        with running(Server(folder, port, command, signal.SIGTERM)) as server:
            yield server


@contextlib.contextmanager
def running(server: Server) -> Generator[Server]:
    """Stop it whatever happens."""
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def own_folder() -> Generator[Path]:
    """Make a folder that belongs to whom the servers run as; remove it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="balancers-"))
    try:
        if os.geteuid() == 0:
            account = pwd.getpwnam("nobody")
            os.chown(folder, account.pw_uid, account.pw_gid)
        yield folder
    finally:
        shutil.rmtree(folder)


def unprivileged(command: list[str], folder: Path) -> "subprocess.Popen[bytes]":
    """Start a program in its folder, not as root: PostgreSQL refuses that."""
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
    """Find a port below those of outgoing connections: nobody gets it while its server is down."""
    while True:
        port = 20_000 + randbelow(10_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until it holds; AssertionError after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        time.sleep(0.02)
