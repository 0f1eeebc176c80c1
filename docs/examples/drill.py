"""The drill: a real proxy over real backends, while things go wrong.

    python drill.py [--algorithm CLASS] [--sabotage ignore-drain|leak-counts] [--quiet]

Three HTTP backends (one of double weight, one slow) stand behind ``proxy.py``, each a process of
its own.  Clients on many loopback addresses send requests throughout.  One backend is killed and
one drained with requests in flight, one is added, the killed one is restarted.  Exit code 0: no
client saw an error, the drained backend lost nothing and got nothing new, and the shares in quiet
times were what the algorithm promises.
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
FAIL_TIMEOUT = 1.0  # how long the proxy leaves alone who failed requests
QUIET = 2.5  # seconds of each quiet phase
FAST, SLOW = 0.04, 0.12  # seconds the backends take

# What the settings imply, in seconds.  Probes go out every interval, give or take a tenth; every
# fifth of it while the state is changing, but not before the last was answered or timed out.
OFTEN = max(TIMEOUT, INTERVAL / 5 * 1.1)
DOWN = INTERVAL * 1.1 + (FALL - 1) * OFTEN + TIMEOUT  # requests that fail may tell it sooner
UP = INTERVAL * 1.1 + (RISE - 1) * OFTEN + TIMEOUT

# What is promised of the shares in quiet times, and how far a measurement may be off.
IN_TURN, BY_WEIGHT, BY_CHANCE, BY_LOAD, BY_KEY = range(5)
PROMISES = {
    "RoundRobin": (IN_TURN, 0.03),  # of the requests
    "WeightedRoundRobin": (BY_WEIGHT, 0.03),
    "RandomChoice": (BY_CHANCE, 4.5),  # standard deviations
    "LeastConnections": (BY_LOAD, 1.6),  # most over least in flight, per weight where it counts
    "WeightedLeastConnections": (BY_LOAD, 1.6),
    "PowerOfTwoChoices": (BY_LOAD, 2.2),
    "IPHash": (BY_KEY, 0.0),
    "HashRing": (BY_KEY, 0.0),
}
TOLD = {
    IN_TURN: "equal shares, within {:.0%} of the requests",
    BY_WEIGHT: "shares by weight, within {:.0%} of the requests",
    BY_CHANCE: "shares by weight, within {} standard deviations",
    BY_LOAD: "as many in flight for the weight, the most at most {} times the least",
    BY_KEY: "each client address where the same class, asked here, puts it",
}


@dataclass
class Answer:
    """One request as its client saw it; ``backend`` is empty when it failed."""

    client: str
    begun: float
    ended: float
    backend: str = ""
    in_flight: int = 0
    delay: float = 0.0


@dataclass
class Backend:
    """A process, its weight, and what was seen of it."""

    letter: str
    name: str
    weight: int
    delay: float
    drain: bool = False
    process: Process | None = None

    async def start(self) -> None:
        """Start it and wait until it listens."""
        script = str(HERE / "backend.py")
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, script, self.name, str(self.delay)
        )
        await until_listening(self.name)

    def kill(self) -> None:
        """Kill it, without a word."""
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
    broken: list[str] = field(default_factory=list[str])
    backends: dict[str, Backend] = field(default_factory=dict[str, Backend])
    quiet: list[tuple[str, float, float, dict[str, int]]] = field(
        default_factory=list[tuple[str, float, float, dict[str, int]]]
    )
    listen: str = ""
    proxy: Process | None = None
    stopped: bool = False

    async def run(self) -> bool:
        """Go through it all; say whether every promise was kept."""
        loop = asyncio.get_running_loop()
        self.clock = loop.time
        self.begun = self.clock()
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
            await self.notice("A killed", at, DOWN, lambda: self.told("unhealthy", a))
            b.drain = True
            at = self.configure()
            await self.notice("B drains", at, 0.0, lambda: self.told("draining", b))
            drained_at = self.clock()
            await self.notice("B drained", at, b.delay, lambda: self.told("drained", b))
            self.backends[d.name] = d
            await d.start()
            at = self.configure()
            await self.notice("D added", at, 0.0, lambda: self.told("member", d))
            await a.start()
            at = self.clock()
            bound = max(UP, FAIL_TIMEOUT) + 2 * SLOW  # and a request comes, and is answered
            await self.notice("A serves again", at, bound, lambda: self.served(a, at))
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
        self.judge(b, drained_at)
        return not self.broken

    async def start_proxy(self) -> "asyncio.Task[None]":
        """Start the proxy, or a sabotaged one, and hear what it tells."""
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
        task = asyncio.create_task(self.hear())
        await until_listening(self.listen)
        return task

    async def hear(self) -> None:
        """Collect what the proxy tells; its clock is ours, the machine's."""
        assert self.proxy is not None
        assert self.proxy.stdout is not None
        async for line in self.proxy.stdout:
            self.events.append(json.loads(line))

    def write_backends(self) -> None:
        """Write the proxy's file of backends."""
        lines = [
            f"{backend.name}={backend.weight}{' drain' if backend.drain else ''}\n"
            for backend in self.backends.values()
        ]
        (self.folder / "backends").write_text("".join(lines), encoding="utf-8")

    def configure(self) -> float:
        """Let the proxy read its backends again, and give the time."""
        at = self.clock()
        self.write_backends()
        assert self.proxy is not None
        self.proxy.send_signal(signal.SIGHUP)
        return at

    async def client(self, number: int) -> None:
        """Send one request after another, each from the next of this client's addresses."""
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
        """Send one request from the answer's address and read what comes."""
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
        """Leave everything alone for a while."""
        begun = self.clock()
        await asyncio.sleep(QUIET)
        weights = {
            backend.name: 0 if backend.drain else backend.weight
            for backend in self.backends.values()
        }
        self.quiet.append((title, begun, self.clock(), weights))
        await asyncio.sleep(2 * SLOW)  # what began in it ends undisturbed

    def told(self, reason: str, backend: Backend) -> list[float]:
        """Give when the proxy told that a reason began to hold for a backend."""
        wanted = (reason, True, backend.name)
        return [
            float(str(event["at"]))
            for event in self.events
            if (event.get("reason"), event.get("began"), event.get("backend")) == wanted
        ]

    def served(self, backend: Backend, since: float) -> list[float]:
        """Give when a backend's answers came to requests that began since then."""
        return [x.ended for x in self.answers if x.backend == backend.name and x.begun >= since]

    async def notice(
        self, title: str, at: float, bound: float, seen: Callable[[], list[float]]
    ) -> None:
        """Wait until it is seen, and hold it against the bound that the settings imply."""
        slack = 1.5  # for a busy machine
        while self.clock() < at + bound + slack:
            for when in seen():
                if when >= at:
                    late = f"after {when - at:.2f} s, bound {bound:.2f} s"
                    self.timeline.append((at - self.begun, title, late))
                    return
            await asyncio.sleep(0.02)
        self.timeline.append((at - self.begun, title, f"not within {bound + slack:.1f} s"))
        self.broken.append(f"{title}: not within {bound:.2f} s and {slack} s of slack")

    async def progress(self) -> None:
        """Show a line that lives, or where there is no terminal, one a second."""
        live = sys.stdout.isatty()
        while not self.options.quiet:
            await asyncio.sleep(0.2 if live else 1.0)
            failed = sum(not answer.backend for answer in self.answers)
            text = (
                f"{self.clock() - self.begun:5.1f} s  {len(self.answers)} requests, {failed} failed"
            )
            print(f"\r{text}" if live else text, end="" if live else "\n", flush=True)

    def judge(self, drained: Backend, drained_at: float) -> None:
        """Hold what was seen against every promise."""
        failed = sum(not answer.backend for answer in self.answers)
        if failed:
            told = {
                str(event["detail"]) for event in self.events if event.get("reason") == "refused"
            }
            why = "".join(f"; refused: {detail}" for detail in told)
            text = f"{failed} requests failed that another backend could have served{why}"
            self.broken.append(text)
        late = [x for x in self.answers if x.backend == drained.name and x.begun > drained_at]
        if late:
            self.broken.append(f"{len(late)} new requests went to the draining {drained.letter}")
        for title, begun, ended, weights in self.quiet:
            seen = [x for x in self.answers if begun <= x.begun < ended and x.backend]
            why = judge_shares(self.options.algorithm, seen, weights, ended - begun)
            if why:
                self.broken.append(f"shares {title}: {why}")

    def show(self) -> None:
        """Print the timeline, the table and the verdict."""
        kind, tolerance = PROMISES[self.options.algorithm]
        print(f"\n{self.options.algorithm}: {len(self.answers)} requests")
        for at, title, late in self.timeline:
            print(f"  {at:5.2f} s  {title:15} {late}")
        print("  backend  weight  delay  requests  before  after  peak in flight")
        for backend in self.backends.values():
            own = [answer for answer in self.answers if answer.backend == backend.name]
            shares = [
                sum(begun <= x.begun < ended for x in own)
                / max(1, sum(begun <= x.begun < ended for x in self.answers))
                for _, begun, ended, _ in self.quiet
            ]
            peak = max((answer.in_flight for answer in own), default=0)
            cells = "".join(f"{share:8.1%}" for share in shares)
            print(
                f"  {backend.letter:7}{backend.weight:8}{backend.delay * 1000:5.0f} ms"
                f"{len(own):10}{cells}{peak:16}"
            )
        print(f"  promised: {TOLD[kind].format(tolerance)}")
        failed = sum(not answer.backend for answer in self.answers)
        print(f"  failures seen by clients: {failed}")
        print("\n".join(f"BROKEN: {why}" for why in self.broken) or "every promise was kept")


def judge_shares(
    algorithm: str, seen: list[Answer], weights: dict[str, int], seconds: float
) -> str:
    """Say how the shares of a quiet phase break the algorithm's promise, or nothing."""
    kind, tolerance = PROMISES[algorithm]
    counts = Counter(answer.backend for answer in seen)
    opened = {name: weight for name, weight in weights.items() if weight}
    if kind == BY_KEY:
        ring = (IPHash if algorithm == "IPHash" else HashRing)(weights)
        wrong = sum(ring.pick(answer.client) != answer.backend for answer in seen)
        return f"{wrong} of {len(seen)} requests were not where their address belongs" * bool(wrong)
    if kind == BY_LOAD:
        busy = {
            name: sum(x.delay for x in seen if x.backend == name)
            / seconds
            / (1 if algorithm == "LeastConnections" else weight)
            for name, weight in opened.items()
        }
        most, least = max(busy.values()), min(busy.values())
        told = ", ".join(f"{value:.1f}" for value in busy.values())
        return f"in flight {told}, for the weight" * (most > tolerance * least)
    total = len(opened) if kind == IN_TURN else sum(opened.values())
    for name, weight in opened.items():
        fair = (1 if kind == IN_TURN else weight) / total
        room = tolerance if kind != BY_CHANCE else tolerance * math.sqrt(fair / len(seen))
        if abs(counts[name] / len(seen) - fair) > room:
            return f"{counts[name]} of {len(seen)} to one whose share is {fair:.1%}"
    return ""


def free_address(host: str = "127.0.0.1") -> str:
    """Find a free port; a backend has a host of its own, else another's may be its port one day."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return f"{host}:{probe.getsockname()[1]}"


async def until_listening(name: str) -> None:
    """Wait until something listens there, 10 s at most."""
    host, _, port = name.rpartition(":")
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(OSError):
                (await asyncio.open_connection(host, int(port)))[1].close()
                return
            await asyncio.sleep(0.02)


def main() -> int:
    """Run one drill and print what happened."""
    parser = argparse.ArgumentParser(description="A real proxy, real backends, and trouble.")
    parser.add_argument("--algorithm", choices=PROMISES, default="WeightedLeastConnections")
    parser.add_argument("--sabotage", choices=["ignore-drain", "leak-counts"])
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        drill = Drill(options, Path(folder))
        kept = asyncio.run(drill.run())
    drill.show()
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
