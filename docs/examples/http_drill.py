"""The HTTP drill: a real proxy over real backends, and visitors who expect what they were promised.

    python http_drill.py [--sabotage NAME] [--quiet]

Three backends of a shop, one canary of it and one API stand behind ``http_proxy.py``, each a
process of its own that keeps its sessions in memory.  A crowd shops all the while.  Routes are
tried, a canary is grown, backends are killed, restarted and drained under a session, and the proxy
is stopped with requests in flight.  Exit code 0: every promise was kept.
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
CROWD, PAUSE = 6, 0.02  # shoppers, and seconds between the requests of one
VISITORS, CANARY, GROWN = 500, 10, 20  # percent
SIGMAS = 4.5  # standard deviations that a share may be off
VISITS = 12  # of the session that is watched, each time something happened to a backend
DELAY = 0.01  # seconds a backend takes
PATIENCE = 30.0  # seconds for what takes one or two
INTERVAL, TIMEOUT = 1.0, 0.9  # seconds between the proxy's probes, and until one has failed
TRUSTED = "127.9.0.1"  # a proxy in front of ours


class Answer(NamedTuple):
    """What came back; status 0 is no answer."""

    status: int = 0
    backend: str = ""
    visits: int = 0
    forwarded_for: str = ""
    forwarded: str = ""


class Browser:
    """A client that keeps cookies, and its connection."""

    def __init__(self, proxy: str, source: str = "") -> None:
        host, _, port = proxy.rpartition(":")
        self.connection = HTTPConnection(
            host, int(port), timeout=PATIENCE, source_address=(source, 0) if source else None
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
        told = json.loads(body)
        headers = dict(told["headers"])
        chain, rival = headers["x-forwarded-for"], headers.get("forwarded", "")
        return Answer(response.status, told["backend"], told["visits"], chain, rival)


class Process:
    """A program that listens."""

    def __init__(self, host: str) -> None:
        self.name = free_address(host)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, script: str, *arguments: str, log: Path) -> None:
        command = [sys.executable, str(HERE / script), *arguments]
        with log.open("ab") as told:
            self.process = subprocess.Popen(command, stdout=told)
        until(lambda: listens(self.name), f"{script} listens")

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
        self.begun = time.monotonic()
        self.shop = [Process(f"127.1.0.{number}") for number in (1, 2, 3)]
        self.canary, self.api = Process("127.1.0.4"), Process("127.1.0.5")
        self.proxy = Process("127.0.0.1")
        self.share = CANARY
        self.drained: list[str] = []
        self.broken: list[str] = []
        self.closing = threading.Event()
        self.seen: list[Answer] = []

    def run(self) -> None:
        try:
            for backend in (*self.shop, self.canary, self.api):
                self.start(backend)
            self.start_proxy()
            with self.crowd():
                self.routes()
                self.addresses()
                self.shares()
                self.sessions()
                self.draining()
            self.promise(
                bool(self.seen) and all(answer.status == HTTPStatus.OK for answer in self.seen),
                f"the crowd's {len(self.seen)} requests were answered, whoever died",
                f"{Counter(answer.status for answer in self.seen)}",
            )
            self.stop()
        finally:
            for process in (self.proxy, *self.shop, self.canary, self.api):
                process.kill()

    # What is promised

    def routes(self) -> None:
        """Go where hosts and paths lead, and nowhere with what climbs out."""
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
        self.promise(
            not wrong, f"{len(cases)} requests went where their host and path lead", *wrong
        )

    def addresses(self) -> None:
        """Tell the backends of the client what can be believed, and no more."""
        lies = {"X_Forwarded_For": "198.51.100.7", "Forwarded": "for=198.51.100.7"}
        spoofed = self.browser().get(**lies)
        told = self.browser(TRUSTED).get(X_Forwarded_For="6.6.6.6, 198.51.100.7").forwarded_for
        self.promise(
            (spoofed.forwarded_for, spoofed.forwarded) == ("127.0.0.1", "")
            and told == f"198.51.100.7, {TRUSTED}",
            "X-Forwarded-For was believed of a trusted proxy alone",
            f"{spoofed} of a stranger, {told!r} of the proxy",
        )

    def shares(self) -> None:
        """Give the canary its share: it keeps its visitors, and only gains some when it grows."""
        visitors = [self.browser() for _ in range(VISITORS)]
        before, again = self.on_canary(visitors), self.on_canary(visitors)
        self.promise_share(before, CANARY)
        strayed = sum(was != is_now for was, is_now in zip(before, again, strict=True))
        self.promise(not strayed, "each visitor stayed on its side", f"{strayed} did not")
        self.share = GROWN
        self.configure()
        after = self.on_canary(visitors)
        self.promise_share(after, GROWN)
        left = sum(was and not is_now for was, is_now in zip(before, after, strict=True))
        self.promise(not left, "as it grew, nobody left the canary", f"{left} did")

    def sessions(self) -> None:
        """Keep sessions while others die, and move them once when their own backend does."""
        browsers, own = self.customers()
        other, third = [backend for backend in self.shop if backend is not own]
        first = [answer.visits for answer in self.visit(browsers)]
        other.kill()
        turns = [self.visit(browsers) for _ in range(VISITS)]
        seen = [[(answer.backend, answer.visits) for answer in answers] for answers in turns]
        kept = [[(own.name, visits + turn + 1) for visits in first] for turn in range(VISITS)]
        self.promise(
            seen == kept,
            f"{CROWD} sessions survived another backend's death",
            f"{seen[-1]} in the end",
        )
        own.kill()
        homes = {answer.backend for _ in range(VISITS) for answer in self.visit(browsers)}
        self.promise(
            homes == {third.name},
            "they moved when their own backend died, and no request failed",
            f"they were answered by {homes}",
        )
        for backend in (own, other):
            self.start(backend)
            self.until_serving(backend)
        stayed = {answer.backend for _ in range(VISITS) for answer in self.visit(browsers)}
        self.promise(
            stayed == homes, "they stay where they moved", f"they were answered by {stayed}"
        )

    def draining(self) -> None:
        """Drain a backend, which keeps its sessions and gets no new ones."""
        browsers, own = self.customers()
        self.drained = [own.name]
        self.configure()
        stayed = {answer.backend for _ in range(VISITS) for answer in self.visit(browsers)}
        fresh = [self.browser().get().backend for _ in range(4 * VISITS)]
        self.promise(stayed == {own.name}, "a drained backend keeps its sessions", f"{stayed}")
        late = fresh.count(own.name)
        self.promise(not late, "and gets no new ones", f"it got {late} of {len(fresh)}")
        self.drained = []
        self.configure()
        self.until_serving(own)

    def stop(self) -> None:
        """Let the proxy end, which finishes what it began."""
        answers: list[Answer] = []
        slow = Process("127.1.0.6")
        slow.start("http_backend.py", slow.name, "1.0", log=self.folder / "backends")
        self.api, former = slow, self.api
        former.kill()
        self.configure()
        askers = [
            threading.Thread(target=lambda: answers.append(self.browser().get("/api/slow")))
            for _ in range(CROWD)
        ]
        for asker in askers:
            asker.start()
        time.sleep(0.3)
        self.proxy.signal(signal.SIGTERM)
        for asker in askers:
            asker.join()
        assert self.proxy.process
        with suppress(subprocess.TimeoutExpired):
            self.proxy.process.wait(PATIENCE)
        ended = self.proxy.process.returncode
        whole = [answer.status for answer in answers].count(200)
        self.promise(
            (whole, ended) == (CROWD, 0),
            f"{CROWD} requests in flight were finished before the proxy ended",
            f"{whole} were, exit code {ended}",
        )

    # What that takes

    def start(self, backend: Process) -> None:
        backend.start("http_backend.py", backend.name, str(DELAY), log=self.folder / "backends")

    def start_proxy(self) -> None:
        self.write()
        script = ["http_proxy.py"]
        if self.options.sabotage:
            script = ["http_sabotage.py", self.options.sabotage]
        settings = ["--listen", self.proxy.name, "--config", str(self.folder / "config")]
        settings += ["--interval", str(INTERVAL), "--timeout", str(TIMEOUT), "--fail-timeout", "1"]
        settings += ["--least-retries", str(4 * CROWD)]  # a backend dies under them all
        self.proxy.start(*script, *settings, log=self.folder / "told")

    def write(self) -> None:
        """Write the proxy's configuration."""
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
        """Let the proxy read its configuration again."""
        before = len(self.told("configuration"))
        self.write()
        self.proxy.signal(signal.SIGHUP)
        until(lambda: self.told("configuration")[before:], "the configuration is read")
        assert self.told("configuration")[-1]["configuration"] == "read"

    def told(self, about: str) -> list[dict[str, Any]]:
        """Give what the proxy told that is about something."""
        whole, _, _ = (self.folder / "told").read_text().rpartition("\n")
        return [line for line in map(json.loads, whole.splitlines()) if about in line]

    def until_serving(self, backend: Process) -> None:
        """Wait until newcomers are sent to a backend."""
        until(lambda: self.browser().get().backend == backend.name, f"{backend.name} serves")

    def browser(self, source: str = "") -> Browser:
        return Browser(self.proxy.name, source)

    def customers(self) -> tuple[list[Browser], Process]:
        """Give a crowd of browsers with sessions on one backend of the shop, and that backend."""
        found: dict[str, list[Browser]] = {}

        def enter() -> list[Process]:
            browser = self.browser()
            found.setdefault(browser.get().backend, []).append(browser)
            return self.crowded(found)

        until(enter, "a crowd is served by one backend of the shop")
        [home] = self.crowded(found)
        return found[home.name], home

    def crowded(self, found: dict[str, list[Browser]]) -> list[Process]:
        return [backend for backend in self.shop if len(found.get(backend.name, [])) == CROWD]

    def visit(self, browsers: list[Browser]) -> list[Answer]:
        """Send each browser once more, a crowd at a time."""
        with ThreadPoolExecutor(CROWD) as threads:
            return list(threads.map(Browser.get, browsers))

    def on_canary(self, visitors: list[Browser]) -> list[bool]:
        """Send each visitor once more, and say who was on the canary."""
        return [answer.backend == self.canary.name for answer in self.visit(visitors)]

    @contextmanager
    def crowd(self) -> Generator[None]:
        """Keep a crowd shopping."""

        def shop() -> None:
            browser = self.browser()
            while not self.closing.wait(PAUSE):
                self.seen.append(browser.get())

        shoppers = [threading.Thread(target=shop) for _ in range(CROWD)]
        for shopper in shoppers:
            shopper.start()
        try:
            yield
        finally:
            self.closing.set()
            for shopper in shoppers:
                shopper.join()

    def promise(self, kept: bool, what: str, *wrong: str) -> None:
        """Note a promise, and whether it was kept."""
        told = f"kept: {what}"
        if not kept:
            self.broken.append(f"{what}: {'; '.join(wrong)}")
            told = f"BROKEN: {self.broken[-1]}"
        if not (kept and self.options.quiet):
            print(f"{time.monotonic() - self.begun:5.1f} s  {told}")

    def promise_share(self, on_canary: list[bool], percent: int) -> None:
        share = percent / 100
        room = SIGMAS * math.sqrt(VISITORS * share * (1 - share))
        count = sum(on_canary)
        self.promise(
            abs(count - VISITORS * share) <= room,
            f"the canary of {percent} % had {count} of {VISITORS} visitors, "
            f"{VISITORS * share:.0f} ± {room:.0f} promised",
            "too far off",
        )


def free_address(host: str) -> str:
    with closing(socket.socket()) as probe:
        probe.bind((host, 0))
        return f"{host}:{probe.getsockname()[1]}"


def listens(name: str) -> bool:
    host, _, port = name.rpartition(":")
    with suppress(OSError):
        socket.create_connection((host, int(port)), timeout=1).close()
        return True
    return False


def until(seen: Callable[[], object], what: str) -> None:
    """Ask again and again until it is so; TimeoutError when it takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not seen():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE} s: {what}")
        time.sleep(0.02)


def main() -> int:
    """Run one drill and say how it went."""
    parser = argparse.ArgumentParser(description="A real HTTP proxy, real backends, and trouble.")
    parser.add_argument("--sabotage", choices=SABOTAGE, help="break the proxy, to see it noticed")
    parser.add_argument("--quiet", action="store_true", help="tell broken promises only")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        drill = Drill(options, Path(folder))
        try:
            drill.run()
        except TimeoutError as late:
            drill.broken.append(str(late))
            print(f"BROKEN: {late}")
    if not drill.broken:
        print("every promise was kept")
    return bool(drill.broken)


if __name__ == "__main__":
    raise SystemExit(main())
