"""Runs tests with a mutant that is applied before the package is imported."""

import ast
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType

import pytest

from tests.mutation.forks import fork, processor_limit
from tests.mutation.mutants import Mutant, Source

__all__ = ["OPTIONS", "Failures", "run_fresh", "run_item"]

OPTIONS = [
    *("-p", "no:cacheprovider", "-p", "no:xdist", "--capture=no"),
    # that the import of the whole package has imported Hypothesis before pytest
    *("-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"),
]
COLLECTION = 60.0
"""Seconds of processor time for the import and the collection; without a mutant about 5."""


class Failures:
    """A plugin that notes whether a test failed, and its report."""

    def __init__(self) -> None:
        self.failed = False
        self.text = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure in any phase."""
        if report.failed:
            self.failed = True
            self.text = report.longreprtext


def run_item(item: pytest.Item) -> None:
    """Run a test with all its fixtures."""
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)


class _Finder(SourceFileLoader, MetaPathFinder):  # type: ignore[misc]  # two bases of importlib
    """Finds one module, and loads its mutant."""

    def __init__(self, name: str, path: str, tree: ast.Module) -> None:
        super().__init__(name, path)
        self._tree = tree

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module if it is the one with the mutant."""
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the mutant."""
        return compile(self._tree, self.path, "exec")


class _Chosen(Failures):
    """A plugin that runs chosen tests until one fails."""

    def __init__(self, limits: dict[str, float]) -> None:
        super().__init__()
        self.limits = limits

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the chosen tests in their order."""
        if session.testsfailed:
            self.failed = True
        items = {item.nodeid: item for item in session.items}
        for name, limit in self.limits.items():
            if self.failed or name not in items:
                self.failed = True
                break
            processor_limit(limit)
            run_item(items[name])
        return True


def run_fresh(source: Source, mutant: Mutant, limits: dict[str, float], wall: float) -> int:
    """Return 0 if all tests pass, 1 if one fails, or minus the signal that ended the run.

    ``limits`` are the seconds of processor time of the tests by their id, in their order.
    """

    def child(_write: Callable[[bytes], None]) -> int:
        module = source.name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        mutant.swap()
        sys.meta_path.insert(0, _Finder(module, str(source.path), source.tree))
        processor_limit(COLLECTION)
        chosen = _Chosen(limits)
        files = dict.fromkeys(name.partition("::")[0] for name in limits)
        code = pytest.main([*OPTIONS, *files], plugins=[chosen])
        return int(chosen.failed or code not in (0, pytest.ExitCode.NO_TESTS_COLLECTED))

    return fork(child, wall)[0]
