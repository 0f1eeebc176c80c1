"""The health endpoint of the examples, with a real PostgreSQL and a real Redis that fail."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("psycopg")
pytest.importorskip("redis")


from tests.system.servers import LIMIT as STEP_LIMIT
from tests.system.servers import Server, postgres, redis, wait_until

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "health_endpoint.py"
Summary = tuple[str, int, dict[str, str]]
CHECK_TIMEOUT = 1.0  # seconds for each check
BOTH_UP = ("healthy", 200, {"postgres": "up", "redis": "up"})
NO_REDIS = ("degraded", 503, {"postgres": "up", "redis": "down"})
NO_POSTGRES = ("degraded", 503, {"postgres": "down", "redis": "up"})
NEITHER = ("degraded", 503, {"postgres": "down", "redis": "down"})
ALIVE: Summary = ("healthy", 200, {})


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def summary(self) -> Summary:
        report = self.json()
        checks = {name: check["status"] for name, check in report["checks"].items()}
        return report["status"], self.status, checks


class Endpoint(NamedTuple):
    """The running example."""

    process: "subprocess.Popen[bytes]"
    port: int
    folder: Path

    def ask(self, path: str, method: str = "GET") -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=STEP_LIMIT)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, headers, answer.read())
        finally:
            connection.close()

    def send(self, request: bytes) -> bytes:
        """Send raw bytes; return everything that is received."""
        with socket.create_connection(("127.0.0.1", self.port), STEP_LIMIT) as client:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            return client.makefile("rb").read()

    def wait_for(self, expected: Summary) -> Any:
        """Wait until /health is as expected; return its JSON.  /livez must always be healthy."""
        answers: list[Answer] = []

        def as_expected() -> bool:
            assert self.ask("/livez").summary() == ALIVE
            answers.append(self.ask("/health"))
            return answers[-1].summary() == expected

        wait_until(as_expected)
        return answers[-1].json()

    def why_down(self, name: str) -> str:
        """Return the reason that was printed last."""
        lines = map(json.loads, (self.folder / "out").read_text().splitlines())
        return str([line["why"] for line in lines if line.get("check") == name][-1])

    def stop_cleanly(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(STEP_LIMIT) == 0
        assert (self.folder / "err").read_text() == ""


@pytest.fixture(scope="module", name="database")
def a_postgres() -> Generator[Server]:
    with postgres() as server:
        yield server


@pytest.fixture(scope="module", name="cache")
def a_redis() -> Generator[Server]:
    with redis() as server:
        yield server


Start = Callable[..., AbstractContextManager[Endpoint]]


@pytest.fixture
def start(database: Server, cache: Server, tmp_path: Path) -> Start:
    """Return a function that starts the example; both servers are up before it."""
    database.start()
    cache.start()

    @contextmanager
    def endpoint(*options: str, timeout: float = CHECK_TIMEOUT) -> Generator[Endpoint]:
        command = [sys.executable, str(EXAMPLE), "--listen", "127.0.0.1:0", *options]
        command += ["--postgres", f"host=127.0.0.1 port={database.port} user=postgres"]
        command += ["--redis", f"redis://127.0.0.1:{cache.port}", "--timeout", str(timeout)]
        out, err = tmp_path / "out", tmp_path / "err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
        try:
            wait_until(lambda: "\n" in out.read_text() or process.poll() is not None)
            assert process.poll() is None, err.read_text()
            listening = json.loads(out.read_text().splitlines()[0])
            assert listening["event"] == "listening"
            yield Endpoint(process, int(listening["address"].rpartition(":")[2]), tmp_path)
        finally:
            process.kill()
            process.wait()

    return endpoint


def test_redis_stops_and_starts_again(start: Start, cache: Server) -> None:
    with start("--version", "1.2.0 é") as endpoint:
        first = endpoint.wait_for(BOTH_UP)
        assert first["version"] == "1.2.0 é"
        for check in first["checks"].values():
            assert 0 < check["latency_ms"] < CHECK_TIMEOUT * 1000
        cache.stop()
        gone = endpoint.wait_for(NO_REDIS)
        assert gone["checks"]["redis"]["latency_ms"] < CHECK_TIMEOUT * 1000  # refused at once
        assert "ConnectionError" in endpoint.why_down("redis")
        cache.start()
        again = endpoint.wait_for(BOTH_UP)
        assert 0 < first["uptime_secs"] < gone["uptime_secs"] < again["uptime_secs"]
        endpoint.stop_cleanly()


def test_liveness_does_not_depend_on_the_servers(
    start: Start, database: Server, cache: Server
) -> None:
    with start() as endpoint:
        database.stop()
        endpoint.wait_for(NO_POSTGRES)
        cache.stop()
        endpoint.wait_for(NEITHER)
        assert endpoint.ask("/livez").summary() == ALIVE
        database.start()
        cache.start()
        endpoint.wait_for(BOTH_UP)
        endpoint.stop_cleanly()


@pytest.mark.parametrize(
    ("name", "without"), [("postgres", NO_POSTGRES), ("redis", NO_REDIS)], ids=["postgres", "redis"]
)
def test_a_frozen_server_is_down_within_the_timeout(
    start: Start,
    database: Server,
    cache: Server,
    name: str,
    without: Summary,
) -> None:
    server = {"postgres": database, "redis": cache}[name]
    with start() as endpoint:
        endpoint.wait_for(BOTH_UP)
        server.freeze()
        hung = endpoint.wait_for(without)["checks"][name]
        assert CHECK_TIMEOUT * 1000 <= hung["latency_ms"] < CHECK_TIMEOUT * 10_000
        assert "TimeoutError" in endpoint.why_down(name)
        server.thaw()
        endpoint.wait_for(BOTH_UP)
        endpoint.stop_cleanly()


def test_two_frozen_servers_are_checked_at_the_same_time(
    start: Start, database: Server, cache: Server
) -> None:
    with start(timeout=3.0) as endpoint:
        database.freeze()
        cache.freeze()
        before = endpoint.ask("/livez").json()["uptime_secs"]
        answer = endpoint.ask("/health")
        assert answer.summary() == NEITHER
        took = answer.json()["uptime_secs"] - before
        latencies = [check["latency_ms"] / 1000 for check in answer.json()["checks"].values()]
        assert took < sum(latencies)


def test_an_optional_server_may_be_down(start: Start, cache: Server) -> None:
    with start("--optional", "redis") as endpoint:
        endpoint.wait_for(BOTH_UP)
        cache.stop()
        endpoint.wait_for(("degraded", 200, {"postgres": "up", "redis": "down"}))
        endpoint.stop_cleanly()


@pytest.mark.parametrize(
    ("path", "status"),
    [("/health", 200), ("/livez", 200), ("/livez?from=a", 200), ("/", 404), ("/healthz", 404)],
)
def test_a_response_is_json_and_not_cached(start: Start, path: str, status: int) -> None:
    with start() as endpoint:
        endpoint.wait_for(BOTH_UP)
        got, head = endpoint.ask(path), endpoint.ask(path, "HEAD")
        for answer in (got, head):
            assert answer.status == status
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["cache-control"] == "no-store"
        assert int(got.headers["content-length"]) == len(got.body)
        assert head.headers.keys() == got.headers.keys()
        assert endpoint.send(f"HEAD {path} HTTP/1.1\r\n\r\n".encode()).endswith(b"\r\n\r\n")
        assert isinstance(got.json(), dict)
        refused = endpoint.ask("/health", "POST")
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
        endpoint.stop_cleanly()


@pytest.mark.parametrize(
    ("sent", "begin"),
    [
        (b"\r\n\r\n", b"HTTP/1.1 400 "),
        (b"\xff\xfe\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET http://[ HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET http://here/livez HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 "),
        (b"GET /livez HTT", b""),
        (b"", b""),
    ],
)
def test_an_invalid_request_does_no_harm(start: Start, sent: bytes, begin: bytes) -> None:
    with start() as endpoint:
        answer = endpoint.send(sent)
        assert answer.startswith(begin)
        assert answer or not begin
        endpoint.wait_for(BOTH_UP)
        endpoint.stop_cleanly()


def test_a_silent_client_is_disconnected(start: Start) -> None:
    with (
        start() as endpoint,
        socket.create_connection(("127.0.0.1", endpoint.port), STEP_LIMIT) as client,
    ):
        assert client.recv(1) == b""  # closed by the server, or else a TimeoutError
        endpoint.stop_cleanly()


def test_many_probes_at_the_same_time_are_answered(start: Start) -> None:
    with start(timeout=STEP_LIMIT) as endpoint, ThreadPoolExecutor(32) as clients:
        answers = list(clients.map(endpoint.ask, ["/health", "/livez"] * 32))
        assert [answer.status for answer in answers] == [200] * 64
        endpoint.stop_cleanly()


def connections_to(cache: Server) -> int:
    """Return how many connections Redis has accepted, this one included."""
    with socket.create_connection(("127.0.0.1", cache.port), STEP_LIMIT) as client:
        client.sendall(b"INFO stats\r\nQUIT\r\n")
        found = re.search(rb"total_connections_received:(\d+)", client.makefile("rb").read())
    assert found is not None
    return int(found[1])


def test_150_probes_at_the_same_time_open_few_connections(start: Start, cache: Server) -> None:
    """They opened 150.  Redis responds at once, so later requests share the next check."""
    interval = 0.5
    with start("--interval", str(interval), timeout=STEP_LIMIT) as endpoint:
        before, began = connections_to(cache), time.monotonic()
        with ThreadPoolExecutor(75) as clients:
            answers = list(clients.map(endpoint.ask, ["/health"] * 150))
        assert [answer.summary() for answer in answers] == [BOTH_UP] * 150
        took = time.monotonic() - began
        opened = connections_to(cache) - before - 1
        assert 1 <= opened <= 1 + took / interval
        endpoint.stop_cleanly()


def test_a_running_probe_is_answered_before_the_exit(start: Start, cache: Server) -> None:
    with start(timeout=2.0) as endpoint, ThreadPoolExecutor(1) as clients:
        endpoint.wait_for(BOTH_UP)
        cache.freeze()
        with socket.create_connection(("127.0.0.1", endpoint.port), STEP_LIMIT) as client:
            client.sendall(b"GET /health HTTP/1.1\r\n\r\n")
            assert endpoint.ask("/livez").status == 200  # so the earlier request was accepted
            end = clients.submit(endpoint.stop_cleanly)
            assert client.makefile("rb").read().startswith(b"HTTP/1.1 503 ")
        end.result()
