"""Requests in flight end in order of time, however many there are and however they are kept."""

from bisect import bisect_right
from math import inf
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers import ConnectionLimit, LeastConnections, Pool, PowerOfTwoChoices
from balancers.algorithms import RoundRobin
from balancers.simulation import Every, RecordedWork, Simulation, simulate
from balancers.simulation._engines import in_flight as module
from balancers.simulation._engines import quiet
from balancers.simulation._engines.in_flight import InFlight
from tests.depth import runs


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.booleans()), max_size=80),
    st.integers(1, 4),
)
@settings(max_examples=runs(300), deadline=None)
def test_they_end_in_order(steps: list[tuple[int, int, bool]], soon: int) -> None:
    """Each step waits, starts one request that takes some time, and may remove what has ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SOON", soon)
        kept = InFlight[int]()
        ends: list[tuple[float, int]] = []
        found: list[tuple[float, int]] = []
        now, ended = 0.0, 0
        for number, (wait, takes, removes) in enumerate(steps):
            now += wait
            if kept.horizon <= now:
                assert kept.advance(now) == kept.horizon > now
            while kept.instants[ended] <= now:
                found.append((kept.instants[ended], kept.flights[ended]))
                ended += 1
            assert found == sorted(pair for pair in ends if pair[0] <= now)
            ends.append((now + takes + 1, number))
            if now + takes + 1 < kept.horizon:
                place = bisect_right(kept.instants, now + takes + 1, ended)
                kept.instants.insert(place, now + takes + 1)
                kept.flights.insert(place, number)
            else:
                kept.later.append(ends[-1])
            if removes:
                assert kept.forget(ended) == kept.horizon
                assert len(kept.flights) <= 2 * soon
                ended = 0
        kept.forget(ended)
        assert kept.advance(inf) == inf
        assert found + list(zip(kept.instants, kept.flights, strict=False)) == sorted(ends)
        assert kept.instants[-1] == inf


class _Log(RoundRobin[int]):
    """A round robin that logs what is reported to it."""

    def __init__(self) -> None:
        super().__init__(range(30))
        self.log: list[object] = []

    def started(self, backend: int, now: float = 0.0, bound: bool = False) -> None:
        self.log.append((backend, now))

    def finished(self, backend: int, outcome: Any = None, now: float = 0.0) -> None:
        self.log.append((backend, outcome.elapsed, now))


@pytest.mark.parametrize("kind", ["counts", "logs", "pool"])
def test_few_kept_sorted_give_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many ends at one instant, lines that grow and then end, and a few long requests."""
    draws = Random(3)
    works = [draws.choice([0.0, 1.0, 2.0, 2.0, 5.0, 100.0]) for _ in range(3000)]

    def run() -> tuple[Simulation[Any], list[object]]:
        log = _Log()
        balancer: Any = {
            "counts": PowerOfTwoChoices(dict.fromkeys(range(30), 1) | {0: 2}, rng=Random(1)),
            "logs": log,
            "pool": Pool(LeastConnections(range(30)), [ConnectionLimit(4)]),
        }[kind]
        found = simulate(
            balancer,
            Every(0.5),
            RecordedWork(works),
            requests=len(works),
            seed=1,
            network=0.5,
            keep=True,
            timeline=10.0,
        )
        assert found.engine == "general"
        return found, log.log

    whole = run()
    assert whole[0].requests > 0
    for soon, chunk in ((1, 100), (3, 7), (10, 1000)):
        monkeypatch.setattr(module, "_SOON", soon)
        monkeypatch.setattr(quiet, "CHUNK", chunk)
        assert run() == whole
