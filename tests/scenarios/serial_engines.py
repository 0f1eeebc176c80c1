"""A simple model of engines that compute prompts one after another, and cache their blocks.

An engine computes the tokens of a prompt that are not in its cache, in the order of arrival, at 63
microseconds a token.  Its cache has the 600 blocks that were used last.  An answer then holds a
place for its number of tokens, times 15 ms plus 0.2 ms for each request that runs there.  There are
no batches, and no caches are copied.  This is the model of the published comparison that the rules
are taken from, so the results can be compared.
"""

import heapq
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from statistics import fmean

from tests.scenarios.requests_of_llms import BLOCK, Prompt

__all__ = ["BLOCKS", "ENGINES", "Engines", "Result", "Served"]

ENGINES = 16
BLOCKS = 600
"""The blocks in the cache of an engine."""
PER_TOKEN = 63e-6


@dataclass(frozen=True, slots=True)
class Served:
    """What an engine will do with a prompt."""

    engine: int
    first: float
    """The time of the first token."""
    end: float
    new: int
    """The tokens that were not in the cache."""


@dataclass
class Result:
    """What a rule has reached on a trace."""

    first: list[float] = field(default_factory=list[float])
    """The times to the first token, in seconds."""
    hits: int = 0
    """The blocks that were in the caches."""
    blocks: int = 0
    requests: list[int] = field(default_factory=lambda: [0] * ENGINES)

    @property
    def mean(self) -> float:
        """The mean time to the first token, in seconds."""
        return fmean(self.first)

    @property
    def hit_rate(self) -> float:
        """The part of all blocks that were in the caches."""
        return self.hits / self.blocks

    @property
    def peak(self) -> float:
        """The requests of the engine with most of them, divided by the mean."""
        return max(self.requests) / fmean(self.requests)

    def quantile(self, part: float) -> float:
        """A quantile of the times to the first token."""
        return sorted(self.first)[int(part * (len(self.first) - 1))]


class Engines:
    """The engines, on virtual time.  Times must not decrease."""

    def __init__(self) -> None:
        self.result = Result()
        self.running = [0] * ENGINES
        self._caches: list[OrderedDict[int, None]] = [OrderedDict() for _ in range(ENGINES)]
        self._free = [0.0] * ENGINES
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()

    def advance(self, now: float) -> None:
        """Call everything whose time has come."""
        while self._events and self._events[0][0] <= now:
            at, _, call = heapq.heappop(self._events)
            call(at)

    def at(self, time: float, call: Callable[[float], None]) -> None:
        """Call a function at a time."""
        heapq.heappush(self._events, (time, next(self._order), call))

    def matches(self, blocks: Sequence[int]) -> list[int]:
        """Return how many blocks of a prompt are in each cache, from the first one on."""
        return [self._match(cache, blocks) for cache in self._caches]

    def serve(self, prompt: Prompt, engine: int) -> Served:
        """Send a prompt to an engine."""
        cache, result = self._caches[engine], self.result
        match = self._match(cache, prompt.blocks)
        new = max(1, prompt.tokens - match * BLOCK)
        for block in prompt.blocks:
            cache[block] = None
            cache.move_to_end(block)
        while len(cache) > BLOCKS:
            cache.popitem(last=False)
        first = max(prompt.at, self._free[engine]) + new * PER_TOKEN
        self._free[engine] = first
        self.running[engine] += 1
        end = first + prompt.answer * (0.015 + 0.0002 * self.running[engine])
        self.at(end, lambda _: self._ended(engine))
        result.first.append(first - prompt.at)
        result.hits += match
        result.blocks += len(prompt.blocks)
        result.requests[engine] += 1
        return Served(engine, first, end, new)

    def _ended(self, engine: int) -> None:
        self.running[engine] -= 1

    @staticmethod
    def _match(cache: OrderedDict[int, None], blocks: Sequence[int]) -> int:
        for place, block in enumerate(blocks):
            if block not in cache:
                return place
        return len(blocks)
