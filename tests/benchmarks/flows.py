"""Rows for the flow table."""

from collections.abc import Iterator
from functools import partial
from random import Random

from balancers.flows import FlowKey, FlowTable
from tests.benchmarks.floors import attribute
from tests.benchmarks.measure import Run
from tests.benchmarks.row import SIZES, Row

__all__ = ["rows"]

TICK = 1e-6
"""Seconds between two packets."""


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    for n in SIZES:
        yield Row("FlowTable.find, a hit", n, "U", 10, partial(_hit, n))


def _hit(n: int) -> tuple[Run, Run]:
    """Look up flows in random order, by keys that equal the stored ones but are other objects."""
    table: FlowTable[str] = FlowTable()
    flows = [FlowKey("tcp", f"10.{i >> 8}.{i & 255}.7", 50_000, "10.0.0.1", 443) for i in range(n)]
    for i, flow in enumerate(flows):
        table.keep(flow, f"backend {i % 10}", 0.0, "established")
    packets = [FlowKey.from_bytes(bytes(flow)) for flow in flows]
    assert all(table.find(flow, 0.0) == f"backend {i % 10}" for i, flow in enumerate(packets))
    Random(1).shuffle(packets)
    find, now, begin = table.find, 0.0, 0

    def run(times: int) -> None:
        nonlocal now, begin
        while times:
            some = packets[begin : begin + times]
            for flow in some:
                now += TICK
                find(flow, now)
            times -= len(some)
            begin = (begin + len(some)) % n

    run(3 * n)
    assert table.counts == (4 * n, 0, 0, 0)
    return run, attribute()
