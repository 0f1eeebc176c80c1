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
from statistics import fmean

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
FORMS = ("engine-{}", "10.0.0.{}:8000", "http://gpu{}.example/")
"""Names of the engines.  They decide where new prompts go, which changes a mean by some percent."""


def run_gateways(
    prompts: Sequence[Prompt], gateways: int = 1, form: str = FORMS[0], events: bool = False
) -> Result:
    """Replay a trace through pools, one for each gateway; each request takes one at random.

    With ``events``, each gateway observes what is stored in the caches of the engines.
    """
    engines, rng = Engines(), Random(1)
    numbers = {form.format(number): number for number in range(ENGINES)}
    shared = gateways > 1 and not events
    balancers = [
        PrefixAffinity([*numbers], block=BLOCK, capacity=BLOCKS, shared=shared)
        for _ in range(gateways)
    ]
    pools = [Pool(balancer) for balancer in balancers]
    for prompt in prompts:
        engines.advance(prompt.at)
        chosen = rng.randrange(gateways)
        pool = pools[chosen]
        key = struct.pack(f"<{len(prompt.blocks)}Q", *prompt.blocks)
        lease = pool.acquire(prompt.at, key, cost=prompt.tokens)
        for balancer in balancers if events else ():
            if balancer is not balancers[chosen]:
                balancer.observe(lease.backend, stored=key)
        served = engines.serve(prompt, numbers[lease.backend])
        engines.at(served.first, partial(pool.progress, lease, cost=0))
        engines.at(served.end, partial(pool.release, lease))
    return engines.result


def rows() -> Iterator[Row]:
    """Replay the traces, and yield four figures for each."""
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
    results = [run_gateways(prompts, form=form) for form in FORMS]
    to_best = fmean(result.mean for result in results) / means[best]
    peak = max(result.peak for result in results)
    yield Row(f"{name}: mean time to the first token / that of {best}", to_best, 1.1)
    yield Row(f"{name}: requests of the busiest engine / mean", peak, 1.3)
    hits = results[0].hits
    two, exact = (run_gateways(prompts, 2, events=events).hits / hits for events in (False, True))
    yield Row(f"{name}: hits with two gateways / with one", two, 0.9, at_most=False)
    yield Row(f"{name}: the same, if they observe events", exact, 0.9, at_most=False)
