"""Published results, reproduced within the stated tolerances."""

from collections import Counter
from fractions import Fraction
from math import sqrt
from random import Random
from statistics import mean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import HashRing, PowerOfTwoChoices, RandomChoice, WeightedRoundRobin


def sequence(weights: list[float], picks: int | None = None) -> str:
    names = "abcdefgh"[: len(weights)]
    lb = WeightedRoundRobin(dict(zip(names, weights, strict=True)))
    return "".join(lb.pick() for _ in range(picks or int(sum(weights))))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([5, 1, 1], "aabacaa"),  # nginx, in the commit that introduced smooth weighted round robin
        ([4, 3, 2], "abcabacba"),
        ([3, 2, 1], "abacba"),
        ([4, 2, 1], "abacaba"),
        ([5, 3, 2], "abcaabacba"),
        ([10, 1, 1, 1], "aaabaacaadaaa"),
        ([7, 5, 3, 2, 1], "abcadbaeabcabdacba"),
    ],
)
def test_smooth_weighted_round_robin_sequences(weights: list[float], expected: str) -> None:
    assert sequence(weights) == expected
    assert sequence(weights, 3 * len(expected)) == 3 * expected
    assert sequence([weight / 10 for weight in weights], len(expected)) == expected


WEIGHTS = st.lists(st.integers(1, 30), min_size=1, max_size=8) | st.lists(
    st.integers(1, 9), min_size=25, max_size=80
)


@given(WEIGHTS)
def test_smooth_weighted_round_robin_stays_close_to_its_share(weights: list[int]) -> None:
    """At most 1 - 1/n picks ahead (proved), less than 2 behind (observed up to n = 80)."""
    lb = WeightedRoundRobin(dict(enumerate(weights)))
    total, counts = sum(weights), Counter[int]()
    for turn in range(1, total + 1):
        chosen = lb.pick()
        counts[chosen] += 1
        ahead = counts[chosen] - Fraction(turn * weights[chosen], total)
        assert ahead <= 1 - Fraction(1, len(weights))
    lag = Counter[int]()
    for turn, chosen in enumerate((lb.pick() for _ in range(total)), start=1):
        lag[chosen] += 1
        behind = max(Fraction(turn * w, total) - lag[b] for b, w in enumerate(weights))
        assert behind < 2
    assert counts == lag == Counter(dict(enumerate(weights)))  # exact counts: the period repeats


def test_ring_shares_spread_as_the_formula_says() -> None:
    """CV = √((n-1)/(vn+1)) = 0.0995 for n = v = 100, ±3 %; 99 % in 0.762 to 1.276, each ±0.02."""
    n = v = 100
    spreads: list[float] = []
    relative: list[float] = []
    for seed in range(400):  # 40 000 shares
        shares = list(HashRing([f"{seed}/{i}" for i in range(n)], points=v).shares().values())
        assert sum(shares) == pytest.approx(1)
        spreads.append(pstdev(shares) / mean(shares))
        relative += [share * n for share in shares]
    assert mean(spreads) == pytest.approx(sqrt((n - 1) / (v * n + 1)), rel=0.03)
    relative.sort()
    assert relative[len(relative) // 200] == pytest.approx(0.762, abs=0.02)
    assert relative[-len(relative) // 200] == pytest.approx(1.276, abs=0.02)


def test_keys_are_distributed_by_the_shares_of_the_ring() -> None:
    """100 000 keys over 10 backends: each count within 4.5 standard deviations of its share."""
    ring = HashRing([f"10.0.0.{i}:80" for i in range(10)], points=100)
    keys = 100_000
    counts = Counter(ring.pick(b"key:%d" % i) for i in range(keys))
    for backend, share in ring.shares().items():
        tolerance = 4.5 * sqrt(keys * share * (1 - share))
        assert abs(counts[backend] - keys * share) < tolerance


def fullest_bin(choices: int, seed: int, n: int = 4096) -> int:
    lb = PowerOfTwoChoices(range(n), rng=Random(seed), choices=choices)
    counts = Counter[int]()
    for _ in range(n):
        chosen = lb.pick()
        lb.started(chosen)
        counts[chosen] += 1
    return max(counts.values())


def test_balls_into_bins_with_two_choices() -> None:
    """4096 balls, 4096 bins, d = 2, 50 seeds: each maximum is 3 or 4, and 3 in 9 of 10 runs."""
    maxima = [fullest_bin(2, seed) for seed in range(50)]
    assert set(maxima) <= {3, 4}
    assert maxima.count(3) >= 45


def test_balls_into_bins_with_one_choice() -> None:
    """4096 balls, 4096 bins, d = 1, 50 seeds: each maximum is 5 to 9, their mean 6.2 ± 0.3."""
    maxima: list[int] = []
    for seed in range(50):
        lb = RandomChoice(range(4096), rng=Random(seed))
        maxima.append(max(Counter(lb.pick() for _ in range(4096)).values()))
    assert 5 <= min(maxima) <= max(maxima) <= 9
    assert mean(maxima) == pytest.approx(6.2, abs=0.3)
