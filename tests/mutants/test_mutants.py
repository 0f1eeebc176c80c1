"""Each mutant is caught by the test named for it: that test fails while the mutant stands in."""

from collections import Counter

import pytest

from balancers import BalancersError
from tests.mutants import wrong_balancers, wrong_gates, wrong_pools
from tests.mutants.mutant import MUTANTS, Mutant

MODULES = (wrong_balancers, wrong_gates, wrong_pools)


class Watcher:
    """A pytest plugin that notes which tests ran and what they failed of."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.failures: list[type[BaseException]] = []

    def pytest_runtest_call(self, item: pytest.Item) -> None:
        self.ran.append(item.nodeid)

    def pytest_exception_interact(self, call: pytest.CallInfo[None]) -> None:
        if call.excinfo is not None:
            self.failures.append(call.excinfo.type)


def failures_of(test: str) -> list[type[BaseException]]:
    """Run one test, in this process, and say what it failed of."""
    watcher = Watcher()
    plain = ["-p", "no:terminal", "-p", "no:cacheprovider", "-o", "addopts="]
    pytest.main([*plain, "--import-mode=importlib", test], plugins=[watcher])
    assert watcher.ran == [test], "the test named for a mutant is one test"
    return watcher.failures


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setattr(mutant.owner, mutant.attribute, mutant.replacement)
    failures = failures_of(mutant.caught_by)
    assert failures, f"{mutant.name} passes {mutant.caught_by}"
    kept = (AssertionError, pytest.fail.Exception, BalancersError)
    assert issubclass(failures[0], kept), "the mutant broke down instead of being wrong"


def test_there_are_mutants_of_every_kind_and_none_twice() -> None:
    kinds = Counter(getattr(mutant.replacement, "__module__", "") for mutant in MUTANTS)
    assert set(kinds) == {module.__name__ for module in MODULES}
    assert min(kinds.values()) >= 8
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 15
