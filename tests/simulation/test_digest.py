"""One SHA-256 of results: equal in every process, and different for different results."""

import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from copy import deepcopy
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers import RoundRobin
from balancers.simulation import Constant, Every, Times, simulate
from balancers.simulation._digest import digest
from tests.depth import runs

PLAIN: Any = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()
    ),
    lambda parts: st.one_of(
        st.lists(parts, max_size=4),
        st.dictionaries(st.text(max_size=3), parts, max_size=4),
        st.tuples(parts, parts),
    ),
    max_leaves=8,
)


def typed(value: Any) -> Any:
    """Return a value that differs from other values of other types."""
    held: Any = cast("object", value)
    if isinstance(value, dict):
        return ("dict", [(key, typed(part)) for key, part in held.items()])
    if isinstance(value, list | tuple):
        return ("sequence", [typed(part) for part in held])
    return (type(value), value)


@given(PLAIN, PLAIN)
@settings(max_examples=runs(200))
def test_equal_values_have_equal_digests(one: Any, other: Any) -> None:
    assert digest(one) == digest(deepcopy(one)) == digest(pickle.loads(pickle.dumps(one)))  # noqa: S301 - made here
    assert (digest(one) == digest(other)) == (typed(one) == typed(other))


DIFFERENT: list[Any] = [
    *(
        None,
        True,
        1,
        1.0,
        "1",
        b"1",
        [],
        [1],
        [[1]],
        [1, 1],
        {1: 1},
        {1},
        "",
        b"",
        0,
        False,
        10**5000,
    ),
    *(np.array([1]), np.array([1.0]), np.array([[1]]), np.array([1], object), np.array([], int)),
    *(Times(), Times.of([1.0]), Times.of([1.0, 1.0]), Fraction(1, 2), 1j, "\ud800", float("inf")),
]


def test_different_values_have_different_digests() -> None:
    assert len({digest(value) for value in DIFFERENT}) == len(DIFFERENT)


def test_negative_zero_is_zero() -> None:
    assert digest(-0.0) == digest(0.0)
    assert digest(np.array([-0.0])) == digest(np.array([0.0]))


def test_kinds_of_collections_do_not_matter() -> None:
    assert digest((1, 2)) == digest([1, 2])
    assert digest({"a": 1}) == digest(OrderedDict([("a", 1)]))
    assert digest({"a", "b", "c"}) == digest(frozenset("cab"))
    assert digest(np.arange(6)[::2]) == digest(np.array([0, 2, 4]))


def test_the_engine_of_a_simulation_does_not_matter() -> None:
    run = simulate(
        RoundRobin(["a", "b"]), Every(1.0), Constant(1.0), requests=50, seed=1, keep=True
    )
    assert digest(run) == digest(replace(run, engine="other"))
    assert digest(run) != digest(replace(run, tries=run.tries + 1))
    assert run.records is not None
    records = run.records.copy()
    records["ok"][7] ^= True
    assert digest(run) != digest(replace(run, records=records))


def test_an_object_that_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="has no digest"):
        digest([1, lambda: 1])


def test_the_seed_of_hashes_does_not_matter() -> None:
    code = (
        "from balancers.simulation._digest import digest; print(digest([{*'abcdefgh'}, 1.5]).hex())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == digest([{*"abcdefgh"}, 1.5]).hex()
