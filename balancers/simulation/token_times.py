"""Defines what a simulation of language models measures in addition to response times."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic

from balancers._internal.types import B
from balancers.simulation.times import Times

__all__ = ["TokenTimes"]


@dataclass(frozen=True)
class TokenTimes(Generic[B]):
    """What the engines of a simulation did for the counted requests.

    ``first`` summarises the times to the first token: from the arrival of a request until its first
    token arrives, network and retries included.  ``output`` summarises the times per output token:
    of each request with two tokens or more, the mean time between two of them.  Both are of
    answered requests.

    ``blocks`` is the number of blocks of all prompts that were begun, and ``hits`` how many of them
    were in the cache.  ``computed`` is, for each backend, the number of prompt tokens that its
    engine computed, because they were not in the cache.  ``busiest`` is the largest number of tries
    that were sent to one engine, divided by the mean of all engines.

    >>> from balancers import LeastConnections, Pool
    >>> from balancers.simulation import Every, LLMEngine, Prompt, RecordedPrompts, simulate
    >>> run = simulate(Pool(LeastConnections(["a"])), Every(60.0), RecordedPrompts([
    ...     Prompt(tokens=1000, output=101, blocks=(7, 8))] * 2), requests=2, seed=1, warm_up=0.0,
    ...     servers=LLMEngine())
    >>> [round(run.tokens.first.maximum, 6), round(run.tokens.output.mean, 6)]
    [0.078, 0.0152]
    >>> run.tokens.hits, run.tokens.blocks, run.tokens.hit_rate, run.tokens.computed
    (2, 4, 0.5, {'a': 1001})
    """

    first: Times
    output: Times
    blocks: int
    hits: int
    computed: Mapping[B, int]
    busiest: float

    @property
    def hit_rate(self) -> float:
        """The share of the blocks that were in the cache, 0 to 1.  It is 0 without blocks."""
        return self.hits / self.blocks if self.blocks else 0.0
