"""Time and memory of a flow table: hashes, comparisons, lines of code and bytes, no clock."""

from random import Random
from typing import Any

import pytest

from balancers.flows import FlowKey, FlowTable
from balancers.flows.flow_table import FlowState
from tests.test_memory import GROWTH, MUCH, reachable_size
from tests.work import Counted, Work, work_of

STATES: list[FlowState] = ["new", "established", "closing"]
CONSTANT, LOGARITHMIC = 1.25, 3.0
"""Growth from 10 flows to 1000: none, or log 1000 / log 10."""
SLACK = 4.0
ROUNDS = 400


def numbered(port: int) -> FlowKey:
    return FlowKey("tcp", "192.0.2.1", port, "198.51.100.7", 443)


def full(n: int) -> tuple[FlowTable[Counted], list[Any], list[Counted]]:
    """Return a full table with a third of its flows in each state, on n / 10 backends."""
    table: FlowTable[Counted] = FlowTable(
        n, new_timeout=1e6, established_timeout=1e6, closing_timeout=1e6
    )
    flows, backends = [Counted(f"f{i}") for i in range(3 * n)], [Counted(f"b{i}") for i in range(n)]
    for i, flow in enumerate(flows[:n]):
        table.keep(flow, backends[i % max(1, n // 10)], float(i), STATES[i % 3])  # type: ignore[arg-type]  # any hashable
    return table, flows, backends


def hits(n: int) -> tuple[Any, int]:
    table, flows, _ = full(n)

    def work() -> None:
        for i in range(ROUNDS):
            assert table.find(flows[i * 7 % n], 1e4 + i) is not None

    return work, ROUNDS


def misses(n: int) -> tuple[Any, int]:
    table, flows, _ = full(n)

    def work() -> None:
        for i in range(ROUNDS):
            assert table.find(flows[n + i % n], 1e4 + i) is None

    return work, ROUNDS


def new_flows_in_a_full_table(n: int) -> tuple[Any, int]:
    table, flows, backends = full(n)

    def work() -> None:
        for i in range(ROUNDS):
            table.keep(flows[n + i % (2 * n)], backends[i % n], 1e4 + i, "established")
            table.find(flows[n + i * 7 % (2 * n)], 1e4 + i)

    return work, ROUNDS


def states_that_change(n: int) -> tuple[Any, int]:
    table, flows, backends = full(n)

    def work() -> None:
        for i in range(ROUNDS):
            table.keep(flows[i * 7 % n], backends[i % n], 1e4 + i, STATES[i % 3])

    return work, ROUNDS


def reads(n: int) -> tuple[Any, int]:
    table, flows, backends = full(n)

    def work() -> None:
        for i in range(ROUNDS):
            table.find(flows[i * 7 % n], 1e4 + i)
            assert len(table) == n
            assert sum(table.states.values()) == n
            assert table.due > 0
            table.flows_on(backends[0])
            assert table.counts.hits == i + 1

    return work, ROUNDS


def expirations(n: int) -> tuple[Any, int]:
    table, _, _ = full(n)
    return lambda: table.expire(1e7), n


def hits_and_then_evictions_of_all(n: int) -> tuple[Any, int]:
    """Each hit makes one heap place out of date, which is corrected once."""
    table, flows, backends = full(n)

    def work() -> None:
        for i in range(n):
            table.find(flows[i], 1e4)
        for i in range(n):
            table.keep(flows[n + i], backends[0], 2e4, "new")

    return work, n


def a_backend_is_forgotten(n: int) -> tuple[Any, int]:
    """A backend with ten flows, whatever the size of the table."""
    table, _, backends = full(n)
    return lambda: len(table.forget(backends[0])), 10


@pytest.mark.parametrize(
    ("measured", "growth"),
    [
        (hits, CONSTANT),
        (misses, CONSTANT),
        (new_flows_in_a_full_table, LOGARITHMIC),
        (states_that_change, LOGARITHMIC),
        (reads, LOGARITHMIC),
        (expirations, LOGARITHMIC),
        (hits_and_then_evictions_of_all, LOGARITHMIC),
        (a_backend_is_forgotten, LOGARITHMIC),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_cost_per_operation(measured: Any, growth: float) -> None:
    def measure(n: int) -> tuple[Work, int]:
        call, operations = measured(n)
        return work_of(call), operations

    (small, few), (large, many) = measure(10), measure(1000)
    for kind in ("hashes", "comparisons", "lines"):
        before, after = getattr(small, kind) / few, getattr(large, kind) / many
        assert after <= growth * before + SLACK, (kind, before, after)


def test_a_table_does_not_grow_with_the_work_done() -> None:
    """It also takes at most 640 bytes per flow, including keys and backends."""
    rng, size = Random(1), 1000
    table: FlowTable[str] = FlowTable(
        size, new_timeout=2.0, established_timeout=20.0, closing_timeout=5.0
    )
    now, measured = 0.0, list[int]()
    for factor in (1, MUCH):
        for _ in range(factor * 4 * size):
            now += 0.001 if rng.random() < 0.999 else 1.0
            flow = numbered(rng.randrange(3 * size))
            if table.find(flow, now) is None or rng.random() < 0.3:
                table.keep(flow, f"b{rng.randrange(20)}", now, rng.choice(STATES))
            if rng.random() < 0.001:
                table.forget(f"b{rng.randrange(20)}")
            table.retire(f"b{rng.randrange(20)}")
        for flow in map(numbered, range(size)):
            table.keep(flow, "b0", now, "established")
        assert len(table) == size
        measured.append(reachable_size(table))
    assert measured[1] <= GROWTH * measured[0]
    assert measured[1] <= 640 * size


def test_hits_alone_do_not_grow_a_table() -> None:
    table: FlowTable[str] = FlowTable()
    table.keep(numbered(1), "a", 0.0, "new")
    table.keep(numbered(2), "a", 0.0, "established")
    sizes = list[int]()
    for turn in range(1, 20_001):
        table.find(numbered(2), turn / 1000)
        table.keep(numbered(1), "ab"[turn % 2], turn / 1000, STATES[turn % 3])
        if turn % 10_000 == 0:
            sizes.append(reachable_size(table))
    assert sizes[1] <= GROWTH * sizes[0]
