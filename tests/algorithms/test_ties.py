"""Tests of the ties of least connections: their links are right, and copies need none."""

import copy
import pickle
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from balancers import LeastConnections
from tests.depth import runs

CALLS = ["start"] * 8 + ["finish"] * 5 + ["put"] * 3 + ["discard", "copy"]
NAMES = [f"b{index}" for index in range(6)]


def pickled(lb: Any) -> Any:
    return pickle.loads(pickle.dumps(lb))  # noqa: S301 - its own pickle


COPIED = pytest.mark.parametrize("copied", [copy.deepcopy, pickled])


def assert_linked(lb: Any) -> None:
    """Check that a link leads to the tie of the next count, and that this tie leads back."""
    for count, tie in lb._ties.items():
        assert tie.count == count
        for there, back, step in (("higher", "lower", 1), ("lower", "higher", -1)):
            other = getattr(tie, there, None)
            if other is not None:
                assert lb._ties[count + step] is other
                assert getattr(other, back) is tie
    for backend, place in lb._places.items():
        assert [tie for tie in lb._ties.values() if backend in tie] in ([], [place])


@COPIED
def test_a_copy_in_a_history_changes_no_pick(copied: Callable[[Any], Any]) -> None:
    for seed in range(runs(2000)):
        rng = Random(seed)
        lb, other = LeastConnections(NAMES), LeastConnections(NAMES)
        for _ in range(60):
            backend, call, weight = rng.choice(NAMES), rng.choice(CALLS), rng.randrange(2)
            for each in (lb, other):
                match call:
                    case "start":
                        each.started(backend)
                    case "finish":
                        each.finished(backend)
                    case "put":
                        each.put(backend, weight)
                    case "discard":
                        each.discard(backend)
                    case _:
                        pass
            if any(lb.weights.values()):
                assert lb.pick() == other.pick()
            if call == "copy":
                lb = copied(lb)
            assert_linked(lb)


@COPIED
def test_many_different_counts_are_copied_without_deep_recursion(
    copied: Callable[[Any], Any],
) -> None:
    lb = LeastConnections(range(600))
    for backend in range(600):
        for _ in range(backend):
            lb.started(backend)
    assert_linked(lb)
    other = copied(lb)
    assert [other.load_of(backend) for backend in range(600)] == [*range(600)]


def test_empty_ties_are_forgotten_with_their_links() -> None:
    lb: Any = LeastConnections(NAMES)
    for _ in range(3):
        for change in [lb.started] * 100 + [lb.finished] * 100:
            change("b0")
            assert_linked(lb)
            assert len(lb._ties) <= 2 * len(NAMES) + 9
