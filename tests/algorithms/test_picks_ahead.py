"""``picks_ahead(count)`` gives the next ``count`` picks, and leaves the state that they leave.

A copy of the balancer does the same by single calls of ``pick``.  The two are compared after each
operation, and by their further picks at the end.
"""

import pickle
from collections.abc import Callable, Iterator
from copy import deepcopy
from random import Random
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import NoBackendAvailable, RandomChoice, RoundRobin, WeightedRoundRobin
from balancers.errors import InvalidSetting

Ahead = RoundRobin[Any] | RandomChoice[Any] | WeightedRoundRobin[Any]
MAKERS: dict[str, Callable[[Any, int], Ahead]] = {
    "RoundRobin": lambda backends, number: RoundRobin(backends, offset=number),
    "RandomChoice": lambda backends, number: RandomChoice(backends, rng=Random(number)),
    "WeightedRoundRobin": lambda backends, number: WeightedRoundRobin(backends, offset=number),
}
every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)

WEIGHTS = st.sampled_from([0, 0, 1, 1, 2, 3, 7, 0.5, 0.1, 1.25, 1e-3, 1e6, 1e20, 10**30])


class Backend(NamedTuple):
    """A backend that cannot be ordered, as its names are of several types."""

    name: object


BACKENDS = [*map(Backend, ["a", "b", 3, None, "ü", b"x"])]


def pickled(lb: Ahead) -> Ahead:
    """Return a copy that went through pickle."""
    copied: Ahead = pickle.loads(pickle.dumps(lb))  # noqa: S301 - own
    return copied


def by_picks(lb: Ahead, count: int) -> list[int]:
    """Return the positions of the next picks, by single calls of ``pick``."""
    places = {backend: place for place, backend in enumerate(lb.weights)}
    return [places[lb.pick()] for _ in range(count)]


def state_of(part: Any) -> Any:
    """Return all that a part contains, with iterators as the items that are left."""
    kind: Any = part.__class__
    if issubclass(kind, dict):
        return {key: state_of(value) for key, value in part.items()}
    if issubclass(kind, list | tuple):
        return [state_of(each) for each in part]
    if issubclass(kind, np.ndarray):
        return state_of(part.tolist())
    if issubclass(kind, Random):
        return part.getstate()
    if issubclass(kind, Iterator):
        return [state_of(each) for each in deepcopy(part)]
    fields: Any = getattr(part, "__slots__", None) or getattr(part, "__dict__", None)
    return {name: state_of(getattr(part, name)) for name in fields} if fields else part


operation: st.SearchStrategy[tuple[str, Any]] = st.one_of(
    st.tuples(st.just("ahead"), st.integers(0, 700)),
    st.tuples(st.just("ahead"), st.integers(0, 40)),
    st.tuples(st.just("pick"), st.lists(st.sampled_from(BACKENDS), max_size=3)),
    st.tuples(st.just("put"), st.tuples(st.sampled_from(BACKENDS), WEIGHTS)),
    st.tuples(st.just("flip"), st.sampled_from(BACKENDS)),
    st.tuples(st.just("discard"), st.sampled_from(BACKENDS)),
    st.tuples(st.just("bound"), st.sampled_from(BACKENDS)),
    st.tuples(st.just("copy"), st.sampled_from([deepcopy, pickled])),
)


def outcome(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except NoBackendAvailable as error:
        return str(error)


def apply(lb: Ahead, name: str, argument: Any, ahead: Callable[[Ahead, int], list[int]]) -> Any:
    if name == "ahead":
        return outcome(lambda: ahead(lb, argument))
    if name == "pick":
        return outcome(lambda: lb.pick(avoid=argument))
    if name == "put":
        return lb.put(*argument)
    if name == "flip":  # the balancer must resume a block that was suspended
        weight = lb.weights.get(argument)
        if weight:
            lb.put(argument, 0)
            lb.put(argument, weight)
        return None
    if name == "discard":
        return lb.discard(argument)
    return lb.started(argument, bound=True)


@every
@given(
    weights=st.lists(st.tuples(st.sampled_from(BACKENDS), WEIGHTS), max_size=8).map(dict),
    number=st.integers(0, 5000),
    operations=st.lists(operation, max_size=12),
)
def test_they_are_the_picks_of_pick(
    make: Callable[[Any, int], Ahead],
    weights: dict[Backend, float],
    number: int,
    operations: list[tuple[str, Any]],
) -> None:
    ours, other = make(weights, number), make(weights, number)
    steps: list[tuple[str, Any]] = [*operations, ("ahead", 33)]
    for name, argument in steps:
        if name == "copy":
            ours, other = argument(ours), argument(other)
            continue
        done = apply(ours, name, argument, lambda lb, count: lb.picks_ahead(count).tolist())
        assert done == apply(other, name, argument, by_picks)
        assert state_of(ours) == state_of(other)
    assert outcome(lambda: by_picks(ours, 50)) == outcome(lambda: by_picks(other, 50))


FLEETS = {
    "one": {"a": 1},
    "equal": dict.fromkeys(range(100), 1),
    "seven": dict.fromkeys("abcdefg", 2),
    "300": dict.fromkeys(range(300), 1),
    "weighted": {number: 1 + number % 5 for number in range(100)},
    "fractions": {number: (1 + number % 7) / 4 for number in range(40)},
    "closed": {number: number % 3 for number in range(50)},
    "long period": {number: 1_000_003 + 7919 * number for number in range(5)},
    "many decimals": {number: 1 + number * 1e-16 for number in range(30)},
    "imprecise": {"a": 1e30, "b": 1, "c": 1},
}


@every
@pytest.mark.parametrize("fleet", FLEETS.values(), ids=FLEETS)
def test_blocks_laps_and_periods_go_on_across_calls(
    make: Callable[[Any, int], Ahead], fleet: dict[Any, float]
) -> None:
    """More picks than a block of samples, a prepared cycle or a period has, and parts of these."""
    ours, other = make(fleet, 3), make(fleet, 3)
    for count in (1, 0, 2, 31, 1000, 5, 4096, 4097, 129):
        assert ours.picks_ahead(count).tolist() == by_picks(other, count)
        assert ours.pick() == other.pick()
    assert state_of(ours) == state_of(other)


@every
@pytest.mark.parametrize("backends", [{}, {"a": 0}, {"a": 0, "b": 0.0}])
def test_nothing_to_pick_is_refused_as_by_pick(
    make: Callable[[Any, int], Ahead], backends: dict[str, float]
) -> None:
    lb = make(backends, 0)
    assert lb.picks_ahead(0).tolist() == []
    with pytest.raises(NoBackendAvailable) as by_pick:
        lb.pick()
    with pytest.raises(NoBackendAvailable) as refused:
        lb.picks_ahead(3)
    assert str(refused.value) == str(by_pick.value)
    lb.put("b", 1)
    assert lb.picks_ahead(2).tolist() == [list(lb.weights).index("b")] * 2


@every
@pytest.mark.parametrize("count", [-1, True, 1.0, "2", None, 1 << 33, 10**30, np.int64(3)])
def test_a_wrong_count_is_named_and_changes_nothing(
    make: Callable[[Any, int], Ahead], count: Any
) -> None:
    lb, other = make(FLEETS["seven"], 3), make(FLEETS["seven"], 3)
    assert by_picks(lb, 40) == by_picks(other, 40)
    with pytest.raises(InvalidSetting, match="count must be an int") as refused:
        lb.picks_ahead(count)
    assert str(refused.value).endswith(f"not {count!r}")
    assert state_of(lb) == state_of(other)


@every
def test_the_result_is_a_new_array_of_positions(make: Callable[[Any, int], Ahead]) -> None:
    lb = make(FLEETS["closed"], 0)
    first, second = lb.picks_ahead(500), lb.picks_ahead(500)
    assert first.dtype == second.dtype == np.intp
    assert first.shape == (500,)
    assert not np.shares_memory(first, second)
    kept = second.copy()
    first[:] = -1
    lb.picks_ahead(1000)[:] = -1
    assert (second == kept).all()
    assert set(np.unique(kept)) <= {at for at, weight in enumerate(lb.weights.values()) if weight}
