"""The fast simulations equal a plain one exactly, whatever goes wrong."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers import Balancer, LeastConnections, RoundRobin, WeightedRoundRobin
from balancers.simulation import (
    Crash,
    Errors,
    FastFailures,
    Fault,
    Freeze,
    RecordedTimes,
    RecordedWork,
    Retries,
    Server,
    Simulation,
    Slow,
    simulate,
)
from balancers.simulation._engines.setup import Setup
from balancers.simulation._streams import stream
from tests.depth import runs
from tests.simulation.plain import Plain, Station

NAMES = ["b", 1, ("a", 2)]
"""Backends that cannot be ordered."""
QUARTERS = st.integers(0, 24).map(lambda number: number / 4)
ODD = st.sampled_from([0.1, 1 / 3, 0.7, 1.0, 2.5])
Make = Callable[[], Balancer[Any]]


class Case(NamedTuple):
    """The arguments of a simulation."""

    make: Make
    times: list[float]
    works: list[float]
    servers: dict[Any, Server]
    faults: Sequence[Fault] = ()
    network: float = 0.0
    timeout: float | None = None
    retries: Retries | None = None
    seed: int = 1

    def simulate(self) -> Simulation[Any]:
        return simulate(
            self.make(),
            RecordedTimes(self.times),
            RecordedWork(self.works),
            requests=len(self.times),
            seed=self.seed,
            servers=self.servers,
            faults=self.faults,
            network=self.network,
            timeout=self.timeout,
            retries=self.retries,
            warm_up=0.0,
            keep=True,
            timeline=1.0,
        )

    def plain(self) -> list[tuple[float, Any, bool, int]]:
        stations = {
            name: Station(name, each.speed, each.slots, each.room)
            for name, each in self.servers.items()
        }
        grid = [round(work * 2**30) / 2**30 for work in self.works]
        return Plain(
            self.make(),
            self.times,
            grid,
            stations,
            self.faults,
            self.network / 2,
            self.network / 2,
            self.timeout,
            self.retries or Retries(tries=1),
            stream(self.seed, "faults").random,
        ).run()


def faults(backends: Sequence[Any]) -> st.SearchStrategy[list[Fault]]:
    spans = st.tuples(QUARTERS, st.integers(1, 16)).map(lambda s: (s[0], s[0] + s[1] / 4))
    shares = st.sampled_from([0.5, 1.0])
    waits = st.sampled_from([0.0, 0.25, 1.0])

    def made(
        kind: str, backend: Any, span: tuple[float, float], share: float, wait: float
    ) -> Fault:
        if kind == "crash":
            return Crash(backend, *span, refuse_after=wait)
        if kind == "freeze":
            return Freeze(backend, *span)
        if kind == "slow":
            return Slow(backend, *span, factor=1 + 6 * share / 2)
        if kind == "errors":
            return Errors(backend, *span, share=share)
        return FastFailures(backend, *span, share=share, after=wait)

    kinds = st.sampled_from(["crash", "freeze", "slow", "errors", "fast"])
    return st.lists(
        st.builds(made, kinds, st.sampled_from(backends), spans, shares, waits), max_size=5
    )


@st.composite
def cases(draw: st.DrawFn, quiet: bool = False) -> Case:
    names = NAMES[: draw(st.integers(1, 3))]
    count = draw(st.integers(1, 14))
    times = sorted(draw(st.lists(QUARTERS, min_size=count, max_size=count)))
    works = draw(st.lists(QUARTERS | ODD, min_size=count, max_size=count))
    kind = draw(st.sampled_from([LeastConnections, RoundRobin, WeightedRoundRobin]))
    speeds = st.sampled_from([1, 0.5, 3.0])
    rooms = st.none() if quiet else st.sampled_from([None, None, 1, 3])
    slots = st.just(1) if quiet else st.integers(1, 2)
    server = st.builds(Server, speed=speeds, slots=slots, room=rooms)
    return Case(
        lambda: kind(names),
        times,
        works,
        {name: draw(server) for name in names},
        [] if quiet else draw(faults(names)),
        draw(st.sampled_from([0.0, 0.0, 0.5])),
        None if quiet else draw(st.sampled_from([None, 1.0, 2.5])),
        None
        if quiet
        else draw(
            st.none()
            | st.builds(
                Retries,
                tries=st.integers(1, 4),
                backoff=st.sampled_from([0.0, 0.25]),
                deadline=st.sampled_from([None, 2.0]),
            )
        ),
    )


def check(case: Case) -> None:
    run, plain = case.simulate(), case.plain()
    assert run.records is not None
    backends = [*run.servers, None]
    rows = [
        (
            each["response"].item(),
            backends[each["backend"]],
            each["ok"].item(),
            each["tries"].item(),
        )
        for each in run.records
    ]
    assert rows == plain
    assert run.answered == sum(ok for _, _, ok, _ in plain)
    assert run.answered + run.failed + run.refused == len(plain) == run.requests
    assert run.tries == sum(tries for _, _, _, tries in plain)
    assert run.response.count == run.answered
    ends = [time + response for time, (response, *_) in zip(case.times, plain, strict=True)]
    assert run.duration == max(ends)


@given(cases())
@settings(max_examples=runs(1500), deadline=None)
def test_lines_with_faults_timeouts_and_retries_equal_a_plain_simulation(case: Case) -> None:
    check(case)


@given(cases(quiet=True))
@settings(max_examples=runs(500), deadline=None)
def test_quiet_lines_equal_a_plain_simulation(case: Case) -> None:
    check(case)


@given(cases(quiet=True).filter(lambda case: type(case.make()) is LeastConnections))
@settings(max_examples=runs(500), deadline=None)
def test_the_loop_without_agenda_equals_the_one_with(case: Case) -> None:
    lines = case.simulate()
    assert lines.engine == "general"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Setup, "simple", property(lambda _: False))
        assert case.simulate() == lines
