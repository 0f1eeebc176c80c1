"""The processes of the load tests: backends, the proxy of the examples, and wrk."""

import json
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
DELAY = 0.01  # seconds per request of a backend
THREADS, CONNECTIONS = 2, 16
T = TypeVar("T")


def wait_until(condition: Callable[[], T], within: float, what: str) -> T:
    """Poll a condition until its value is true, and return the value; fail after the limit."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within:.1f} s: {what}")
        time.sleep(0.02)
    return value


def free_address(host: str) -> str:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return f"{host}:{probe.getsockname()[1]}"


def listens(name: str) -> bool:
    host, _, port = name.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


class Served(NamedTuple):
    """The counts of a backend, over all its restarts."""

    started: int
    ok: int
    failed: int
    peak: int  # in flight

    @property
    def answered(self) -> int:
        return self.ok + self.failed


class Sent(NamedTuple):
    """The counts of the proxy for one backend."""

    sent: int
    ok: int
    failed: int
    unknown: int  # the client disconnected before the response
    answered: int
    in_flight: int

    @property
    def lost(self) -> int:
        """The number of failures without a response: refused, reset or timed out."""
        return self.ok + self.failed - self.answered


class Process:
    """A process that listens; ``end`` kills it if it still runs."""

    def __init__(self, host: str) -> None:
        self.name = free_address(host)
        self.process: subprocess.Popen[str] | None = None

    def start(self, script: str, *arguments: str, log: Path) -> None:
        command = [sys.executable, str(EXAMPLES / script), *arguments]
        with log.open("a") as output:
            self.process = subprocess.Popen(command, stdout=output, text=True)
        wait_until(lambda: listens(self.name), 15, f"{script} listens on {self.name}")

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        if number in {signal.SIGKILL, signal.SIGTERM}:
            self.process.wait(30)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGKILL)


class Backend(Process):
    COUNTS = struct.Struct("<4Q")  # as in the example

    def __init__(self, folder: Path, number: int) -> None:
        super().__init__(f"127.1.0.{number}")
        self.file = folder / f"counts {number}"

    def run(self) -> None:
        self.start("backend.py", self.name, str(DELAY), str(self.file), log=Path("/dev/null"))

    def counts(self) -> Served:
        return Served._make(self.COUNTS.unpack(self.file.read_bytes()))

    def reset_peak(self) -> None:
        """Reset the maximum in flight; the backend must be idle."""
        with self.file.open("r+b") as file:
            file.write(self.COUNTS.pack(*self.counts()[:3], 0))


class Proxy(Process):
    def __init__(self, folder: Path) -> None:
        super().__init__("127.0.0.1")
        self.output = folder / "proxy"

    def run(self, backends: list[Backend], settings: Mapping[str, float]) -> None:
        arguments = [f"--backend={backend.name}=1" for backend in backends]
        arguments += [f"--{name}={value}" for name, value in settings.items()]
        self.start("proxy.py", "--listen", self.name, *arguments, log=self.output)

    def lines(self) -> list[dict[str, Any]]:
        complete, _, _ = self.output.read_text().rpartition("\n")
        return [json.loads(line) for line in complete.splitlines()]

    def count_events(self, reason: str, began: bool, backend: Backend) -> int:
        """Return how often a reason began, or ended, for a backend."""
        wanted = (reason, began, backend.name)
        found = [(x.get("reason"), x.get("began"), x.get("backend")) for x in self.lines()]
        return found.count(wanted)

    def counts(self) -> dict[str, Sent]:
        """Request the counts of the proxy."""
        before = len(self._counts())
        self.signal(signal.SIGUSR1)
        return wait_until(lambda: self._counts()[before:], 10, "the proxy prints its counts")[-1]

    def stop(self) -> dict[str, Sent]:
        """Stop the proxy; return its last counts."""
        self.signal(signal.SIGTERM)
        assert "counts" in self.lines()[-1]
        return self._counts()[-1]

    def _counts(self) -> list[dict[str, Sent]]:
        printed = [line["counts"] for line in self.lines() if "counts" in line]
        return [{name: Sent(*counts.values()) for name, counts in each.items()} for each in printed]


class Report(NamedTuple):
    """The report of a run of wrk; every field except ``requests`` counts errors."""

    requests: int
    connect: int
    read: int
    write: int
    timeout: int
    status: int

    @property
    def errors(self) -> int:
        return sum(self[1:])


REPORT = re.compile(
    rf"""Running \S+ test @ http://\S+
  {THREADS} threads and {CONNECTIONS} connections
  Thread Stats   Avg      Stdev     Max   \+/- Stdev
    Latency .*
    Req/Sec .*
  (\d+) requests in \S+, \S+ read
(?:  Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)
)?(?:  Non-2xx or 3xx responses: (\d+)
)?Requests/sec: .*
Transfer/sec: .*
"""
)


class Load:
    """One run of wrk, until ``stop``."""

    def __init__(self, wrk: str, name: str) -> None:
        shape = [f"-t{THREADS}", f"-c{CONNECTIONS}", "-d60s", "--timeout=10s"]
        self.process = subprocess.Popen(
            [wrk, *shape, f"http://{name}/"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def stop(self) -> Report:
        """Stop wrk and parse its complete report."""
        self.process.send_signal(signal.SIGINT)
        output, _ = self.process.communicate(timeout=30)
        report = REPORT.fullmatch(output)
        assert self.process.returncode == 0
        assert report, output
        return Report._make(int(count or 0) for count in report.groups())

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
