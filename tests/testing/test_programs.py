"""Tests of what the programs of broken laws import: only the observed call is measured."""

import gc
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest

from balancers.testing.programs import executed_lines, impure_calls


def collecting() -> list[Any]:
    """Make so many objects that garbage is collected, if that is enabled."""
    return [[] for _ in range(100_000)]


@pytest.fixture
def busy_collector() -> Generator[list[str]]:
    """The phases of the collections, noted by a callback that reads a clock."""
    phases: list[str] = []

    def callback(phase: str, _info: dict[str, int]) -> None:
        time.monotonic()
        phases.append(phase)

    gc.callbacks.append(callback)
    yield phases
    gc.callbacks.remove(callback)


def measured_lines() -> int:
    return executed_lines(collecting, 10**6)


@pytest.mark.parametrize(
    ("measure", "expected"),
    [(measured_lines, measured_lines()), (lambda: impure_calls(collecting), [])],
    ids=["executed_lines", "impure_calls"],
)
def test_a_collection_is_no_part_of_a_call(
    busy_collector: list[str], measure: Callable[[], object], expected: object
) -> None:
    gc.collect()
    busy_collector.clear()
    assert measure() == expected
    assert busy_collector == []
    collecting()
    assert busy_collector, "the call makes no garbage collection necessary"


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was(enabled: bool) -> None:
    def fail() -> None:
        raise LookupError

    try:
        (gc.enable if enabled else gc.disable)()
        executed_lines(fail, 10)
        assert gc.isenabled() is enabled
        with pytest.raises(LookupError):
            impure_calls(fail)
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
