"""``samples_ahead(count)`` gives the samples of the next ``count`` picks.

A copy of the balancer does the same by single calls of ``pick``.
"""

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import NoBackendAvailable, PowerOfTwoChoices
from balancers.errors import InvalidSetting
from balancers.loads import InFlight
from tests.algorithms.test_picks_ahead import BACKENDS, FLEETS, WEIGHTS, Backend, state_of

OPERATION: st.SearchStrategy[tuple[str, Any]] = st.one_of(
    st.tuples(st.just("ahead"), st.integers(0, 300)),
    st.tuples(st.just("pick"), st.integers(0, 40)),
    st.tuples(st.just("put"), st.tuples(st.sampled_from(BACKENDS), WEIGHTS)),
    st.tuples(st.just("discard"), st.sampled_from(BACKENDS)),
)


def pick_by_samples(lb: PowerOfTwoChoices[Any], count: int, loads: Random) -> list[Any]:
    """Pick by comparing samples; after each pick, a request starts or ends at random."""
    backends, picked = list(lb.weights), list[Any]()
    for sample in lb.samples_ahead(count).tolist():
        per_weight = [lb.load_of(backends[place]) / lb.weights[backends[place]] for place in sample]
        picked.append(backends[sample[per_weight.index(min(per_weight))]])
        change_loads(lb, picked[-1], loads)
    return picked


def pick_one_by_one(lb: PowerOfTwoChoices[Any], count: int, loads: Random) -> list[Any]:
    picked: list[Any] = []
    for _ in range(count):
        picked.append(lb.pick())
        change_loads(lb, picked[-1], loads)
    return picked


def change_loads(lb: PowerOfTwoChoices[Any], picked: Any, loads: Random) -> None:
    lb.started(picked)
    if loads.random() < 0.8:
        lb.finished(loads.choice(list(lb.weights)))


def refusal(lb: PowerOfTwoChoices[Any], ahead: bool) -> str:
    with pytest.raises(NoBackendAvailable) as refused:
        lb.samples_ahead(1) if ahead else lb.pick()
    return str(refused.value)


@given(
    weights=st.lists(st.tuples(st.sampled_from(BACKENDS), WEIGHTS), max_size=8).map(dict),
    choices=st.integers(1, 4),
    own=st.booleans(),
    operations=st.lists(OPERATION, max_size=10),
)
def test_picks_by_samples_are_those_of_pick(
    weights: dict[Backend, float], choices: int, own: bool, operations: list[tuple[str, Any]]
) -> None:
    def made() -> PowerOfTwoChoices[Backend]:
        return PowerOfTwoChoices(
            weights, rng=Random(1), choices=choices, load=InFlight() if own else None
        )

    ours, other = made(), made()
    for name, argument in operations:
        if name in {"put", "discard"}:
            for lb in (ours, other):
                lb.put(*argument) if name == "put" else lb.discard(argument)
        elif not any(ours.weights.values()):
            assert refusal(ours, ahead=True) == refusal(other, ahead=False)
        elif name == "pick":
            assert [ours.pick() for _ in range(argument)] == [other.pick() for _ in range(argument)]
        else:
            shape = ours.samples_ahead(0).shape
            assert shape == (0, min(choices, sum(w > 0 for w in ours.weights.values())))
            picked = [
                by(lb, argument, Random(2))
                for by, lb in ((pick_by_samples, ours), (pick_one_by_one, other))
            ]
            assert picked[0] == picked[1]
        assert state_of(ours) == state_of(other)


@pytest.mark.parametrize("fleet", [FLEETS["one"], FLEETS["equal"], FLEETS["closed"]])
@pytest.mark.parametrize("choices", [1, 2, 3])
def test_blocks_go_on_across_calls(fleet: dict[Any, float], choices: int) -> None:
    ours, other = (PowerOfTwoChoices(fleet, rng=Random(1), choices=choices) for _ in range(2))
    for count in (1, 0, 2, 31, 1000, 5, 4096, 4097, 129):
        found = ours.samples_ahead(count)
        assert found.dtype == np.intp
        picked = [list(fleet).index(other.pick()) for _ in range(count)]
        assert found[:, 0].tolist() == picked
        assert state_of(ours) == state_of(other)


@pytest.mark.parametrize("count", [-1, True, 1.0, "2", None, (1 << 32) + 1, 10**30, np.int64(3)])
def test_a_wrong_count_is_named_and_changes_nothing(count: Any) -> None:
    lb, other = (PowerOfTwoChoices(["a", "b", "c"], rng=Random(1)) for _ in range(2))
    with pytest.raises(InvalidSetting, match="count must be an int") as refused:
        lb.samples_ahead(count)
    assert str(refused.value).endswith(f"not {count!r}")
    assert state_of(lb) == state_of(other)


def test_the_settings_can_be_read() -> None:
    lb = PowerOfTwoChoices(["a"], rng=Random(1), choices=3, load=InFlight())
    assert lb.choices == 3
    assert not lb.by_count
    assert PowerOfTwoChoices[str](rng=Random(1)).by_count
