"""What a sequence of changes moves: every step as a change of its own, and nothing else changed."""

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers import HashRing, Maglev, Pool, RoundRobin
from balancers.errors import InvalidSetting, InvalidWeight, NoBackendAvailable, UnknownBackend
from balancers.hashing import BoundedLoad, HashedBalancer, Jump
from balancers.interop import nginx
from balancers.quality import Remap, remap, rollout
from tests.depth import runs

HASHES = np.random.default_rng(5).integers(0, 1 << 64, 2000, dtype=np.uint64)
CHANGES = st.lists(
    st.dictionaries(st.sampled_from("bcdef"), st.sampled_from([0.5, 1, 3]), max_size=4),
    max_size=5,
)


def numbers(change: Remap[Any]) -> Any:
    return change.moves(), change.hashes, change.unavoidable


@settings(max_examples=runs(100), deadline=None)
@given(CHANGES, st.data())
@pytest.mark.parametrize("make", [HashRing, partial(Maglev, size=251)])
def test_each_step_is_the_change_between_two_balancers(
    make: Callable[..., HashedBalancer[str]],
    changes: list[dict[str, float | None]],
    data: st.DataObject,
) -> None:
    lb = make({"a": 1, "b": 2})
    before = pickle.dumps(lb)
    weights: dict[str, float] = {"a": 1, "b": 2}
    states = [dict(weights)]
    for change in changes:
        if make is HashRing and change.get("f") == 1:
            change["f"] = 0  # the map of a ring does not depend on how it was reached
        leaves = data.draw(st.sets(st.sampled_from([*weights])))
        change.update(dict.fromkeys(leaves - {"a"} - change.keys()))
        for backend, weight in change.items():
            if weight is None:
                del weights[backend]
            else:
                weights[backend] = weight
        states.append(dict(weights))
    result = rollout(lb, changes, HASHES)
    assert pickle.dumps(lb) == before
    assert [dict(step.change) for step in result.steps] == changes
    for step, old, new in zip(result.steps, states, states[1:], strict=False):
        assert numbers(step.remap) == numbers(remap(make(old), make(new), HASHES))
    assert numbers(result.direct) == numbers(remap(make(states[0]), make(states[-1]), HASHES))
    assert result.moved == sum(step.remap.moved for step in result.steps)
    assert result.detour >= -1e-12, "no way is shorter than the direct one"


def test_a_detour_is_counted() -> None:
    ring = HashRing(["a", "b"])
    back = rollout(ring, [{"c": 1}, {"c": None}], HASHES)
    assert back.direct.moved == 0
    assert back.moved == 2 * back.steps[0].remap.moved > 0
    assert back.detour == back.fraction
    assert str(back).splitlines()[0].split() == [
        "step",
        "moved",
        "fraction",
        "unavoidable",
        "change",
    ]
    assert [line.split()[0] for line in str(back).splitlines()] == [
        "step",
        "1",
        "2",
        "all",
        "direct",
    ]
    assert "2 steps" in repr(back)


def test_what_is_given_is_not_changed_even_if_a_pool_uses_it() -> None:
    ring = HashRing(["a", "b"])
    pool = Pool(ring)
    assert rollout(ring, [{"a": None}], HASHES).moved > 0
    assert list(pool.backends) == list(ring.weights) == ["a", "b"]
    kept: Any = object()
    owner = rollout(HashRing({kept: 1}, identity=lambda _: "kept"), [{kept: 0.5}], HASHES)
    assert owner.direct.members[0] is kept, "backends are shared, not copied"


def test_functions_that_make_a_balancer() -> None:
    made = [
        rollout(partial(HashRing, ["a", "b"]), [{"b": 0}], HASHES),
        rollout(lambda: HashRing(["a", "b"]), ({"b": 0},), HASHES),
        rollout(HashRing(["a", "b"]), iter([{"b": 0}]), HASHES),
    ]
    assert len({each.moved for each in made}) == 1
    assert rollout(Jump[str], [{"a": 1}], HASHES[:0]).steps[0].remap.members == ("a",)


def test_the_bounded_loads_of_a_balancer_are_copied() -> None:
    lb = BoundedLoad(HashRing(["a", "b", "c"]), c=1.25)
    lb.started("a")
    assert rollout(lb, [{"c": None}], HASHES).hashes == len(HASHES)
    assert lb.load_of("a") == 1


def test_keys_are_hashed_once_by_the_balancer() -> None:
    keys = [f"k{number}" for number in range(500)]
    ring = HashRing(["a", "b"])
    by_keys = rollout(ring, [{"c": 1}, {"a": None}], keys=iter(keys))
    by_hashes = rollout(ring, [{"c": 1}, {"a": None}], ring.hash_many(keys))
    assert [numbers(each.remap) for each in by_keys.steps] == [
        numbers(each.remap) for each in by_hashes.steps
    ]


def test_no_changes_move_nothing() -> None:
    nothing = rollout(HashRing(["a"]), [], HASHES)
    assert (nothing.steps, nothing.moved, nothing.direct.moved, nothing.detour) == ((), 0, 0, 0)
    assert rollout(HashRing(["a"]), [{}], HASHES).moved == 0
    assert rollout(HashRing(["a"]), [{"b": 1}], HASHES[:0]).fraction == 0


def test_the_changes_of_a_result_are_copies() -> None:
    change: dict[str, float | None] = {"b": 1}
    result = rollout(HashRing(["a"]), [change], HASHES)
    change["b"] = 7
    assert result.steps[0].change == {"b": 1}


RING = HashRing(["a", "b"])
WRONG: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "unknown": (lambda: rollout(RING, [{"z": None}], HASHES), UnknownBackend, "'z'"),
    "twice": (lambda: rollout(RING, [{"a": None}, {"a": None}], HASHES), UnknownBackend, "'a'"),
    "weight": (lambda: rollout(RING, [{"a": -1}], HASHES), InvalidWeight, "-1"),
    "all leave": (
        lambda: rollout(RING, [{"a": None, "b": None}], HASHES), NoBackendAvailable, "empty",
    ),
    "one mapping": (lambda: rollout(RING, {"a": 1}, HASHES), TypeError, "changes must"),  # type: ignore[dict-item]  # invalid
    "no mapping": (lambda: rollout(RING, ["a"], HASHES), TypeError, "not 'a'"),  # type: ignore[list-item]  # invalid
    "None": (lambda: rollout(RING, None, HASHES), TypeError, "changes must"),  # type: ignore[arg-type]  # invalid
    "no hashes": (lambda: rollout(RING, []), TypeError, "hashes or keys"),
    "both": (lambda: rollout(RING, [], HASHES, keys=[1]), TypeError, "not both"),
    "no keys": (lambda: rollout(RoundRobin(["a"]), [], HASHES), TypeError, "keyed balancer"),
    "owners": (lambda: rollout(["a"], [], HASHES), TypeError, "keyed balancer"),  # type: ignore[arg-type]  # invalid
    "refused": (lambda: rollout(Jump(["ab"]), [{"ab": 0}, {"c": 1}, {"ab": None}], HASHES),
                NoBackendAvailable, "quiesced"),
    "not the last": (
        lambda: rollout(Jump(["a", "b"]), [{"a": None}], HASHES), InvalidSetting, "'b'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_invalid_arguments_change_nothing(wrong: str) -> None:
    before = pickle.dumps(RING)
    call, error, message = WRONG[wrong]
    with pytest.raises(error, match=message):
        call()
    assert pickle.dumps(RING) == before


def test_balancers_that_pick_one_key_at_a_time() -> None:
    lb = nginx.ConsistentHash([f"10.0.0.{number}:80" for number in range(1, 5)])
    keys = [f"/item/{number}" for number in range(300)]
    steps: list[dict[str, float | None]] = [{"10.0.0.9:80": 1}, {"10.0.0.1:80": None}]
    result = rollout(lb, steps, keys=iter(keys))
    assert [step.remap.hashes for step in result.steps] == [300, 300]
    assert result.detour == 0
    assert len(lb.weights) == 4
