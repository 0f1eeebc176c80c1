"""The functions that check a gate: what they accept, return and raise, and what they print."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest import TestCase

import pytest

from balancers import ConnectionLimit, Drain, HealthChecks
from balancers.errors import InvalidSetting
from balancers.gates import CoolDown, MemberGate
from balancers.testing import LawBroken, LawReport, check_gate, gate_laws
from balancers.testing.gate_checks import Event
from balancers.testing.gate_programs import empty_changes, stored
from balancers.testing.laws import GATE_LAWS

WRONG_ARGUMENTS: list[Any] = [
    ((1, {}), TypeError, "factory must be a function"),
    ((Drain, {"laws": ["unknown"]}), InvalidSetting, "'unknown' is no law"),
    ((Drain, {"laws": "changes_settle"}), TypeError, "laws must be a collection of names"),
    ((Drain, {"examples": 0}), InvalidSetting, "examples must be a whole number above 0"),
    ((Drain, {"examples": True}), InvalidSetting, "examples must be a whole number above 0"),
    ((Drain, {"excuses": {"changes_settle": ""}}), InvalidSetting, "must give a reason"),
    ((Drain, {"events": ["begin"]}), TypeError, "events must be a mapping"),
    ((Drain, {"events": {"begin": 1}}), TypeError, "the event 'begin' must be a function"),
    ((Drain, {"events": {1: print}}), TypeError, "the names of events must be texts"),
]
ROOT = Path(__file__).parents[2]
NAMES = {
    "factors_are_factors",
    "factors_move_only_as_announced",
    "changes_names_every_change",
    "changes_settle",
    "reading_changes_nothing",
    "copies_go_on_alike",
    "removed_forgets",
    "time_never_goes_back",
    "unknown_backends_are_ignored",
    "idle_gates_fall_silent",
    "one_pool_only",
    "unknown_outcomes_change_nothing",
}


class Forgetful(MemberGate[str, list[float]]):
    """Closes a backend for ten seconds after a failure, and announces no end of this."""

    reason = "pause"

    def new_state(self, now: float) -> list[float]:
        return [now]

    def factor(self, backend: str, now: float) -> float:
        return 1 if self.clamp(now) >= self.state_of(backend)[0] else 0

    def finished(
        self, backend: str, outcome: Any, in_flight: int, started_at: float, now: float
    ) -> None:
        now = self.settle(now)
        state = self.find_state(backend)
        if state is not None and outcome.ok is False:
            state[0] = now + 10
            self.notify_change(backend)

    def close(self, backend: str, now: float) -> None:
        self.state_of(backend)[0] = self.settle(now) + 10
        self.due = self._now


class Plain:
    """A gate that inherits from nothing, and has only what a pool needs."""

    __slots__ = ("due",)
    reason = "plain"
    soft = spares_bound = fractional = False

    def __init__(self) -> None:
        self.due = float("inf")

    def attach(self, in_flight: Any, events: Any) -> None:
        return

    def added(self, backend: Any, now: float) -> None:
        return

    removed = added

    def factor(self, backend: Any, now: float) -> float:
        return 1

    def changes(self, now: float) -> Any:
        return iter(())


def broken(*arguments: Any, **options: Any) -> LawBroken:
    with pytest.raises(LawBroken) as caught:
        check_gate(*arguments, **options)
    return caught.value


def fails(program: str) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any breach
        exec(program, {"__name__": "program"})  # noqa: S102 - the program of a law
    return caught.value


def test_a_right_gate_gets_a_report() -> None:
    report = check_gate(Drain, examples=10)
    assert isinstance(report, LawReport)
    assert (report.subject, report.traits, report.comparisons) == ("Drain", (), 0)
    assert [result.law for result in report.results] == [law.name for law in GATE_LAWS]
    assert all(result.examples == 10 or law.once for result, law in zip(report.results, GATE_LAWS))  # noqa: B905 - the same length


def test_the_laws_are_listed_once_and_described() -> None:
    names = [law.name for law in GATE_LAWS]
    assert len({*names}) == len(names)
    assert set(names) >= NAMES
    for law in GATE_LAWS:
        for part in ("Why: ", "How it is tested: ", "What it cannot see: "):
            assert part in law.page, law.name


def test_a_breach_has_a_law_a_sentence_and_a_program_that_fails() -> None:
    error = broken(Forgetful, laws=["factors_move_only_as_announced"], examples=200)
    assert error.law == "factors_move_only_as_announced"
    assert "due" in error.why
    assert len(error.program.splitlines()) <= 20
    done = subprocess.run(
        [sys.executable, "-c", error.program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert error.why in done.stderr


def test_the_same_seed_gives_the_same_program() -> None:
    options: dict[str, Any] = {"laws": ["factors_move_only_as_announced"], "seed": 5}
    assert broken(Forgetful, **options).program == broken(Forgetful, **options).program


def test_a_lambda_is_shown_by_its_body() -> None:
    close: dict[str, Event] = {"close": lambda gate, backend, now: gate.close(backend, now)}
    error = broken(Forgetful, events=close, laws=["factors_move_only_as_announced"], seed=2)
    assert "lambda" not in error.program
    assert isinstance(fails(error.program), AssertionError)
    two: dict[str, Event] = {
        "read": lambda g, b, t: g.factor(b, t),
        "x": lambda g, b, t: g.close(b, t),
    }
    error = broken(Forgetful, events=two, laws=["factors_move_only_as_announced"], seed=2)
    assert "lambda" not in error.program


def test_any_other_function_is_defined_in_the_program() -> None:
    seconds = 3.0

    def close_later(gate: Any, backend: str, now: float) -> None:
        gate.close(backend, now)
        assert seconds

    events: dict[str, Event] = {"close": close_later}
    error = broken(
        ClosesInSilence, events=events, laws=["factors_move_only_as_announced"], examples=300
    )
    assert "events = {'close': close_later}" in error.program
    assert "events['close'](gate, " in error.program
    assert "seconds = 3.0" in error.program
    assert isinstance(fails(error.program), AssertionError)


class ClosesInSilence(Forgetful):
    """Announces nothing of its own call."""

    def finished(
        self, backend: str, outcome: Any, in_flight: int, started_at: float, now: float
    ) -> None:
        return

    def close(self, backend: str, now: float) -> None:
        self.state_of(backend)[0] = self.settle(now) + 10


def test_a_gate_without_optional_methods_is_tested() -> None:
    report = check_gate(Plain, examples=20)
    notes = {result.law: result.note for result in report.results if result.note}
    assert notes == {"one_pool_only": "not tested: the gate does not allow new attributes"}


def test_a_factory_gets_a_generator_if_it_takes_one() -> None:
    seen: list[Any] = []

    def make(*, rng: Random) -> Any:
        seen.append(rng)
        return CoolDown[str](1, rng=rng)

    check_gate(make, examples=5)
    assert all(isinstance(rng, Random) for rng in seen)


def test_an_excuse_is_shown_and_must_be_needed() -> None:
    law = "factors_move_only_as_announced"
    report = check_gate(Forgetful, laws=[law], excuses={law: "a known fault"}, examples=100)
    assert report.results[0].excuse == "a known fault"
    error = broken(Drain, laws=[law], excuses={law: "a known fault"}, examples=20)
    assert "no longer needed" in error.why


@pytest.mark.parametrize("wrong", [dict, lambda: None, lambda: 1 / 0, object, lambda: Drain])
def test_what_cannot_be_driven_gives_one_message(wrong: Any) -> None:
    error = broken(wrong)
    assert error.law == "preflight"
    assert error.why.startswith("no law can be tested, because ")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    WRONG_ARGUMENTS,
)
def test_wrong_arguments_are_refused(arguments: Any, error: Any, message: str) -> None:
    factory, options = arguments
    for check in (check_gate, gate_laws):
        with pytest.raises(error, match=message):
            check(factory, **options)


def test_empty_events_are_none() -> None:
    assert check_gate(Drain, events={}, examples=2).results


def test_a_class_of_tests_has_one_test_for_each_law() -> None:
    case = gate_laws(partial(ConnectionLimit[str], 2), examples=3)
    assert issubclass(case, TestCase)
    names = {name for name in dir(case) if name.startswith("test_")}
    assert names == {f"test_{law.name}" for law in GATE_LAWS}


def test_a_flap_within_one_event_is_not_held_against_a_gate() -> None:
    """The gate names the backend, and the law cannot have seen the change."""
    both: dict[str, Event] = {
        "both": lambda gate, backend, now: (
            gate.observe(backend, False, now),
            gate.observe(backend, True, now),
        )
    }
    check_gate(partial(HealthChecks[str], 1, 1), events=both, laws=["changes_names_every_change"])


def test_times_that_an_event_computes_are_not_compared() -> None:
    early: dict[str, Event] = {
        "early": lambda gate, backend, now: gate.observe(backend, False, now, started_at=now - 1)
    }
    check_gate(
        partial(HealthChecks[str], 1, 1), events=early, laws=["time_never_goes_back"], examples=200
    )


def test_what_an_object_stores_is_compared_without_a_pickle() -> None:
    function = lambda: 1  # noqa: E731 - it has no pickle
    first: list[Any] = [function, {"a": {2.0}}, Random(1)]
    second: list[Any] = [function, {"a": {2.0}}, Random(1)]
    assert stored(first) == stored(second)
    second[2].random()
    assert stored(first) != stored(second)
    loop: list[Any] = [print, lambda: 1]
    loop.append(loop)
    assert stored(loop) == stored(loop)


def nothing(_now: float) -> list[str]:
    return []


def test_times_without_changes_are_counted() -> None:
    gate: Any = Forgetful()
    gate.added("a", 0.0)
    assert empty_changes(gate, ["a"], 0.0, 5) == 0
    gate.changes = nothing  # due stays
    gate.due = 3.0
    assert empty_changes(gate, ["a"], 0.0, 5) == 5
