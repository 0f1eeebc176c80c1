"""Rendezvous: a reference implementation, shares, the keys that move, and similar names."""

from collections import Counter
from random import Random
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers import Rendezvous
from balancers.balancer import Balancer
from balancers.errors import (
    DuplicateBackend,
    InvalidKey,
    InvalidWeight,
    MissingKey,
    NoBackendAvailable,
)
from balancers.keys import KeyedBlake2, Murmur3
from tests.depth import runs
from tests.hashing.evenness import HASHES, is_even
from tests.hashing.plain_maps import PlainRendezvous
from tests.hashing.set_laws import (
    WEIGHTS,
    SetMachine,
    assert_a_function_of_the_set,
    assert_each_change_moves_only_its_keys,
    owner_names,
)


class RendezvousMachine(SetMachine):
    """Compares Rendezvous with sorting by -ln u / w."""

    def pair(self) -> tuple[Rendezvous[str], PlainRendezvous]:
        return Rendezvous(), PlainRendezvous()


TestRendezvousMachine = RendezvousMachine.TestCase
TestRendezvousMachine.settings = settings(max_examples=runs(60), stateful_step_count=40)


@given(WEIGHTS, st.randoms(use_true_random=False))
def test_the_map_is_a_function_of_the_set(weights: dict[str, float], rng: Random) -> None:
    assert_a_function_of_the_set(Rendezvous, weights, rng)


@settings(max_examples=runs(15))
@given(st.lists(st.integers(0, 1 << 30), min_size=100, max_size=120))
def test_a_long_history_moves_only_the_keys_that_must_move(changes: list[int]) -> None:
    assert_each_change_moves_only_its_keys(
        Rendezvous(["a", "b", "c"]), changes, (0.001, 1, 1, 2, 7.5, 1e200, 1e-300)
    )


@pytest.mark.parametrize("members", [10, 100, 1000])
def test_shares_are_even(members: int) -> None:
    """Chi-square at p = 1e-6, of the first and of the second choice."""
    lb = Rendezvous(range(members))
    firsts = lb.pick_many(HASHES)
    assert is_even(np.bincount(firsts, minlength=members))
    seconds = Counter(lb.pick_hashed(digest, {first}) for digest, first in first_few(firsts))
    assert sum((n - 2000 / 10) ** 2 / 200 for n in tens(seconds, members)) <= 44.811


def first_few(firsts: np.typing.NDArray[np.intp]) -> list[tuple[int, int]]:
    return list(zip(HASHES[:2000].tolist(), firsts[:2000].tolist(), strict=True))


def tens(counts: Counter[int], members: int) -> list[int]:
    """Return the counts of each tenth of the members."""
    return [sum(counts[b] for b in range(members) if b * 10 // members == t) for t in range(10)]


@pytest.mark.parametrize(
    "weights",
    [
        {"a": 1, "b": 2, "c": 3, "d": 0.1},
        {f"n{i}": 1 + i % 6 for i in range(200)},
        {"a": 1e300, "b": 5e299, "c": 1e-300},
        {"a": 1e-300, "b": 5e-324, "c": 2e-300, "closed": 0},
    ],
)
def test_shares_are_proportional_to_any_weights(weights: dict[str, float]) -> None:
    """Within six standard deviations of the binomial."""
    counts: Counter[str] = Counter(owner_names(Rendezvous(weights), HASHES).tolist())
    heaviest = max(weights.values())
    total = sum(weight / heaviest for weight in weights.values())
    for backend, weight in weights.items():
        share = weight / heaviest / total
        deviation = (len(HASHES) * share * (1 - share)) ** 0.5
        assert abs(counts[backend] - len(HASHES) * share) <= 6 * deviation + 1


def test_over_provision_is_as_published() -> None:
    """NSDI'16, section 5.3, reports single draws, 49.5 % and 12.3 %, of a maximum that varies."""
    lb = [Rendezvous(range(1000), hasher=Murmur3(seed)) for seed in range(20)]
    peaks: list[float] = []
    for seed, each in enumerate(lb):
        hashes = np.random.default_rng(seed).integers(0, 1 << 64, 65537, dtype=np.uint64)
        peaks.append(np.bincount(each.pick_many(hashes)).max() / 65.537)
    assert fmean(peaks) == pytest.approx(1.42, abs=0.03)
    assert all(1.29 <= peak <= 1.70 for peak in peaks)
    many = np.random.default_rng(5).integers(0, 1 << 64, 655373, dtype=np.uint64)
    assert np.bincount(lb[0].pick_many(many)).max() / 655.373 == pytest.approx(1.13, abs=0.06)


@pytest.mark.parametrize(
    "names",
    [
        [f"srv{i}" for i in range(1, 6)],
        [f"srv{i}" for i in range(1, 10)],
        [f"10.0.0.1:{port}" for port in range(8080, 8085)],
        [f"10.0.0.{i}:80" for i in range(1, 6)],
        [bytes([i]) for i in range(8)],
        [*range(16)],
    ],
)
@pytest.mark.parametrize("hasher", [Murmur3(), KeyedBlake2(b"secret")])
def test_similar_names_do_not_correlate(names: list[str], hasher: Murmur3) -> None:
    """10 000 addresses as keys; in another program one of five such servers had half of them.

    Shares are within five standard deviations of the binomial, and so are the second choices of
    the keys of each backend.
    """
    lb = Rendezvous(names, hasher=hasher)
    clients = [f"10.{i % 7}.{i // 250}.{i % 250}" for i in range(10_000)]
    orders = [lb.replicas(client, 2) for client in clients]
    firsts = Counter(first for first, _ in orders)
    assert_binomial(firsts, len(names))
    for name in names:
        assert_binomial(Counter(b for a, b in orders if a == name), len(names) - 1)


def assert_binomial(counts: Counter[str], choices: int) -> None:
    total, share = counts.total(), 1 / choices
    bound = 5 * (total * share * (1 - share)) ** 0.5
    assert len(counts) == choices
    assert all(abs(count - total * share) <= bound for count in counts.values())


def test_consecutive_hashes_spread_evenly() -> None:
    lb = Rendezvous(range(10))
    counts = np.bincount(lb.pick_many(np.arange(100_000, dtype=np.uint64)), minlength=10)
    assert (abs(counts - 10_000) <= 500).all()
    assert np.bincount(lb.pick_many(HASHES << np.uint64(40)), minlength=10).min() > 9000


def test_a_batch_picks_as_single_picks_do() -> None:
    for weights in ({f"n{i}": 1 for i in range(300)}, {f"n{i}": i % 7 for i in range(300)}):
        lb = Rendezvous(weights)
        hashes = np.append(HASHES[:2000], np.array([0, 1, (1 << 64) - 1], dtype=np.uint64))
        assert [lb.pick_hashed(h) for h in hashes.tolist()] == owner_names(lb, hashes).tolist()


def test_for_names_with_equal_hashes_the_lesser_name_counts() -> None:
    for members in ("ab", "ba"):
        lb = Rendezvous([*members], hasher=len)
        assert lb.replicas(b"key", 2) == ["a", "b"]
        lb.put("a", 0)
        assert lb.pick(b"key") == "b"


def test_bad_input_is_refused() -> None:
    lb: Balancer[str] = Rendezvous[str]()
    with pytest.raises(NoBackendAvailable, match="empty"):
        lb.pick("key")
    lb.put("a")
    assert lb.pick("") == lb.pick(b"") == "a"
    with pytest.raises(MissingKey):
        lb.pick()
    with pytest.raises(DuplicateBackend):
        Rendezvous[object](["a", b"a"])
    with pytest.raises(InvalidWeight):
        lb.put("b", float("nan"))
    lb.put("a", 0)
    with pytest.raises(NoBackendAvailable, match="quiesced"):
        lb.pick("key")
    assert dict(lb.weights) == {"a": 0}


def test_bad_hashes_are_refused() -> None:
    lb = Rendezvous(["a"])
    with pytest.raises(TypeError, match="int64"):
        lb.pick_many(np.arange(3))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - invalid
    for shape in ((), (1, 1)):
        with pytest.raises(InvalidKey, match="dimension"):
            lb.pick_many(np.zeros(shape, dtype=np.uint64))
    for digest in (-1, 1 << 64, True):
        with pytest.raises(InvalidKey):
            lb.pick_hashed(digest)
    assert lb.pick_many(np.zeros(0, dtype=np.uint64)).shape == (0,)


def test_a_hundred_thousand_members() -> None:
    lb = Rendezvous(range(100_000))
    hashes = HASHES[:50]
    picked = lb.pick_many(hashes)
    assert [lb.pick_hashed(digest) for digest in hashes.tolist()] == picked.tolist()
    assert len(set(picked.tolist())) > 45
