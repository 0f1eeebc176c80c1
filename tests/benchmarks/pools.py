"""Rows for the pool, and for importing the package."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from statistics import median

from balancers import (
    Balancer,
    ConnectionLimit,
    Drain,
    Gate,
    HealthChecks,
    LeastConnections,
    Pool,
    RoundRobin,
)
from tests.benchmarks.floors import attribute, names
from tests.benchmarks.measure import Effort, Measured, Run, repeated
from tests.benchmarks.row import SIZES, Row

__all__ = ["rows"]

README_NAMES = "ConnectionLimit, Drain, HealthChecks, Pool, WeightedLeastConnections"
IMPORTS = [
    ("import balancers", "import balancers", 3),
    (
        "import the names of the README",
        f"from balancers import {README_NAMES}",
        4.4,
    ),
]
"""The last number is 1.25 times the ratio of a root module that imports every name lazily."""
REACH = {"RoundRobin": {0: 29, 4: 52, 6: 67}, "LeastConnections": {0: 67, 4: 87, 6: 107}}
"""Of these, 2 U are for counting the requests of each member."""


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    for n in SIZES:
        for kind, reaches in REACH.items():
            for gates, reach in reaches.items():
                yield Row(
                    f"Pool of {kind}, a request, {gates} gates", n, "U", reach,
                    partial(_requests, kind, n, gates),
                )  # fmt: skip
    for name, code, times in IMPORTS:
        yield Row(
            name, 0, "import dataclasses", times, lambda: (_nothing, _nothing),
            partial(_imports, code),
        )  # fmt: skip


def _requests(kind: str, n: int, gates: int) -> tuple[Run, Run]:
    lb: Balancer[str] = RoundRobin(names(n)) if kind == "RoundRobin" else LeastConnections(names(n))
    quiet: list[Gate[str]] = [
        HealthChecks(),
        Drain(),
        ConnectionLimit(1000),
        HealthChecks(),
        Drain(),
        ConnectionLimit(1000),
    ]
    pool = Pool(lb, quiet[: 4 if gates == 4 else gates])
    acquire, release = pool.acquire, pool.release

    def request() -> str:
        lease = acquire(1.0)
        release(lease, 1.0)
        return lease.backend

    turns = cycle(names(n))
    assert all(request() == next(turns) for _ in range(2 * n))
    assert all(pool.in_flight(backend) == 0 for backend in pool.backends)
    return repeated(request), attribute()


def _nothing(times: int) -> None:
    """A placeholder: an import happens once per process, so each process times itself."""
    del times


def _imports(code: str, ours: Run, other: Run, effort: Effort) -> Measured:
    del ours, other
    pairs = [(_import(code), _import("import dataclasses")) for _ in range(effort.rounds)]
    return Measured(
        median(mine for mine, _ in pairs),
        median(theirs for _, theirs in pairs),
        median(mine / theirs for mine, theirs in pairs),
    )


def _import(imported: str) -> int:
    code = (
        "import sys; from time import perf_counter_ns as now; started = now(); "
        f"{imported}; print(now() - started, *sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    took, *loaded = run.stdout.split()
    assert not {"numpy", "mmh3", "sortedcontainers"}.intersection(loaded)
    return int(took)
