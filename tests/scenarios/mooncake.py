"""Scenario: prefix affinity beside twelve published rules, on recorded requests.

    make scenarios NAME=mooncake TRACES=folder

The folder has the files ``conversation_trace.jsonl`` and ``synthetic_trace.jsonl`` of the
repository kvcache-ai/Mooncake, folder ``FAST25-release/traces``.  With ``TRACES=generated``, only a
small generated trace of the same shape is replayed.
"""

import os
import struct
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random

from balancers import Pool
from balancers.hashing import PrefixAffinity
from tests.scenarios.requests_of_llms import BLOCK, Prompt, generated, read
from tests.scenarios.scenario import Row
from tests.scenarios.serial_engines import BLOCKS, ENGINES, Engines, Result
from tests.scenarios.twelve_rules import RULES, run_rule

__all__ = ["NAME", "WHAT", "rows", "run_gateways"]

NAME = "mooncake"
WHAT = "Prefix affinity is compared with the best of twelve rules, on recorded requests."
COLUMNS = (
    ("conversation", "conversation_trace.jsonl", 2),
    ("conversation", "conversation_trace.jsonl", 5),
    ("synthetic", "synthetic_trace.jsonl", 4),
)
GENERATED = 4000


def run_gateways(prompts: Sequence[Prompt], gateways: int = 1, seed: int = 1) -> Result:
    """Replay a trace through pools, one for each gateway; each request takes one at random."""
    engines, rng = Engines(), Random(seed)
    pools = [
        Pool(PrefixAffinity(range(ENGINES), block=BLOCK, capacity=BLOCKS, shared=gateways > 1))
        for _ in range(gateways)
    ]
    for prompt in prompts:
        engines.advance(prompt.at)
        pool = pools[rng.randrange(gateways)]
        key = struct.pack(f"<{len(prompt.blocks)}Q", *prompt.blocks)
        lease = pool.acquire(prompt.at, key, cost=prompt.tokens)
        served = engines.serve(prompt, lease.backend)
        engines.at(served.first, partial(pool.progress, lease, cost=0))
        engines.at(served.end, partial(pool.release, lease))
    return engines.result


def rows() -> Iterator[Row]:
    """Replay the traces, and yield three figures for each."""
    given = os.environ.get("TRACES", "")
    small = generated(GENERATED)
    yield from _column("generated", small)
    if given == "generated":
        return
    missing = [name for _, name, _ in COLUMNS if not (Path(given) / name).is_file()]
    if not given or missing:
        sys.exit(
            f"mooncake: no {' and no '.join(sorted({*missing}))} in the folder "
            f"TRACES={given}\nThe recorded traces are not part of this repository.  Get them from "
            "the repository kvcache-ai/Mooncake, folder FAST25-release/traces, and run: make "
            "scenarios NAME=mooncake TRACES=that-folder\nWithout them: TRACES=generated"
        )
    for name, file, speed in COLUMNS:
        recorded = read(Path(given) / file)
        yield from _column(f"{name} ×{speed}", [prompt.faster(speed) for prompt in recorded])


def _column(name: str, prompts: Sequence[Prompt]) -> Iterator[Row]:
    means = {rule: run_rule(prompts, pick).mean for rule, pick in RULES.items()}
    best = min(means, key=means.__getitem__)
    one, two = run_gateways(prompts), run_gateways(prompts, gateways=2)
    to_best = one.mean / means[best]
    yield Row(f"{name}: mean time to the first token / that of {best}", to_best, 1.1)
    yield Row(f"{name}: requests of the busiest engine / mean", one.peak, 1.3)
    yield Row(f"{name}: hits with two gateways / with one", two.hits / one.hits, 0.9, at_most=False)
