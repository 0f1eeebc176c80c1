"""Reads recorded requests of a language model, and generates requests of the same shape."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from pathlib import Path
from random import Random

__all__ = ["BLOCK", "Prompt", "generated", "read"]

BLOCK = 512
"""The tokens of a block."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request of a language model."""

    at: float
    """The time of arrival, in seconds."""
    tokens: int
    """The length of the prompt."""
    answer: int
    """The number of tokens of the answer."""
    blocks: tuple[int, ...]
    """One id for each block.  Equal ids mean that the prompts are equal up to there."""

    def faster(self, speed: float) -> "Prompt":
        """Return the same request in a trace that is replayed faster."""
        return Prompt(self.at / speed, self.tokens, self.answer, self.blocks)


def read(path: Path) -> list[Prompt]:
    """Read a trace of Mooncake: a JSON object a line, with times in milliseconds."""
    prompts: list[Prompt] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        blocks = tuple(map(int, row["hash_ids"]))
        at = row["timestamp"] / 1000
        prompts.append(Prompt(at, row["input_length"], row["output_length"], blocks))
    return prompts


def generated(requests: int, seed: int = 1) -> list[Prompt]:
    """Generate requests with a common first block, sessions that grow, and popular documents.

    A fifth of the requests ask a question about one of 1000 documents, whose popularity is Zipf's.
    The others begin or continue a session: a turn has all blocks of the turn before it, and new
    ones.  The mean length of a prompt is like that of the recorded conversations.
    """
    rng = Random(seed)
    ids = count(1)
    documents = [tuple(_new(ids, 4 + rng.randrange(28))) for _ in range(1000)]
    popularity = list(accumulate(1 / rank for rank in range(1, 1001)))
    sessions: list[tuple[int, ...]] = [()] * 400
    prompts: list[Prompt] = []
    at = 0.0
    for _ in range(requests):
        at += rng.expovariate(12)
        if rng.random() < 0.2:
            (document,) = rng.choices(documents, cum_weights=popularity)
            blocks = (0, *document, *_new(ids, 1))
        else:
            place = rng.randrange(len(sessions))
            longer = min(80, int(8 * rng.paretovariate(1.3)))
            blocks = (*(sessions[place] or (0,)), *_new(ids, longer))
            ends = len(blocks) > 100 or rng.random() < 0.3
            sessions[place] = () if ends else blocks
        tokens = len(blocks) * BLOCK - rng.randrange(BLOCK)
        prompts.append(Prompt(at, tokens, 1 + int(rng.expovariate(1 / 340)), blocks))
    return prompts


def _new(ids: Iterable[int], number: int) -> Sequence[int]:
    return [block for block, _ in zip(ids, range(number), strict=False)]
