"""Defines outlier rules.  A rule decides which backends fail more often than the others.

A rule is a pure function of the numbers of successes and requests.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from statistics import mean, median, pstdev
from typing import Protocol

from balancers._internal.checks import at_least, number, shown
from balancers._internal.types import B
from balancers.errors import InvalidSetting

__all__ = ["FailurePercentage", "MedianGap", "OutlierRule", "SuccessRate", "named_rules"]

Counts = Mapping[B, tuple[int, int]]
"""Maps each backend to two numbers of one interval: its successes and its requests."""
_NORMAL = 1.4826
"""A normal distribution's standard deviation, divided by its median absolute deviation."""


class OutlierRule(Protocol):
    """Decides which backends are outliers.  It compares only backends with enough requests."""

    def threshold(self, counts: Counts[B]) -> tuple[float, dict[B, float]]:
        """Return a threshold, and the success rate of each backend that is compared; O(n).

        All rates are in percent.  A backend whose rate is below the threshold is an outlier.  The
        threshold is ``-inf`` if there are too few backends to compare.
        """
        ...


@dataclass(frozen=True)
class SuccessRate(OutlierRule):
    """Finds backends whose success rate is far below the mean of all success rates.

    An outlier is more than ``stdev_factor`` standard deviations below the mean.  The rule compares
    only backends with at least ``request_volume`` requests in the interval.  If there are fewer
    than ``minimum_hosts`` such backends, it finds no outliers.  The rule and its defaults are from
    Envoy.

    If many backends are unhealthy, the rule finds none of them, because they lower the mean and
    increase the standard deviation.  If 3 of 10 backends fail every request, they are not found.
    Among 4 backends, even a single one that fails every request is not found.

    >>> rule = SuccessRate(minimum_hosts=5, request_volume=100)
    >>> counts = {"a": (50, 100)} | dict.fromkeys("bcde", (100, 100))
    >>> rule.threshold(counts)[0]
    52.0

    Raises InvalidSetting for a ``stdev_factor`` that is negative or not finite, or a count below 1.
    """

    stdev_factor: float = 1.9
    minimum_hosts: int = 5
    request_volume: int = 100

    def __post_init__(self) -> None:
        at_least(1, minimum_hosts=self.minimum_hosts, request_volume=self.request_volume)
        if not 0 <= number("stdev_factor", self.stdev_factor) < inf:
            raise InvalidSetting(
                f"stdev_factor must be finite, 0 or more, not {shown(self.stdev_factor)}"
            )

    def threshold(self, counts: Counts[B]) -> tuple[float, dict[B, float]]:
        """Return the threshold and the rates.

        The threshold is the mean - ``stdev_factor`` × the standard deviation.
        """
        rates = _rates(counts, self.request_volume)
        if len(rates) < self.minimum_hosts:
            return -inf, rates
        return mean(rates.values()) - self.stdev_factor * pstdev(rates.values()), rates


@dataclass(frozen=True)
class FailurePercentage(OutlierRule):
    """Finds backends for which at least ``percentage`` percent of the requests failed.

    The results of the other backends have no effect.  The rule evaluates only backends with at
    least ``request_volume`` requests in the interval.  If there are fewer than ``minimum_hosts``
    such backends, it finds no outliers.  The rule and its defaults are from Envoy.

    >>> rule = FailurePercentage(85)
    >>> counts = {"a": (15, 100), "b": (16, 100)} | dict.fromkeys("cde", (100, 100))
    >>> below, rates = rule.threshold(counts)
    >>> [backend for backend, rate in rates.items() if rate < below]
    ['a']

    Raises InvalidSetting for a ``percentage`` outside 0…100, or a count below 1.
    """

    percentage: float = 85.0
    minimum_hosts: int = 5
    request_volume: int = 50

    def __post_init__(self) -> None:
        at_least(1, minimum_hosts=self.minimum_hosts, request_volume=self.request_volume)
        if not 0 <= number("percentage", self.percentage) <= 100:  # noqa: PLR2004 - percent
            raise InvalidSetting(f"percentage must be 0 to 100, not {shown(self.percentage)}")

    def threshold(self, counts: Counts[B]) -> tuple[float, dict[B, float]]:
        """Return the threshold and the rates.

        The threshold is the lowest rate among the backends that are not outliers.  If all backends
        are outliers, the threshold is ``inf``.
        """
        rates = _rates(counts, self.request_volume)
        if len(rates) < self.minimum_hosts:
            return -inf, rates
        # Without a division: a float quotient may be on the wrong side of the threshold.
        normal = [
            rate
            for backend, rate in rates.items()
            if 100 * (counts[backend][1] - counts[backend][0])
            < self.percentage * counts[backend][1]
        ]
        return min(normal, default=inf), rates


@dataclass(frozen=True)
class MedianGap(OutlierRule):
    """Finds backends whose success rate is far below the median of all success rates.

    An outlier is more than ``gap`` percentage points below the median.  It is also more than
    ``factor`` deviations below the median.  The deviation is the median of the distances from the
    median, scaled to a standard deviation.  If the rates of all backends differ widely, the second
    condition prevents false results.

    The median changes much only if half of the backends are unhealthy.  Therefore, 3 unhealthy
    backends among 10 are found, and so is 1 among 3.

    The rule compares only backends with at least ``request_volume`` requests in the interval.  If
    there are fewer than ``minimum_hosts`` such backends, it finds no outliers.

    >>> counts = dict.fromkeys("abc", (0, 100)) | dict.fromkeys("defghij", (100, 100))
    >>> below, rates = MedianGap().threshold(counts)
    >>> [backend for backend, rate in rates.items() if rate < below]
    ['a', 'b', 'c']

    Raises InvalidSetting for a ``gap`` outside 0…100, a ``factor`` that is negative or not finite,
    or a count below 1.
    """

    gap: float = 20.0
    factor: float = 3.0
    minimum_hosts: int = 3
    request_volume: int = 50

    def __post_init__(self) -> None:
        at_least(1, minimum_hosts=self.minimum_hosts, request_volume=self.request_volume)
        if not 0 <= number("gap", self.gap) <= 100:  # noqa: PLR2004 - percent
            raise InvalidSetting(f"gap must be 0 to 100, not {shown(self.gap)}")
        if not 0 <= number("factor", self.factor) < inf:
            raise InvalidSetting(f"factor must be finite, 0 or more, not {shown(self.factor)}")

    def threshold(self, counts: Counts[B]) -> tuple[float, dict[B, float]]:
        """Return the threshold and the rates.

        The threshold is the median - max(``gap``, ``factor`` × the deviation).
        """
        rates = _rates(counts, self.request_volume)
        if len(rates) < self.minimum_hosts:
            return -inf, rates
        middle = median(rates.values())
        deviation = _NORMAL * median(abs(rate - middle) for rate in rates.values())
        return middle - max(self.gap, self.factor * deviation), rates


def named_rules(
    argument: str, rules: Iterable[OutlierRule], prefix: str = ""
) -> list[tuple[str, OutlierRule]]:
    """Return each rule with its name: the prefix and the name of its class.

    Raises TypeError for an object that is not iterable, and for an item that is not an outlier
    rule.  A class is not a rule.  The message contains the name of the argument.
    """
    example = "pass a list of objects, for example [MedianGap()]"
    if not isinstance(rules, Iterable):
        raise TypeError(
            f"{argument} must be a list of outlier rules, not {shown(rules)}; {example}"
        )
    named: list[tuple[str, OutlierRule]] = []
    for rule in rules:
        if isinstance(rule, type) or not callable(getattr(rule, "threshold", None)):
            raise TypeError(f"{argument} must be outlier rules, not {shown(rule)}; {example}")
        named.append((prefix + type(rule).__name__, rule))
    return named


def _rates(counts: Counts[B], request_volume: int) -> dict[B, float]:
    return {b: 100 * good / total for b, (good, total) in counts.items() if total >= request_volume}
