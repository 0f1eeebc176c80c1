"""Who stands out among backends by how their requests went: rules, as pure functions of counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from statistics import mean, median, pstdev
from typing import Protocol

from balancers._internal.checks import at_least, number
from balancers._internal.types import B
from balancers.errors import InvalidSetting

__all__ = ["FailurePercentage", "MedianGap", "OutlierRule", "SuccessRate"]

Counts = Mapping[B, tuple[int, int]]
"""Successes and requests of each backend in one interval."""
_NORMAL = 1.4826
"""Standard deviations a median absolute deviation, for a normal distribution."""


class OutlierRule(Protocol):
    """Who is an outlier, of those with requests enough."""

    def threshold(self, counts: Counts[B]) -> tuple[float, dict[B, float]]:
        """Give a success rate in percent, and the rates of those to compare; O(n).

        Who is below it is an outlier; ``-inf`` where too few can be compared.
        """
        ...


@dataclass(frozen=True)
class SuccessRate:
    """Below the mean by more than ``stdev_factor`` standard deviations (Envoy, with its defaults).

    It is blind where many are sick, as they move the mean and widen the deviation: 3 of 10 that
    fail every request are not seen, and of 4 backends nobody ever is.

    >>> rule = SuccessRate(minimum_hosts=5, request_volume=100)
    >>> counts = {"a": (50, 100)} | dict.fromkeys("bcde", (100, 100))
    >>> rule.threshold(counts)[0]
    52.0

    Raises InvalidSetting for a factor that is negative or not finite, counts below 1.
    """

    stdev_factor: float = 1.9
    minimum_hosts: int = 5
    request_volume: int = 100

    def __post_init__(self) -> None:
        at_least(1, minimum_hosts=self.minimum_hosts, request_volume=self.request_volume)
        if not 0 <= number("stdev_factor", self.stdev_factor) < inf:
            raise InvalidSetting(
                f"stdev_factor must be finite, 0 or more, not {self.stdev_factor!r}"
            )

    def threshold(self, counts: Counts[B]) -> tuple[float, dict[B, float]]:
        """Give mean - factor · deviation."""
        rates = _rates(counts, self.request_volume)
        if len(rates) < self.minimum_hosts:
            return -inf, rates
        return mean(rates.values()) - self.stdev_factor * pstdev(rates.values()), rates


@dataclass(frozen=True)
class FailurePercentage:
    """So many percent of the requests failed, or more, whatever the others do (Envoy).

    >>> rule = FailurePercentage(85)
    >>> counts = {"a": (15, 100), "b": (16, 100)} | dict.fromkeys("cde", (100, 100))
    >>> below, rates = rule.threshold(counts)
    >>> [backend for backend, rate in rates.items() if rate < below]
    ['a']

    Raises InvalidSetting for a percentage outside 0…100, counts below 1.
    """

    percentage: float = 85.0
    minimum_hosts: int = 5
    request_volume: int = 50

    def __post_init__(self) -> None:
        at_least(1, minimum_hosts=self.minimum_hosts, request_volume=self.request_volume)
        if not 0 <= number("percentage", self.percentage) <= 100:  # noqa: PLR2004 - percent
            raise InvalidSetting(f"percentage must be 0 to 100, not {self.percentage!r}")

    def threshold(self, counts: Counts[B]) -> tuple[float, dict[B, float]]:
        """Give the least rate that is no outlier."""
        rates = _rates(counts, self.request_volume)
        if len(rates) < self.minimum_hosts:
            return -inf, rates
        fine = [
            rate
            for backend, rate in rates.items()
            if 100 * (counts[backend][1] - counts[backend][0])
            < self.percentage * counts[backend][1]
        ]
        return min(fine, default=inf), rates


@dataclass(frozen=True)
class MedianGap:
    """Below the median by ``gap`` percent and by ``factor`` deviations from it.

    Half of the backends must be sick before the median moves, so 3 sick of 10 are seen, and 1 of 3.
    The deviation is the median of the distances from the median, scaled to a standard deviation:
    where rates differ widely anyway a gap alone is no sign.

    >>> counts = dict.fromkeys("abc", (0, 100)) | dict.fromkeys("defghij", (100, 100))
    >>> below, rates = MedianGap().threshold(counts)
    >>> [backend for backend, rate in rates.items() if rate < below]
    ['a', 'b', 'c']

    Raises InvalidSetting for a gap outside 0…100, a factor that is negative or not finite, counts
    below 1.
    """

    gap: float = 20.0
    factor: float = 3.0
    minimum_hosts: int = 3
    request_volume: int = 50

    def __post_init__(self) -> None:
        at_least(1, minimum_hosts=self.minimum_hosts, request_volume=self.request_volume)
        if not 0 <= number("gap", self.gap) <= 100:  # noqa: PLR2004 - percent
            raise InvalidSetting(f"gap must be 0 to 100, not {self.gap!r}")
        if not 0 <= number("factor", self.factor) < inf:
            raise InvalidSetting(f"factor must be finite, 0 or more, not {self.factor!r}")

    def threshold(self, counts: Counts[B]) -> tuple[float, dict[B, float]]:
        """Give median - max(gap, factor · deviation)."""
        rates = _rates(counts, self.request_volume)
        if len(rates) < self.minimum_hosts:
            return -inf, rates
        middle = median(rates.values())
        spread = _NORMAL * median(abs(rate - middle) for rate in rates.values())
        return middle - max(self.gap, self.factor * spread), rates


def _rates(counts: Counts[B], request_volume: int) -> dict[B, float]:
    return {b: 100 * good / total for b, (good, total) in counts.items() if total >= request_volume}
