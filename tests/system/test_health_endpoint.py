"""The example's health endpoint over a real PostgreSQL and a real Redis that come and go."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("psycopg")
pytest.importorskip("redis")


from tests.system.servers import PATIENCE, Server, postgres, redis, until

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "health_endpoint.py"
Summary = tuple[str, int, dict[str, str]]
LIMIT = 1.0  # seconds a check may take
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
    """The example, running."""

    process: "subprocess.Popen[bytes]"
    port: int
    folder: Path

    def ask(self, path: str, method: str = "GET") -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, headers, answer.read())
        finally:
            connection.close()

    def send(self, request: bytes) -> bytes:
        """Send these bytes and give all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as client:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            return client.makefile("rb").read()

    def becomes(self, expected: Summary) -> Any:
        """Wait until /health says so, and give its JSON; /livez must not care."""
        answers: list[Answer] = []

        def as_expected() -> bool:
            assert self.ask("/livez").summary() == ALIVE
            answers.append(self.ask("/health"))
            return answers[-1].summary() == expected

        until(as_expected)
        return answers[-1].json()

    def why_down(self, name: str) -> str:
        """Give the reason it printed last."""
        told = map(json.loads, (self.folder / "out").read_text().splitlines())
        return str([line["why"] for line in told if line.get("check") == name][-1])

    def ends_cleanly(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0
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
    """Give the command that starts the example, with both servers up before it."""
    database.start()
    cache.start()

    @contextmanager
    def endpoint(*options: str, timeout: float = LIMIT) -> Generator[Endpoint]:
        command = [sys.executable, str(EXAMPLE), "--listen", "127.0.0.1:0", *options]
        command += ["--postgres", f"host=127.0.0.1 port={database.port} user=postgres"]
        command += ["--redis", f"redis://127.0.0.1:{cache.port}", "--timeout", str(timeout)]
        out, err = tmp_path / "out", tmp_path / "err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
        try:
            until(lambda: "\n" in out.read_text() or process.poll() is not None)
            assert process.poll() is None, err.read_text()
            listening = json.loads(out.read_text().splitlines()[0])
            assert listening["event"] == "listening"
            yield Endpoint(process, int(listening["address"].rpartition(":")[2]), tmp_path)
        finally:
            process.kill()
            process.wait()

    return endpoint


def test_redis_goes_and_comes_back(start: Start, cache: Server) -> None:
    with start("--version", "1.2.0 é") as endpoint:
        first = endpoint.becomes(BOTH_UP)
        assert first["version"] == "1.2.0 é"
        for check in first["checks"].values():
            assert 0 < check["latency_ms"] < LIMIT * 1000
        cache.stop()
        gone = endpoint.becomes(NO_REDIS)
        assert gone["checks"]["redis"]["latency_ms"] < LIMIT * 1000  # refused, not waited for
        assert "ConnectionError" in endpoint.why_down("redis")
        cache.start()
        again = endpoint.becomes(BOTH_UP)
        assert 0 < first["uptime_secs"] < gone["uptime_secs"] < again["uptime_secs"]
        endpoint.ends_cleanly()


def test_a_process_is_alive_without_anything_it_needs(
    start: Start, database: Server, cache: Server
) -> None:
    with start() as endpoint:
        database.stop()
        endpoint.becomes(NO_POSTGRES)
        cache.stop()
        endpoint.becomes(NEITHER)
        assert endpoint.ask("/livez").summary() == ALIVE
        database.start()
        cache.start()
        endpoint.becomes(BOTH_UP)
        endpoint.ends_cleanly()


@pytest.mark.parametrize(
    ("name", "without"), [("postgres", NO_POSTGRES), ("redis", NO_REDIS)], ids=["postgres", "redis"]
)
def test_a_server_that_hangs_is_down_in_bounded_time(
    start: Start,
    database: Server,
    cache: Server,
    name: str,
    without: Summary,
) -> None:
    server = {"postgres": database, "redis": cache}[name]
    with start() as endpoint:
        endpoint.becomes(BOTH_UP)
        server.freeze()
        hung = endpoint.becomes(without)["checks"][name]
        assert LIMIT * 1000 <= hung["latency_ms"] < LIMIT * 10_000
        assert "TimeoutError" in endpoint.why_down(name)
        server.thaw()
        endpoint.becomes(BOTH_UP)
        endpoint.ends_cleanly()


def test_two_that_hang_are_waited_for_at_once(
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


def test_without_what_is_optional_it_still_serves(start: Start, cache: Server) -> None:
    with start("--optional", "redis") as endpoint:
        endpoint.becomes(BOTH_UP)
        cache.stop()
        endpoint.becomes(("degraded", 200, {"postgres": "up", "redis": "down"}))
        endpoint.ends_cleanly()


@pytest.mark.parametrize(
    ("path", "status"),
    [("/health", 200), ("/livez", 200), ("/livez?from=a", 200), ("/", 404), ("/healthz", 404)],
)
def test_an_answer_is_json_that_nobody_keeps(start: Start, path: str, status: int) -> None:
    with start() as endpoint:
        endpoint.becomes(BOTH_UP)
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
        endpoint.ends_cleanly()


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
def test_what_is_no_request_harms_nobody(start: Start, sent: bytes, begin: bytes) -> None:
    with start() as endpoint:
        answer = endpoint.send(sent)
        assert answer.startswith(begin)
        assert answer or not begin
        endpoint.becomes(BOTH_UP)
        endpoint.ends_cleanly()


def test_who_says_nothing_is_not_listened_to_for_ever(start: Start) -> None:
    with (
        start() as endpoint,
        socket.create_connection(("127.0.0.1", endpoint.port), PATIENCE) as client,
    ):
        assert client.recv(1) == b""  # closed from there, else a TimeoutError
        endpoint.ends_cleanly()


def test_many_probes_at_once_are_all_answered(start: Start) -> None:
    with start(timeout=PATIENCE) as endpoint, ThreadPoolExecutor(32) as clients:
        answers = list(clients.map(endpoint.ask, ["/health", "/livez"] * 32))
        assert [answer.status for answer in answers] == [200] * 64
        endpoint.ends_cleanly()


def test_a_probe_under_way_is_answered_before_the_end(start: Start, cache: Server) -> None:
    with start(timeout=2.0) as endpoint, ThreadPoolExecutor(1) as clients:
        endpoint.becomes(BOTH_UP)
        cache.freeze()
        with socket.create_connection(("127.0.0.1", endpoint.port), PATIENCE) as client:
            client.sendall(b"GET /health HTTP/1.1\r\n\r\n")
            assert endpoint.ask("/livez").status == 200  # so the earlier one has been accepted
            end = clients.submit(endpoint.ends_cleanly)
            assert client.makefile("rb").read().startswith(b"HTTP/1.1 503 ")
        end.result()
