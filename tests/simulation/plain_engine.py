"""A slow engine of a language model, to compare the fast one with.

It makes every step on its own, and looks through lists.  The fast one makes many steps at once.
"""

from dataclasses import dataclass, field
from math import inf
from typing import Any

from balancers.simulation import Crash, Freeze, LLMEngine, Prompt, Slow


def rounded(seconds: float) -> float:
    return round(seconds * 2**30) / 2**30


@dataclass
class Decoding:
    number: int
    left: int


@dataclass
class PlainEngine:
    """One engine.  Its methods are called in order of time."""

    engine: LLMEngine
    block: int
    prompts: dict[int, Prompt]
    factor: float = 1.0
    frozen: bool = False
    crashed: bool = False
    waiting: list[int] = field(default_factory=list[int])
    prefilling: int | None = None
    left: int = 0
    chunk: int = 0
    decoding: list[Decoding] = field(default_factory=list[Decoding])
    cache: list[int] = field(default_factory=list[int])
    step_end: float = inf
    rest: float = inf
    first: dict[int, float] = field(default_factory=dict[int, float])
    ends: dict[int, float] = field(default_factory=dict[int, float])
    hits: dict[int, int] = field(default_factory=dict[int, int])
    refused: list[int] = field(default_factory=list[int])

    def advance(self, until: float) -> None:
        """Make all steps that end until a time, and those that end at this time."""
        while self.step_end <= until:
            now = self.step_end
            for each in self.decoding:
                each.left -= 1
            if self.prefilling is not None:
                self.left -= self.chunk
                if self.left == 0:
                    self.complete_prompt(now)
            for each in self.decoding:
                if each.left == 0:
                    self.ends[each.number] = now
            self.decoding = [each for each in self.decoding if each.left > 0]
            self.begin_step(now)

    def complete_prompt(self, now: float) -> None:
        number = self.prefilling
        assert number is not None
        prompt = self.prompts[number]
        self.first[number] = now
        self.decoding.append(Decoding(number, prompt.output - 1))
        self.prefilling = None
        for block in prompt.blocks[::-1]:
            if block in self.cache:
                self.cache.remove(block)
            self.cache.append(block)
        room = self.engine.cache_tokens // self.block
        self.cache = self.cache[max(0, len(self.cache) - room) :]

    def needed(self, number: int) -> int:
        return self.prompts[number].tokens + self.prompts[number].output

    def begin_step(self, now: float) -> None:
        if self.prefilling is None and self.waiting and len(self.decoding) < self.engine.sequences:
            held = sum(self.needed(each.number) for each in self.decoding)
            if held + self.needed(self.waiting[0]) <= self.engine.kv_tokens:
                self.begin_prompt()
        seconds = self.engine.step + self.engine.per_sequence * len(self.decoding)
        if self.prefilling is not None:
            self.chunk = min(self.left, self.engine.batch_tokens - len(self.decoding))
            assert self.chunk > 0
            seconds += self.engine.per_token * self.chunk
        elif not self.decoding:
            self.step_end = inf
            return
        self.step_end = now + rounded(seconds * self.factor)

    def begin_prompt(self) -> None:
        number = self.prefilling = self.waiting.pop(0)
        prompt = self.prompts[number]
        hits = 0
        while hits < len(prompt.blocks) and prompt.blocks[hits] in self.cache:
            hits += 1
        self.hits[number] = hits
        self.left = max(1, prompt.tokens - hits * self.block)

    def apply(self, what: str, about: Any, now: float) -> None:
        """Let a request arrive or be cancelled, or a fault begin or end."""
        if what == "arrive":
            self.arrive(about, now)
        elif what == "cancel":
            self.cancel(about)
        elif isinstance(about, Crash):
            self.crashed = what == "begin"
            if self.crashed:
                self.crash()
        elif isinstance(about, Freeze):
            (self.freeze if what == "begin" else self.thaw)(now)
        elif isinstance(about, Slow):
            self.slow(about.factor if what == "begin" else 1.0, now)

    def arrive(self, number: int, now: float) -> None:
        if self.crashed or self.needed(number) > self.engine.kv_tokens:
            self.refused.append(number)
            return
        self.waiting.append(number)
        if not self.frozen and self.step_end == inf:
            self.begin_step(now)

    def cancel(self, number: int) -> None:
        """Remove a request.  The step in progress goes on."""
        if self.prefilling == number:
            self.prefilling = None
        self.waiting = [each for each in self.waiting if each != number]
        self.decoding = [each for each in self.decoding if each.number != number]

    def freeze(self, now: float) -> None:
        self.frozen = True
        self.rest, self.step_end = self.step_end - now, inf

    def thaw(self, now: float) -> None:
        self.frozen = False
        self.step_end = now + self.rest
        if self.step_end == inf:
            self.begin_step(now)

    def slow(self, factor: float, now: float) -> None:
        change, self.factor = factor / self.factor, factor
        if self.frozen:
            self.rest = rounded(self.rest * change) if self.rest < inf else inf
        elif self.step_end < inf:
            self.step_end = now + rounded((self.step_end - now) * change)

    def crash(self) -> None:
        self.waiting, self.decoding, self.cache = [], [], []
        self.prefilling = None
        self.step_end = self.rest = inf
