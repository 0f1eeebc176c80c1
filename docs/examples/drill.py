"""The drill: a real proxy and real backends, some of which fail.

    python drill.py [--algorithm CLASS] [--sabotage ignore-drain|leak-counts] [--quiet]

The proxy of ``proxy.py`` runs over three HTTP backends, one of double weight and one slow.  Each is
a process.  Clients on many loopback addresses send requests all the time.  One backend is killed
and one is drained with requests in flight, one is added, and the killed one is restarted.

The exit code is 0 if no client saw an error, the drained backend lost no request and got no new
one, and the shares in the quiet phases are those that the algorithm guarantees.
"""

import argparse
import asyncio
import contextlib
import json
import math
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from balancers import HashRing, IPHash

HERE = Path(__file__).parent
CLIENTS, ADDRESSES = 24, 240
INTERVAL, TIMEOUT, FALL, RISE = 0.5, 0.4, 3, 2  # the proxy's probes
FAIL_TIMEOUT = 1.0  # seconds for which failed requests close a backend
QUIET = 2.5  # seconds of each quiet phase
FAST, SLOW = 0.04, 0.12  # seconds that a backend takes per request

# Bounds that follow from the settings, in seconds.  Probes are sent once per interval, with a
# jitter of a tenth.  While the state is changing, they are sent once per fifth of it, but not
# before the previous probe was answered or timed out.
FAST_INTERVAL = max(TIMEOUT, INTERVAL / 5 * 1.1)
DOWN = INTERVAL * 1.1 + (FALL - 1) * FAST_INTERVAL + TIMEOUT  # failed requests may close it earlier
UP = INTERVAL * 1.1 + (RISE - 1) * FAST_INTERVAL + TIMEOUT

# The shares that each algorithm guarantees in a quiet phase, and the tolerance.
EQUAL, BY_WEIGHT, RANDOM, BY_LOAD, BY_KEY = range(5)
GUARANTEES = {
    "RoundRobin": (EQUAL, 0.03),  # of the requests
    "WeightedRoundRobin": (BY_WEIGHT, 0.03),
    "RandomChoice": (RANDOM, 4.5),  # standard deviations
    "LeastConnections": (BY_LOAD, 1.6),  # greatest over least in flight, per weight if weighted
    "WeightedLeastConnections": (BY_LOAD, 1.6),
    "PowerOfTwoChoices": (BY_LOAD, 2.2),
    "IPHash": (BY_KEY, 0.0),
    "HashRing": (BY_KEY, 0.0),
}
DESCRIPTIONS = {
    EQUAL: "equal shares, within {:.0%} of the requests",
    BY_WEIGHT: "shares by weight, within {:.0%} of the requests",
    RANDOM: "shares by weight, within {} standard deviations",
    BY_LOAD: "equal in flight per weight, the greatest at most {} times the least",
    BY_KEY: "each client address on the backend that the same class picks in this process",
}


@dataclass
class Answer:
    """One request as its client saw it; ``backend`` is empty if it failed."""

    client: str
    started: float
    ended: float
    backend: str = ""
    in_flight: int = 0
    delay: float = 0.0


@dataclass
class Backend:
    """A backend process and its settings."""

    letter: str
    name: str
    weight: int
    delay: float
    drain: bool = False
    process: Process | None = None

    async def start(self) -> None:
        """Start the process and wait until it listens."""
        script = str(HERE / "backend.py")
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, script, self.name, str(self.delay)
        )
        await until_listening(self.name)

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()


@dataclass
class Drill:
    """The state of one drill."""

    options: argparse.Namespace
    folder: Path
    answers: list[Answer] = field(default_factory=list[Answer])
    events: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    timeline: list[tuple[float, str, str]] = field(default_factory=list[tuple[float, str, str]])
    failures: list[str] = field(default_factory=list[str])
    backends: dict[str, Backend] = field(default_factory=dict[str, Backend])
    quiet_phases: list[tuple[str, float, float, dict[str, int]]] = field(
        default_factory=list[tuple[str, float, float, dict[str, int]]]
    )
    listen: str = ""
    proxy: Process | None = None
    stopped: bool = False

    async def run(self) -> bool:
        """Run all steps; return whether every guarantee held."""
        loop = asyncio.get_running_loop()
        self.clock = loop.time
        self.started_at = self.clock()
        a, b, c, d = (
            Backend(letter, free_address(f"127.1.0.{number}"), weight, delay)
            for number, (letter, weight, delay) in enumerate(
                [("A", 1, FAST), ("B", 2, FAST), ("C", 1, SLOW), ("D", 1, FAST)], 1
            )
        )
        self.backends = {backend.name: backend for backend in (a, b, c)}
        await asyncio.gather(a.start(), b.start(), c.start())
        tasks = [await self.start_proxy()]
        tasks += [asyncio.create_task(self.client(number)) for number in range(CLIENTS)]
        tasks.append(asyncio.create_task(self.progress()))
        try:
            await self.quiet_phase("before")
            at = self.clock()
            a.kill()
            await self.detect("A killed", at, DOWN, lambda: self.events_of("unhealthy", a))
            b.drain = True
            at = self.configure()
            await self.detect("B drains", at, 0.0, lambda: self.events_of("draining", b))
            drained_at = self.clock()
            await self.detect("B drained", at, b.delay, lambda: self.events_of("drained", b))
            self.backends[d.name] = d
            await d.start()
            at = self.configure()
            await self.detect("D added", at, 0.0, lambda: self.events_of("member", d))
            await a.start()
            at = self.clock()
            bound = max(UP, FAIL_TIMEOUT) + 2 * SLOW  # until a request comes and is answered
            await self.detect("A serves again", at, bound, lambda: self.served(a, at))
            await asyncio.sleep(2 * SLOW)
            await self.quiet_phase("after")
            self.stopped = True
            await asyncio.gather(*tasks[1:-1])
        finally:
            for task in tasks:
                task.cancel()
            for backend in self.backends.values():
                backend.kill()
            if self.proxy is not None and self.proxy.returncode is None:
                self.proxy.terminate()
                await self.proxy.wait()
        self.check(b, drained_at)
        return not self.failures

    async def start_proxy(self) -> "asyncio.Task[None]":
        """Start the proxy, or a sabotaged one, and a task that reads its output."""
        self.listen = free_address()
        self.write_backends()
        script = ["proxy.py"]
        if self.options.sabotage:
            script = ["sabotage.py", self.options.sabotage]
        self.proxy = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / script[0]),
            *script[1:],
            "--listen",
            self.listen,
            "--backends",
            str(self.folder / "backends"),
            "--algorithm",
            self.options.algorithm,
            "--interval",
            str(INTERVAL),
            "--timeout",
            str(TIMEOUT),
            "--fall",
            str(FALL),
            "--rise",
            str(RISE),
            "--fail-timeout",
            str(FAIL_TIMEOUT),
            stdout=asyncio.subprocess.PIPE,
        )
        task = asyncio.create_task(self.read_events())
        await until_listening(self.listen)
        return task

    async def read_events(self) -> None:
        """Collect the events of the proxy.  Its clock is the same monotonic clock."""
        assert self.proxy is not None
        assert self.proxy.stdout is not None
        async for line in self.proxy.stdout:
            self.events.append(json.loads(line))

    def write_backends(self) -> None:
        """Write the list of backends for the proxy."""
        lines = [
            f"{backend.name}={backend.weight}{' drain' if backend.drain else ''}\n"
            for backend in self.backends.values()
        ]
        (self.folder / "backends").write_text("".join(lines), encoding="utf-8")

    def configure(self) -> float:
        """Make the proxy read its backends again; return the time of the signal."""
        at = self.clock()
        self.write_backends()
        assert self.proxy is not None
        self.proxy.send_signal(signal.SIGHUP)
        return at

    async def client(self, number: int) -> None:
        """Send one request after another, each from the next address of this client."""
        turn = number
        while not self.stopped:
            address = f"127.0.{1 + turn // 200}.{2 + turn % 200}"
            turn = (turn + CLIENTS) % ADDRESSES
            answer = Answer(address, self.clock(), 0.0)
            with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError):
                async with asyncio.timeout(5):
                    await self.request(answer)
            answer.ended = self.clock()
            self.answers.append(answer)

    async def request(self, answer: Answer) -> None:
        """Send one request from the client's address and parse the response."""
        host, _, port = self.listen.rpartition(":")
        reader, writer = await asyncio.open_connection(
            host, int(port), local_addr=(answer.client, 0)
        )
        with contextlib.closing(writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: drill\r\nConnection: close\r\n\r\n")
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            if head.startswith(b"HTTP/1.1 200 "):
                backend, in_flight, delay = body.split()
                answer.in_flight, answer.delay = int(in_flight), float(delay)
                answer.backend = backend.decode()

    async def quiet_phase(self, title: str) -> None:
        """Change nothing for some seconds, and store the phase."""
        started = self.clock()
        await asyncio.sleep(QUIET)
        weights = {
            backend.name: 0 if backend.drain else backend.weight
            for backend in self.backends.values()
        }
        self.quiet_phases.append((title, started, self.clock(), weights))
        await asyncio.sleep(2 * SLOW)  # requests of this phase end before the next step

    def events_of(self, reason: str, backend: Backend) -> list[float]:
        """Return the times at which the proxy reported that a reason began for a backend."""
        wanted = (reason, True, backend.name)
        return [
            float(str(event["at"]))
            for event in self.events
            if (event.get("reason"), event.get("began"), event.get("backend")) == wanted
        ]

    def served(self, backend: Backend, since: float) -> list[float]:
        """Return when the backend answered requests that started at ``since`` or later."""
        return [x.ended for x in self.answers if x.backend == backend.name and x.started >= since]

    async def detect(
        self, title: str, at: float, bound: float, seen: Callable[[], list[float]]
    ) -> None:
        """Wait until ``seen`` returns a time, and compare it with the bound."""
        slack = 1.5  # seconds, for a busy machine
        while self.clock() < at + bound + slack:
            for when in seen():
                if when >= at:
                    delay = f"after {when - at:.2f} s, bound {bound:.2f} s"
                    self.timeline.append((at - self.started_at, title, delay))
                    return
            await asyncio.sleep(0.02)
        self.timeline.append((at - self.started_at, title, f"not within {bound + slack:.1f} s"))
        self.failures.append(f"{title}: not within {bound:.2f} s and {slack} s of slack")

    async def progress(self) -> None:
        """Update a status line; without a terminal, print one line per second."""
        live = sys.stdout.isatty()
        while not self.options.quiet:
            await asyncio.sleep(0.2 if live else 1.0)
            failed = sum(not answer.backend for answer in self.answers)
            seconds = self.clock() - self.started_at
            text = f"{seconds:5.1f} s  {len(self.answers)} requests, {failed} failed"
            print(f"\r{text}" if live else text, end="" if live else "\n", flush=True)

    def check(self, drained: Backend, drained_at: float) -> None:
        """Check every guarantee against what was observed."""
        failed = sum(not answer.backend for answer in self.answers)
        if failed:
            refusals = {
                str(event["detail"]) for event in self.events if event.get("reason") == "refused"
            }
            details = "".join(f"; refused: {detail}" for detail in refusals)
            text = f"{failed} requests failed that another backend could have served{details}"
            self.failures.append(text)
        late = [x for x in self.answers if x.backend == drained.name and x.started > drained_at]
        if late:
            self.failures.append(f"{len(late)} new requests went to the draining {drained.letter}")
        for title, started, ended, weights in self.quiet_phases:
            seen = [x for x in self.answers if started <= x.started < ended and x.backend]
            error = check_shares(self.options.algorithm, seen, weights, ended - started)
            if error:
                self.failures.append(f"shares {title}: {error}")

    def show(self) -> None:
        """Print the timeline, the table and the result."""
        kind, tolerance = GUARANTEES[self.options.algorithm]
        print(f"\n{self.options.algorithm}: {len(self.answers)} requests")
        for at, title, delay in self.timeline:
            print(f"  {at:5.2f} s  {title:15} {delay}")
        print("  backend  weight  delay  requests  before  after  peak in flight")
        for backend in self.backends.values():
            own = [answer for answer in self.answers if answer.backend == backend.name]
            shares = [
                sum(started <= x.started < ended for x in own)
                / max(1, sum(started <= x.started < ended for x in self.answers))
                for _, started, ended, _ in self.quiet_phases
            ]
            peak = max((answer.in_flight for answer in own), default=0)
            cells = "".join(f"{share:8.1%}" for share in shares)
            print(
                f"  {backend.letter:7}{backend.weight:8}{backend.delay * 1000:5.0f} ms"
                f"{len(own):10}{cells}{peak:16}"
            )
        print(f"  guaranteed: {DESCRIPTIONS[kind].format(tolerance)}")
        failed = sum(not answer.backend for answer in self.answers)
        print(f"  failures seen by clients: {failed}")
        print("\n".join(f"FAILED: {text}" for text in self.failures) or "all guarantees held")


def check_shares(
    algorithm: str, seen: list[Answer], weights: dict[str, int], seconds: float
) -> str:
    """Return how the shares of a quiet phase violate the guarantee, or an empty text."""
    kind, tolerance = GUARANTEES[algorithm]
    counts = Counter(answer.backend for answer in seen)
    open_weights = {name: weight for name, weight in weights.items() if weight}
    if kind == BY_KEY:
        ring = (IPHash if algorithm == "IPHash" else HashRing)(weights)
        wrong = sum(ring.pick(answer.client) != answer.backend for answer in seen)
        return f"{wrong} of {len(seen)} requests were on another backend" * bool(wrong)
    if kind == BY_LOAD:
        in_flight = {
            name: sum(x.delay for x in seen if x.backend == name)
            / seconds
            / (1 if algorithm == "LeastConnections" else weight)
            for name, weight in open_weights.items()
        }
        greatest, least = max(in_flight.values()), min(in_flight.values())
        values = ", ".join(f"{value:.1f}" for value in in_flight.values())
        return f"in flight per weight: {values}" * (greatest > tolerance * least)
    total = len(open_weights) if kind == EQUAL else sum(open_weights.values())
    for name, weight in open_weights.items():
        fair = (1 if kind == EQUAL else weight) / total
        allowed = tolerance if kind != RANDOM else tolerance * math.sqrt(fair / len(seen))
        if abs(counts[name] / len(seen) - fair) > allowed:
            return f"{counts[name]} of {len(seen)} to a backend with a share of {fair:.1%}"
    return ""


def free_address(host: str = "127.0.0.1") -> str:
    """Return an unused address; each backend has its own host, so ports are never shared."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return f"{host}:{probe.getsockname()[1]}"


async def until_listening(name: str) -> None:
    """Wait until the address accepts connections, at most 10 s."""
    host, _, port = name.rpartition(":")
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(OSError):
                (await asyncio.open_connection(host, int(port)))[1].close()
                return
            await asyncio.sleep(0.02)


def main() -> int:
    """Run one drill and print the results."""
    parser = argparse.ArgumentParser(description="A real proxy, and real backends that fail.")
    parser.add_argument("--algorithm", choices=GUARANTEES, default="WeightedLeastConnections")
    parser.add_argument("--sabotage", choices=["ignore-drain", "leak-counts"])
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        drill = Drill(options, Path(folder))
        passed = asyncio.run(drill.run())
    drill.show()
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
