"""Scenario: many prompts begin with one of a few prefixes.

Eight engines have four places each.  A request waits in the queue of its engine for a place.  There
its uncached tokens are computed, and then the answer is written.  An engine caches the blocks that
were used last.
"""

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from random import Random
from statistics import fmean
from typing import Any

from balancers import Balancer, Pool, RoundRobin
from balancers.hashing import PrefixAffinity, chain
from tests.scenarios.cache_aware import CacheAware
from tests.scenarios.scenario import Row

__all__ = ["NAME", "WHAT", "rows"]

NAME = "hot-prefix"
WHAT = (
    "Many prompts begin with one of a few prefixes, so the engine that has one can be overloaded."
)
ENGINES, PLACES = 8, 4
SEEDS = (3, 4, 5)
BLOCK = 16
PREFIX, SUFFIX = 64, 4
"""The blocks of a prefix, and those of a question."""
PREFIXES = 200
ZIPF = 1.2
"""The exponent of the popularity of the prefixes.  A quarter of them is the first one."""
CACHED = 60 * (PREFIX + SUFFIX)
PER_TOKEN = 0.4e-3
ANSWER = 0.15
"""The mean time of an answer, in seconds."""
REQUESTS = 10_000
THRESHOLDS = ((0.3, 64, 1.5), (0.5, 32, 1.0001))
"""Two settings of the cache-aware rule: the defaults of its newer and of its older releases."""
TUNED = (0.5, 8, 1.1)
"""A setting for this traffic, found by trying several."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request: its time, its key, and how long its answer takes."""

    at: float
    key: bytes
    answer: float

    @property
    def blocks(self) -> list[bytes]:
        """The blocks of the prompt."""
        return [self.key[place : place + 8] for place in range(0, len(self.key), 8)]


def requests(seed: int, share: float, rate: float) -> list[Request]:
    """Generate requests; the part ``share`` of them begins with one of Zipf's prefixes."""
    rng = Random(seed)
    tokens = count()
    prefixes = [[next(tokens) for _ in range(PREFIX * BLOCK)] for _ in range(PREFIXES)]
    popularity = list(accumulate(rank**-ZIPF for rank in range(1, PREFIXES + 1)))
    found: list[Request] = []
    at = 0.0
    for _ in range(REQUESTS):
        at += rng.expovariate(rate)
        prefix = (
            rng.choices(prefixes, cum_weights=popularity)[0]
            if rng.random() < share
            else [next(tokens) for _ in range(PREFIX * BLOCK)]
        )
        question = [next(tokens) for _ in range(SUFFIX * BLOCK)]
        found.append(Request(at, chain(prefix + question), ANSWER * (0.5 + rng.random())))
    return found


class Engine:
    """One engine: places, a queue, and a cache of blocks."""

    def __init__(self, call_at: Callable[[float, Callable[[float], None]], None]) -> None:
        self._call_at = call_at
        self._cache: OrderedDict[bytes, None] = OrderedDict()
        self._busy = 0
        self._queue: deque[tuple[Request, Callable[[float], None], Callable[[float], None]]]
        self._queue = deque()

    def serve(
        self,
        now: float,
        request: Request,
        first: Callable[[float], None],
        end: Callable[[float], None],
    ) -> None:
        """Serve a request, or let it wait.  Call ``first`` at its first token, then ``end``."""
        if self._busy == PLACES:
            self._queue.append((request, first, end))
            return
        self._busy += 1
        blocks = request.blocks
        new = next((n for n, each in enumerate(blocks) if each not in self._cache), len(blocks))
        for block in reversed(blocks):
            self._cache[block] = None
            self._cache.move_to_end(block)
        while len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        begins = now + max(1, (len(blocks) - new) * BLOCK) * PER_TOKEN

        def ended(at: float) -> None:
            end(at)
            self._busy -= 1
            if self._queue:
                self.serve(at, *self._queue.popleft())

        self._call_at(begins, first)
        self._call_at(begins + request.answer, ended)


def run(balancer: Balancer[Any], trace: Sequence[Request]) -> tuple[float, float]:
    """Return the mean and the 99th percentile of the response times, in seconds."""
    pool: Pool[int] = Pool(balancer)
    events: list[tuple[float, int, Callable[[float], None]]] = []
    order = count()

    def call_at(at: float, call: Callable[[float], None]) -> None:
        heapq.heappush(events, (at, next(order), call))

    engines = [Engine(call_at) for _ in range(ENGINES)]
    took: list[float] = []

    def arrive(request: Request) -> None:
        tokens = len(request.key) // 8 * BLOCK
        lease = pool.acquire(request.at, request.key, cost=tokens)

        def end(now: float) -> None:
            pool.release(lease, now)
            took.append(now - request.at)

        def first(now: float) -> None:
            pool.progress(lease, now, cost=0)

        engines[lease.backend].serve(request.at, request, first, end)

    for request in trace:
        while events and events[0][0] <= request.at:
            at, _, call = heapq.heappop(events)
            call(at)
        arrive(request)
    while events:
        at, _, call = heapq.heappop(events)
        call(at)
    took.sort()
    return fmean(took), took[int(0.99 * len(took))]


def affinity() -> Balancer[Any]:
    return PrefixAffinity(range(ENGINES), block=BLOCK, capacity=CACHED)


def rows() -> Iterator[Row]:
    """Compare with the better setting of the cache-aware rule, and with round robin."""
    for seed in SEEDS:
        trace = requests(seed, share=0.95, rate=120)
        others = [run(CacheAware(range(ENGINES), *each, CACHED), trace) for each in THRESHOLDS]
        mean, p99 = run(affinity(), trace)
        best, highest = min(others)
        yield Row(f"mean / that of the cache-aware rule, seed {seed}", mean / best, 0.7)
        yield Row(f"p99 / that of the cache-aware rule, seed {seed}", p99 / highest, 0.5)
        tuned = run(CacheAware(range(ENGINES), *TUNED, CACHED), trace)
        yield Row(f"mean / that of the cache-aware rule, tuned, seed {seed}", mean / tuned[0], 1)
        yield Row(f"p99 / that of the cache-aware rule, tuned, seed {seed}", p99 / tuned[1], 1)
    trace = requests(SEEDS[0], share=0.1, rate=32)
    turns, ours = run(RoundRobin(range(ENGINES)), trace), run(affinity(), trace)
    yield Row("p99 with little sharing / that of round robin", ours[1] / turns[1], 1.1)
