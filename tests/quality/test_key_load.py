"""The load of each server under keyed traffic, computed from the shares of the keys."""

from collections import Counter
from collections.abc import Callable
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import HashRing, RoundRobin
from balancers.errors import (
    InvalidKey,
    InvalidSetting,
    InvalidWeight,
    NoBackendAvailable,
    UnknownBackend,
)
from balancers.hashing import HashedBalancer
from balancers.quality import key_load
from tests.kinds import HASHED, Kind, by_name

ZIPF = 1 / np.arange(1, 10_001)
NAMES = [f"s{number}" for number in range(100)]


def test_a_total_load_below_1_hides_servers_above_1() -> None:
    """Zipf's law with exponent 1 over 10 000 keys: the most frequent key alone is a load of 9.2."""
    found = key_load(ZIPF / ZIPF.sum(), HashRing(NAMES), load=0.9)
    assert found.peak == pytest.approx(10.5, abs=0.1)
    assert len(found.overloaded) == 21
    assert found.overloaded[0] == found.hottest
    assert found.peak == found.loads[found.hottest]
    assert sum(found.loads.values()) / 100 == pytest.approx(0.9)
    assert min(found.loads[server] for server in found.overloaded) >= 1
    assert sum(load >= 1 for load in found.loads.values()) == 21


@given(
    st.lists(st.tuples(st.integers(0, 50), st.sampled_from("abc")), min_size=1).filter(
        lambda pairs: any(share for share, _ in pairs)
    ),
    st.floats(0, 2),
)
def test_loads_are_sums_over_the_keys(pairs: list[tuple[int, str]], load: float) -> None:
    shares, owners = [share for share, _ in pairs], [owner for _, owner in pairs]
    weights = {"a": 1, "b": 2, "c": 1}
    found = key_load(shares, owners, load, weights=weights)
    sums = Counter[str]()
    for share, owner in pairs:
        sums[owner] += share
    for server, weight in weights.items():
        expected = load * sums[server] / sum(shares) / (weight / 4)
        assert found.loads[server] == pytest.approx(expected)
    mapped = key_load(dict(enumerate(shares)), dict(enumerate(owners)), load, weights=weights)
    assert mapped.loads == pytest.approx(found.loads)
    arrays = key_load(np.array(shares), np.array(owners), load, weights=weights)
    assert arrays.loads == pytest.approx(found.loads)


@pytest.mark.parametrize("kind", HASHED, ids=by_name)
def test_every_method_serves_the_keys_that_it_picks(kind: Kind) -> None:
    made: Any = kind.make({"a": 1, "b": 1, "c": 0, "d": 2})
    lb: HashedBalancer[str] = made
    shares = ZIPF[:500]
    found = key_load(shares, lb, load=0.5)
    owners = [lb.pick(key) for key in range(500)]
    same = key_load(shares, owners, load=0.5, weights=lb.weights)
    assert found.loads == pytest.approx(same.loads)
    assert found.loads["c"] == 0
    named = key_load({f"user:{key}": 1 for key in range(50)}, lb, load=0.5)
    picked = Counter(lb.pick(f"user:{key}") for key in range(50))
    assert named.shares == pytest.approx({name: picked[name] / 50 for name in "abcd"})


def test_edges() -> None:
    idle = key_load([1.0], ["a"], load=0.5, weights={"a": 1, "b": 1})
    assert (idle.loads, idle.overloaded) == ({"a": 1.0, "b": 0.0}, ("a",))
    closed = key_load([1, 1], ["a", "b"], load=0.5, weights={"a": 1, "b": 0})
    assert closed.loads == {"a": 0.25, "b": inf}
    assert closed.hottest == "b"
    no_share = key_load([1, 0], ["a", "b"], load=0.5, weights={"a": 1})
    assert no_share.loads == {"a": 0.5}
    assert key_load([3], HashRing(["a"]), load=0.25).loads == {"a": 0.25}
    assert key_load([3], HashRing(["a"]), load=0).overloaded == ()
    huge = key_load([1e300, 1e300, 0], ["a", "a", "b"], load=0.5)
    assert huge.loads == {"a": 1.0, "b": 0.0}
    tiny = key_load([5e-324, 5e-324], ["a", "b"], load=0.5)
    assert tiny.loads == {"a": 0.5, "b": 0.5}
    more = key_load({"x": 1}, {"x": "a", "y": "b"}, load=0.5)
    assert more.loads == {"a": 0.5}
    assert repr(idle) == "<KeyLoad: total 0.5, peak 1, 1 of 2 servers overloaded>"
    assert len(str(key_load(ZIPF, HashRing(NAMES), 0.9)).splitlines()) == 23
    assert idle == key_load([2.0], ["a"], load=0.5, weights={"a": 1, "b": 1})


def test_a_total_load_of_1_or_more_is_a_result() -> None:
    found = key_load([1, 1], ["a", "b"], load=1.5)
    assert found.overloaded == ("a", "b")


RING = HashRing(["a", "b"])
WRONG: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "lengths": (lambda: key_load([1, 2], ["a"], 0.5), InvalidSetting, "2 shares and 1 owners"),
    "no owner": (lambda: key_load({"x": 1}, {"y": "a"}, 0.5), InvalidSetting, "'x'"),
    "no owner of a number": (lambda: key_load([1, 1], {0: "a"}, 0.5), InvalidSetting, "key 1"),
    "no shares": (lambda: key_load([], RING, 0.5), InvalidSetting, r"\[\]"),
    "no share": (lambda: key_load([0, 0.0], RING, 0.5), InvalidSetting, r"\[0, 0.0\]"),
    "unknown": (
        lambda: key_load([1], ["z"], 0.5, weights={"a": 1}), UnknownBackend, "'z'",
    ),
    "weights": (lambda: key_load([1], ["a"], 0.5, weights={"a": 0}), InvalidWeight, "positive sum"),
    "closed": (lambda: key_load([1], HashRing({"a": 0}), 0.5), NoBackendAvailable, "quiesced"),
    "empty": (lambda: key_load([1], HashRing[str](), 0.5), NoBackendAvailable, "empty"),
    "key": (lambda: key_load({"\ud800": 1}, RING, 0.5), InvalidKey, "UTF-8"),
    "str": (lambda: key_load("12", RING, 0.5), TypeError, "'12'"),  # type: ignore[arg-type]  # invalid
    "owners": (lambda: key_load([1], "a", 0.5), TypeError, "'a'"),
    "no keys": (lambda: key_load([1], RoundRobin(["a"]), 0.5), TypeError, "keyed balancer"),
    "matrix": (lambda: key_load(np.ones((2, 2)), RING, 0.5), InvalidSetting, r"\(2, 2\)"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_invalid_arguments(wrong: str) -> None:
    call, error, message = WRONG[wrong]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("share", [-1, nan, inf, 2e300])
def test_invalid_shares_are_named(share: float) -> None:
    for shares in ([1, share], np.array([1, share]), {0: 1, 1: share}):
        with pytest.raises(InvalidSetting, match="share of key 1 must be"):
            key_load(shares, RING, 0.5)


@pytest.mark.parametrize("load", [-1, nan, inf, True, "1", None])
def test_invalid_loads(load: Any) -> None:
    with pytest.raises(InvalidSetting, match="load must be"):
        key_load([1], RING, load)
