"""Measures how evenly requests, keys or sessions are distributed over the backends."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, sqrt
from typing import Any, Generic, overload

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import shown
from balancers._internal.types import B
from balancers.quality._arguments import Numbers, counts_and_weights
from balancers.quality._gamma import chi_squared_tail
from balancers.quality._table import table

__all__ = ["Distribution", "distribution"]

_EXPECTED = 5
"""Chi-square is inexact if an expected count is smaller."""
_SURE = 0.001
"""A p-value that is this near to 0 or to 1 is very unusual for independent requests."""


@dataclass(frozen=True, repr=False)
class Distribution(Generic[B]):
    """Describes how evenly counts are distributed over backends, by weight.

    With x the count and w the weight of a backend, y = x / w is its count per unit of weight.
    ``peak_to_mean``, ``variation``, ``jain``, ``gini`` and ``entropy`` measure how different the
    values y of the backends with a positive weight are.  If all weights are equal, they measure the
    counts themselves.  ``print`` shows a table.

    >>> print(distribution({"a": 60, "b": 30, "c": 10}, {"a": 1, "b": 1, "c": 2}))
    backend  count  share  fair  ratio
    a           60    0.6  0.25    2.4
    b           30    0.3  0.25    1.2
    c           10    0.1   0.5    0.2
    """

    counts: Mapping[B, float]
    """The count of each backend."""
    shares: Mapping[B, float]
    """The count of each backend, divided by the sum of all counts."""
    fair: Mapping[B, float]
    """The share that each backend would have by weight: its weight, divided by the sum."""
    ratios: Mapping[B, float]
    """The share divided by the fair share.  1 is fair.  For a backend with weight 0, the ratio is
    ``inf``, or 0 if its count is 0."""
    peak_to_mean: float
    """The largest y divided by the mean of all y.  1 is even, and n is all on one of n backends."""
    variation: float
    """The coefficient of variation: the standard deviation of y divided by the mean.  0 is even."""
    jain: float
    """The index of Jain, Chiu and Hawe: (Σy)² / (n·Σy²) = 1 / (1 + variation²).  1 is even, and
    1/n is all on one backend."""
    gini: float
    """The coefficient of Gini: Σ(2i - n - 1)·yᵢ / (n·Σy) for ascending y.  0 is even, and
    1 - 1/n is all on one backend."""
    entropy: float
    """The entropy of the values y / Σy, divided by that of n equal values.  1 is even, and 0 is
    all on one backend.  It is 1 if there is only one backend."""
    chi_squared: float
    """Σ(x - e)² / e, where e is the count that a backend would have by weight.  It is ``inf`` if a
    backend with weight 0 has a count."""
    p_value: float
    """The probability that independent random picks by weight would give this chi-square or a
    larger one."""
    warning: str
    """Why the p-value may mislead.  It is empty if there is no reason."""

    def __repr__(self) -> str:
        return (
            f"<Distribution: {len(self.counts)} backends, peak to mean {self.peak_to_mean:.3g}, "
            f"variation {self.variation:.3g}>"
        )

    def __str__(self) -> str:
        columns = [list(each.values()) for each in (self.counts, self.shares, self.fair)]
        rows = zip(self.counts, *columns, self.ratios.values(), strict=True)
        return table(("backend", "count", "share", "fair", "ratio"), list(rows))


@overload
def distribution(
    counts: Mapping[B, float], weights: Mapping[B, float] | None = None
) -> Distribution[B]: ...
@overload
def distribution(counts: Numbers, weights: Numbers | None = None) -> Distribution[int]: ...
def distribution(
    counts: Mapping[Any, float] | Numbers, weights: Mapping[Any, float] | Numbers | None = None
) -> Distribution[Any]:
    """Return how evenly counts are distributed over backends, by weight; O(n log n).

    ``counts`` is a mapping of backends to numbers of requests, keys or sessions.  ``weights`` is a
    mapping of backends to weights; a backend that is not in ``counts`` has the count 0.  Without
    ``weights``, all backends of ``counts`` have weight 1.  Both may also be sequences or arrays of
    numbers.  Then the backends are 0, 1, 2, and so on.

    >>> d = distribution([5, 1, 1])
    >>> round(d.jain, 6), round(d.peak_to_mean, 6), round(d.variation, 6), round(d.gini, 6)
    (0.604938, 2.142857, 0.808122, 0.380952)
    >>> distribution({"a": 100, "b": 201}, {"a": 1, "b": 2}).ratios["b"].__round__(3)
    1.002

    Chi-square asks whether independent random picks could give these counts.  It does not answer
    other questions, and ``warning`` says so where the counts show it:

    >>> print(distribution([3, 4, 2]).warning)
    an expected count is 3, below 5, so the p-value is inexact
    >>> print(distribution([500, 500, 500]).warning)
    the counts are more even than independent picks usually are, as those of a rotation

    The shares of a hash ring differ by design.  So chi-square is large for any ring and grows with
    the number of keys; use ``variation`` for a ring.  If all counts are 0, nothing is measured:
    the result is that of even counts, with a warning.

    Raises UnknownBackend for a backend that is in ``counts`` but not in ``weights``.  Raises
    InvalidWeight for an invalid weight, and if the sum of the weights is 0.  Raises InvalidSetting
    for a count that is negative, NaN, infinite or above 1e300, if there are no backends, and if
    there are more or fewer counts than weights.
    Sources: R. Jain, D. Chiu, W. Hawe, "A quantitative measure of fairness and discrimination for
    resource allocation in shared computer systems", DEC TR-301, 1984; C. Gini, 1912; K. Pearson,
    1900.
    """
    valid, weight_of = counts_and_weights(counts, weights)
    x = np.array([float(count) for count in valid.values()], dtype=np.float64)
    w = np.array([float(weight) for weight in weight_of.values()], dtype=np.float64)
    total = float(x.sum())
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        shares = x / total if total else x
        fair = w / w.sum()
        ratios = np.where(shares > 0, shares / fair, 0.0)
        chi_squared = _chi_squared(x, fair * total)
    y = _per_weight(x, w)
    n, mean = len(y), float(y.mean())
    variation = sqrt(float(np.square(y / mean - 1).mean())) if mean else 0.0
    p_value = chi_squared_tail(chi_squared, n - 1)
    return Distribution(
        counts=valid,
        shares=_named(valid, shares),
        fair=_named(valid, fair),
        ratios=_named(valid, ratios),
        peak_to_mean=min(float(n), max(1.0, float(y.max()) / mean)) if mean else 1.0,
        variation=variation,
        jain=1 / (1 + variation * variation),
        gini=_gini(y),
        entropy=_entropy(y),
        chi_squared=chi_squared,
        p_value=p_value,
        warning=_warning(valid, x, w, fair * total, p_value),
    )


def _named(backends: Mapping[B, float], values: NDArray[np.float64]) -> dict[B, float]:
    listed: list[float] = values.tolist()
    return dict(zip(backends, listed, strict=True))


def _per_weight(x: NDArray[np.float64], w: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x / w where w is positive, multiplied by a number so that the largest is about 1."""
    x, w = x[w > 0], w[w > 0]
    x_digits, x_power = np.frexp(x)
    w_digits, w_power = np.frexp(w)
    power = x_power - w_power
    largest = power[x > 0].max(initial=np.iinfo(np.int32).min) if x.any() else 0
    with np.errstate(under="ignore"):
        scaled: NDArray[np.float64] = np.ldexp(x_digits / w_digits, power - largest)
    return scaled


def _chi_squared(x: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    off = x - expected
    terms = off / expected * off
    return float(np.where(expected > 0, terms, np.where(x > 0, inf, 0.0)).sum())


def _gini(y: NDArray[np.float64]) -> float:
    n, total = len(y), float(y.sum())
    ranks = 2 * np.arange(1, n + 1) - n - 1
    return max(0.0, float((ranks * np.sort(y)).sum()) / (n * total)) if total else 0.0


def _entropy(y: NDArray[np.float64]) -> float:
    if len(y) == 1 or not y.any():
        return 1.0
    p = y[y > 0] / y.sum()
    p = p[p > 0]
    return min(1.0, max(0.0, float(-(p * np.log(p)).sum()) / float(np.log(len(y)))))


def _warning(
    counts: Mapping[Any, float],
    x: NDArray[np.float64],
    w: NDArray[np.float64],
    expected: NDArray[np.float64],
    p_value: float,
) -> str:
    """Return why the p-value may mislead."""
    if not x.any():
        return "all counts are 0, so nothing is measured"
    found: list[str] = []
    closed = [backend for backend, left in zip(counts, (w == 0) & (x > 0), strict=True) if left]
    if closed:
        found.append(f"{shown(closed[0])} has weight 0 and a count, which no fair pick gives")
    if (w > 0).sum() == 1:
        found.append("with one backend, there is nothing to compare")
    least = float(expected[w > 0].min())
    if least < _EXPECTED:
        found.append(
            f"an expected count is {least:.3g}, below {_EXPECTED}, so the p-value is inexact"
        )
    if (x % 1).any():
        found.append("some counts are not whole, and chi-square is for numbers of requests")
    if p_value > 1 - _SURE and len(x) > 1:
        found.append(
            "the counts are more even than independent picks usually are, as those of a rotation"
        )
    if p_value < _SURE and not closed:
        found.append(
            "the counts are less even than independent picks would be; the keys of a hash ring "
            "always are, so for a ring compare the variation"
        )
    return "; ".join(found)
