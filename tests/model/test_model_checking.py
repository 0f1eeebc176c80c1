"""The pool does what its model says after every sequence of operations, up to a length.

``python -m tests.model --depth 7`` (or ``make modelcheck DEPTH=7``) goes further.
"""

import subprocess
import sys

import pytest

from balancers import Drain
from balancers.gates import MemberGate
from tests.depth import DEEP
from tests.model.checker import Counterexample, check_every_sequence
from tests.model.scenarios import SCENARIOS, Scenario

LENGTH, FEW, DEEPEST = 3, 2, 5
"""The lengths of the quick profile, with a scenario's own operations and with all; and of CI."""
every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)


@every_scenario
def test_every_short_sequence(scenario: Scenario) -> None:
    """From the start, and further from states that only a longer search would reach."""
    result = check_every_sequence(scenario, LENGTH)
    assert result.sequences > result.tried > 500
    for start in scenario.starts:
        assert check_every_sequence(scenario, FEW, start).tried > 50


@every_scenario
def test_every_short_sequence_of_all_operations(scenario: Scenario) -> None:
    every = scenario.with_every_op()
    assert {*scenario.ops} < {*every.ops}
    result = check_every_sequence(every, LENGTH if DEEP else FEW)
    assert result.tried > 300


@pytest.mark.deep
@every_scenario
def test_every_sequence_of_5(scenario: Scenario) -> None:
    result = check_every_sequence(scenario, DEEPEST)
    assert result.sequences > 300_000
    assert result.states > 2000


def test_the_scenarios_have_every_operation() -> None:
    ops = [op for scenario in SCENARIOS for op in scenario.ops]
    names = {op[0] for op in ops}
    assert names == {
        "acquire", "add", "begin", "cancel", "drained", "observe", "release", "remove",
        "set_limit", "set_weight", "update", "wait",
    }  # fmt: skip
    assert {op[2] for op in ops if op[0] == "set_weight"} == {0, 1, 2}
    assert {op[2] is None for op in ops if op[0] == "update"} == {True, False}
    assert {op[2] for op in ops if op[0] == "release"} == {True, False, None}
    assert {(op[1], op[2], op[3]) for op in ops if op[0] == "acquire"} == {
        (None, False, ""), (None, False, "a"), ("a", False, ""), ("a", True, ""), ("b", True, "b"),
    }  # fmt: skip


@every_scenario
def test_merging_loses_nothing(scenario: Scenario) -> None:
    """A run that merges equal states reaches the same states as one that continues all of them."""
    length = LENGTH if DEEP else FEW
    for start in ((), *scenario.starts):
        merged = check_every_sequence(scenario, length, start, keep=True)
        separate = check_every_sequence(scenario, length, start, merge=False, keep=True)
        assert merged.reached == separate.reached
        assert merged.sequences == separate.sequences == separate.tried
        assert merged.tried < separate.tried


def test_merging_hides_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a wrong gate, both runs find the same sequence: one of the shortest."""
    monkeypatch.setattr(Drain, "removed", MemberGate.removed)
    found: list[Counterexample] = []
    for merge in (True, False):
        with pytest.raises(Counterexample, match="the pool says") as raised:
            check_every_sequence(SCENARIOS[0], 3, merge=merge)
        found.append(raised.value)
    assert found[0].ops == found[1].ops
    assert {op[0] for op in found[0].ops} == {"begin", "remove", "add"}


def test_the_command_prints_what_it_checked() -> None:
    command = [sys.executable, "-m", "tests.model", "--depth", "2", "--jobs", "1"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.count("sequences of up to 2 operations") == len(SCENARIOS)
    assert "together: " in run.stdout
