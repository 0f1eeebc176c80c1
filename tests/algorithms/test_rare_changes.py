"""Changes that make an index start again: weights above its limit, and many stale entries."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from balancers import LeastConnections, WeightedLeastConnections, WeightedRoundRobin
from balancers.algorithms._smooth_scan import PlainScan, Scan
from balancers.algorithms._smooth_scan_numpy import VectorScan, WideScan
from tests.references import NaiveWeightedRoundRobin

MEMBERS = 30
"""More members than the plain scans are used for."""


@pytest.mark.parametrize("bits", [40, 61, 62, 63, 64, 122, 124, 126])
@pytest.mark.parametrize("first", [1, 1 << 50, 1 << 70])
def test_a_weight_above_the_limit_of_a_scan(bits: int, first: int) -> None:
    """The picks are those of the definition, before and after the numbers need another scan."""
    lb, reference = WeightedRoundRobin[str](), NaiveWeightedRoundRobin()
    names = [str(place) for place in range(MEMBERS)]
    rng = Random(bits)

    def put(place: int, weight: int) -> None:
        lb.put(names[place], weight)
        reference.put(names[place], weight)

    def check() -> None:
        for _ in range(20):
            assert lb.pick() == reference.pick()

    for place in range(MEMBERS):
        put(place, first + rng.randrange(5))
    check()
    put(7, (1 << bits) - 3)
    check()
    put(8, (1 << bits) + 5)
    put(7, 0)
    check()
    put(7, 2)
    put(8, 1)
    check()


@pytest.mark.parametrize("kind", [PlainScan, VectorScan, WideScan])
def test_a_scan_advances_by_many_steps_at_once(
    kind: Callable[[list[int], list[int]], Scan],
) -> None:
    weights = [3, 1, 0, 5, 2]
    one, two = kind([0] * 5, [*weights]), kind([0] * 5, [*weights])
    for _ in range(4):
        picks = [one.step() for _ in range(7)]
        two.advance(picks)
        assert one.current_weights() == two.current_weights()
        assert not one.is_period(picks)
    assert not one.is_period([0, 1])


def test_reopened_members_that_get_requests_leave_no_stale_entries() -> None:
    lb = LeastConnections(range(MEMBERS))
    counts = dict.fromkeys(range(MEMBERS), 0)
    rng = Random(1)
    for _ in range(20):
        for backend in range(1, MEMBERS):
            lb.put(backend, 0)
        assert [lb.pick() for _ in range(3)] == [0] * 3  # takes closed members out of their tie
        for backend in range(1, MEMBERS):
            lb.put(backend, 1)
        for backend in rng.sample(range(1, MEMBERS), MEMBERS - 5):
            lb.started(backend)
            counts[backend] += 1
        assert len(lb._first) <= 2 * len(lb._reopened) + 9
        for _ in range(MEMBERS):
            assert counts[lb.pick()] == min(counts.values())
        for backend, count in counts.items():
            for _ in range(count):
                lb.finished(backend)
        counts = dict.fromkeys(counts, 0)


@pytest.mark.parametrize("members", [3, MEMBERS])
@pytest.mark.parametrize("weight", [1, 1 << 70])
def test_the_parts_of_a_balancer_can_be_shown(members: int, weight: int) -> None:
    weights = {backend: weight + backend for backend in range(members)}
    scan = WeightedRoundRobin(weights)
    scan.pick()
    least = WeightedLeastConnections(weights)
    parts: list[Any] = [scan._scan, scan._unit, least._index, least._unit]
    for part in parts:
        assert repr(part).startswith(f"<{type(part).__name__}: ")
        assert " at 0x" not in repr(part)
