"""Profiles: ``quick``, ``deep``, ``mutants``; without deadline, the same examples in each run."""

import gc
import signal
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.depth import DEEP, PROFILE, runs

_USUAL = 100

for name, examples in (("quick", runs(_USUAL)), ("deep", _USUAL)):
    settings.register_profile(
        name,
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
settings.register_profile(  # of tests/mutation: whether a test fails, not with which example
    "mutants",
    settings.get_profile("quick"),
    max_examples=20,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile(PROFILE)

collect_ignore = [] if find_spec("websockets") else ["system/browser.py"]
"""A helper that only ``system/test_browser.py`` imports, which skips without the package."""
NEEDS_XXHASH = ("balancers.interop.caddy", "balancers.interop.envoy", "balancers.keys.XXHash64")
"""Doctests of what the extra ``xxhash`` makes possible."""
EXTRAS = ("xxhash", "matplotlib")
"""Packages that a test may need without asking for them first."""


class WithoutMatplotlib:
    """Collects no doctests of modules that cannot be imported, because matplotlib is missing."""

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Return True for the package of pictures."""
        return True if collection_path.parts[-2:] == ("quality", "plots") else None


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker of slow tests, and let SIGINT interrupt jobs in the background too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if find_spec("matplotlib") is None:
        config.pluginmanager.register(WithoutMatplotlib())
    config.addinivalue_line("markers", "deep: runs only with HYPOTHESIS_PROFILE=deep or -m deep")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the doctests of missing packages, and leave tests marked ``deep`` to that profile."""
    if find_spec("xxhash") is None:
        for item in items:
            if isinstance(item, pytest.DoctestItem) and item.name.startswith(NEEDS_XXHASH):
                item.add_marker(pytest.mark.skip(reason="xxhash is not installed"))
    if DEEP or "deep" in (config.getoption("markexpr") or ""):
        return
    deep = [item for item in items if item.get_closest_marker("deep")]
    if deep:
        config.hook.pytest_deselected(items=deep)
        items[:] = [item for item in items if not item.get_closest_marker("deep")]


def pytest_collection_finish() -> None:
    """Exclude the tests and their modules from garbage collections: these would take half a second.

    A session that a test runs in its own process finds them excluded.
    """
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Skip a test of what needs an extra where that is not installed."""
    try:
        return (yield)
    except ImportError as error:
        for package in EXTRAS:
            if find_spec(package) is None and package in str(error):
                pytest.skip(f"{package} is not installed")
        raise
