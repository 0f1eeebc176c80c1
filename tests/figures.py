"""Measures the figures of the pages that no other command prints.

    python -m tests.figures

Each figure is read from its page and measured now.  One line per figure is printed: the documented
value, the measured one, and where the figure stands.  The exit code is 1 if a figure is missed or
no longer stands on its page.  Ratios are of processor time, measured in alternating rounds.  A
figure that is missed is measured again, because other programs can disturb a measurement.
"""

import asyncio
import gc
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from random import Random
from time import process_time
from typing import Any

from balancers import (
    ConnectionLimit,
    Drain,
    Gate,
    HashRing,
    HealthChecks,
    LeastConnections,
    Maglev,
    Pool,
    Rendezvous,
    RoundRobin,
)
from balancers.flows import FlowKey, FlowTable
from balancers.hashing import Anchor, HashedBalancer, Jump, Memento, MultiProbe
from balancers.simulation import LLMEngine, agent_prompts, simulate
from tests.benchmarks.floors import KEYS, attribute, hashes, names, weights
from tests.benchmarks.measure import Effort, Run, measure, repeated

__all__ = ["FIGURES", "Figure", "documented"]

ROOT = Path(__file__).parents[1]
EFFORT = Effort(rounds=9, budget=20_000_000)
TRIES = 3
FLOWS = 8000
LOOKUPS = 20_000
REQUEST = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Figure:
    """A figure of a page; ``pattern`` finds its text and, in a group, its value."""

    page: str
    pattern: str
    measured: Callable[[], float]
    least: float
    """The least measured value that is accepted, as a multiple of the documented one."""
    most: float
    """The greatest one."""

    def accepts(self, found: float) -> bool:
        stated = documented(self)
        return stated is not None and self.least * stated <= found <= self.most * stated


def documented(figure: Figure) -> float | None:
    """Return the value on the page.  It is 1 for a text without a group, None for a lost text."""
    text = " ".join((ROOT / figure.page).read_text(encoding="utf-8").split())
    found = re.search(figure.pattern, text)
    return None if found is None else float((*found.groups(), "1")[0])


def ratio(ours: Run, other: Run) -> float:
    return measure(ours, other, EFFORT).ratio


def bytes_of_a_flow() -> float:
    """Return the bytes that a full table allocates per flow, with the keys."""

    def fill() -> FlowTable[int]:
        table: FlowTable[int] = FlowTable(FLOWS)
        for number in range(FLOWS):
            client = (10 << 24 | number).to_bytes(4, "big")
            flow = FlowKey("tcp", client, 50_000, b"\xc0\x00\x02\x01", 443)
            table.keep(flow, number % 10, now=number / 1000, state="established")
        return table

    fill()
    gc.collect()
    tracemalloc.start()
    table = fill()
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / len(table)


def picks_of(lb: HashedBalancer[Any]) -> Run:
    """Return a run of picks for one key."""
    pick, key = lb.pick, KEYS[0]
    pick(key)
    return repeated(lambda: pick(key))


def a_thousand_backends() -> float:
    return ratio(picks_of(Rendezvous(names(1000))), picks_of(Rendezvous(names(10))))


def different_weights() -> float:
    return ratio(picks_of(Rendezvous(weights(1000))), picks_of(Rendezvous(names(1000))))


class _Signatures:
    def __init__(self) -> None:
        self.value = 1

    def by_position(self, key: object = None, now: float = 0.0, avoid: Any = ()) -> int:
        return self.value

    def by_name(self, *, key: object = None, now: float = 0.0, avoid: Any = ()) -> int:
        return self.value


def keyword_only() -> float:
    """Return the cost of three defaults that are keyword-only, beyond positional ones, in U."""
    signatures = _Signatures()
    by_name = ratio(repeated(signatures.by_name), attribute())
    return by_name - ratio(repeated(signatures.by_position), attribute())


def sockets_of_a_request() -> float:
    """Return the time of one connection on loopback, per request through a pool with four gates.

    The connection is opened and served with asyncio, and carries one request and one answer.
    """
    gates: list[Gate[str]] = [HealthChecks(), Drain(), ConnectionLimit(100), HealthChecks()]
    pool = Pool(RoundRobin(names(10)), gates)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    async def send(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        if await reader.read() != ANSWER:
            raise ConnectionError("the server did not answer")
        writer.close()
        await writer.wait_closed()

    with asyncio.Runner() as runner:
        server = runner.run(asyncio.start_server(serve, "127.0.0.1", 0))
        port = server.sockets[0].getsockname()[1]

        async def send_each(times: int) -> None:
            for _ in repeat(None, times):
                await send(port)

        found = ratio(
            lambda times: runner.run(send_each(times)),
            repeated(lambda: pool.release(pool.acquire(1.0), 1.0)),
        )
        server.close()
    return found


def hash_per_lookup(lb: HashedBalancer[Any]) -> float:
    """Return the time to hash a key of 20 bytes, per look-up of a hash in a batch."""
    many, keys = hashes(LOOKUPS), KEYS[:LOOKUPS]
    lb.pick_many(many)
    hashed = repeated(lambda: lb.hash_many(keys))
    return ratio(hashed, repeated(lambda: lb.pick_many(many)))


def least_of_the_quick() -> float:
    """Print the ratio of each method with quick look-ups, and return the least."""
    members = names(1000)
    quick = {
        "Maglev": Maglev(members),
        "HashRing": HashRing(members),
        "Anchor": Anchor(members, capacity=2000),
        "Jump": Jump(members),
        "Memento": Memento(members),
    }
    return min(shown(quick))


def greatest_of_the_slow() -> float:
    """Print the ratio of each other method, and return the greatest."""
    members = names(1000)
    return max(shown({"MultiProbe": MultiProbe(members), "Rendezvous": Rendezvous(members)}))


def shown(methods: Mapping[str, HashedBalancer[Any]]) -> list[float]:
    found = {name: hash_per_lookup(lb) for name, lb in methods.items()}
    for name, times in found.items():
        print(f"{'':>12}{times:>10.2f}  hash / look-up: {name}, 1000 members")  # noqa: T201 - report
    return [*found.values()]


def import_per_build() -> float:
    """Return the time of the first use of HashRing, per build of a ring of ten backends."""
    code = (
        "import balancers; from time import process_time_ns as now; begun = now();"
        "from balancers import HashRing; used = now(); HashRing(range(10)).pick(1); again = now();"
        "HashRing(range(10)).pick(1); print((used - begun) / (now() - again))"
    )
    command = [sys.executable, "-c", code]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(3)]
    return sorted(float(run.stdout) for run in runs)[1]


ANY = float("inf")
RENDEZVOUS = "docs/algorithms/rendezvous.md"
MANY_KEYS = "docs/algorithms/index.md"


def engines_of_language_models() -> float:
    """Return the seconds of processor time for 12 000 requests to 16 engines."""
    trace = agent_prompts(Random(1), sessions=1500, rate=2.0, turns=8)
    pool = Pool(LeastConnections(range(16)))
    begun = process_time()
    simulate(pool, trace.arrivals, trace.service, requests=12_000, seed=1, servers=LLMEngine())
    return process_time() - begun


FIGURES = [
    Figure("docs/flows.md", r"A flow takes about (\d+) bytes", bytes_of_a_flow, 0.85, 1.15),
    Figure(RENDEZVOUS, r"for 1000 backends (\d\.\d) times", a_thousand_backends, 0.6, 1.7),
    Figure(RENDEZVOUS, r"about (\d) times as much when weights", different_weights, 0.5, 2),
    Figure("docs/decisions/shape.md", r"cost about (\d) U per pick more", keyword_only, 0.3, 2),
    Figure("docs/performance.md", r"about (\d+) times as long on", sockets_of_a_request, 0.5, 4),
    Figure(MANY_KEYS, r"most methods a hash takes about as long", least_of_the_quick, 0.85, ANY),
    Figure(MANY_KEYS, r"`Rendezvous` over hundreds of members", greatest_of_the_slow, 0, 1.2),
    Figure("docs/simulation.md", r"than (\d+) s of processor", engines_of_language_models, 0, 1),
    Figure("balancers/hashing/ring.py", r"takes many times as long", import_per_build, 5, ANY),
]


def main() -> int:
    """Print one line per figure.  Return 1 if one is missed."""
    lines, missed = [f"{'documented':>12}{'measured':>10}"], 0
    for figure in FIGURES:
        found = figure.measured()
        for _ in range(TRIES - 1):
            if figure.accepts(found):
                break
            found = figure.measured()
        missed += not figure.accepts(found)
        verdict = "" if figure.accepts(found) else "  MISSED"
        stated = documented(figure)
        lines.append(f"{stated!s:>12}{found:>10.2f}  {figure.page}: {figure.pattern}{verdict}")
    lines.append(f"{missed} of {len(FIGURES)} missed")
    print("\n".join(lines))  # noqa: T201 - the report
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
