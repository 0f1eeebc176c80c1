"""The HTTP drill: a real proxy, real backends, and clients that check the guarantees.

    python http_drill.py [--sabotage NAME] [--quiet]

The proxy of ``http_proxy.py`` runs over three backends of a shop, one canary of the shop and one
API.  Each is a process that stores its sessions in memory.  Several clients send requests all the
time.  The drill tests routes, increases the share of the canary, kills, restarts and drains
backends that have sessions, and stops the proxy with requests in flight.

The exit code is 0 if every guarantee held.
"""

import argparse
import json
import math
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, NamedTuple

from http_sabotage import SABOTAGE

HERE = Path(__file__).parent
CLIENTS, PAUSE = 6, 0.02  # clients, and seconds between the requests of one
VISITORS = 500
CANARY, INCREASED = 10, 20  # percent
SIGMAS = 4.5  # tolerance of a share, in standard deviations
VISITS = 12  # per session, after each change of a backend
DELAY = 0.01  # seconds per request of a backend
LIMIT = 30.0  # seconds for steps that take one or two
INTERVAL, TIMEOUT = 3.0, 2.5  # seconds between probes of the proxy, and for one probe
TRUSTED = "127.9.0.1"  # a trusted proxy in front


class Answer(NamedTuple):
    """A response; status 0 if there was none."""

    status: int = 0
    backend: str = ""
    visits: int = 0
    forwarded_for: str = ""
    forwarded: str = ""


class Browser:
    """A client with a cookie jar and a persistent connection."""

    def __init__(self, proxy: str, source: str = "") -> None:
        host, _, port = proxy.rpartition(":")
        self.connection = HTTPConnection(
            host, int(port), timeout=LIMIT, source_address=(source, 0) if source else None
        )
        self.cookies: dict[str, str] = {}

    def get(self, target: str = "/", **headers: str) -> Answer:
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            self.connection.request("GET", target, headers=sent)
            response = self.connection.getresponse()
            body = response.read()
        except (OSError, HTTPException):
            self.connection.close()
            return Answer()
        for line in response.headers.get_all("Set-Cookie", []):
            self.cookies |= {name: morsel.value for name, morsel in SimpleCookie(line).items()}
        if response.status != HTTPStatus.OK:
            return Answer(response.status)
        report = json.loads(body)
        headers = dict(report["headers"])
        chain, forwarded = headers["x-forwarded-for"], headers.get("forwarded", "")
        return Answer(response.status, report["backend"], report["visits"], chain, forwarded)


class Process:
    """A process that listens on an address."""

    def __init__(self, host: str) -> None:
        self.name = free_address(host)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, script: str, *arguments: str, log: Path) -> None:
        command = [sys.executable, str(HERE / script), *arguments]
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output)
        wait_until(lambda: listens(self.name), f"{script} listens")

    def signal(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


class Drill:
    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.started_at = time.monotonic()
        self.shop = [Process(f"127.1.0.{number}") for number in (1, 2, 3)]
        self.canary, self.api = Process("127.1.0.4"), Process("127.1.0.5")
        self.proxy = Process("127.0.0.1")
        self.share = CANARY
        self.drained: list[str] = []
        self.failures: list[str] = []
        self.stopping = threading.Event()
        self.answers: list[Answer] = []

    def run(self) -> None:
        try:
            for backend in (*self.shop, self.canary, self.api):
                self.start(backend)
            self.start_proxy()
            with self.traffic():
                self.routes()
                self.addresses()
                self.shares()
                self.sessions()
                self.draining()
            self.check(
                bool(self.answers)
                and all(answer.status == HTTPStatus.OK for answer in self.answers),
                f"{len(self.answers)} requests were answered while backends were killed",
                f"{Counter(answer.status for answer in self.answers)}",
            )
            self.stop()
        finally:
            for process in (self.proxy, *self.shop, self.canary, self.api):
                process.kill()

    # The guarantees

    def routes(self) -> None:
        """Check that host and path select the backend, and that bad paths are refused."""
        shop = {backend.name for backend in (*self.shop, self.canary)}
        wrong: list[str] = []
        cases = [
            ("/", "", 200, shop),
            ("/apiary", "", 200, shop),
            ("/api/items?page=2", "", 200, {self.api.name}),
            ("/apiary/../api/items", "", 200, {self.api.name}),
            ("/", "api.example", 200, {self.api.name}),
            ("/private/keys", "", 404, {""}),
            ("/../etc/passwd", "", 400, {""}),
        ]
        for target, host, status, backends in cases:
            answer = self.browser().get(target, **({"Host": host} if host else {}))
            if answer.status != status or answer.backend not in backends:
                wrong.append(f"{host}{target}: {answer.status} {answer.backend}")
        self.check(
            not wrong, f"{len(cases)} requests went to the backend of their host and path", *wrong
        )

    def addresses(self) -> None:
        """Check that X-Forwarded-For is accepted only from a trusted proxy."""
        spoofed_headers = {"X_Forwarded_For": "198.51.100.7", "Forwarded": "for=198.51.100.7"}
        spoofed = self.browser().get(**spoofed_headers)
        chain = self.browser(TRUSTED).get(X_Forwarded_For="6.6.6.6, 198.51.100.7").forwarded_for
        self.check(
            (spoofed.forwarded_for, spoofed.forwarded) == ("127.0.0.1", "")
            and chain == f"198.51.100.7, {TRUSTED}",
            "X-Forwarded-For was accepted only from a trusted proxy",
            f"{spoofed} from an untrusted client, {chain!r} from the proxy",
        )

    def shares(self) -> None:
        """Check the share of the canary, and that a greater share only adds visitors to it."""
        visitors = [self.browser() for _ in range(VISITORS)]
        before, again = self.on_canary(visitors), self.on_canary(visitors)
        self.check_share(before, CANARY)
        changed = sum(was != is_now for was, is_now in zip(before, again, strict=True))
        self.check(not changed, "each visitor stayed on its side", f"{changed} did not")
        self.share = INCREASED
        self.configure()
        after = self.on_canary(visitors)
        self.check_share(after, INCREASED)
        left = sum(was and not is_now for was, is_now in zip(before, after, strict=True))
        self.check(not left, "when its share increased, no visitor left the canary", f"{left} did")

    def sessions(self) -> None:
        """Check that a session moves only if its own backend is killed, and only once."""
        browsers, own = self.sessions_of_one_backend()
        other, third = [backend for backend in self.shop if backend is not own]
        first = [answer.visits for answer in self.visit(browsers)]
        other.kill()
        turns = [self.visit(browsers) for _ in range(VISITS)]
        seen = [[(answer.backend, answer.visits) for answer in answers] for answers in turns]
        kept = [[(own.name, visits + turn + 1) for visits in first] for turn in range(VISITS)]
        self.check(
            seen == kept,
            f"{CLIENTS} sessions stayed when another backend was killed",
            f"{seen[-1]} at the end",
        )
        own.kill()
        homes = {answer.backend for _ in range(VISITS) for answer in self.visit(browsers)}
        self.check(
            homes == {third.name},
            "they moved when their own backend was killed, and no request failed",
            f"they were answered by {homes}",
        )
        for backend in (own, other):
            self.start(backend)
            self.until_serving(backend)
        stayed = {answer.backend for _ in range(VISITS) for answer in self.visit(browsers)}
        self.check(
            stayed == homes, "they stayed on the new backend", f"they were answered by {stayed}"
        )

    def draining(self) -> None:
        """Check that a draining backend keeps its sessions and gets no new ones."""
        browsers, own = self.sessions_of_one_backend()
        self.drained = [own.name]
        self.configure()
        stayed = {answer.backend for _ in range(VISITS) for answer in self.visit(browsers)}
        new = [self.browser().get().backend for _ in range(4 * VISITS)]
        self.check(stayed == {own.name}, "a draining backend kept its sessions", f"{stayed}")
        late = new.count(own.name)
        self.check(not late, "and got no new ones", f"it got {late} of {len(new)}")
        self.drained = []
        self.configure()
        self.until_serving(own)

    def stop(self) -> None:
        """Check that the proxy finishes its requests before it exits."""
        answers: list[Answer] = []
        slow = Process("127.1.0.6")
        slow.start("http_backend.py", slow.name, "1.0", log=self.folder / "backends")
        self.api, former = slow, self.api
        former.kill()
        self.configure()
        requests = [
            threading.Thread(target=lambda: answers.append(self.browser().get("/api/slow")))
            for _ in range(CLIENTS)
        ]
        for request in requests:
            request.start()
        wait_until(lambda: arrived(slow) >= CLIENTS, f"{CLIENTS} requests are on a backend")
        self.proxy.signal(signal.SIGTERM)
        for request in requests:
            request.join()
        assert self.proxy.process
        with suppress(subprocess.TimeoutExpired):
            self.proxy.process.wait(LIMIT)
        exit_code = self.proxy.process.returncode
        complete = [answer.status for answer in answers].count(200)
        self.check(
            (complete, exit_code) == (CLIENTS, 0),
            f"{CLIENTS} requests in flight were finished before the proxy exited",
            f"{complete} were, exit code {exit_code}",
        )

    # Helpers

    def start(self, backend: Process) -> None:
        backend.start("http_backend.py", backend.name, str(DELAY), log=self.folder / "backends")

    def start_proxy(self) -> None:
        self.write()
        script = ["http_proxy.py"]
        if self.options.sabotage:
            script = ["http_sabotage.py", self.options.sabotage]
        settings = ["--listen", self.proxy.name, "--config", str(self.folder / "config")]
        settings += ["--interval", str(INTERVAL), "--timeout", str(TIMEOUT), "--fail-timeout", "1"]
        settings += ["--min-retries", str(4 * CLIENTS)]  # all requests may fail at once
        self.proxy.start(*script, *settings, log=self.folder / "log")

    def write(self) -> None:
        """Write the configuration of the proxy."""
        shop = {backend.name: 1 for backend in self.shop}
        split = {"shop": 100 - self.share, "canary": self.share}
        config = {
            "trusted": [f"{TRUSTED}/32"],
            "visitor": "visitor",
            "pools": {
                "shop": {"backends": shop, "cookie": "home", "drain": self.drained},
                "canary": {"backends": {self.canary.name: 1}, "cookie": "home"},
                "api": {"backends": {self.api.name: 1}},
            },
            "routes": [
                {"path": "/", "to": split},
                {"path": "/apiary", "to": split},
                {"prefix": "/api", "to": "api"},
                {"host": "api.example", "to": "api"},
            ],
        }
        (self.folder / "config").write_text(json.dumps(config, indent=2))

    def configure(self) -> None:
        """Make the proxy read its configuration again, and wait until it has."""
        before = len(self.lines_with("configuration"))
        self.write()
        self.proxy.signal(signal.SIGHUP)
        wait_until(lambda: self.lines_with("configuration")[before:], "the configuration is read")
        assert self.lines_with("configuration")[-1]["configuration"] == "read"

    def lines_with(self, field: str) -> list[dict[str, Any]]:
        """Return the log lines of the proxy that have a field."""
        complete, _, _ = (self.folder / "log").read_text().rpartition("\n")
        return [line for line in map(json.loads, complete.splitlines()) if field in line]

    def until_serving(self, backend: Process) -> None:
        """Wait until a backend gets new clients."""
        wait_until(lambda: self.browser().get().backend == backend.name, f"{backend.name} serves")

    def browser(self, source: str = "") -> Browser:
        return Browser(self.proxy.name, source)

    def sessions_of_one_backend(self) -> tuple[list[Browser], Process]:
        """Return browsers with sessions on one backend of the shop, and that backend."""
        found: dict[str, list[Browser]] = {}

        def add_browser() -> list[Process]:
            browser = self.browser()
            found.setdefault(browser.get().backend, []).append(browser)
            return self.complete(found)

        wait_until(add_browser, f"{CLIENTS} sessions are on one backend of the shop")
        [home] = self.complete(found)
        return found[home.name], home

    def complete(self, found: dict[str, list[Browser]]) -> list[Process]:
        return [backend for backend in self.shop if len(found.get(backend.name, [])) == CLIENTS]

    def visit(self, browsers: list[Browser]) -> list[Answer]:
        """Send one request per browser, in several threads."""
        with ThreadPoolExecutor(CLIENTS) as threads:
            return list(threads.map(Browser.get, browsers))

    def on_canary(self, visitors: list[Browser]) -> list[bool]:
        """Send one request per visitor; return which of them went to the canary."""
        return [answer.backend == self.canary.name for answer in self.visit(visitors)]

    @contextmanager
    def traffic(self) -> Generator[None]:
        """Send requests from several clients until the end of the block."""

        def client() -> None:
            browser = self.browser()
            while not self.stopping.wait(PAUSE):
                self.answers.append(browser.get())

        clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for thread in clients:
            thread.start()
        try:
            yield
        finally:
            self.stopping.set()
            for thread in clients:
                thread.join()

    def check(self, holds: bool, guarantee: str, *details: str) -> None:
        """Print a guarantee and whether it holds, and record it if it does not."""
        line = f"ok: {guarantee}"
        if not holds:
            self.failures.append(f"{guarantee}: {'; '.join(details)}")
            line = f"FAILED: {self.failures[-1]}"
        if not (holds and self.options.quiet):
            print(f"{time.monotonic() - self.started_at:5.1f} s  {line}")

    def check_share(self, on_canary: list[bool], percent: int) -> None:
        share = percent / 100
        allowed = SIGMAS * math.sqrt(VISITORS * share * (1 - share))
        count = sum(on_canary)
        self.check(
            abs(count - VISITORS * share) <= allowed,
            f"the canary of {percent} % had {count} of {VISITORS} visitors, "
            f"{VISITORS * share:.0f} ± {allowed:.0f} guaranteed",
            "outside the tolerance",
        )


def free_address(host: str) -> str:
    with closing(socket.socket()) as probe:
        probe.bind((host, 0))
        return f"{host}:{probe.getsockname()[1]}"


def arrived(backend: Process) -> int:
    """Return how many requests have arrived at a backend."""
    with closing(HTTPConnection(backend.name, timeout=LIMIT)) as connection:
        connection.request("GET", "/health")
        return int(json.loads(connection.getresponse().read())["requests"])


def listens(name: str) -> bool:
    host, _, port = name.rpartition(":")
    with suppress(OSError):
        socket.create_connection((host, int(port)), timeout=1).close()
        return True
    return False


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Poll a condition until it holds.  Raises TimeoutError after the limit."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {LIMIT} s: {what}")
        time.sleep(0.02)


def main() -> int:
    """Run one drill and print the results."""
    parser = argparse.ArgumentParser(description="A real HTTP proxy, and real backends that fail.")
    parser.add_argument("--sabotage", choices=SABOTAGE, help="break one part of the proxy")
    parser.add_argument("--quiet", action="store_true", help="print only failures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        drill = Drill(options, Path(folder))
        try:
            drill.run()
        except TimeoutError as late:
            drill.failures.append(str(late))
            print(f"FAILED: {late}")
    if not drill.failures:
        print("all guarantees held")
    return bool(drill.failures)


if __name__ == "__main__":
    raise SystemExit(main())
