"""The laws of arrivals, service and keys: their moments, and that chunks of any size are equal."""

import pickle
from collections.abc import Callable
from copy import deepcopy
from fractions import Fraction
from itertools import product
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.errors import InvalidKey, InvalidSetting
from balancers.simulation import (
    Bursty,
    Constant,
    Every,
    Exponential,
    HyperExponential,
    LogNormal,
    Pareto,
    Poisson,
    RecordedKeys,
    RecordedTimes,
    RecordedWork,
    UniformKeys,
    ZipfKeys,
)
from balancers.simulation._grid import LATEST, on_grid
from balancers.simulation._streams import balancer_random, stream

COUNT = 5000
RECORDED = [index * 0.37 for index in range(COUNT)]
LAWS: list[Any] = [
    Poisson(3.0),
    Every(0.1),
    Bursty(3.0, 7),
    RecordedTimes(RECORDED),
    Exponential(0.5),
    Constant(0.5),
    LogNormal(0.5, 2.0),
    Pareto(0.5, 1.1),
    HyperExponential(0.5, 10.0),
    RecordedWork(reversed(RECORDED)),
    UniformKeys(1000),
    ZipfKeys(1000, 1.1),
    RecordedKeys(range(COUNT)),
]
by_type = [type(law).__name__ for law in LAWS]


@pytest.mark.parametrize("law", LAWS, ids=by_type)
@given(st.lists(st.integers(1, 400), max_size=12))
def test_chunks_of_any_size_are_the_same_values(law: Any, sizes: list[int]) -> None:
    whole = law.draw(stream(3, "arrivals"), 0, COUNT)
    rng = stream(3, "arrivals")
    start = 0
    for size in sizes:
        chunk = law.draw(rng, start, size)
        assert chunk.dtype == whole.dtype
        assert chunk.tolist() == whole[start : start + size].tolist()
        start += size


@pytest.mark.parametrize("law", LAWS, ids=by_type)
def test_laws_are_values(law: Any) -> None:
    for same in (deepcopy(law), pickle.loads(pickle.dumps(law))):  # noqa: S301 - made here
        assert same == law
        assert hash(same) == hash(law)
        assert repr(same) == repr(law)
        drawn = [each.draw(stream(1, "keys"), 0, 50).tolist() for each in (law, same)]
        assert drawn[0] == drawn[1]
    with pytest.raises((AttributeError, TypeError)):
        law.mean = 3.0


DRAWS = 400_000


@pytest.mark.parametrize(
    ("law", "mean", "variation"),
    [
        (Poisson(4.0), 0.25, 1.0),
        (Every(0.25), 0.25, 0.0),
        (Bursty(4.0, 5), 0.25, 3.0),  # E[g²] = 5 · 2 · 0.25²·… : a gap of 5 × 0.25 in one of 5
        (Exponential(0.25), 0.25, 1.0),
        (Constant(0.25), 0.25, 0.0),
        (LogNormal(0.25, 0.5), 0.25, 0.5),
        (LogNormal(0.25, 0.0), 0.25, 0.0),
        (Pareto(0.25, 5.0), 0.25, (1 / 15) ** 0.5),
        (HyperExponential(0.25, 4.0), 0.25, 2.0),
        (HyperExponential(0.25, 1.0), 0.25, 1.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_mean_and_the_variation(law: Any, mean: float, variation: float) -> None:
    assert law.mean == mean
    drawn = law.draw(stream(5, "service"), 0, DRAWS)
    assert (drawn >= 0).all()
    error = variation / DRAWS**0.5
    assert drawn.mean() == pytest.approx(mean, rel=4 * error + 1e-12)
    assert drawn.std() / drawn.mean() == pytest.approx(variation, rel=0.03, abs=1e-9)


TAILS: list[tuple[Any, Callable[[Any], Any]]] = [
    (Poisson(2.0), lambda x: np.exp(-2 * x)),
    (Exponential(0.5), lambda x: np.exp(-2 * x)),
    (Pareto(1.5, 1.5), lambda x: np.minimum(1, (0.5 / x) ** 1.5)),
    (
        HyperExponential(1.0, 9.0),
        lambda x: sum(p * np.exp(-2 * p * x) for p in ((1 + 0.8**0.5) / 2, (1 - 0.8**0.5) / 2)),
    ),
]


@pytest.mark.parametrize(("law", "tail"), TAILS, ids=lambda value: type(value).__name__)
def test_the_distribution(law: Any, tail: Callable[[Any], Any]) -> None:
    """The greatest distance of the two distributions has a probability of 1e-6 to be 2.7/√n."""
    drawn = np.sort(law.draw(stream(6, "service"), 0, DRAWS))
    share = 1 - np.arange(DRAWS) / DRAWS
    assert np.abs(tail(drawn) - share).max() < 2.7 / DRAWS**0.5


def test_the_normal_numbers_have_the_right_quartiles() -> None:
    drawn = np.log(LogNormal(1.0, 1.0).draw(stream(7, "service"), 0, DRAWS))
    spread = np.log(2) ** 0.5
    quartiles = (np.quantile(drawn, [0.25, 0.5, 0.75]) + np.log(2) / 2) / spread
    assert quartiles == pytest.approx([-0.6745, 0, 0.6745], abs=0.01)


def test_groups_arrive_at_one_instant() -> None:
    gaps = Bursty(10.0, 4).draw(stream(1, "arrivals"), 0, 4000)
    assert ((gaps > 0) == (np.arange(4000) % 4 == 0)).all()
    single = Bursty(10.0, 1).draw(stream(1, "arrivals"), 0, 50)
    assert single == pytest.approx(Poisson(10.0).draw(stream(1, "arrivals"), 0, 50), rel=1e-15)


def test_recorded_times_do_not_drift() -> None:
    """Each time is rounded, and not each gap: 0.37 s is not a multiple of the tick."""
    gaps = RecordedTimes(RECORDED).draw(stream(1, "arrivals"), 0, COUNT)
    assert np.abs(np.cumsum(on_grid(gaps)) - RECORDED).max() <= 2**-31


def test_uniform_keys_are_uniform() -> None:
    keys = UniformKeys(10).draw(stream(1, "keys"), 0, DRAWS)
    counts = np.bincount(keys, minlength=10)
    assert keys.dtype == np.int64
    assert counts.size == 10
    assert ((counts / DRAWS - 0.1) ** 2).sum() * DRAWS / 0.1 < 40  # p < 1e-5 at 9 degrees


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.5, 1e6])
def test_zipf_keys_have_their_shares(exponent: float) -> None:
    law = ZipfKeys(20, exponent)
    shares = law.shares
    assert shares.sum() == pytest.approx(1)
    assert shares[:4] / shares[0] == pytest.approx([1.0, *(k**-exponent for k in (2, 3, 4))])
    keys = law.draw(stream(2, "keys"), 0, DRAWS)
    counts = np.bincount(keys, minlength=20)
    expected = shares * DRAWS
    seen = expected > 5
    assert ((counts - expected)[seen] ** 2 / expected[seen]).sum() < 55  # p < 2e-5 at 19 degrees


def test_one_key() -> None:
    for law in (UniformKeys(1), ZipfKeys(1, 1.0)):
        assert law.draw(stream(2, "keys"), 0, 5).tolist() == [0] * 5
        assert law.shares.tolist() == [1.0]


def test_recorded_keys_stay_as_they_are() -> None:
    law = RecordedKeys(["ünï", 7, b"\x00", -1, 2**70])
    assert law.draw(stream(1, "keys"), 1, 4).tolist() == [7, b"\x00", -1, 2**70]
    assert (law.size, law.shares, len(law)) == (5, None, 5)
    assert RecordedKeys(np.array([3, 3])).keys == (3, 3)
    assert type(RecordedKeys(np.array([3])).keys[0]) is int


def test_streams_are_independent_of_each_other() -> None:
    """Seeds that differ in higher bits, and names, give different streams."""
    names = ["arrivals", "service", "keys", "network", "faults", "retries", "front"]
    seeds = [0, 1, 2, 2**32, 2**32 + 1, 2**33 + 1, 2**64, 2**64 + 1, 2**127]
    first = {stream(seed, name).random() for seed, name in product(seeds, names)}
    balancers = {balancer_random(seed).random() for seed in seeds}
    assert len(first | balancers) == (len(names) + 1) * len(seeds)


@pytest.mark.parametrize("seed", [-1, 1.0, True, None, "1", [1]])
def test_a_seed_is_an_int(seed: Any) -> None:
    with pytest.raises(InvalidSetting, match="seed"):
        stream(seed, "arrivals")


BAD_SECONDS = [0, -1.0, nan, inf, -inf, "1", None, True, 1e-12, 2 * LATEST, 10**400, 1 + 1j, [1.0]]


BAD_RATES = [0, -1.0, nan, inf, -inf, "1", None, True, 1e-7, 2.0**25, 10**400, 1 + 1j, [1.0]]
OF_SECONDS: list[Callable[[Any], object]] = [
    Every,
    Exponential,
    Constant,
    lambda x: LogNormal(x, 1.0),
    lambda x: Pareto(x, 2.0),
    lambda x: HyperExponential(x, 2.0),
]
OF_RATES: list[Callable[[Any], object]] = [Poisson, lambda x: Bursty(x, 2)]


@pytest.mark.parametrize(
    ("make", "value"),
    [*product(OF_SECONDS, BAD_SECONDS), *product(OF_RATES, BAD_RATES)],
    ids=lambda value: "" if callable(value) else repr(value)[:20],
)
def test_a_mean_or_rate_out_of_range(make: Callable[[Any], object], value: Any) -> None:
    with pytest.raises(InvalidSetting, match="must be"):
        make(value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Bursty(1.0, 0),
        lambda: Bursty(1.0, 2.0),  # type: ignore[arg-type]  # invalid
        lambda: Bursty(1.0, 10**5000),
        lambda: LogNormal(1.0, -0.1),
        lambda: LogNormal(1.0, nan),
        lambda: LogNormal(1.0, inf),
        lambda: Pareto(1.0, 1.0),
        lambda: Pareto(1.0, 0.5),
        lambda: Pareto(1.0, inf),
        lambda: HyperExponential(1.0, 0.99),
        lambda: HyperExponential(1.0, inf),
        lambda: UniformKeys(0),
        lambda: UniformKeys(1.0),  # type: ignore[arg-type]  # invalid
        lambda: UniformKeys(10**5000),
        lambda: ZipfKeys(0, 1.0),
        lambda: ZipfKeys(5, -1.0),
        lambda: ZipfKeys(5, nan),
        lambda: ZipfKeys(5, inf),
        lambda: RecordedKeys([]),
        lambda: RecordedTimes([]),
        lambda: RecordedWork([]),
    ],
)
def test_a_setting_out_of_range(make: Callable[[], object]) -> None:
    with pytest.raises(InvalidSetting, match="must"):
        make()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0, -1.0], r"times\[1\] must be 0 to 4194304 seconds, not -1.0"),
        ([0.0, nan], r"times\[1\] .*, not nan"),
        ([inf], r"times\[0\] .*, not inf"),
        ([2.0, 1.0], r"times\[1\] is 1.0 after 2.0"),
        ([0.0, "x"], r"times\[1\] must be a number, not 'x'"),
        ([True], r"times\[0\] must be a number, not True"),
        ([0.0, 1e9], r"times\[1\]"),
        ([10**5000], r"times\[0\]"),
        (np.array([0.0, nan]), r"times\[1\]"),
        (np.array([[0.0, 1.0]]), r"times\[0\]"),
    ],
)
def test_bad_recorded_times(values: Any, message: str) -> None:
    with pytest.raises(InvalidSetting, match=message):
        RecordedTimes(values)


@pytest.mark.parametrize("law", [RecordedTimes, RecordedWork, RecordedKeys])
@pytest.mark.parametrize("values", ["12", b"12", 5, None])
def test_recorded_values_are_iterable(law: Any, values: Any) -> None:
    with pytest.raises(TypeError, match="must be an iterable"):
        law(values)


@pytest.mark.parametrize("key", [1.5, None, True, ("a",), [1], bytearray(b"x")])
def test_bad_recorded_keys(key: Any) -> None:
    with pytest.raises(InvalidKey, match=r"keys\[1\]"):
        RecordedKeys(["a", key])


def test_too_few_recorded_values() -> None:
    for law in (RecordedTimes([1.0, 2.0]), RecordedWork([1.0, 2.0]), RecordedKeys([1, 2])):
        assert len(law.draw(stream(1, "keys"), 1, 1)) == 1
        with pytest.raises(InvalidSetting, match="has 2 values, but 3 requests need one each"):
            law.draw(stream(1, "keys"), 1, 2)


def test_settings_of_other_number_types_become_floats() -> None:
    assert Poisson(Fraction(1, 2)) == Poisson(0.5)  # type: ignore[arg-type]  # a number all the same
    assert type(Exponential(2).mean) is float
    assert RecordedTimes([0, Fraction(1, 2)]).times == (0.0, 0.5)  # type: ignore[list-item]  # too
    assert RecordedTimes(index for index in range(3)).times == (0.0, 1.0, 2.0)


@pytest.mark.parametrize(
    "law",
    [LogNormal(LATEST, 1e6), Pareto(LATEST, 1.0001), HyperExponential(LATEST, 1e6), Pareto(1, 1e6)],
)
def test_extreme_laws_draw_finite_work(law: Any) -> None:
    assert np.isfinite(law.draw(stream(1, "service"), 0, 100_000)).all()
