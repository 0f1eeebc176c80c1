"""The model check, to a small depth, and the wrong routers that it must find.

``make vrrp-model`` searches deeper, and does a million runs.
"""

import sys
from dataclasses import replace
from random import Random

import pytest

from balancers.redundancy.vrrp import VirtualRouter
from tests.depth import DEEP, runs
from tests.redundancy.model import __main__ as command
from tests.redundancy.model.monitor import PROMISES, Broken
from tests.redundancy.model.mutants import MUTANTS
from tests.redundancy.model.runs import Failed
from tests.redundancy.model.runs import runs as random_runs
from tests.redundancy.model.scenarios import THREE, TWO, Scenario
from tests.redundancy.model.search import Counterexample, search
from tests.redundancy.model.states import read, written
from tests.redundancy.model.world import KINDS, World

BY_NAME = {scenario.name: scenario for scenario in TWO}
COARSE = {name: replace(scenario, halves=False) for name, scenario in BY_NAME.items()}
"""For wrong routers that need three events."""
SCENARIO = pytest.mark.parametrize("scenario", TWO, ids=BY_NAME)
MUTANT = pytest.mark.parametrize("wrong", MUTANTS, ids=lambda wrong: wrong.__name__)


@SCENARIO
def test_two_routers_keep_every_promise(scenario: Scenario) -> None:
    depth = 3 if DEEP else 2
    result = search(scenario, depth)
    assert len(result.states) == depth + 1
    assert all(result.states)


@pytest.mark.parametrize("scenario", THREE, ids=lambda scenario: scenario.name)
def test_three_routers_keep_every_promise(scenario: Scenario) -> None:
    assert all(search(scenario, 2 if DEEP else 1).states)


def test_the_bounds_are_reached() -> None:
    """A bound that is never reached would be too large, and prove little."""
    result = search(COARSE[TWO[0].name], 3)
    delay = TWO[0].delay
    assert result.longest["none active", 0] == TWO[0].none_bound(1) == 3.5 + delay
    assert result.longest["a lower one active", 0] == TWO[0].lower_bound(1)
    assert result.longest["two active", 0] == TWO[0].two_bound(0, 0) == 1 + delay


def test_seeded_runs_keep_every_promise() -> None:
    done = random_runs(0, runs(5000))
    assert done.count == runs(5000)
    assert done.events > 9 * done.count
    assert all(0.8 < done.worst[promise] <= 1 + 1e-9 for promise in PROMISES)


@MUTANT
def test_the_search_finds_wrong_routers(wrong: type[VirtualRouter]) -> None:
    name, depth = MUTANTS[wrong]
    scenario = (COARSE if depth > 2 else BY_NAME)[name]
    with pytest.raises(Counterexample) as found:
        search(scenario, depth, wrong)
    assert found.value.moves
    if depth:
        assert all(search(scenario, depth - 1, wrong).states), "fewer events are enough"


@MUTANT
def test_runs_find_wrong_routers(wrong: type[VirtualRouter]) -> None:
    with pytest.raises(Failed, match="seed"):
        random_runs(0, 3000, wrong)


@pytest.mark.parametrize("scenario", [*TWO, *THREE], ids=lambda scenario: scenario.name)
def test_a_state_that_is_read_back_has_the_same_future(scenario: Scenario) -> None:
    """States are merged, so what is written must contain everything that matters."""
    rng, kinds = Random(1), set[str]()
    for _ in range(20):
        world, twin = World(scenario), World(scenario)
        for _ in range(60):
            world.packets.sort()
            state = written(world)
            read(twin, state)
            assert written(twin) == state
            assert (twin.natural(), twin.events()) == (world.natural(), world.events())
            # Packets come first among the events, and are rare while routers are down.
            move = rng.choice(world.natural() if rng.random() < 0.7 else world.events()[:5])
            kinds.add(move[0])
            world.do(move)
            twin.do(move)
            world.packets.sort()
            assert written(twin) == written(world)
    assert kinds == set(KINDS) - (set() if scenario.halves else {"wait half", "spoil"})


def test_a_counterexample_can_be_repeated() -> None:
    wrong = next(iter(MUTANTS))
    name, depth = MUTANTS[wrong]
    with pytest.raises(Counterexample) as found:
        search(BY_NAME[name], depth, wrong)
    world = World(BY_NAME[name], wrong)

    def repeat() -> None:
        for move in found.value.moves:
            read(world, written(world))
            world.do(move)

    with pytest.raises(Broken):
        repeat()


def test_the_command_prints_bounds_and_reports_a_miss(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["model", "--two", "1", "--three", "1", "--ties", "1", "--runs", "50", "--jobs", "1"]
    monkeypatch.setattr(sys, "argv", small)
    assert command.main() == 0
    printed = capsys.readouterr().out
    assert printed.count("two active: bound") == len(TWO) + len(THREE)
    assert "no promise is broken" in printed
    assert command.report("different priorities: two active") == 1
    assert "FAILED different priorities" in capsys.readouterr().out
