"""The drill: a real proxy and real backends, some of which fail.

    python drill.py [--algorithm CLASS] [--sabotage ignore-drain|leak-counts] [--quiet]

The proxy of ``proxy.py`` runs over three HTTP backends, one of double weight and one slow.  Each is
a process.  Clients on many loopback addresses send requests all the time.  One backend is killed
and one is drained with requests in flight, one is added, and the killed one is restarted.

At the end it prints each guarantee with its measured value and its bound.  The exit code is 0 if no
client saw an error, the drained backend lost no request and got no new one, and the shares in the
quiet phases are those that the algorithm guarantees.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from balancers import HashRing, IPHash

HERE = Path(__file__).parent
CLIENTS, ADDRESSES = 24, 240
INTERVAL, TIMEOUT, FALL, RISE = 1.0, 0.9, 3, 2  # the proxy's probes
FAIL_TIMEOUT = 1.0  # seconds for which failed requests close a backend
QUIET = 2.5  # seconds of each quiet phase
FAST, SLOW = 0.08, 0.24  # seconds that a backend takes per request

# Bounds that follow from the settings, in seconds.  Probes are sent once per interval, with a
# jitter of a tenth, and once per fifth of it while the state is changing.  Failed requests may
# close a backend earlier.
FAST_INTERVAL = INTERVAL / 5
DOWN = (INTERVAL + (FALL - 1) * FAST_INTERVAL) * 1.1
UP = (INTERVAL + (RISE - 1) * FAST_INTERVAL) * 1.1
SLACK = 4.0  # is added to each of these bounds, for a busy machine

# What each algorithm guarantees in a quiet phase, and the bound.
EQUAL, BY_WEIGHT, RANDOM, BY_LOAD, BY_KEY = range(5)
GUARANTEES = {
    "RoundRobin": (EQUAL, 3.0),
    "WeightedRoundRobin": (BY_WEIGHT, 3.0),
    "RandomChoice": (RANDOM, 4.5),
    "LeastConnections": (BY_LOAD, 1.25),
    "WeightedLeastConnections": (BY_LOAD, 1.25),
    "PowerOfTwoChoices": (BY_LOAD, 1.5),
    "IPHash": (BY_KEY, 0.0),
    "HashRing": (BY_KEY, 0.0),
}
DESCRIPTIONS = {
    EQUAL: "greatest distance from equal shares, in % of the requests",
    BY_WEIGHT: "greatest distance from shares by weight, in % of the requests",
    RANDOM: "greatest distance from shares by weight, in standard deviations",
    BY_LOAD: "requests in flight per weight, greatest / least",
    BY_KEY: "requests that are not on the backend of their client's address",
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
class Phase:
    """Some seconds in which nothing changes; the weight of a draining backend is 0 in them."""

    title: str
    started: float
    ended: float
    weights: dict[str, int]

    @property
    def open_weights(self) -> dict[str, int]:
        """The weights of the backends that get requests."""
        return {name: weight for name, weight in self.weights.items() if weight}


class Check(NamedTuple):
    """A guarantee, the value that was measured, and the greatest value that is allowed."""

    guarantee: str
    measured: float
    bound: float
    details: str = ""

    @property
    def holds(self) -> bool:
        return self.measured <= self.bound


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
    changes: list[Check] = field(default_factory=list[Check])
    waiting: dict[int, float] = field(default_factory=dict[int, float])
    """When each client that waits for an answer sent its request."""
    backends: dict[str, Backend] = field(default_factory=dict[str, Backend])
    phases: list[Phase] = field(default_factory=list[Phase])
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
            await self.detect(
                "A was killed: seconds until the proxy closes it", at, DOWN, "unhealthy", a
            )
            b.drain = True
            at = self.configure()
            await self.detect(
                "B is to drain: seconds until it gets no new requests", at, 0.0, "draining", b
            )
            drained_at = self.clock()
            await self.detect(
                "B is to drain: seconds until its last request has ended", at, b.delay, "drained", b
            )
            self.backends[d.name] = d
            await d.start()
            at = self.configure()
            await self.detect("D was added: seconds until it is a member", at, 0.0, "member", d)
            await a.start()
            at, bound = self.clock(), max(UP, FAIL_TIMEOUT) + 2 * SLOW  # with one request
            await self.detect("A was restarted: seconds until it serves again", at, bound, "", a)
            await self.requests_end()
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
        self.checks = self.check(b, drained_at)
        return all(check.holds for check in self.checks)

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
            self.waiting[number] = answer.started
            with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError):
                async with asyncio.timeout(5):
                    await self.request(answer)
            answer.ended = self.clock()
            del self.waiting[number]
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
        weights = {
            backend.name: 0 if backend.drain else backend.weight
            for backend in self.backends.values()
        }
        started = self.clock()
        await asyncio.sleep(QUIET)
        self.phases.append(Phase(title, started, self.clock(), weights))
        await self.requests_end()

    async def requests_end(self) -> None:
        """Wait until all requests that clients have sent are answered."""
        now = self.clock()
        while True:
            if all(sent > now for sent in self.waiting.values()):
                return
            await asyncio.sleep(0.02)

    def when(self, reason: str, backend: Backend) -> list[float]:
        """Return the times at which a reason began for a backend; without one, those of answers."""
        if not reason:
            return [x.ended for x in self.answers if x.backend == backend.name]
        wanted = (reason, True, backend.name)
        return [
            float(str(event["at"]))
            for event in self.events
            if (event.get("reason"), event.get("began"), event.get("backend")) == wanted
        ]

    async def detect(
        self, guarantee: str, at: float, bound: float, reason: str, backend: Backend
    ) -> None:
        """Wait for an event of the proxy after a change, or without a reason for an answer.

        ``at`` is when the change was made.
        """
        delay, allowed = math.inf, bound + SLACK
        while delay == math.inf and self.clock() < at + allowed:
            await asyncio.sleep(0.02)
            times = [when for when in self.when(reason, backend) if when >= at]
            delay = min(times, default=math.inf) - at
        self.changes.append(Check(guarantee, delay, allowed, f"at {at - self.started_at:.2f} s"))

    async def progress(self) -> None:
        """Update a status line; without a terminal, print one line per second."""
        live = sys.stdout.isatty()
        while not self.options.quiet:
            await asyncio.sleep(0.2 if live else 1.0)
            failed = sum(not answer.backend for answer in self.answers)
            seconds = self.clock() - self.started_at
            text = f"{seconds:5.1f} s  {len(self.answers)} requests, {failed} failed"
            print(f"\r{text}" if live else text, end="" if live else "\n", flush=True)

    def check(self, drained: Backend, drained_at: float) -> list[Check]:
        """Compare every guarantee with what was observed."""
        failed = sum(not answer.backend for answer in self.answers)
        refusals = {str(x["detail"]) for x in self.events if x.get("reason") == "refused"}
        late = [x for x in self.answers if x.backend == drained.name and x.started > drained_at]
        return [
            Check("failures seen by clients", failed, 0, "; ".join(refusals)),
            Check(f"new requests went to the draining {drained.letter}", len(late), 0),
            *self.changes,
            *(self.check_shares(phase) for phase in self.phases),
        ]

    def check_shares(self, phase: Phase) -> Check:
        """Compare the shares in a quiet phase with those that the algorithm guarantees."""
        letters = {backend.name: backend.letter for backend in self.backends.values()}
        algorithm = self.options.algorithm
        kind, bound = GUARANTEES[algorithm]
        title = f"{phase.title}: {DESCRIPTIONS[kind]}"
        seen = [x for x in self.answers if phase.started <= x.started < phase.ended and x.backend]
        if kind == BY_KEY:
            ring = (IPHash if algorithm == "IPHash" else HashRing)(phase.weights)
            wrong = sum(ring.pick(answer.client) != answer.backend for answer in seen)
            return Check(title, wrong if seen else math.inf, bound)
        if kind == BY_LOAD:
            in_flight = mean_in_flight(self.answers, phase)
            if algorithm != "LeastConnections":  # which ignores weights
                in_flight = {name: mean / phase.weights[name] for name, mean in in_flight.items()}
            details = ", ".join(f"{letters[name]} {mean:.1f}" for name, mean in in_flight.items())
            least, greatest = min(in_flight.values()), max(in_flight.values())
            return Check(title, greatest / least if least else math.inf, bound, details)
        counts = Counter(answer.backend for answer in seen)
        fair = {name: 1 if kind == EQUAL else weight for name, weight in phase.open_weights.items()}
        total, distance = sum(fair.values()), 0.0
        for name, weight in fair.items():
            share = weight / total
            unit = 0.01 if kind != RANDOM else math.sqrt(share * (1 - share) / max(1, len(seen)))
            distance = max(distance, abs(counts[name] / max(1, len(seen)) - share) / unit)
        details = ", ".join(f"{letters[name]} {counts[name]}" for name in fair)
        return Check(title, distance, bound, f"requests: {details}")

    def show(self) -> None:
        """Print the backends, and every guarantee with its measured value and its bound."""
        failed = sum(not answer.backend for answer in self.answers)
        print(f"\n{self.options.algorithm}: {len(self.answers)} requests of {CLIENTS} clients")
        print(f"failures seen by clients: {failed}")
        print("\n  backend  weight  time per request  requests  before  after  peak in flight")
        for backend in self.backends.values():
            own = [answer for answer in self.answers if answer.backend == backend.name]
            peak = max((answer.in_flight for answer in own), default=0)
            cells = ""
            for phase in self.phases:
                started = [phase.started <= x.started < phase.ended for x in self.answers]
                on_it = [phase.started <= x.started < phase.ended for x in own]
                cells += f"{sum(on_it) / max(1, sum(started)):8.1%}"
            print(
                f"  {backend.letter:7}{backend.weight:8}{backend.delay * 1000:15.0f} ms"
                f"{len(own):10}{cells}{peak:16}"
            )
        print(f"  before, after: shares of the requests in {QUIET} s without changes, before the")
        print("  first change and after the last one")
        print(f"\n  {'guarantee':62}{'measured':>10}{'bound':>7}")
        for check in self.checks:
            result = "ok" if check.holds else "FAILED"
            measured = f"{check.measured:.2f}".removesuffix(".00")
            bound = f"{check.bound:.2f}".removesuffix(".00")
            details = f"  ({check.details})" if check.details else ""
            print(f"  {check.guarantee:62}{measured:>10}{bound:>7}  {result}{details}")
        print(f"  bounds on seconds include {SLACK:g} s for a busy machine")
        failed = sum(not check.holds for check in self.checks)
        print(f"\n{failed} guarantees FAILED" if failed else "\nall guarantees held")


def mean_in_flight(answers: list[Answer], phase: Phase) -> dict[str, float]:
    """Return the mean number of requests in flight on each open backend in a phase.

    A request is in flight from its start to its end, as its client saw them.  For this time the
    proxy holds it and the balancer counts it.  The time that the backend itself takes is shorter,
    and much shorter on a busy machine.
    """
    held = dict.fromkeys(phase.open_weights, 0.0)
    for answer in answers:
        if answer.backend in held:
            begun, ended = max(answer.started, phase.started), min(answer.ended, phase.ended)
            held[answer.backend] += max(0.0, ended - begun)
    return {name: seconds / (phase.ended - phase.started) for name, seconds in held.items()}


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
