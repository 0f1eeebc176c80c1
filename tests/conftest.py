"""Two profiles, ``quick`` and ``deep``: no deadline, and the same examples in each run."""

import pytest
from hypothesis import HealthCheck, settings

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
settings.load_profile(PROFILE)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker of slow tests."""
    config.addinivalue_line("markers", "deep: runs only with HYPOTHESIS_PROFILE=deep or -m deep")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests marked ``deep`` to the deep profile."""
    if DEEP or "deep" in (config.getoption("markexpr") or ""):
        return
    deep = [item for item in items if item.get_closest_marker("deep")]
    if deep:
        config.hook.pytest_deselected(items=deep)
        items[:] = [item for item in items if not item.get_closest_marker("deep")]
