"""Profiles: ``quick``, ``deep``, ``mutants``; without deadline, the same examples in each run."""

from collections.abc import Generator
from importlib.util import find_spec

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


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker of slow tests."""
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Skip a test of what needs xxhash where that is not installed."""
    try:
        return (yield)
    except ImportError as error:
        if find_spec("xxhash") is None and "xxhash" in str(error):
            pytest.skip("xxhash is not installed")
        raise
