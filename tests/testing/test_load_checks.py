"""The functions that check a load: what they accept, return and raise, and what they print."""

from typing import Any
from unittest import TestCase

import pytest

from balancers import SUCCESS, Load
from balancers.errors import InvalidSetting
from balancers.loads import InFlight
from balancers.testing import LawBroken, LawReport, check_load, load_laws
from balancers.testing.laws import LOAD_LAWS

WRONG_ARGUMENTS: list[Any] = [
    ((1, {}), TypeError, "factory must be a function"),
    ((InFlight, {"laws": ["unknown"]}), InvalidSetting, "'unknown' is no law"),
    ((InFlight, {"laws": "removed_forgets"}), TypeError, "laws must be a collection"),
    ((InFlight, {"examples": 1.5}), InvalidSetting, "examples must be a whole number"),
    ((InFlight, {"seed": None}), InvalidSetting, "seed must be a whole number"),
]
NAMES = {
    "values_are_finite_and_not_negative",
    "reading_changes_nothing",
    "started_and_finished_cancel",
    "removed_forgets",
    "unknown_backends_are_ignored",
    "copies_go_on_alike",
    "time_never_goes_back",
    "unknown_outcomes_change_nothing",
    "one_balancer_only",
}


class Leaking(InFlight[str]):
    """Does not count down a request with an unknown outcome."""

    def finished(self, backend: str, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if outcome.ok is not None:
            super().finished(backend, outcome, now)


class Rate(Load[str]):
    """Counts starts, each for a while: a start matters, and its end does not."""

    def __init__(self) -> None:
        self.counts: dict[str, tuple[float, float]] = {}
        self.now = float("-inf")

    def value(self, backend: str, now: float) -> float:
        count, since = self.counts.get(backend, (0.0, 0.0))
        passed = max(now, self.now) - since
        return float(count * 0.5 ** min(passed / 10, 1000.0)) if count else 0.0

    def started(self, backend: str, now: float = 0.0) -> None:
        self.now = max(now, self.now)
        self.counts[backend] = (self.value(backend, self.now) + 1, self.now)

    def removed(self, backend: str) -> None:
        self.counts.pop(backend, None)


def broken(*arguments: Any, **options: Any) -> LawBroken:
    with pytest.raises(LawBroken) as caught:
        check_load(*arguments, **options)
    return caught.value


def test_a_right_load_gets_a_report() -> None:
    report = check_load(InFlight, examples=10)
    assert isinstance(report, LawReport)
    assert (report.subject, report.traits) == ("InFlight", ())
    assert [result.law for result in report.results] == [law.name for law in LOAD_LAWS]


def test_the_laws_are_listed_once_and_described() -> None:
    names = [law.name for law in LOAD_LAWS]
    assert len({*names}) == len(names)
    assert set(names) == NAMES
    for law in LOAD_LAWS:
        for part in ("Why: ", "How it is tested: ", "What it cannot see: "):
            assert part in law.page, law.name


def test_a_breach_has_a_law_a_sentence_and_a_program_that_fails() -> None:
    error = broken(Leaking, examples=200)
    assert error.law == "started_and_finished_cancel"
    assert "count for ever" in error.why
    assert len(error.program.splitlines()) <= 20
    with pytest.raises(AssertionError, match="count for ever"):
        exec(error.program, {"__name__": "program"})  # noqa: S102 - the program of a law
    assert broken(Leaking, examples=200).program == error.program


def test_a_load_that_counts_a_rate_is_right() -> None:
    check_load(Rate, examples=200)


def test_an_excuse_is_shown_and_must_be_needed() -> None:
    law = "started_and_finished_cancel"
    report = check_load(Leaking, laws=[law], excuses={law: "a known fault"}, examples=100)
    assert report.results[0].excuse == "a known fault"
    assert "no longer needed" in broken(InFlight, laws=[law], excuses={law: "known"}).why


@pytest.mark.parametrize("wrong", [dict, lambda: None, lambda: 1 / 0, object, lambda: InFlight])
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
    for check in (check_load, load_laws):
        with pytest.raises(error, match=message):
            check(factory, **options)


def test_a_class_of_tests_has_one_test_for_each_law() -> None:
    case = load_laws(InFlight, examples=3)
    assert issubclass(case, TestCase)
    names = {name for name in dir(case) if name.startswith("test_")}
    assert names == {f"test_{law.name}" for law in LOAD_LAWS}
