"""Multi-probe: a reference implementation, a recorded map, the largest and smallest share."""

from random import Random
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from balancers.balancer import Balancer
from balancers.errors import DuplicateBackend, InvalidSetting, MissingKey, NoBackendAvailable
from balancers.hashing import MultiProbe
from balancers.hashing.hashed_balancer import BITS, GOLDEN, mix
from balancers.keys import KeyedBlake2, Murmur3, key_bytes
from tests.depth import runs
from tests.hashing.evenness import HASHES
from tests.hashing.plain_maps import PlainMultiProbe
from tests.hashing.set_laws import (
    WEIGHTS,
    SetMachine,
    assert_a_function_of_the_set,
    assert_each_change_moves_only_its_keys,
    owner_names,
)
from tests.hashing.siphash import siphash


class MultiProbeMachine(SetMachine):
    """Compares MultiProbe with an implementation that measures every distance."""

    def pair(self) -> tuple[MultiProbe[str], PlainMultiProbe]:
        return MultiProbe(probes=5), PlainMultiProbe(5)


TestMultiProbeMachine = MultiProbeMachine.TestCase
TestMultiProbeMachine.settings = settings(max_examples=runs(60), stateful_step_count=40)


@given(WEIGHTS, st.randoms(use_true_random=False))
def test_the_map_is_a_function_of_the_set(weights: dict[str, float], rng: Random) -> None:
    assert_a_function_of_the_set(MultiProbe, weights, rng)


@settings(max_examples=runs(15))
@given(st.lists(st.integers(0, 1 << 30), min_size=100, max_size=120))
def test_a_long_history_moves_only_the_keys_that_must_move(changes: list[int]) -> None:
    assert_each_change_moves_only_its_keys(MultiProbe(["a", "b", "c"]), changes)


def test_growing_and_shrinking_moves_only_the_keys_that_must_move() -> None:
    """The circle is rebuilt several times on the way; this moves no key."""
    lb, hashes = MultiProbe(["n0"]), HASHES[:300]
    maps: list[list[str]] = []
    for number in range(1, 600):
        maps.append(owner_names(lb, hashes).tolist())
        lb.put(f"n{number}")
    for number in range(599, 0, -1):
        if number % 2:
            lb.discard(f"n{number}")
        else:
            lb.put(f"n{number}", 0)
        assert owner_names(lb, hashes).tolist() == maps.pop()
        for digest in hashes[:3].tolist():
            assert lb.pick_hashed(digest) == owner_names(lb, np.array([digest], np.uint64))[0]


class Probed(MultiProbe[str]):
    """A balancer whose probes are given by the test."""

    def nearest(self, *probes: int) -> str:
        return self._nearest_owner(probes, ())

    def recorded(self, key: str) -> str:
        """Return the owner of a key by the two hash functions of the other program."""
        first, second = (siphash(seed)(key.encode()) for seed in (1, 2))
        return self.nearest(*((first + i * second) & BITS for i in range(21)))


def test_the_map_recorded_from_go_mpchash() -> None:
    """dgryski/go-mpchash, testdata/compat.out: 6000 buckets, their own names as keys."""
    shards = [f"shard-{number}" for number in range(1, 6001)]
    lb = Probed(shards, hasher=siphash(0))
    owners = [lb.recorded(key) for key in shards[:5]]
    assert owners == ["shard-1389", "shard-4257", "shard-4744", "shard-4613", "shard-3027"]


def shares(points: list[int], probes: int) -> NDArray[np.float64]:
    """Return the exact shares of the owners of these points for independent probes.

    A probe is further than d from the point after it with probability S(d) = Σ max(0, gap - d), so
    the owner of a point with a gap g before it has k ∫ S(d)ᵏ⁻¹ dd, from 0 to g.
    """
    ordered = np.sort(np.array(points, dtype=np.uint64))
    gaps = (ordered - np.roll(ordered, 1)) / 2**64
    rising = np.sort(gaps)
    longer = np.arange(len(gaps), 0, -1)
    steps = np.diff(np.append(0, rising))
    further = np.append(1, 1 - np.cumsum(longer * steps)).clip(0)
    grown = np.cumsum((further[:-1] ** probes - further[1:] ** probes) / longer)
    found = np.empty(len(gaps))
    found[np.argsort(points)] = grown[np.searchsorted(rising, gaps)]
    return found


@pytest.mark.parametrize(("members", "probes"), [(10, 21), (100, 21), (100, 2), (100, 1)])
def test_shares_follow_from_the_gaps(members: int, probes: int) -> None:
    """Within five standard deviations of the binomial, 100 000 keys."""
    lb = MultiProbe(range(members), probes=probes)
    counts = np.bincount(lb.pick_many(HASHES), minlength=members)
    share = shares([Murmur3()(key_bytes(backend)) for backend in range(members)], probes)
    assert share.sum() == pytest.approx(1)
    bound = 5 * np.sqrt(len(HASHES) * share * (1 - share)) + 1
    assert (abs(counts - len(HASHES) * share) <= bound).all()


@pytest.mark.parametrize(
    ("members", "probes", "mean_peak"),
    [(1000, 21, 1.0500), (1000, 2, 1.990), (1000, 5, 1.251), (10, 21, 1.047), (6000, 21, 1.0502)],
)
def test_the_largest_share_is_as_published(members: int, probes: int, mean_peak: float) -> None:
    """It is k / (k - 1) of the mean with many members: means of 50 hash functions."""
    names = [key_bytes(backend) for backend in range(members)]
    peaks = [
        members * shares([Murmur3(seed)(name) for name in names], probes).max()
        for seed in range(50)
    ]
    bound = 0.006 if members >= 1000 and probes == 21 else 0.03
    assert fmean(peaks) == pytest.approx(mean_peak, abs=bound)


def test_the_smallest_share_is_low() -> None:
    """1000 backends: the smallest share is about 2 % of the mean, the deviation 15.6 %."""
    names = [key_bytes(backend) for backend in range(1000)]
    found = [1000 * shares([Murmur3(seed)(name) for name in names], 21) for seed in range(50)]
    assert fmean(each.min() for each in found) == pytest.approx(0.02, abs=0.008)
    assert fmean(each.std() for each in found) == pytest.approx(0.156, abs=0.01)


def test_distances_are_measured_upwards_and_past_zero() -> None:
    lb = Probed(["a", "b"], hasher={b"a": 5, b"b": 1 << 63}.__getitem__)
    assert lb.nearest(BITS - 3, (1 << 63) - 100) == "a"
    assert lb.nearest(BITS - 99, (1 << 63) - 99) == "b"
    assert lb.nearest((1 << 63) - 100, 6) == "b"
    assert lb.nearest((1 << 63) - 100, 5) == lb.nearest(5, (1 << 63) - 100) == "a"
    assert lb.nearest(2, 1 << 63) == lb.nearest(1 << 63, 2) == "b"


def test_a_probe_on_a_point_has_distance_zero() -> None:
    """The one probe is the hash times a factor, so the test divides by this factor first."""
    points = {b"a": 10, b"b": 20, b"c": 20}
    lb = MultiProbe(["c", "b", "a"], probes=1, hasher=points.__getitem__)
    divisor = pow(mix(GOLDEN) | 1, -1, 1 << 64)
    hashes = [probe * divisor & BITS for probe in (0, 10, 11, 20, 21, BITS)]
    assert [lb.pick_hashed(digest) for digest in hashes] == [*"aabbaa"]
    assert owner_names(lb, np.array(hashes, np.uint64)).tolist() == [*"aabbaa"]
    assert lb.pick_hashed(hashes[2], ["b"]) == "c"
    lb.put("b", 0)
    assert lb.pick_hashed(hashes[2]) == "c"
    lb.put("b", 1)
    assert lb.pick_hashed(hashes[2]) == "b"
    only = MultiProbe(["a"], probes=1, hasher=lambda _: 9)
    assert only.pick_hashed(hashes[1]) == "a"
    assert owner_names(only, np.array(hashes, np.uint64)).tolist() == [*"aaaaaa"]


def test_of_equally_near_probes_the_earlier_counts() -> None:
    digest = 1 << 40 | 1
    first, second = (digest * (mix(i * GOLDEN) | 1) & BITS for i in (1, 2))
    for gap in (0, 7):
        points = {b"a": second + gap, b"b": first + gap}
        lb = MultiProbe(["a", "b"], probes=2, hasher=points.__getitem__)
        assert lb.pick_hashed(digest) == "b"
        assert owner_names(lb, np.array([digest], np.uint64)).tolist() == ["b"]
        assert lb.pick_hashed(digest, ["b"]) == "a"


def test_a_batch_picks_as_single_picks_do() -> None:
    for probes in (1, 2, 21):
        lb = MultiProbe([f"n{i}" for i in range(300)], probes=probes, hasher=KeyedBlake2(b"k"))
        hashes = np.append(HASHES[:1000], np.array([0, 1, BITS], dtype=np.uint64))
        for closed in range(0, 300, 50):
            lb.put(f"n{closed}", 0)
            picked = owner_names(lb, hashes).tolist()
            assert [lb.pick_hashed(h) for h in hashes.tolist()] == picked


def test_all_positive_weights_are_equivalent() -> None:
    weights = {"a": 1e-9, "b": 1, "c": 1e300}
    assert (owner_names(MultiProbe(weights)) == owner_names(MultiProbe([*"abc"]))).all()


@pytest.mark.parametrize("probes", [0, -1, 2.0, True, "21"])
def test_probes_must_be_a_positive_int(probes: Any) -> None:
    with pytest.raises(InvalidSetting, match="probes must be "):
        MultiProbe[str](probes=probes)


def test_bad_input_is_refused() -> None:
    lb: Balancer[str] = MultiProbe[str]()
    with pytest.raises(NoBackendAvailable, match="empty"):
        lb.pick("key")
    lb.put("a")
    assert lb.pick("") == lb.pick(b"") == "a"
    with pytest.raises(MissingKey):
        lb.pick()
    with pytest.raises(DuplicateBackend):
        MultiProbe[object](["a", b"a"])
    lb.put("a", 0)
    with pytest.raises(NoBackendAvailable, match="quiesced"):
        lb.pick("key")
    with pytest.raises(TypeError, match="float64"):
        MultiProbe(["a"]).pick_many(np.zeros(3))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - invalid


def test_a_hundred_thousand_members() -> None:
    lb = MultiProbe(range(100_000))
    hashes = HASHES[:50]
    assert [lb.pick_hashed(h) for h in hashes.tolist()] == lb.pick_many(hashes).tolist()
