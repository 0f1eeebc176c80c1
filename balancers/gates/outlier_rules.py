"""Outlier rules: which backends fail more than the others, as pure functions of counts."""

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
"""Per backend: the successes and the requests of one interval."""
_NORMAL = 1.4826
"""Standard deviations per median absolute deviation, for a normal distribution."""


class OutlierRule(Protocol):
    """Which backends are outliers, among those with enough requests."""

    def threshold(self, counts: Counts[B]) -> tuple[float, dict[B, float]]:
        """Return a success rate in percent, and the rates of the backends to compare; O(n).

        A backend below it is an outlier; it is ``-inf`` if there are too few to compare.
        """
        ...


@dataclass(frozen=True)
class SuccessRate:
    """Below the mean by more than ``stdev_factor`` standard deviations (Envoy, with its defaults).

    Compares the backends with ``request_volume`` or more requests in the interval, if there are
    ``minimum_hosts`` or more of them.  Many unhealthy backends hide each other: they lower the
    mean and widen the deviation.  3 of 10 that fail every request are not found, nor is any of 4.

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
        """Return mean - stdev_factor · deviation, and the rates."""
        rates = _rates(counts, self.request_volume)
        if len(rates) < self.minimum_hosts:
            return -inf, rates
        return mean(rates.values()) - self.stdev_factor * pstdev(rates.values()), rates


@dataclass(frozen=True)
class FailurePercentage:
    """At least ``percentage`` percent of the requests failed, whatever the other backends do.

    Evaluates the backends with ``request_volume`` or more requests in the interval, if there are
    ``minimum_hosts`` or more of them.  The rule and its defaults are Envoy's.

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
        """Return the lowest rate that is not an outlier's, and the rates."""
        rates = _rates(counts, self.request_volume)
        if len(rates) < self.minimum_hosts:
            return -inf, rates
        # Multiplied out: a quotient in floats may be on the wrong side of the threshold.
        normal = [
            rate
            for backend, rate in rates.items()
            if 100 * (counts[backend][1] - counts[backend][0])
            < self.percentage * counts[backend][1]
        ]
        return min(normal, default=inf), rates


@dataclass(frozen=True)
class MedianGap:
    """Below the median by more than ``gap`` percentage points and ``factor`` deviations.

    The median moves only if half of the backends are unhealthy; so 3 unhealthy ones of 10 are
    found, and 1 of 3.  The deviation is the median of the distances from the median, scaled to a
    standard deviation: where rates differ widely anyway, a gap alone is not enough.  Compares the
    backends with ``request_volume`` or more requests in the interval, if there are
    ``minimum_hosts`` or more of them.

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
        """Return median - max(gap, factor · deviation), and the rates."""
        rates = _rates(counts, self.request_volume)
        if len(rates) < self.minimum_hosts:
            return -inf, rates
        middle = median(rates.values())
        deviation = _NORMAL * median(abs(rate - middle) for rate in rates.values())
        return middle - max(self.gap, self.factor * deviation), rates


def _rates(counts: Counts[B], request_volume: int) -> dict[B, float]:
    return {b: 100 * good / total for b, (good, total) in counts.items() if total >= request_volume}
