"""A split has exact shares, is the same in every process, and moves as few clients as possible."""

import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Collection
from copy import deepcopy
from fractions import Fraction
from math import inf, log, nan, sqrt
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers.errors import (
    DuplicateBackend,
    InvalidKey,
    InvalidWeight,
    MissingKey,
    NoBackendAvailable,
)
from balancers.keys import KeyedBlake2, Murmur3
from balancers.routing import Split
from tests.depth import runs

KEYS = [f"user:{number}" for number in range(20_000)]
FEW = KEYS[:300]
NAMES = "abcde"

weights = st.dictionaries(
    st.sampled_from(NAMES),
    st.integers(0, 10) | st.floats(0, 1e300) | st.sampled_from([0, 0.1, 1 / 3, 1e-300, 1e300]),
    min_size=1,
).filter(lambda generated: any(generated.values()))
BOUND = 4.5
"""Standard deviations: seven in a million exceed them, both sides together."""


def within(hits: int, of: int, share: float) -> bool:
    return abs(hits - of * share) <= BOUND * sqrt(of * share * (1 - share))


def moves(before: dict[str, float], after: dict[str, float]) -> set[tuple[str, str]]:
    split = Split(before)
    first = [split.pick(key) for key in FEW]
    split.reweigh(after)
    then = [split.pick(key) for key in FEW]
    return {(old, new) for old, new in zip(first, then, strict=True) if old != new}


@settings(max_examples=runs(200), deadline=None)
@given(weights, weights)
def test_a_client_moves_only_to_a_value_that_grew_more(
    before: dict[str, float], after: dict[str, float]
) -> None:
    """For any change, checked with exact arithmetic on the weights."""
    for old, new in moves(before, after):
        assert before[old] > 0
        assert after[new] > 0
        grown_new = Fraction(after[new]) * Fraction(before[old])
        grown_old = Fraction(after.get(old, 0)) * Fraction(before.get(new, 0))
        assert grown_new > grown_old


@settings(max_examples=runs(100), deadline=None)
@given(weights, st.sampled_from(NAMES), st.integers(0, 10))
def test_a_change_of_one_weight_moves_clients_only_to_or_from_its_value(
    before: dict[str, float], changed: str, weight: int
) -> None:
    after: dict[str, float] = {**before, changed: weight}
    if not any(after.values()):
        return
    grew = weight > before.get(changed, 0)
    assert all((new if grew else old) == changed for old, new in moves(before, after))


@settings(max_examples=runs(100), deadline=None)
@given(st.integers(0, 100), st.integers(0, 100))
def test_with_two_values_clients_move_to_the_one_whose_share_grew(one: int, other: int) -> None:
    moved = moves({"a": one, "b": 100 - one}, {"a": other, "b": 100 - other})
    assert moved <= {("b", "a") if other > one else ("a", "b")}


def test_a_growing_canary_gains_clients_and_loses_none() -> None:
    split, canaries = Split({"stable": 90, "canary": 10}), set[str]()
    for percent in (1, 5, 10, 20, 50, 100):
        split.reweigh({"stable": 100 - percent, "canary": percent})
        now = {key for key in KEYS if split.pick(key) == "canary"}
        assert canaries <= now
        assert within(len(now), len(KEYS), percent / 100)
        canaries = now
    assert len(canaries) == len(KEYS)


@given(weights, st.integers(1, 1000))
@settings(deadline=None)
def test_only_the_ratios_of_weights_matter(before: dict[str, float], factor: int) -> None:
    integral = {name: int(weight) % 1000 for name, weight in before.items()}
    if any(integral.values()):
        scaled = {name: weight * factor for name, weight in integral.items()}
        assert moves({**integral}, {**scaled}) == set()


CHANGES = [
    ({"a": 80, "b": 10, "c": 10}, {"a": 70, "b": 10, "c": 20}),
    ({"a": 1, "b": 1, "c": 0}, {"a": 0, "b": 1, "c": 1}),
    ({"a": 1, "b": 2, "c": 3, "d": 4}, {"a": 4, "b": 3, "c": 2, "d": 1}),
]


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_no_more_clients_move_than_the_bound(
    before: dict[str, float], after: dict[str, float]
) -> None:
    split = Split(before)
    old, first = split.shares, [split.pick(key) for key in KEYS]
    split.reweigh(after)
    moved = sum(split.pick(key) != value for key, value in zip(KEYS, first, strict=True))
    t = sum(abs(share - old[name]) for name, share in split.shares.items()) / 2
    bound = 2 * t / (1 + t)
    assert t * len(KEYS) * 0.9 <= moved
    assert moved <= len(KEYS) * bound + BOUND * sqrt(len(KEYS) * bound * (1 - bound))


@pytest.mark.parametrize(
    "weights",
    [
        {"a": 1},
        {"a": 90, "b": 10},
        {"a": 0.001, "b": 0.999},
        {"a": 1, "b": 0, "c": 2},
        {"a": 0.1, "b": 0.2, "c": 0.7},
        dict.fromkeys(range(20), 1),
        {f"10.0.0.1:808{port}": 1 for port in range(5)},
    ],
)
def test_shares_are_exact_within_binomial_bounds(weights: dict[Any, float]) -> None:
    """4.5 standard deviations per value, both by key and at random."""
    split, rng = Split(weights), Random(1)
    picked = Counter(split.pick(key) for key in KEYS)
    drawn = Counter(split.draw(rng) for _ in KEYS)
    assert abs(sum(split.shares.values()) - 1) < 1e-12
    for value, share in split.shares.items():
        assert abs(share - weights[value] / sum(weights.values())) < 1e-12
        assert within(picked[value], len(KEYS), share), (value, picked[value])
        assert within(drawn[value], len(KEYS), share), (value, drawn[value])


@given(weights)
@settings(deadline=None)
def test_a_value_of_weight_zero_gets_no_clients(weights: dict[str, float]) -> None:
    split, rng = Split(weights), Random(1)
    for key in FEW[:50]:
        assert weights[split.pick(key)] > 0
        assert weights[split.draw(rng)] > 0


class Fixed:
    """A hasher that maps every key to one number."""

    def __init__(self, digest: int) -> None:
        self.digest = digest

    def __call__(self, data: bytes) -> int:
        return self.digest


class FixedRandom(Random):
    """A generator that returns one number."""

    result = 0.0

    def random(self) -> float:
        return self.result


@given(weights)
def test_the_lowest_and_highest_random_numbers_select_a_value(weights: dict[str, float]) -> None:
    low, high = FixedRandom(), FixedRandom()
    high.result = 1 - 2**-53
    positive = [name for name, weight in weights.items() if weight]
    assert Split(weights).draw(low) in positive
    assert Split(weights).draw(high) in positive


def test_a_random_number_on_a_boundary_selects_the_next_value() -> None:
    middle = FixedRandom()
    middle.result = 0.5
    assert Split({"a": 1, "b": 1}).draw(middle) == "b"


def test_equal_bids_are_ordered_by_name() -> None:
    highest = Fixed(2**64 - 1)
    for order in ("ab", "ba"):
        assert Split(dict.fromkeys(order, 1), hasher=highest).pick("k") == "a"


def test_different_salts_are_independent_and_equal_salts_agree() -> None:
    """One client in a hundred is in both of two independent tenths."""
    shares = {"stable": 90, "canary": 10}
    one, other, same = (Split(shares, salt=salt) for salt in ("one", "other", b"one"))
    both = sum(one.pick(key) == other.pick(key) == "canary" for key in KEYS)
    assert within(both, len(KEYS), 0.01)
    assert all(one.pick(key) == same.pick(key) for key in FEW)


def test_salt_and_name_cannot_be_confused() -> None:
    one = Split({"ab": 1, "ac": 1}, salt="x")
    other = Split({"b": 1, "c": 1}, salt="xa")
    assert [one.pick(key)[1] for key in FEW] != [other.pick(key) for key in FEW]


@given(st.permutations(list(NAMES)))
@settings(deadline=None)
def test_the_order_of_values_does_not_matter(order: list[str]) -> None:
    weights = {name: 1 + NAMES.index(name) for name in NAMES}
    split = Split({name: weights[name] for name in order})
    assert [split.pick(key) for key in FEW] == [Split(weights).pick(key) for key in FEW]


def test_a_pick_is_the_lowest_exponential_variate_divided_by_weight() -> None:
    """The naive reference: one float per value, from the hash of salt, name and key."""

    def length_prefixed(text: str) -> bytes:
        return len(text).to_bytes(8, "little") + text.encode()

    weights = {"a": 5, "b": 3, "c": 2}

    def bid(name: str, key: str) -> float:
        digest = Murmur3()(length_prefixed("s") + length_prefixed(name) + key.encode())
        return -log((digest + 1) / 2**64) / weights[name]

    split = Split(weights, salt="s")
    for key in KEYS[:2000]:
        assert split.pick(key) == min(weights, key=lambda name: bid(name, key))


GOLDEN = "sccssssscssssssssssssscsssssssssscssssss"


def test_the_clients_of_the_canary_are_the_same_in_every_process() -> None:
    code = (
        "from balancers.routing.split import Split;"
        "split = Split({'canary': 10, 'stable': 90}, salt='shop');"
        "print(''.join(split.pick(f'user:{n}')[0] for n in range(40)), end='')"
    )
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout == GOLDEN


def test_every_type_of_key_and_a_custom_hasher() -> None:
    split = Split({"a": 1, "b": 1})
    assert split.pick("é") == split.pick("é".encode())
    assert {split.pick(number) for number in range(50)} == {"a", "b"}
    secret = Split({"a": 1, "b": 1}, hasher=KeyedBlake2(b"secret"))
    assert [secret.pick(key) for key in FEW] != [split.pick(key) for key in FEW]
    extremes = [Split({"a": 1, "b": 2}, hasher=Fixed(n)) for n in (0, 2**64 - 1, -1, 2**70)]
    assert {extreme.pick("k") for extreme in extremes} <= {"a", "b"}


@pytest.mark.parametrize(
    ("weights", "error", "named"),
    [
        ({}, InvalidWeight, "a weight above 0, not {}"),
        ({"a": 0, "b": 0.0}, InvalidWeight, "a weight above 0, not {'a': 0, 'b': 0}"),
        ({"a": -1}, InvalidWeight, "'a' must be"),
        ({"a": nan}, InvalidWeight, "nan"),
        ({"a": inf}, InvalidWeight, "inf"),
        ({"a": True}, InvalidWeight, "True"),
        ({"a": "1"}, InvalidWeight, "'1'"),
        ([("a", 1), ("a", 2)], DuplicateBackend, "'a' and 'a'"),
        ([("a", 1), (b"a", 2)], DuplicateBackend, "b'a' and 'a'"),
        ({"\ud800": 1}, InvalidKey, "ud800"),
        ({1.5: 1}, TypeError, "1.5"),
        ({None: 1}, TypeError, "None"),
        (["a"], (TypeError, ValueError), ""),
        (None, TypeError, ""),
    ],
)
def test_invalid_weights_are_refused_and_change_nothing(
    weights: Any, error: Any, named: str
) -> None:
    with pytest.raises(error) as refusal:
        Split(weights)
    assert named in str(refusal.value)
    split = Split({"a": 1, "b": 2})
    before = [split.pick(key) for key in FEW]
    with pytest.raises(error):
        split.reweigh(weights)
    assert split.weights == {"a": 1, "b": 2}
    assert [split.pick(key) for key in FEW] == before


def test_a_missing_key_or_generator_raises() -> None:
    split = Split({"a": 1})
    with pytest.raises(MissingKey):
        split.pick(None)
    with pytest.raises(InvalidKey):
        split.pick("\ud800")
    with pytest.raises(TypeError, match="must be bytes, str or int"):
        split.pick(1.5)  # type: ignore[arg-type] # the invalid argument
    with pytest.raises(TypeError, match="rng must be"):
        split.draw(None)  # type: ignore[arg-type] # the invalid argument


def name_of_list(value: tuple[str, ...]) -> str:
    return value[0]


def scanned(split: Split[Any], key: str, avoid: Collection[Any]) -> object:
    """The split without the avoided values, built anew."""
    left = {value: weight for value, weight in split.weights.items() if value not in avoid}
    return Split(left, salt="s").pick(key)


@settings(max_examples=runs(200), deadline=None)
@given(weights, st.sets(st.sampled_from(NAMES)))
def test_avoid_is_exact_and_moves_no_other_client(
    weights: dict[str, float], avoid: set[str]
) -> None:
    split, rng = Split(weights, salt="s"), Random(1)
    left = [value for value, weight in weights.items() if weight and value not in avoid]
    for key in FEW[:100]:
        if not left:
            with pytest.raises(NoBackendAvailable):
                split.pick(key, avoid)
            continue
        home, picked = split.pick(key), split.pick(key, avoid)
        assert picked == scanned(split, key, avoid)
        assert picked in left
        assert home in avoid or picked == home
        assert split.draw(rng, avoid) in left


@pytest.mark.parametrize("size", [0, 1, 3])
def test_an_array_is_not_a_collection_of_values(size: int) -> None:
    """An array raised the error of numpy, or was taken as empty."""
    split = Split({"a": 1, "b": 2})
    wrong: list[Any] = [np.array(["a", "b", "c"][:size]), "ab"[:size], b"ab"[:size], None, 0, False]
    for avoid in wrong:
        with pytest.raises(TypeError, match="avoid must be a collection of backends"):
            split.pick("key", avoid)
        with pytest.raises(TypeError, match="avoid must be a collection of backends"):
            split.draw(Random(1), avoid)


def test_any_empty_collection_avoids_nothing() -> None:
    split = Split({"a": 1, "b": 2})
    collections: list[Any] = [(), [], set(), frozenset(), {}]
    for empty in collections:
        assert split.pick("key", empty) == split.pick("key")
        assert split.draw(Random(1), empty) == split.draw(Random(1))


def test_the_clients_of_avoided_values_spread_in_the_ratio_of_the_weights() -> None:
    split = Split({"a": 50, "b": 10, "c": 20, "d": 20, "off": 0})
    orphans = [key for key in KEYS if split.pick(key) == "a"]
    spread = Counter(split.pick(key, avoid=["a"]) for key in orphans)
    drawn = Counter(split.draw(Random(n), avoid=["a"]) for n in range(10_000))
    for value, share in (("b", 0.2), ("c", 0.4), ("d", 0.4)):
        assert within(spread[value], len(orphans), share)
        assert within(drawn[value], 10_000, share)
    assert set(spread) == set(drawn) == {"b", "c", "d"}
    second = Counter(split.pick(key, avoid=("a", "c")) for key in KEYS)
    assert within(second["b"], len(KEYS), 1 / 3)


def test_a_retry_can_try_each_value_once() -> None:
    split = Split({"a": 1, "b": 2, "c": 3, "off": 0})
    for key in FEW[:50]:
        tried: list[str] = []
        for _ in range(3):
            tried.append(split.pick(key, avoid=tried))
        assert set(tried) == {"a", "b", "c"}
        with pytest.raises(NoBackendAvailable) as refusal:
            split.pick(key, avoid=tried)
        assert (refusal.value.reason, refusal.value.counts) == (
            "mixed",
            {"quiesced": 1, "avoided": 3},
        )
    with pytest.raises(NoBackendAvailable) as refusal:
        Split({"a": 1}).draw(Random(1), avoid={"a"})
    assert (refusal.value.reason, refusal.value.counts) == ("avoided", {"avoided": 1})


UNPICKED: list[Any] = [[], (), set(), {}, ["z"], ["off"], {"off": 1}.keys(), {"z": 1}]


@pytest.mark.parametrize("avoid", UNPICKED)
def test_avoiding_nothing_that_is_picked_changes_nothing(avoid: Any) -> None:
    split = Split({"a": 1, "b": 2, "off": 0})
    assert [split.pick(key, avoid) for key in FEW] == [split.pick(key) for key in FEW]
    one, other = Random(3), Random(3)
    assert [split.draw(one, avoid) for _ in FEW] == [split.draw(other) for _ in FEW]


@pytest.mark.parametrize("avoid", ["a", b"a", 7, bytearray(b"a"), object(), iter("a"), [["a"]]])
def test_avoid_must_be_a_collection_of_values(avoid: Any) -> None:
    split, rng = Split({"a": 1, "b": 1}), Random(1)
    state = rng.getstate()
    with pytest.raises(TypeError):
        split.pick("k", avoid)
    with pytest.raises(TypeError):
        split.draw(rng, avoid)
    with pytest.raises(NoBackendAvailable):
        split.draw(rng, ["a", "b"])
    assert rng.getstate() == state
    with pytest.raises(MissingKey):
        split.pick(None, ["a"])


@pytest.mark.parametrize("others", [{"b": 0.2, "c": 0.7}, {"b": 0.7, "c": 0.2}])
def test_weights_count_as_the_decimals_that_they_are_printed_as(others: dict[str, float]) -> None:
    """As binary fractions, 0.1 and 0.7 are not exactly 1 and 7, and have no small common unit."""
    decimal = Split({"a": 0.1, **others})
    whole = Split({"a": 1, **{value: round(10 * weight) for value, weight in others.items()}})
    assert [bid[1:] for bid in decimal._bidders] == [bid[1:] for bid in whole._bidders]
    assert (
        decimal.shares
        == whole.shares
        == {value: weight / 10 for value, weight in whole.weights.items()}
    )


def test_a_copy_is_independent_and_shares_the_values() -> None:
    pools = {name: (name, "pool") for name in "ab"}
    split = Split({pools["a"]: 1, pools["b"]: 3}, identity=name_of_list, salt="s")
    copies = [deepcopy(split), pickle.loads(pickle.dumps(split))]  # noqa: S301 - own pickle
    for copied in copies:
        assert [copied.pick(key) for key in FEW] == [split.pick(key) for key in FEW]
    assert copies[0].pick("k") is split.pick("k")
    copies[0].reweigh({pools["a"]: 1})
    assert len(split.weights) == 2
    assert repr(Split({"a": 1, "b": 3})) == "<Split: {'a': 1, 'b': 3}>"
