"""Each mutant is caught by its test: the test fails while the mutant is in place."""

from collections import Counter

import pytest

from balancers import BalancersError
from tests.mutants import (
    wrong_balancers,
    wrong_checks,
    wrong_gates,
    wrong_keys,
    wrong_leaks,
    wrong_models,
    wrong_panics,
    wrong_pools,
    wrong_recoveries,
    wrong_refusals,
    wrong_routes,
    wrong_secrets,
    wrong_spellings,
    wrong_tiers,
    wrong_wire,
)
from tests.mutants.mutant import MUTANTS, Mutant

MODULES = (
    wrong_balancers,
    wrong_checks,
    wrong_gates,
    wrong_keys,
    wrong_models,
    wrong_leaks,
    wrong_panics,
    wrong_pools,
    wrong_recoveries,
    wrong_refusals,
    wrong_routes,
    wrong_secrets,
    wrong_spellings,
    wrong_tiers,
    wrong_wire,
)


class Recorder:
    """A pytest plugin that records which tests ran, and the types of their failures."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.failures: list[type[BaseException]] = []

    def pytest_runtest_call(self, item: pytest.Item) -> None:
        self.ran.append(item.nodeid)

    def pytest_exception_interact(self, call: pytest.CallInfo[None]) -> None:
        if call.excinfo is not None:
            self.failures.append(call.excinfo.type)


def failures_of(test: str) -> list[type[BaseException]]:
    """Run one test in this process; return the types of its failures."""
    recorder = Recorder()
    options = ["-p", "no:terminal", "-p", "no:cacheprovider", "-o", "addopts="]
    pytest.main([*options, "--import-mode=importlib", test], plugins=[recorder])
    assert recorder.ran == [test], "caught_by must name exactly one test"
    return recorder.failures


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setattr(mutant.owner, mutant.attribute, mutant.replacing)
    failures = failures_of(mutant.caught_by)
    assert failures, f"{mutant.name} passes {mutant.caught_by}"
    expected = (AssertionError, pytest.fail.Exception, BalancersError)
    assert issubclass(failures[0], expected), "the mutant raised an unrelated error"


def test_every_module_has_mutants_with_unique_names() -> None:
    kinds = Counter(getattr(mutant.replacement, "__module__", "") for mutant in MUTANTS)
    assert set(kinds) == {module.__name__ for module in MODULES}
    assert min(kinds.values()) >= 8
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 15
