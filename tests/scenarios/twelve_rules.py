"""Twelve published rules that route prompts to engines, and what they reach on a trace.

    python -m tests.scenarios.twelve_rules TRACE.jsonl SPEED...

Each rule knows the requests in flight and an exact copy of each cache.  Ties are broken at random.
The rules are written here from their descriptions; they are not the programs that they come from.
"""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from pathlib import Path
from random import Random

from tests.scenarios.requests_of_llms import BLOCK, Prompt, read
from tests.scenarios.serial_engines import ENGINES, Engines, Result

__all__ = ["RULES", "run_rule"]

ALL = range(ENGINES)
TOKENS_PER_SECOND = 15_928
"""How fast llm-d assumes that an engine computes prompts."""


@dataclass(frozen=True)
class View:
    """What a rule knows when it picks."""

    prompt: Prompt
    matches: list[int]
    """The blocks of the prompt in each cache."""
    tokens: list[int]
    """The tokens in flight that are not computed, of each engine."""
    running: list[int]
    """The requests in flight, of each engine."""
    turn: int
    rng: Random

    @property
    def new(self) -> list[int]:
        """The tokens of the prompt that are not in the cache, of each engine."""
        return [max(1, self.prompt.tokens - match * BLOCK) for match in self.matches]

    def least(self, cost: Callable[[int], float], among: Iterable[int] = ALL) -> int:
        """Return an engine with the least cost."""
        costs = {engine: cost(engine) for engine in among}
        lowest = min(costs.values())
        return self.rng.choice([engine for engine, each in costs.items() if each == lowest])


def rank(block: int, engine: int) -> bytes:
    """The rendezvous score of an engine for a block."""
    return blake2b(b"%d/%d" % (block, engine), digest_size=8).digest()


def round_robin(view: View) -> int:
    return view.turn % ENGINES


def least_requests(view: View) -> int:
    return view.least(lambda engine: view.running[engine])


def least_tokens(view: View) -> int:
    return view.least(lambda engine: view.tokens[engine])


def first_block(view: View) -> int:
    """Hash the first block: one engine for a common system prompt."""
    return max(ALL, key=lambda engine: rank(view.prompt.blocks[0], engine))


def longest_prefix(view: View) -> int:
    best = max(view.matches)
    among = [engine for engine in ALL if view.matches[engine] == best]
    return view.least(lambda engine: view.tokens[engine], among)


def bounded_second_block(view: View) -> int:
    """Hash the second block, over engines with at most 1.25 times the mean of requests."""
    blocks = view.prompt.blocks
    block = blocks[min(1, len(blocks) - 1)]
    bound = max(1, 1.25 * (sum(view.running) + 1) / ENGINES)
    order = sorted(ALL, key=lambda engine: rank(block, engine), reverse=True)
    return next((each for each in order if view.running[each] + 1 <= bound), order[0])


def share_minus_load(view: View) -> int:
    """The cached share of the prompt, less the relative load (production-stack, β = 1)."""
    mean = sum(view.running) / ENGINES

    def cost(engine: int) -> float:
        excess = (view.running[engine] - mean) / max(1, mean)
        return excess - view.matches[engine] * BLOCK / view.prompt.tokens

    return view.least(cost)


def blocks_and_requests(view: View) -> int:
    """New and waiting blocks, and 24 for each request (Dynamo)."""
    return view.least(
        lambda each: (view.tokens[each] + view.new[each]) / BLOCK + 24 * view.running[each]
    )


def new_times_requests(view: View) -> int:
    """LMetric with the new tokens alone."""
    return view.least(lambda each: view.new[each] * (view.running[each] + 1))


def all_times_requests(view: View) -> int:
    """LMetric with the new tokens and those in flight."""
    new = view.new
    return view.least(lambda each: (new[each] + view.tokens[each]) * (view.running[each] + 1))


def soonest_first_token(view: View) -> int:
    """The new tokens and those in flight: the local rule of Mooncake."""
    new = view.new
    return view.least(lambda each: view.tokens[each] + new[each])


def filtered_tokens(view: View) -> int:
    """The least tokens of the engines with 80 % of the prompt, unless they are 18 s behind."""
    tokens = view.tokens
    wanted = 0.8 * len(view.prompt.blocks)
    among = [engine for engine in ALL if view.matches[engine] >= wanted]
    if among:
        behind = min(tokens[each] for each in among) - min(tokens)
        if behind > 18 * TOKENS_PER_SECOND:
            among = []
    return view.least(lambda engine: tokens[engine], among or ALL)


RULES: dict[str, Callable[[View], int]] = {
    "round robin": round_robin,
    "least requests": least_requests,
    "least tokens": least_tokens,
    "hash of the first block": first_block,
    "longest prefix": longest_prefix,
    "bounded hash of the second block": bounded_second_block,
    "share - load (production-stack)": share_minus_load,
    "blocks + 24 requests (Dynamo)": blocks_and_requests,
    "new tokens × requests (LMetric)": new_times_requests,
    "all tokens × requests (LMetric)": all_times_requests,
    "least new + waiting tokens (Mooncake)": soonest_first_token,
    "80 % match, then least tokens (llm-d)": filtered_tokens,
}


def run_rule(prompts: Iterable[Prompt], rule: Callable[[View], int], seed: int = 1) -> Result:
    """Replay a trace under a rule."""
    engines, tokens, rng = Engines(), [0] * ENGINES, Random(seed)
    for turn, prompt in zip(count(), prompts, strict=False):
        engines.advance(prompt.at)
        matches = engines.matches(prompt.blocks)
        engine = rule(View(prompt, matches, tokens, engines.running, turn, rng))
        served = engines.serve(prompt, engine)
        tokens[engine] += served.new

        def computed(_: float, engine: int = engine, new: int = served.new) -> None:
            tokens[engine] -= new

        engines.at(served.first, computed)
    return engines.result


def main(path: str, *speeds: str) -> None:
    """Print the results of all rules."""
    recorded = read(Path(path))
    for speed in map(float, speeds):
        prompts = [prompt.faster(speed) for prompt in recorded]
        print(f"speed {speed:g}: hit rate, mean and p99 of the time to the first token, peak/mean")  # noqa: T201 - the output
        for name, rule in RULES.items():
            found = run_rule(prompts, rule)
            print(  # noqa: T201 - the output
                f"  {name:38} {found.hit_rate:.3f} {found.mean:8.3f} s "
                f"{found.quantile(0.99):8.3f} s {found.peak:5.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
